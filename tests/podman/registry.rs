//! Pulling: from a registry of the tests' own that asks for a password.
use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use mesh_controller::{api::container::ImagePullPolicy, backend::Error, kit::redact::Redacted, plan::container::RegistryAuth};
use mesh_gear::port;

use super::{
    fixture::{IDLE, Machine, eventually},
    host::{IMAGE, podman},
};

/// Of `tester`: `secret-word`, as bcrypt has it; there is no htpasswd on this machine.
const HTPASSWD: &str = "tester:$2b$04$Q9VKi2CvPfDcsthGmXaBLuk2sEwzq4sTRI75imjsOhQWcamZ7tu/2\n";

struct Registry {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn new() -> Option<Self> {
        let program = ["/usr/bin/docker-registry", "/usr/bin/registry"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            assert!(
                std::env::var("MESH_TEST_REQUIRE").is_ok_and(|required| required != "all") || std::env::var("MESH_TEST_REQUIRE").is_err(),
                "docker-registry is not installed"
            );
            eprintln!("SKIPPED: docker-registry is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = port::unused().port();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let mut config = std::fs::File::create(dir.path().join("config.yml")).unwrap();
        write!(
            config,
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n\
             auth: {{htpasswd: {{realm: test, path: {0}/htpasswd}}}}\n",
            dir.path().display()
        )
        .unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(dir.path().join("config.yml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Self { child: command.spawn().unwrap(), port, _dir: dir })
    }

    fn image(&self) -> String {
        format!("127.0.0.1:{}/app/bb:1", self.port)
    }

    async fn push(&self) {
        let image = self.image();
        let push = ["push", "--tls-verify=false", "--creds", "tester:secret-word", IMAGE, image.as_str()];
        eventually("registry", async || podman(&push).await.ok()).await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_image_of_a_private_registry_is_pulled_with_its_password_and_not_without() {
    let Some(machine) = Machine::new("private").await else { return };
    let Some(registry) = Registry::new() else { return };
    registry.push().await;
    let mut launch = machine.sh("web", IDLE);
    launch.container.image = registry.image();
    launch.container.pull = ImagePullPolicy::IfNotPresent;
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::Image { .. }) && error.to_string().contains("imagePullSecrets"), "{error}");
    let auth = |password: &str| RegistryAuth {
        registry: format!("127.0.0.1:{}", registry.port),
        username: "tester".into(),
        password: Redacted::new(password),
    };
    launch.auth = vec![auth("wrong-canary")];
    let error = machine.refused(&launch).await.to_string();
    assert!(error.contains("imagePullSecrets") && !error.contains("canary"), "{error}");
    launch.auth = vec![auth("secret-word")];
    let key = machine.start(&launch).await;
    let image = machine.running(&key).await.image.unwrap();
    assert!(image.starts_with(&format!("127.0.0.1:{}/app/bb@sha256:", registry.port)), "{image}");
    podman(&["rm", "-f", "-t", "0", &launch.container.name]).await.unwrap();
    podman(&["rmi", &registry.image()]).await.unwrap();
    launch.container.image = format!("127.0.0.1:{}/app/bb:2", registry.port);
    launch.attempt = 1;
    let error = machine.refused(&launch).await.to_string();
    assert!(error.contains("check the name and the tag"), "{error}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_said_to_be_and_a_slow_one_is_being_pulled_from() {
    let Some(machine) = Machine::new("slow").await else { return };
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut launch = machine.sh("web", IDLE);
    launch.container.image = format!("127.0.0.1:{}/app/bb:1", silent.local_addr().unwrap().port());
    launch.container.pull = ImagePullPolicy::Always;
    for _ in 0..2 {
        let error = machine.refused(&launch).await;
        assert!(matches!(&error, Error::Pulling { progress, .. } if progress.contains("Trying to pull")), "{error:?}");
    }
    drop(silent);
    let error = eventually("the end of the pull", async || match machine.refused(&launch).await {
        Error::Pulling { .. } => None,
        error => Some(error),
    })
    .await;
    assert!(matches!(&error, Error::Image { .. }) && error.to_string().contains("cannot be reached"), "{error}");
}

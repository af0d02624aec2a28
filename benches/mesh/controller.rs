//! A mesh-controller of the benchmark's own, in a temporary directory, and a client to it.
use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use mesh_controller::api::MeshService;
use mesh_gear::port;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) router: SocketAddr,
    pub(crate) pid: u32,
    child: Child,
    dir: TempDir,
}

/// The shim is a package of its own, which `cargo bench` does not build; it lies beside the controller.
fn build_shim() -> Result<()> {
    let built = Command::new(env!("CARGO")).args(["build", "--release", "--quiet", "--package", "mesh-shim"]).status()?;
    ensure!(built.success(), "mesh-shim cannot be built");
    Ok(())
}

impl Controller {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_on(&["--backend", "process"]).await
    }

    /// Starts one on a backend, by its flags.
    pub(crate) async fn start_on(backend: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (api, router, admin) = (port::unused(), port::unused(), port::unused());
        let log = std::fs::File::create(dir.path().join("controller.log"))?;
        build_shim()?;
        let child = Command::new(env!("CARGO_BIN_EXE_mesh-controller"))
            .args(backend)
            .arg("--state-dir")
            .arg(dir.path().join("state"))
            .args(["--api-listen", &api.to_string(), "--router-listen", &router.to_string(), "--admin-listen", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let pid = child.id();
        let file = dir.path().join("state/kubeconfig");
        wait(Duration::from_secs(20), "the controller to be ready", async || {
            Ok(get(admin, "/readyz").await.is_ok_and(|status| status == 200))
        })
        .await?;
        let kubeconfig = Kubeconfig::read_from(&file)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self { client: Client::try_from(config)?, router, pid, child, dir })
    }

    /// Where its state is.
    pub(crate) fn state_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn services(&self) -> Api<MeshService> {
        Api::default_namespaced(self.client.clone())
    }

    /// Applies a service that runs the benchmark's own origin.
    pub(crate) async fn apply(&self, name: &str, spec: Value) -> Result<()> {
        let program = std::env::current_exe()?;
        let mut all = json!({ "command": [program, "origin"], "route": format!("/{name}"), "drain": { "timeout": "1s" }, "terminationGracePeriodSeconds": 1 });
        if let (Some(all), Some(more)) = (all.as_object_mut(), spec.as_object()) {
            all.extend(more.clone());
        }
        self.apply_spec(name, all).await
    }

    /// Applies a service.
    pub(crate) async fn apply_spec(&self, name: &str, spec: Value) -> Result<()> {
        let object =
            json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": { "name": name }, "spec": spec });
        self.services().patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(&object)).await?;
        Ok(())
    }

    /// Waits until so many instances of a service are ready.
    pub(crate) async fn wait_ready(&self, name: &str, replicas: i32, limit: Duration) -> Result<()> {
        wait(limit, "instances to be ready", async || {
            Ok(self.services().get(name).await?.status.is_some_and(|status| status.ready_replicas == replicas))
        })
        .await
    }

    /// Deletes the services, so that no instance is left, and ends the controller.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for service in self.services().list(&kube::api::ListParams::default()).await? {
            self.services().delete(service.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::background()).await?;
        }
        wait(Duration::from_secs(60), "the services to be gone", async || {
            Ok(self.services().list(&kube::api::ListParams::default()).await?.items.is_empty())
        })
        .await?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer is yes.
pub(crate) async fn wait(limit: Duration, what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The status of one GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut head = [0; 64];
    let read = stream.read(&mut head).await?;
    let line = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")
}

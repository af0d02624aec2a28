//! `mesh-controller router` on files: the real binary, instances of the test's own, SIGHUP.
use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStderr},
};

use mesh_gear::{
    client::{Answer, Client, soon},
    instance::{Instance, instance},
    port,
};

/// A router that runs, and what it says.
pub(crate) struct Router {
    pub(crate) child: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// What it said while something else was looked for.
    earlier: Vec<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Router {
    pub(crate) async fn start(source: &str, of: impl AsRef<std::ffi::OsStr>) -> Self {
        Self::start_with(&[source.as_ref(), of.as_ref()], &[]).await
    }

    /// With these words on its command line, and these variables.
    pub(crate) async fn start_with(words: &[&std::ffi::OsStr], variables: &[(&str, &str)]) -> Self {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_mesh-controller"))
            .args(["router", "--router-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"])
            .args(words)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut router =
            Self { child, log, earlier: Vec::new(), address: "127.0.0.1:0".parse().unwrap(), admin: "127.0.0.1:0".parse().unwrap() };
        let started: serde_json::Value = serde_json::from_str(&router.says("\"started\"").await).unwrap();
        let address = |name: &str| started[name].as_str().unwrap().parse().unwrap();
        (router.address, router.admin) = (address("router"), address("admin"));
        router
    }

    /// The next line of its log that has these words.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        if let Some(at) = self.earlier.iter().position(|line| line.contains(words)) {
            return self.earlier.remove(at);
        }
        soon(words, async {
            loop {
                let line = self.log.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without saying {words}"));
                if line.contains(words) {
                    return line;
                }
                self.earlier.push(line);
            }
        })
        .await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn send(&self, request: &str) -> Answer {
        Client(TcpStream::connect(self.address).await.unwrap()).send(request).await
    }

    /// Who answered so many requests, half of them POST; none may fail.
    async fn answers(&self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for n in 0..count {
            let request =
                if n % 2 == 0 { "GET / HTTP/1.1\r\nHost: a\r\n\r\n" } else { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" };
            let answer = self.send(request).await;
            assert_eq!(answer.status, 200, "request {n}: {}", answer.head);
            names.push(answer.body);
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A service `web` on `/`, and one slice per address.
fn objects(addresses: &[SocketAddr]) -> String {
    let mut text =
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: web}\nspec: {command: [x], route: /}\n".to_owned();
    for (n, address) in addresses.iter().enumerate() {
        let _ = std::fmt::Write::write_fmt(
            &mut text,
            format_args!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-{n}, labels: {{kubernetes.io/service-name: web}}}}\n\
             addressType: IPv4\nports: [{{port: {}}}]\nendpoints: [{{addresses: [{}]}}]\n",
                address.port(),
                address.ip()
            ),
        );
    }
    text
}

fn write(dir: &TempDir, text: &str) {
    std::fs::write(dir.path().join("router.yaml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_alone_make_a_router_that_passes_over_instances_that_are_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b): (Instance, Instance) = (instance("a").await, instance("b").await);
    write(&dir, &objects(&[port::unused(), a.address, port::unused(), b.address]));
    let router = Router::start("--from", dir.path()).await;
    assert_eq!(router.answers(40).await, ["a", "b"]);
    drop(b);
    assert_eq!(router.answers(40).await, ["a"], "the stopped one costs no request");
    let metrics = Client(TcpStream::connect(router.admin).await.unwrap()).send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(metrics.body.contains("mesh_router_"), "{}", metrics.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_the_files_again_and_bad_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b): (Instance, Instance) = (instance("a").await, instance("b").await);
    write(&dir, &objects(&[a.address, a.address]));
    let mut router = Router::start("--from", dir.path()).await;
    assert_eq!(router.answers(4).await, ["a"]);
    for (bad, said) in [
        (objects(&[b.address]).replace("kind: MeshService", "kind: Service"), "router.yaml:2: Service web: a router reads MeshService,"),
        (objects(&[b.address]).replace("route: /", "rote: /"), "unknown field"),
        (String::new(), "there is no object in it"),
    ] {
        write(&dir, &bad);
        router.signal(Signal::HUP);
        let line = router.says("what they said before stays in force").await;
        assert!(line.contains(said), "{line}");
        assert_eq!(router.answers(4).await, ["a"]);
    }
    write(&dir, &objects(&[b.address]));
    router.signal(Signal::HUP);
    router.says("the files were read again").await;
    soon("only b to answer", async { while router.answers(4).await != ["b"] {} }).await;
    router.signal(Signal::TERM);
    assert_eq!(soon("the end", router.child.wait()).await.unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_routed_is_said_with_its_line_and_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new("timeout");
        command.arg("20").arg(env!("CARGO_BIN_EXE_mesh-controller")).arg("router").args(words).current_dir(&dir);
        let output =
            command.args(["--router-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "error"]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    write(
        &dir,
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: web}\nspec:\n  command: [x]\n  route: api\n",
    );
    for (words, code, said) in [
        (&["--from", "router.yaml"][..], 4, "mesh-controller: router.yaml:6: MeshService web: spec.route"),
        (&["--from", "none.yaml"], 4, "mesh-controller: none.yaml: No such file"),
        (&["--kubeconfig", "none"], 5, "mesh-controller: --kubeconfig none: "),
        (&["--from", "-"], 2, "mesh-controller: --from -: standard input"),
        (&["--from", "router.yaml", "--kubeconfig", "none"], 2, "cannot be used with"),
        (&[], 2, "mesh-controller: where are the services? --kubeconfig FILE follows an API, --from FILE|DIR reads files; without both"),
    ] {
        let (exit, stderr) = run(words);
        assert!(exit == code && stderr.contains(said), "{words:?}: {exit}, not {code}, or not {said}:\n{stderr}");
    }
}

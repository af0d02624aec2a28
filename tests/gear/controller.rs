//! A mesh-controller of the test's own: its process, its directory, and kubectl pointed at it.
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{port, program::program};

pub struct Controller {
    pub router: SocketAddr,
    pub api: SocketAddr,
    pub admin: SocketAddr,
    how: How,
    child: Child,
    state: PathBuf,
    dir: TempDir,
}

/// How one is started.
#[derive(Default)]
struct How {
    /// How many file descriptors it may have; none: as many as the test.
    descriptors: Option<u64>,
    extra: Vec<String>,
    env: Vec<(String, String)>,
}

impl How {
    fn with(extra: &[&str]) -> Self {
        Self { extra: extra.iter().map(ToString::to_string).collect(), ..Self::default() }
    }
}

/// A MeshService that runs the shop's backend unless the spec says otherwise; null takes a field out.
pub fn manifest(name: &str, spec: &Value) -> Value {
    let mut all = json!({ "command": [shop(), "backend"], "drain": { "timeout": "10s" }, "terminationGracePeriodSeconds": 5 });
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let all: serde_json::Map<_, _> = all.as_object().unwrap().clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
    json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": { "name": name }, "spec": all })
}

/// The example shop.
pub fn shop() -> PathBuf {
    example("mesh-controller", "shop")
}

/// The program that holds a lock: the example of the SDK.
pub fn holder() -> PathBuf {
    example("mesh-controller-sdk", "holder")
}

/// An example program; `cargo test` builds it, `cargo test --test cli` does not.
fn example(package: &str, name: &str) -> PathBuf {
    let program = program("mesh-controller").with_file_name("examples").join(name);
    if !program.exists() {
        let built = Command::new(env!("CARGO")).args(["build", "--package", package, "--example", name]).status().unwrap();
        assert!(built.success() && program.exists(), "{} cannot be built", program.display());
    }
    program
}

fn spawn(dir: &Path, state: &Path, api: SocketAddr, router: SocketAddr, admin: SocketAddr, how: &How) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.join("controller.log")).unwrap();
    program("mesh-shim");
    limited(&program("mesh-controller"), how.descriptors)
        .arg("--state-dir")
        .arg(state)
        .args(["--api-listen", &api.to_string(), "--router-listen", &router.to_string(), "--admin-listen", &admin.to_string()])
        .args(&how.extra)
        .envs(how.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A program that is to have so many file descriptors at the most.
fn limited(program: &Path, descriptors: Option<u64>) -> Command {
    let Some(descriptors) = descriptors else { return Command::new(program) };
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &descriptors.to_string()]).arg(program);
    command
}

impl Controller {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_at(dir.path().join("state"), dir, How::with(extra)).await
    }

    /// With more in its environment.
    pub async fn start_in_environment(env: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_at(dir.path().join("state"), dir, How { env: env.to_vec(), ..How::default() }).await
    }

    /// With its state in a directory of the test's.
    pub async fn start_in(state: &Path) -> Self {
        Self::start_at(state.to_owned(), tempfile::tempdir().unwrap(), How::default()).await
    }

    /// With so many file descriptors at the most.
    pub async fn start_under(descriptors: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_at(dir.path().join("state"), dir, How { descriptors: Some(descriptors), ..How::default() }).await
    }

    async fn start_at(state: PathBuf, dir: TempDir, how: How) -> Self {
        let (api, router, admin) = (port::unused(), port::unused(), port::unused());
        let child = spawn(dir.path(), &state, api, router, admin, &how);
        let mut controller = Self { router, api, admin, how, child, state, dir };
        controller.wait_ready().await;
        controller
    }

    async fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !crate::load::get(self.admin, "/readyz").await.is_ok_and(|(status, _)| status == 200) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the controller ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the controller is not ready:\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn kill_9_and_start_again(&mut self) {
        self.kill_9();
        self.start_again().await;
    }

    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After its end.
    pub async fn start_again(&mut self) {
        self.begin_again();
        self.wait_ready().await;
    }

    /// After its end; it is not waited for.
    pub fn begin_again(&mut self) {
        self.child = spawn(self.dir.path(), &self.state, self.api, self.router, self.admin, &self.how);
    }

    /// Changes how many file descriptors it may have, while it runs; what it has open stays open.
    pub fn limit_descriptors(&self, most: u64) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), maximum: self.how.descriptors }).unwrap();
    }

    /// The processor time that it has used.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // proc(5): utime and stime are the 14th and 15th field; the command, in brackets, is the second.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        let ticks: f64 = fields.map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / 100.0
    }

    /// The file descriptors that it has open, in order.
    pub fn descriptors(&self) -> Vec<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten();
        let mut open: Vec<u64> = open.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect();
        open.sort_unstable();
        open
    }

    /// What its admin port answers.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        crate::load::get(self.admin, path).await.unwrap()
    }

    /// Waits until it ends by itself: its exit code, and all that it has said.
    pub async fn end(&mut self) -> (Option<i32>, String) {
        let ended = until("the controller to end", async || self.child.try_wait().unwrap()).await;
        (ended.code(), self.log())
    }

    /// Whether kubectl could do it, and what it said.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<(), String> {
        let output = self.run_kubectl(args);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn state_dir(&self) -> String {
        self.state.canonicalize().unwrap().display().to_string()
    }

    /// The files of the store in the state directory.
    pub fn store_files(&self) -> Vec<String> {
        let all = fs::read_dir(&self.state).unwrap().flatten();
        all.map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "redb"))
            .collect()
    }

    /// The bytes of all logs of instances.
    pub fn log_bytes(&self) -> u64 {
        let dirs = fs::read_dir(self.state.join("instances")).unwrap().flatten();
        let files = dirs.flat_map(|dir| fs::read_dir(dir.path()).unwrap().flatten());
        files.filter(|file| file.file_name().to_string_lossy().starts_with("log")).map(|file| file.metadata().unwrap().len()).sum()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("controller.log")).unwrap_or_default()
    }

    /// Writes an object to a file, and gives the file's path.
    pub fn write(&self, file: &str, object: &Value) -> String {
        let path = self.dir.path().join(file);
        // JSON is YAML.
        fs::write(&path, serde_json::to_vec_pretty(object).unwrap()).unwrap();
        path.display().to_string()
    }

    pub fn write_and_apply(&self, name: &str, spec: &Value) {
        let file = self.write(&format!("{name}.yaml"), &manifest(name, spec));
        self.kubectl(&["apply", "-f", &file]);
    }

    /// Applies a service and waits until it is ready.
    pub async fn apply(&self, name: &str, spec: &Value) {
        self.write_and_apply(name, spec);
        let replicas = spec["replicas"].as_u64().unwrap_or(1);
        self.settled(name, u32::try_from(replicas).unwrap()).await;
    }

    /// Waits until a service is ready with so many instances, and no other one is left.
    pub async fn settled(&self, name: &str, replicas: u32) {
        until(&format!("{name} to settle at {replicas}"), async || {
            let service = self.json(&["get", "msvc", name]);
            let observed = service["status"]["observedGeneration"] == service["metadata"]["generation"];
            let ready = service["status"]["conditions"].as_array()?.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let count = self.json(&["get", "mi", "-l", &format!("mesh-controller.dev/service={name}")])["items"].as_array()?.len();
            (observed && ready && count == usize::try_from(replicas).ok()?).then_some(())
        })
        .await;
    }

    fn run_kubectl(&self, args: &[&str]) -> Output {
        let program = std::env::var("MESH_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let mut command = Command::new(&program);
        command.args(args).env("KUBECONFIG", self.state.join("kubeconfig")).env("HOME", self.dir.path()).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// What kubectl prints; it must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.run_kubectl(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {args:?}: {error}\ncontroller:\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What kubectl says against it; it must fail.
    pub fn kubectl_fails(&self, args: &[&str]) -> String {
        let output = self.run_kubectl(args);
        assert!(!output.status.success(), "kubectl {args:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// A value of each object, in the order of their names.
    pub fn each(&self, kind: &str, pointer: &str) -> Vec<Value> {
        let list = self.json(&["get", kind]);
        list["items"].as_array().unwrap().iter().map(|item| item.pointer(pointer).cloned().unwrap_or_default()).collect()
    }

    /// The process ids of all instances.
    pub fn pids(&self) -> Vec<i64> {
        self.each("mi", "/status/pid").iter().filter_map(Value::as_i64).collect()
    }

    /// Begins to count the instances that a router has reported as drained.
    pub fn watch_drains(&self) -> Drains {
        Drains(self.watch_instances(r#"{.metadata.uid}={.status.routers[*].drained}{"\n"}"#))
    }

    /// Begins to write down each state of each instance, as kubectl's jsonpath gives it.
    pub fn watch_instances(&self, jsonpath: &str) -> Watch {
        let program = std::env::var("MESH_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        let child = Command::new(program)
            .args(["get", "mi", "-w", "-o", &format!("jsonpath={jsonpath}")])
            .env("KUBECONFIG", self.state.join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(file.reopen().unwrap())
            .spawn()
            .unwrap();
        Watch { child, file }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // A test that failed must not leave its programs behind.
        let _ = self.run_kubectl(&[
            "patch",
            "msvc",
            "--all",
            "--type=merge",
            "-p",
            r#"{"spec":{"terminationGracePeriodSeconds":0,"drain":{"timeout":"0s"}}}"#,
        ]);
        let _ = self.run_kubectl(&["delete", "msvc", "--all", "--timeout=20s"]);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A watch of kubectl's.
pub struct Watch {
    child: Child,
    file: tempfile::NamedTempFile,
}

impl Watch {
    /// What it has shown until now.
    pub fn shown(&self) -> String {
        fs::read_to_string(self.file.path()).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Drains(Watch);

impl Drains {
    /// How many instances were reported as drained.
    pub fn stop(self) -> usize {
        let text = self.0.shown();
        let drained = text.lines().filter_map(|line| line.split_once('=')).filter(|(_, drained)| drained.contains("true"));
        drained.map(|(uid, _)| uid).collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// Starts a controller that is expected to fail, and gives what it says.
pub fn run_to_end(args: &[&str]) -> String {
    let child = Command::new("timeout").arg("20").arg(program("mesh-controller")).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(!child.status.success() && child.status.code() != Some(124), "it started: {child:?}");
    String::from_utf8_lossy(&child.stderr).into_owned()
}

pub fn lives(pid: i64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub fn kill(pid: i64, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// How many processes have a command line that begins like this.
pub fn descendants_named(line: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|found| found.starts_with(line.as_bytes()))).count()
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

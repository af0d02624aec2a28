//! The clusters of this test process: started by the first test that asks, gone with the process (tests/kube/cluster.sh).
//!
//! ```ignore
//! let Some(cluster) = Cluster::with_node() else { return };   // not possible here: said on stderr; a failure where MESH_TEST_REQUIRE=all
//! let space = cluster.namespace("scaling");                   // deleted at the end
//! space.apply("apiVersion: …");
//! space.until("the pods to be ready", "get msvc web -o jsonpath={.status.ready}", |text| text == "3/3");
//! ```
//! Tests run at the same time, each in a namespace of its own. Whoever stops a component, or needs what there is only one of, takes [`Cluster::alone`].
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use mesh_gear::machine::{Session, cache, there};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube/cluster.sh");
/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(90);

/// One for tests that need pods to run, one for those that look at objects only.
static WITH_NODE: OnceLock<RwLock<Cluster>> = OnceLock::new();
static CONTROL_PLANE: OnceLock<RwLock<Cluster>> = OnceLock::new();

/// A running cluster.
pub(crate) struct Cluster {
    session: Session,
}

impl Cluster {
    /// The cluster with a node, together with other tests.
    pub(crate) fn with_node() -> Option<RwLockReadGuard<'static, Self>> {
        node().map(|cluster| cluster.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The cluster with a node, with no other test in it.
    pub(crate) fn alone() -> Option<RwLockWriteGuard<'static, Self>> {
        node().map(|cluster| cluster.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The cluster without a node: pods stay Pending.
    pub(crate) fn control_plane() -> Option<RwLockReadGuard<'static, Self>> {
        let cluster = able().then(|| CONTROL_PLANE.get_or_init(|| RwLock::new(Self::start(&[]))));
        cluster.map(|cluster| cluster.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// One for the caller alone, gone with its value: for tests that run controllers of their own.
    pub(crate) fn own(options: &[&str]) -> Option<Self> {
        able().then(|| Self::start(options))
    }

    fn start(options: &[&str]) -> Self {
        Self { session: Session::start(SCRIPT, options) }
    }

    /// Its folder: logs, and what `cluster.sh` needs to know.
    pub(crate) fn dir(&self) -> &Path {
        &self.session.dir
    }

    /// For kubectl, helm and our own programs, as the cluster's administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// `cluster.sh VERB DIR ARGS…`: stop, start, load, compact.
    pub(crate) fn script(&self, verb: &str, args: &[&str]) {
        let output = Command::new(SCRIPT).arg(verb).arg(self.dir()).args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "cluster.sh {verb} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Sends a component a signal.
    pub(crate) fn signal(&self, component: &str, signal: Signal) {
        let pid = std::fs::read_to_string(self.dir().join(component).with_extension("pid")).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), signal).unwrap();
    }

    /// A command with the cluster's kubeconfig; standard input as given.
    pub(crate) fn command(&self, program: &Path, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(program)
            .args(args)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        // One that does not read its input closes it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// `kubectl ARGS…`.
    pub(crate) fn try_kubectl(&self, args: &[&str], input: &str) -> Output {
        self.command(&assets().join("kubectl"), args, input)
    }

    /// What `kubectl ARGS…` prints; it must succeed.
    pub(crate) fn kubectl(&self, args: &[&str], input: &str) -> String {
        let output = self.try_kubectl(args, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {said}\n{input}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Repeats `kubectl ARGS…` until what it prints is right; the last it printed.
    pub(crate) fn until(&self, what: &str, args: &[&str], right: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = self.try_kubectl(args, "");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && right(&text) {
                return text;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(Instant::now() < deadline, "waited in vain for {what}: kubectl {args:?}\n{text}\n{said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A namespace that goes with its value; the name is made unique.
    pub(crate) fn namespace(&self, name: &str) -> Namespace<'_> {
        let name = format!("{name}-{:08x}", rand::random::<u32>());
        self.kubectl(&["create", "namespace", &name], "");
        Namespace { cluster: self, name }
    }
}

/// A namespace of one test.
pub(crate) struct Namespace<'a> {
    cluster: &'a Cluster,
    pub(crate) name: String,
}

impl Namespace<'_> {
    /// `kubectl -n NAMESPACE ARGS…`, in words divided by blanks.
    pub(crate) fn kubectl(&self, words: &str) -> String {
        self.cluster.kubectl(&self.args(words), "")
    }

    /// The same, where it may fail.
    pub(crate) fn try_kubectl(&self, words: &str) -> Output {
        self.cluster.try_kubectl(&self.args(words), "")
    }

    /// Applies YAML, with strict validation.
    pub(crate) fn apply(&self, yaml: &str) -> String {
        self.cluster.kubectl(&["-n", &self.name, "apply", "-f", "-"], yaml)
    }

    /// A ResourceQuota `none` with no room for `counted`, in force: the API server refuses `kubectl ATTEMPT`, whose object it counts.
    /// Until its quota admission has seen the quota (it may remember for 30 s that a namespace has none), it lets everything through.
    pub(crate) fn forbid(&self, counted: &str, attempt: &str) {
        self.apply(&format!("apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: none}}\nspec: {{hard: {{{counted}: \"0\"}}}}\n"));
        let attempt = format!("{attempt} --image=nothing --dry-run=server");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = self.try_kubectl(&attempt);
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("exceeded quota: none") {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for the quota: kubectl {attempt}: {output:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Repeats `kubectl -n NAMESPACE ARGS…` until what it prints is right.
    pub(crate) fn until(&self, what: &str, words: &str, right: impl Fn(&str) -> bool) -> String {
        self.cluster.until(what, &self.args(words), right)
    }

    fn args<'a>(&'a self, words: &'a str) -> Vec<&'a str> {
        ["-n", self.name.as_str()].into_iter().chain(words.split_whitespace()).collect()
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // A failed test leaves no pods to the others; nobody waits for the end of it.
        self.cluster.try_kubectl(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}

/// Where the cluster's programs are.
pub(crate) fn assets() -> PathBuf {
    std::env::var_os("KUBEBUILDER_ASSETS").map_or_else(|| cache().join("kube"), PathBuf::from)
}

fn node() -> Option<&'static RwLock<Cluster>> {
    let make = || {
        let cluster = Cluster::start(&["--node"]);
        cluster.load_image(&["workloads.sh", "shop"], "shop.tar");
        cluster.load_image(&["workloads.sh", "busybox"], "busybox.tar");
        cluster.install();
        RwLock::new(cluster)
    };
    able().then(|| WITH_NODE.get_or_init(make))
}

/// Whether a cluster can be had here.
fn able() -> bool {
    let able = assets().join("kube-proxy").exists() && rustix::process::geteuid().is_root();
    there(able, "a cluster needs root and what tests/kube/cluster.sh build makes")
}

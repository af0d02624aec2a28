//! The machine of this test process: booted by the first test that asks for it, with the freshly built programs in /usr/local/bin, gone with the process.
//!
//! ```ignore
//! let Some(vm) = Vm::shared() else { return };          // no root here: said on stderr; a failure where MESH_TEST_REQUIRE=all
//! vm.write("/etc/containers/systemd/a.container", "…"); // no need to undo: the machine is a copy of its own
//! vm.sh("systemctl daemon-reload && systemctl start a");
//! vm.until("a to answer", "curl -fsS http://127.0.0.1:8080/");
//! ```
//! Tests run at the same time and see each other's units, ports and containers: take names and ports that no other test has.
//! Whoever reboots or changes what all share takes [`Vm::alone`] instead, which waits for the others and holds them back.
//! There is no network inside. `MESH_TEST_VM` names another root than the one in ~/.cache/meshtest/vm.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::time::Instant;

use mesh_gear::{
    machine::{Session, there},
    program::program,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/vm.sh");
/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(60);

static MACHINE: OnceLock<RwLock<Vm>> = OnceLock::new();

/// A booted machine.
pub(crate) struct Vm {
    session: Session,
}

impl Vm {
    /// The machine, together with other tests.
    pub(crate) fn shared() -> Option<RwLockReadGuard<'static, Self>> {
        machine().map(|machine| machine.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The machine, with no other test in it.
    pub(crate) fn alone() -> Option<RwLockWriteGuard<'static, Self>> {
        machine().map(|machine| machine.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn boot() -> Self {
        let vm = Self { session: Session::start(SCRIPT, &[]) };
        for name in ["mesh-controller", "mesh", "mesh-shim"] {
            vm.copy(program(name).to_str().unwrap(), &format!("/usr/local/bin/{name}"));
        }
        vm
    }

    /// Where a file of the machine is on the host; not for /run and /tmp, which are mounts inside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        assert!(!inside.starts_with("/run/") && !inside.starts_with("/tmp/"), "{inside} is in a mount of the machine");
        self.session.dir.join(inside.trim_start_matches('/'))
    }

    /// Writes a file inside, and the folders above it.
    pub(crate) fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies a file of the host into the machine, with its permissions.
    pub(crate) fn copy(&self, host: &str, inside: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(host, &path).unwrap();
        fs::set_permissions(&path, fs::metadata(host).unwrap().permissions()).unwrap();
        assert!(fs::metadata(&path).unwrap().permissions().mode() & 0o400 != 0);
    }

    /// Runs a script of bash inside, as root; `set -e` is on.
    pub(crate) fn run(&self, script: &str) -> Output {
        Command::new(SCRIPT).arg("sh").arg(&self.session.dir).args(["bash", "-ec", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// What such a script prints; it must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "in the VM: {script}\n{}: {said}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as the user `bob`, with the environment of a login (`systemctl --user` works while he lingers or is logged in).
    pub(crate) fn as_bob(&self, script: &str) -> String {
        let quoted = script.replace('\'', r"'\''");
        self.sh(&format!("runuser -u bob -- env HOME=/home/bob XDG_RUNTIME_DIR=/run/user/1000 bash -ec '{quoted}'"))
    }

    /// Runs a script until it succeeds; what it printed then.
    pub(crate) fn until(&self, what: &str, script: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = self.run(script);
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let (said, out) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
            assert!(Instant::now() < deadline, "waited in vain for {what}, in the VM: {script}\n{said}\n{out}");
        }
    }
}

impl Vm {
    /// Powers off and boots again; units that are enabled or generated start by themselves.
    pub(crate) fn reboot(&mut self) {
        for verb in ["stop", "start"] {
            let status = Command::new(SCRIPT).arg(verb).arg(&self.session.dir).stdin(Stdio::null()).status().unwrap();
            assert!(status.success(), "vm.sh {verb}: {status}");
        }
    }
}

fn machine() -> Option<&'static RwLock<Vm>> {
    able().then(|| MACHINE.get_or_init(|| RwLock::new(Vm::boot())))
}

/// Whether a machine can be had here.
fn able() -> bool {
    let tool = |name: &str| std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    let able = rustix::process::geteuid().is_root() && (tool("apt-get") || tool("systemd-nspawn"));
    there(able, "the VM needs root and Debian's apt-get")
}

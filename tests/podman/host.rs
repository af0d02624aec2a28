//! The engine that all tests of this process share. It ends with the process.
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The image of the tests: busybox.
pub(crate) const IMAGE: &str = "localhost/mesh-test:1";
/// The same for a machine that this one is not.
pub(crate) const OTHER_IMAGE: &str = "localhost/mesh-test-s390x:1";
/// An engine that is there already, for the same suite on another Podman.
const SOCKET: &str = "MESH_TEST_ENGINE_SOCKET";

pub(crate) struct Host {
    dir: PathBuf,
    pub(crate) socket: PathBuf,
    /// Not ours: it is neither ended nor started again.
    pub(crate) external: bool,
}

/// The engine; none (and it is said why) where there cannot be one, unless `MESH_TEST_REQUIRE=all` forbids that.
pub(crate) fn host() -> Option<&'static Host> {
    static HOST: OnceLock<Result<Host, String>> = OnceLock::new();
    match HOST.get_or_init(Host::new) {
        Ok(host) => Some(host),
        Err(why) if std::env::var("MESH_TEST_REQUIRE").is_ok_and(|required| required == "all") => panic!("no engine to test with: {why}"),
        Err(why) => {
            eprintln!("SKIPPED: no engine to test with: {why}");
            None
        }
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        return Err(format!("{command:?}: {status}: {}", String::from_utf8_lossy(&stderr)));
    }
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where the suite is run on a machine that cannot make images, they lie here, by their names.
fn ready_image(image: &str) -> Option<PathBuf> {
    let name = image.trim_start_matches("localhost/").replace(':', "-");
    let archive = PathBuf::from(std::env::var_os("MESH_TEST_IMAGES")?).join(format!("{name}.tar"));
    archive.exists().then_some(archive)
}

impl Host {
    fn new() -> Result<Self, String> {
        let needed: &[&str] = if ready_image(IMAGE).is_some() { &["podman"] } else { &["podman", "python3", "busybox"] };
        for program in needed {
            run(Command::new("sh").args(["-c", "command -v \"$0\"", program])).map_err(|_| format!("{program} is not installed"))?;
        }
        let owner = std::process::id();
        let dir = std::env::temp_dir().join(format!("mesh-test-engine-{owner}"));
        let host = match std::env::var_os(SOCKET) {
            Some(socket) => Self { dir, socket: socket.into(), external: true },
            None => Self { socket: dir.join("engine.sock"), dir, external: false },
        };
        std::fs::create_dir_all(&host.dir).map_err(|error| error.to_string())?;
        if !host.external {
            if !rustix::process::geteuid().is_root() {
                return Err("root is needed for a Podman of the tests' own".to_owned());
            }
            std::fs::write(host.dir.join("owner"), owner.to_string()).map_err(|error| error.to_string())?;
            run(Command::new(file("tests/podman/engine.sh")).arg("start").arg(&host.dir).arg(owner.to_string()))?;
        }
        host.load(IMAGE, None)?;
        host.load(OTHER_IMAGE, Some("s390x"))?;
        Ok(host)
    }

    fn load(&self, image: &str, architecture: Option<&str>) -> Result<(), String> {
        if let Some(archive) = ready_image(image) {
            return self.cli(&["load", "-i", archive.to_str().unwrap()]).map(drop);
        }
        let root = self.dir.join("busybox");
        run(Command::new(file("tests/images/busybox.sh")).arg(&root))?;
        self.load_root(&root, image, architecture)
    }

    fn load_root(&self, root: &Path, image: &str, architecture: Option<&str>) -> Result<(), String> {
        // Tests make images side by side.
        let archive = self.dir.join(format!("{}.tar", image.replace(['/', ':'], "-")));
        let mut make = Command::new(file("tests/images/image.py"));
        make.arg(root).arg(image).arg(&archive).env("IMAGE_ARCH", architecture.unwrap_or_default());
        run(&mut make)?;
        self.cli(&["load", "-i", archive.to_str().unwrap()])?;
        Ok(())
    }

    /// A program of this machine with the libraries that it needs.
    fn load_program(&self, program: &Path, image: &str) {
        let root = self.dir.join(program.file_name().unwrap());
        run(Command::new(file("tests/images/program.sh")).arg(&root).arg(program)).unwrap();
        self.load_root(&root, image, None).unwrap();
    }

    /// Podman's own command line on the same engine.
    fn cli(&self, args: &[&str]) -> Result<String, String> {
        if self.external { run(Command::new("podman").args(args)) } else { self.script(&["podman"], args) }
    }

    fn script(&self, before: &[&str], after: &[&str]) -> Result<String, String> {
        run(Command::new(file("tests/podman/engine.sh")).args(before).arg(&self.dir).args(after))
    }

    /// One more service on the same storage, which a test may kill: its socket.
    pub(crate) fn service(&self, name: &str) -> Service {
        let pid = self.script(&["service"], &[name]).unwrap().parse().unwrap();
        Service { name: name.to_owned(), socket: self.dir.join(format!("{name}.sock")), pid }
    }
}

/// The image of the example shop, `/bin/shop`; made at its first use.
pub(crate) fn shop_image() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| host().unwrap().load_program(&mesh_gear::controller::shop(), SHOP_IMAGE));
    SHOP_IMAGE
}

/// The image of the SDK's example, `/bin/holder`.
pub(crate) fn holder_image() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| host().unwrap().load_program(&mesh_gear::controller::holder(), HOLDER_IMAGE));
    HOLDER_IMAGE
}

const SHOP_IMAGE: &str = "localhost/mesh-test-shop:1";
const HOLDER_IMAGE: &str = "localhost/mesh-test-holder:1";

/// An engine of its own whose disk is small.
pub(crate) struct Small {
    dir: PathBuf,
    pub(crate) socket: PathBuf,
}

impl Small {
    /// With the image, and hardly anything free.
    pub(crate) fn full() -> Self {
        let dir = std::env::temp_dir().join(format!("mesh-test-small-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(&dir)).unwrap();
        run(Command::new(file("tests/podman/engine.sh")).arg("start").arg(&dir).arg(std::process::id().to_string())).unwrap();
        let small = Host { socket: dir.join("engine.sock"), dir, external: false };
        small.load(IMAGE, None).unwrap();
        let full = std::fs::write(small.dir.join("root/fill"), vec![0; 24 << 20]);
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        Self { socket: small.socket, dir: small.dir }
    }

    /// There is room again.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.dir.join("root/fill")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The directory itself is a mount point, so its removal is the last step.
        let _ = run(Command::new(file("tests/podman/engine.sh")).arg("stop").arg(&self.dir));
        let _ = run(Command::new("umount").arg("-l").arg(&self.dir));
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// A service that a test may kill.
pub(crate) struct Service {
    name: String,
    pub(crate) socket: PathBuf,
    pid: i32,
}

impl Service {
    /// kill -9.
    pub(crate) fn kill(&self) {
        signal(self.pid, rustix::process::Signal::KILL);
    }

    /// Starts it again at the same socket.
    pub(crate) fn restart(&mut self) {
        self.pid = host().unwrap().script(&["service"], &[&self.name]).unwrap().parse().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

/// Podman's command line, off the test's runtime; what it printed.
pub(crate) async fn podman(args: &[&str]) -> Result<String, String> {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || host().unwrap().cli(&args.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap()
}

//! What tests need of the machine: whether what is missing is a failure, where tests/run.sh keeps what it builds, and what runs only as long as the tests.
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Whether something is there. Where it is not, the test is left out and says so; where every test is required, that is a failure.
pub fn there(is_there: bool, what_it_takes: &str) -> bool {
    assert!(is_there || !std::env::var("MESH_TEST_REQUIRE").is_ok_and(|value| value == "all"), "{what_it_takes}");
    if !is_there {
        // Not through a macro: those are captured in a test that passes.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {what_it_takes}");
    }
    is_there
}

/// Where tests/run.sh keeps what it builds.
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("meshtest")
}

/// A script's `session`: it makes something, prints its folder, and takes it away when its standard input ends, so also when the tests do.
pub struct Session {
    pub dir: PathBuf,
    child: Child,
}

impl Session {
    pub fn start(script: &str, options: &[&str]) -> Self {
        let mut child = Command::new(script)
            .arg("session")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{script}: {error}"));
        let mut dir = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut dir).unwrap();
        assert!(dir.ends_with('\n'), "{script} session made nothing; its words are above");
        Self { dir: Path::new(dir.trim_end()).to_owned(), child }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// An API that answers GET as it is told to, by path: status (with what follows it in the head) and JSON. Its kubeconfig, in `dir`.
pub fn api(dir: &Path, answer: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head: Vec<String> =
                BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            // One that connected and asked nothing.
            let Some(path) = head.first().and_then(|line| line.split_whitespace().nth(1)) else { continue };
            let (status, body) = answer(path);
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{ "name": "a", "cluster": { "server": server } }], "users": [{ "name": "a", "user": {} }],
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
    });
    let file = dir.join(format!("{:08x}.kubeconfig", rand::random::<u32>()));
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

//! The hook of a pod that is to end: it asks the routers whether they have let the pod go, and the pod is told to end after that. A program of its own,
//! of the standard library alone, because it is copied into every pod's memory:
//! `rustc -O -C target-feature=+crt-static --edition 2024 src/bin/mesh-drain.rs`.
//!
//! A hook must not make things worse: whatever happens, `wait` ends with 0 by its timeout, and says in one line what happened.
#![allow(clippy::disallowed_methods, reason = "it has no runtime whose clock a test could stop")]

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str = "usage: mesh-drain install DIR | mesh-drain wait --timeout SECONDS";
const VARIABLES: [&str; 4] = ["MESH_DRAIN_ADDRESS", "MESH_NAMESPACE", "MESH_INSTANCE", "MESH_POD_UID"];

/// For so long a connection is tried in a row.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// A router that is silent for so long may have gone with its machine: another connection is made, and the question asked again.
const SILENCE: Duration = Duration::from_secs(15);
/// No head of an answer is longer.
const MOST: usize = 16 * 1024;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let verb = words.first().and_then(|word| word.to_str());
    match (verb, words.get(1..).unwrap_or_default()) {
        (Some("install"), [directory]) => match install(Path::new(directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("mesh-drain: install into {}: {error}", Path::new(directory).display()));
                ExitCode::FAILURE
            }
        },
        (Some("wait"), [flag, seconds]) if flag == "--timeout" => match seconds.to_str().and_then(seconds_of) {
            Some(timeout) => {
                let said = match Question::of(|name| std::env::var(name).ok()) {
                    Ok(question) => wait(&question, timeout),
                    Err(missing) => format!("{missing}; nothing is waited for"),
                };
                say(&format!("mesh-drain: {said}"));
                ExitCode::SUCCESS
            }
            None => usage(),
        },
        _ => usage(),
    }
}

/// Nobody need read it: what the hook waits for counts.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn usage() -> ExitCode {
    say(USAGE);
    ExitCode::from(2)
}

/// Seconds, with or without a fraction.
fn seconds_of(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Copies this program into a directory; whoever looks there sees all of it or nothing.
fn install(directory: &Path) -> io::Result<()> {
    let coming = directory.join(".mesh-drain");
    std::fs::copy(std::env::current_exe()?, &coming)?;
    std::fs::set_permissions(&coming, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&coming, directory.join("mesh-drain"))
}

/// Whom it asks, and what.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    address: SocketAddr,
    path: String,
}

impl Question {
    /// From the pod's variables.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let value = |name: &str| match variable(name).filter(|value| !value.is_empty()) {
            None => Err(format!("{name} is not set")),
            // All of it goes into one line of a request.
            Some(value) if value.chars().any(|c| !(c.is_ascii_alphanumeric() || "-.:[]".contains(c))) => {
                Err(format!("{name} is {value:?}"))
            }
            Some(value) => Ok(value),
        };
        let [address, namespace, pod, uid] = VARIABLES.map(value);
        let address = address?;
        let address = address.parse().map_err(|_| format!("MESH_DRAIN_ADDRESS is {address:?}, which is no ip:port"))?;
        Ok(Self { address, path: format!("/drain/{}/{}?uid={}", namespace?, pod?, uid?) })
    }
}

/// How one attempt ended.
#[derive(Debug)]
enum End {
    /// The routers have let it go, or it is not ending.
    Told(String),
    /// A router says that it will never say so.
    Refused(String),
    /// No connection was made.
    Nobody(io::Error),
    /// The connection ended, or the router said to come again.
    Broken(String),
}

/// Asks until there is an answer or the time is up; what happened.
fn wait(question: &Question, timeout: Duration) -> String {
    let begun = Instant::now();
    let end = begun + timeout;
    let address = question.address;
    let seconds = || format!("after {:.1} s", begun.elapsed().as_secs_f64());
    let mut reached = begun;
    loop {
        let last = match ask(question, end) {
            End::Told(body) if body.contains("\"ending\":false") => return format!("there is nothing to wait for: {body}"),
            End::Told(body) => return format!("the routers have let this pod go {}: {body}", seconds()),
            End::Refused(said) => return format!("the router at {address} refuses: {said}; nothing is waited for"),
            End::Nobody(error) if reached.elapsed() >= CONNECT => {
                return format!("no router at {address} {}: {error}; nothing is waited for", seconds());
            }
            End::Nobody(error) => error.to_string(),
            End::Broken(said) => {
                reached = Instant::now();
                said
            }
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return format!("the routers at {address} have not let this pod go {}, it ends all the same: {last}", seconds());
        }
        std::thread::sleep(AGAIN.min(left));
    }
}

/// Asks once.
fn ask(question: &Question, end: Instant) -> End {
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut io = match TcpStream::connect_timeout(&question.address, left().min(CONNECT)) {
        Ok(io) => io,
        Err(error) => return End::Nobody(error),
    };
    let Question { address, path } = question;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let silent = Instant::now() + SILENCE;
    let mut answer = Vec::new();
    let mut read = || -> io::Result<()> {
        io.set_write_timeout(Some(left().min(CONNECT)))?;
        io.write_all(request.as_bytes())?;
        let mut part = [0; 4096];
        while answer.len() < MOST {
            let patience = left().min(silent.saturating_duration_since(Instant::now())).max(Duration::from_millis(1));
            io.set_read_timeout(Some(patience))?;
            match io.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let result = read();
    let text = String::from_utf8_lossy(&answer);
    match (status(&text), result) {
        (Some(200), _) => End::Told(body(&text)),
        (Some(status @ 400..500), _) => End::Refused(format!("{status} {}", body(&text))),
        (Some(status), _) => End::Broken(format!("the router says {status} {}", body(&text))),
        (None, Err(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            End::Broken("requests are still under way".to_owned())
        }
        (None, Err(error)) => End::Broken(error.to_string()),
        (None, Ok(())) => End::Broken("the connection ended without an answer".to_owned()),
    }
}

/// The status of an answer whose head is complete.
fn status(text: &str) -> Option<u16> {
    let (head, _) = text.split_once("\r\n\r\n")?;
    head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

/// The first line of an answer's body.
fn body(text: &str) -> String {
    text.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn variables(address: &str) -> impl Fn(&str) -> Option<String> {
        let address = address.to_owned();
        move |name| match name {
            "MESH_DRAIN_ADDRESS" => Some(address.clone()),
            "MESH_NAMESPACE" => Some("shop".to_owned()),
            "MESH_INSTANCE" => Some("web-1".to_owned()),
            "MESH_POD_UID" => Some("u-1".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn the_question_is_made_of_the_pods_variables() {
        for (address, path) in [("10.0.0.7:9464", "/drain/shop/web-1?uid=u-1"), ("[fd00::7]:9464", "/drain/shop/web-1?uid=u-1")] {
            assert_eq!(Question::of(variables(address)).unwrap(), Question { address: address.parse().unwrap(), path: path.to_owned() });
        }
        for (address, said) in
            [("", "MESH_DRAIN_ADDRESS is not set"), ("mesh-router", "no ip:port"), ("1.2.3.4:1\r\nX: y", "MESH_DRAIN_ADDRESS is")]
        {
            assert!(Question::of(variables(address)).unwrap_err().contains(said), "{address}");
        }
        assert_eq!(
            Question::of(|name| variables("1.2.3.4:1")(name).filter(|_| name != "MESH_POD_UID")),
            Err("MESH_POD_UID is not set".to_owned())
        );
    }

    #[test]
    fn a_timeout_is_a_number_of_seconds() {
        for (text, seconds) in [("30", Some(30.0)), ("0.5", Some(0.5)), ("-1", None), ("NaN", None), ("30s", None), ("1e99", None)] {
            assert_eq!(seconds_of(text), seconds.map(Duration::from_secs_f64), "{text}");
        }
    }

    /// A router that gives these answers, one to each connection; `""` is none.
    fn router(answers: &'static [&'static str]) -> Question {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut io, _) = listener.accept().unwrap();
                let mut head = [0; 512];
                let count = io.read(&mut head).unwrap();
                assert!(head[..count].starts_with(b"GET /drain/shop/web-1?uid=u-1 HTTP/1.1\r\n"));
                io.write_all(answer.as_bytes()).unwrap();
            }
        });
        Question::of(variables(&address.to_string())).unwrap()
    }

    #[test]
    fn it_waits_for_an_answer_and_asks_again_when_the_connection_breaks() {
        const TOLD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"ending\":true}";
        const AGAIN: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\nagain";
        const NEVER: &str = "HTTP/1.1 400 Bad Request\r\n\r\nno uid";
        let cases: [(&'static [&'static str], &str); 3] = [
            (&[TOLD], "the routers have let this pod go"),
            (&["", "HTTP/1.1 20", AGAIN, TOLD], "the routers have let this pod go"),
            (&[NEVER], "refuses: 400 no uid; nothing is waited for"),
        ];
        for (answers, said) in cases {
            let found = wait(&router(answers), Duration::from_secs(20));
            assert!(found.contains(said), "{found}");
        }
    }

    #[test]
    fn it_ends_at_its_timeout_whoever_does_not_answer() {
        let begun = Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = Question::of(variables(&listener.local_addr().unwrap().to_string())).unwrap();
        let said = wait(&silent, Duration::from_millis(300));
        assert!(said.contains("it ends all the same: requests are still under way"), "{said}");
        drop(listener);
        let said = wait(&silent, Duration::from_millis(300));
        assert!(said.contains("refused"), "{said}");
        assert!(begun.elapsed() < CONNECT);
    }
}

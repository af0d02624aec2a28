//! A Redis that keeps the locks of several agents, without an API that they share.
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

use mesh_controller_sdk::Options;
use mesh_gear::{
    client::soon,
    controller::{Controller, kill, until},
    machine, port,
    program::program,
};
use tempfile::TempDir;

use crate::{
    raw::{Events, ask},
    rig::{Rig, Worker},
};

/// A redis-server that keeps nothing on the disk, unless it is told to.
struct Server {
    child: Child,
    address: SocketAddr,
    flags: Vec<String>,
    dir: TempDir,
}

impl Server {
    async fn start(flags: &[&str]) -> Self {
        let (dir, address) = (tempfile::tempdir().unwrap(), port::unused());
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let server = Self { child: spawn(dir.path(), address, &flags), address, flags, dir };
        server.listens().await;
        server
    }

    async fn listens(&self) {
        until("Redis", async || tokio::net::TcpStream::connect(self.address).await.ok()).await;
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), self.address, &self.flags);
        self.listens().await;
    }

    /// The names of all keys.
    fn keys(&self) -> Vec<String> {
        let port = self.address.port().to_string();
        let output = Command::new("redis-cli").args(["-p", &port, "--scan"]).output().unwrap();
        let mut keys: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        keys.sort_unstable();
        keys
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, address: SocketAddr, flags: &[String]) -> Child {
    let port = address.port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(dir);
    // What comes later goes before.
    command.args(["--port", &port]).args(flags).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

fn is_here() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    machine::there(found.is_ok_and(|status| status.success()), "redis-server; apt-get install redis-server")
}

fn mesh(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program("mesh"));
    command.args(words).env_remove("MESH_AGENT").stdin(Stdio::null());
    let end = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (end.status.code(), text(end.stdout), text(end.stderr))
}

fn of(ttl: u64, wait: u64) -> Options {
    Options { ttl: Duration::from_secs(ttl), wait: Some(Duration::from_secs(wait)), ..Options::default() }
}

fn token(worker: &Worker) -> String {
    fs::read_to_string(&worker.token).unwrap()
}

/// Two agents, each with its own API and state directory, and one instance of each.
async fn two(url: &str) -> [(Rig, Worker); 2] {
    let start = async |name: &str| {
        let rig = Rig::on(Controller::start_with(&["--coordination", url, "--node-name", name]).await, 1).await;
        let worker = rig.workers().remove(0);
        (rig, worker)
    };
    let (one, other) = tokio::join!(start("one"), start("other"));
    [one, other]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_share_a_redis_hand_out_the_same_locks_with_fences_that_grow_over_all() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]).await;
    let [(one_rig, one), (other_rig, other)] = two(&server.url()).await;
    let held = one.mesh.locks().acquire("orders:1", &of(30, 0)).await.unwrap();
    assert!(other.mesh.locks().try_acquire("orders:1", &of(30, 0)).await.unwrap().is_none());
    let seen = other.mesh.locks().get("orders:1").await.unwrap().unwrap();
    assert_eq!((seen.fence, &seen.holder), (held.fence(), &one.name));
    assert!(one_rig.leases().is_empty() && other_rig.leases().is_empty());
    assert_eq!(server.keys(), ["mesh:index", "mesh:lock:default:orders:1", "mesh:revision"]);

    // A person sees it where it is, is told where that is, and takes part without any mesh.
    let (_, out, _) = mesh(&["lock", "ls", "--coordination", &server.url()]);
    assert!(out.contains("orders:1") && out.contains(&one.name) && out.contains(&held.fence().to_string()), "{out}");
    let state_dir = one_rig.controller.state_dir();
    let (_, out, error) = mesh(&["--state-dir", &state_dir, "lock", "ls"]);
    assert!(out == "(none)\n" && error.contains(&format!("keeps its locks in {}/0", server.url())), "{out} {error}");
    let (code, _, error) = mesh(&["--state-dir", &state_dir, "lock", "run", "orders:1", "--", "true"]);
    assert!(code == Some(2) && error.contains("give --coordination"), "{code:?} {error}");
    let (code, _, error) = mesh(&["lock", "run", "orders:1", "--coordination", &server.url(), "--", "true"]);
    assert!(code == Some(6) && error.contains(&format!("held by {}", one.name)), "{code:?} {error}");

    // Who waits at the other agent gets it as soon as it is given back: it is told of that.
    let mut events = Events::open(&other_rig.socket(), &token(&other), "POST", "/v1/locks/orders:1", r#"{"wait":"1h"}"#).await;
    assert_eq!(soon("a place", events.next()).await.unwrap().0, "queued");
    let (first, begin) = (held.fence(), Instant::now());
    held.release().await;
    let (name, lock) = soon("the lock", events.next()).await.unwrap();
    let second = lock["fence"].as_u64().unwrap();
    assert!(name == "acquired" && second > first, "{name} {lock} {:?}", begin.elapsed());
    let (status, ..) = ask(&other_rig.socket(), Some(&token(&other)), "DELETE", &format!("/v1/locks/orders:1?fence={second}"), "").await;
    assert_eq!(status, 204);
    let (code, out, error) = mesh(&["lock", "run", "orders:1", "--coordination", &server.url(), "--", "sh", "-c", "echo $MESH_FENCE"]);
    assert!(code == Some(0) && out.trim().parse::<u64>().unwrap() > second, "{code:?} {out} {error}");
    until("nothing to be left", async || (server.keys() == ["mesh:revision"]).then_some(())).await;

    // A leader is seen by the others, and so is its end.
    let mut leaders = Events::open(&other_rig.socket(), &token(&other), "GET", "/v1/leaders/g", "").await;
    assert_eq!(soon("nobody", leaders.next()).await.unwrap().0, "none");
    let lead = one.mesh.leaders().acquire("g", &of(30, 0)).await.unwrap();
    let (name, leader) = soon("the leader", leaders.next()).await.unwrap();
    assert_eq!((name.as_str(), leader["holder"].as_str(), leader["fence"].as_u64()), ("leader", Some(&*one.name), Some(lead.fence())));
    lead.release().await;
    assert_eq!(soon("its end", leaders.next()).await.unwrap().0, "none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_agent_had_given_is_another_agents_after_the_ttl() {
    if !is_here() {
        return;
    }
    let server = Server::start(&[]).await;
    let [(mut one_rig, one), (_other_rig, other)] = two(&server.url()).await;
    let held = one.mesh.locks().acquire("k", &of(2, 0)).await.unwrap();
    one_rig.controller.kill_9();
    // It was renewed at the most a second ago, and is not any more.
    let begin = Instant::now();
    let next = other.mesh.locks().acquire("k", &of(2, 20)).await.unwrap();
    assert!(next.fence() > held.fence() && !held.is_held(), "{} after {}", next.fence(), held.fence());
    assert!((Duration::from_millis(900)..Duration::from_secs(30)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    one_rig.controller.start_again().await;
    assert!(one.mesh.locks().try_acquire("k", &of(2, 0)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_no_lock_is_given_and_what_is_held_is_lost_and_then_it_goes_on() {
    if !is_here() {
        return;
    }
    let mut server = Server::start(&[]).await;
    server.end();
    let url = server.url();
    let rig = Rig::on(Controller::start_with(&["--coordination", &url]).await, 1).await;
    let worker = &rig.workers()[0];
    let refused = async |what: &str, why: &str| {
        let begin = Instant::now();
        let (status, _, problem) = ask(&rig.socket(), Some(&token(worker)), "POST", "/v1/locks/k", r#"{"ttl":"2s"}"#).await;
        assert!(status == 503 && problem["detail"].as_str().unwrap().contains(why), "{what}: {status} {problem}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}: {:?}", begin.elapsed());
    };
    refused("before it was ever there", "the locks were not read yet").await;
    let (status, text) = rig.controller.admin("/readyz").await;
    assert!(status == 200 && text.starts_with("ok, but no locks are given: redis://"), "{text}");
    assert_eq!(rig.controller_metric("mesh_redis_up").await, 0);

    server.start_again().await;
    until("Redis to be back", async || worker.mesh.locks().acquire("first", &of(2, 0)).await.ok()).await.release().await;
    let mut events = Events::open(&rig.socket(), &token(worker), "POST", "/v1/locks/k", r#"{"ttl":"2s","wait":"1m"}"#).await;
    let fence = loop {
        let (name, lock) = soon("the lock", events.next()).await.unwrap();
        if name == "acquired" {
            break lock["fence"].as_u64().unwrap();
        }
    };
    assert_eq!((rig.controller.admin("/readyz").await.1.as_str(), rig.controller_metric("mesh_redis_up").await), ("ok\n", 1));
    server.end();
    let renewed = ask(&rig.socket(), Some(&token(worker)), "PUT", "/v1/locks/k", &format!(r#"{{"fence":{fence}}}"#)).await;
    assert_eq!(renewed.0, 503, "{}", renewed.2);
    let (name, lost) = soon("its loss", events.next()).await.unwrap();
    assert_eq!((name.as_str(), lost["reason"].as_str()), ("lost", Some("Unavailable")));
    refused("after it has died", &url).await;

    // It has lost everything, and fences grow all the same.
    server.start_again().await;
    let next = soon("the lock", until("Redis to be back", async || worker.mesh.locks().acquire("k", &of(2, 0)).await.ok())).await;
    assert!(next.fence() > fence, "{} after {fence}", next.fence());
    next.release().await;

    // One that only says nothing any more.
    kill(server.child.id().into(), "-STOP");
    refused("while it hangs", &url).await;
    refused("while it hangs, once more", &url).await;
    kill(server.child.id().into(), "-CONT");
    soon("the lock", until("Redis to go on", async || worker.mesh.locks().acquire("k", &of(2, 0)).await.ok())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_redis_is_told_by_name() {
    if !is_here() {
        return;
    }
    let server = Server::start(&["--requirepass", "s3cret"]).await;
    let (dir, address) = (tempfile::tempdir().unwrap(), server.address);
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        format!("file:{}", path.display())
    };
    let right = file("right", &format!("redis://:s3cret@{address}/3\n"), 0o600);
    let open = file("open", &format!("redis://:s3cret@{address}"), 0o644);
    for (place, code, words) in [
        (format!("redis://{address}"), 1, "refuses: NOAUTH"),
        (format!("redis://:wr0ng@{address}"), 1, "refuses: WRONGPASS"),
        (format!("redis://:s3cret@{address}/999"), 1, "DB index is out of range"),
        (format!("http://:s3cret@{address}"), 2, "\"http\" is no address of a Redis"),
        (open, 1, "can be read by other users (mode 0644), and may hold a password: chmod 600"),
        (format!("file:{}/none", dir.path().display()), 1, "No such file"),
        (format!("redis://{}", port::unused()), 5, "Connection refused"),
        (right.clone(), 0, ""),
    ] {
        let (ended, _, error) = mesh(&["lock", "run", "k", "--coordination", &place, "--", "true"]);
        assert!(ended == Some(code) && error.contains(words), "{place}: {ended:?} {error}");
        assert!(!error.contains("s3cret") && !error.contains("wr0ng"), "{error}");
        assert!(code == 0 || code == 5 || error.contains("--coordination: "), "{error}");
    }
    assert_eq!(mesh(&["lock", "ls", "--coordination", &right]).1, "(none)\n");
    let wrong = file("wrong", &format!("redis://:wr0ng@{address}"), 0o600);
    let mut controller = Command::new(program("mesh-controller"));
    controller.arg("--state-dir").arg(dir.path().join("state")).args(["--coordination", &wrong]);
    for flag in ["--api-listen", "--router-listen", "--admin-listen"] {
        controller.args([flag, &port::unused().to_string()]);
    }
    let end = controller.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8(end.stderr).unwrap();
    assert!(end.status.code() == Some(1) && error.contains("--coordination: ") && error.contains("WRONGPASS"), "{error}");
    assert!(!error.contains("wr0ng"), "{error}");
}

/// A certificate authority of its own, and a server's certificate and key by it.
fn certificates(dir: &Path) -> [PathBuf; 3] {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &Issuer::new(params, ca_key)).unwrap();
    [("ca.pem", ca), ("server.pem", certificate.pem()), ("server.key", key.serialize_pem())].map(|(name, text)| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_behind_tls_is_spoken_to_if_its_certificate_is_trusted() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [ca, certificate, key] = certificates(dir.path()).map(|path| path.display().to_string());
    let secure = port::unused();
    let tls_port = secure.port().to_string();
    let flags = ["--tls-port", &tls_port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let server = Server::start(&flags).await;
    let (url, plain) = (format!("rediss://{secure}"), server.url());
    for (words, code, text) in [
        (&["--coordination", &url, "--coordination-ca", &ca][..], 0, ""),
        (&["--coordination", &url], 5, "UnknownIssuer"),
        (&["--coordination", &url, "--coordination-ca", &key], 2, "there is no certificate in it"),
        (&["--coordination", &plain, "--coordination-ca", &ca], 2, "--coordination-ca: certificates are for rediss://"),
        (&["--coordination-ca", &ca], 2, "--coordination-ca is for a Redis"),
    ] {
        let (ended, _, error) = mesh(&[&["lock", "run", "k"], words, &["--", "true"]].concat());
        assert!(ended == Some(code) && error.contains(text), "{words:?}: {ended:?} {error}");
    }
}

//! An agent that is cut off from the API: nothing gets through in either direction, nobody is told, and later all of it arrives. Its holder is told of the
//! loss before another, at an agent that is not cut off, can hold; and what it asks for with its old fence is refused once the cut is mended.
use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    agent::{Agent, OURS, api, pod, token_of},
    machine::Cluster,
};

/// So many cuts; `MESH_TEST_ROUNDS` says another number.
const ROUNDS: usize = 2;
/// An agent that cannot reach the API says so within this.
const TOLD: Duration = Duration::from_secs(15);

/// A network between an agent and the API.
#[derive(Clone)]
struct Network {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Network {
    fn to(api: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self { address: listener.local_addr().unwrap(), is_cut: Arc::default() };
        let network = this.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(api) else { continue };
                network.carry(near.try_clone().unwrap(), far.try_clone().unwrap());
                network.carry(far, near);
            }
        });
        this
    }

    /// Carries what comes from one to the other; what comes during a cut arrives after it.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let network = self.clone();
        thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                while network.is_cut.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
                if to.write_all(bytes.get(..read).unwrap()).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

/// The next event of a stream that is one of these, with what it says.
fn event(lines: &mut Lines<BufReader<TcpStream>>, names: &[&str]) -> (String, Value) {
    let is_one = |line: &String| line.strip_prefix("event: ").is_some_and(|name| names.contains(&name));
    let name = lines.map(Result::unwrap).find(is_one).expect("the stream ended");
    let data = lines.next().unwrap().unwrap();
    (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
}

#[test]
fn a_holder_whose_agent_is_cut_off_is_told_before_another_holds() {
    let Some(cluster) = Cluster::own(&[]) else { return };
    let deploy = |file: &str| format!("{}/deploy/{file}", env!("CARGO_MANIFEST_DIR"));
    cluster.kubectl(&["apply", "-f", &deploy("default/namespace.yaml"), "-f", &deploy("rbac/rbac.yaml")], "");
    let network = Network::to(api(&std::fs::read_to_string(cluster.kubeconfig()).unwrap()).parse().unwrap());
    let (near, far) = (Agent::start_behind(&cluster, network.address), Agent::start(&cluster));
    let space = cluster.namespace("partition");
    space.until("the pods' account", "get serviceaccount default -o name", |text| !text.is_empty());
    let [of_first, of_second] = ["web-1", "web-2"].map(|name| token_of(&space, name, &pod(&space, name), OURS));
    // Whom an agent knows it lets in without asking again.
    assert_eq!(near.ask(&of_first, "GET", "/v1/self", "").0, 200);

    let rounds = std::env::var("MESH_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let path = format!("/v1/locks/k{round}");
        let stream = near.open(&of_first, &path, &json!({ "ttl": "5s" }));
        let mut lines = BufReader::new(stream).lines();
        let (_, held) = event(&mut lines, &["acquired"]);
        let renewal = json!({ "fence": held["fence"] }).to_string();
        assert_eq!(near.ask(&of_first, "PUT", &path, &renewal).0, 200);

        network.cut(true);
        let (lost, next) = thread::scope(|scope| {
            let told = scope.spawn(|| (event(&mut lines, &["lost"]).1, Instant::now()));
            let waits = scope.spawn(|| (far.acquire(&of_second, &format!("k{round}"), "30s"), Instant::now()));
            let asked = Instant::now();
            let (status, _, problem) = near.ask(&of_first, "PUT", &path, &renewal);
            assert!([409, 503].contains(&status) && asked.elapsed() < TOLD, "{problem}, after {:?}", asked.elapsed());
            (told.join().unwrap(), waits.join().unwrap())
        });
        assert!(lost.1 < next.1, "round {round}: another held {:?} before the holder was told", lost.1 - next.1);
        assert!(next.0 > held["fence"].as_u64().unwrap(), "{next:?} after {held}");
        let (asked, (status, _, problem)) = (Instant::now(), near.ask(&of_first, "POST", "/v1/locks/other", "{}"));
        assert!(status == 503 && asked.elapsed() < TOLD, "{status} {problem}, after {:?}", asked.elapsed());

        network.cut(false);
        let deadline = Instant::now() + TOLD;
        loop {
            match near.ask(&of_first, "PUT", &path, &renewal) {
                (409, ..) => break,
                (status, _, problem) => assert!(status == 503 && Instant::now() < deadline, "{status} {problem}"),
            }
        }
        assert_eq!(far.ask(&of_second, "DELETE", &format!("{path}?fence={}", next.0), "").0, 204, "it still holds");
    }
}

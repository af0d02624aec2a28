//! Two controllers of one cluster: one leads, and when it is killed or stopped the other takes over, without an object written twice or by two.
use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::machine::Cluster;

/// Lease duration and retry period, and what two busy cores may add.
const TAKEOVER: Duration = Duration::from_secs(15 + 2 + 3);

/// One controller process, who is a user of its own.
struct Candidate {
    user: &'static str,
    child: Child,
}

impl Candidate {
    /// Starts it as the service account `user` in mesh-system, which has the product's roles and nothing more.
    fn start(cluster: &Cluster, user: &'static str) -> Self {
        let kubeconfig = cluster.kubeconfig_of(user);
        let log = File::options().create(true).append(true).open(cluster.dir().join(format!("{user}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mesh-controller"))
            .args(["--backend", "kubernetes", "--admin-listen", "127.0.0.1:0", "--kubeconfig"])
            .arg(kubeconfig)
            .env("POD_NAME", user)
            .env("MESH_SYSTEM_NAMESPACE", "mesh-system")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { user, child }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cluster {
    /// A kubeconfig for a new service account with the roles of the controller.
    fn kubeconfig_of(&self, user: &str) -> PathBuf {
        let file = self.dir().join(format!("{user}.kubeconfig"));
        if !file.exists() {
            self.kubectl(&["-n", "mesh-system", "create", "serviceaccount", user], "");
            let account = format!("--serviceaccount=mesh-system:{user}");
            self.kubectl(&["create", "clusterrolebinding", user, "--clusterrole=mesh-controller", &account], "");
            self.kubectl(&["-n", "mesh-system", "create", "rolebinding", user, "--role=mesh-controller", &account], "");
        }
        let token = self.kubectl(&["-n", "mesh-system", "create", "token", user, "--duration=1h"], "");
        let admin = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let users = admin.lines().find(|line| line.starts_with("users:")).unwrap();
        std::fs::write(&file, admin.replace(users, &format!("users: [{{name: admin, user: {{token: {token}}}}}]"))).unwrap();
        file
    }

    /// Who leads now, as the Lease says.
    fn leader(&self) -> String {
        let output =
            self.try_kubectl(&["-n", "mesh-system", "get", "lease", "mesh-controller", "-o", "jsonpath={.spec.holderIdentity}"], "");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until one of these leads; how long that took.
    fn led_by(&self, users: &[&str], limit: Duration) -> (String, Duration) {
        let begin = Instant::now();
        loop {
            let leader = self.leader();
            if let Some(user) = users.iter().find(|user| leader.starts_with(**user)) {
                return ((*user).to_owned(), begin.elapsed());
            }
            assert!(begin.elapsed() < limit, "after {limit:?} the leader is {leader:?}, not one of {users:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The resourceVersion of everything that the controller made in a namespace, and of the services' statuses.
    fn versions(&self, namespace: &str) -> BTreeMap<String, String> {
        let template = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        let kinds = "deployments,services,serviceaccounts,poddisruptionbudgets,msvc";
        let all = self.kubectl(&["-n", namespace, "get", kinds, "-o", template], "");
        all.lines().filter_map(|line| line.split_once(' ')).map(|(key, version)| (key.to_owned(), version.to_owned())).collect()
    }
}

fn services(count: usize) -> String {
    let one = |n: usize| {
        format!(
            "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: s{n}}}\nspec: {{image: \"localhost/x:1\", replicas: 2, route: /lead-{n}}}\n"
        )
    };
    (0..count).map(one).collect::<Vec<_>>().join("---\n")
}

#[test]
fn a_leader_that_is_killed_or_stopped_is_followed_and_writes_nothing_more() {
    let Some(cluster) = Cluster::own(&[]) else { return };
    cluster.kubectl(&["apply", "--server-side", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy")], "");
    let space = cluster.namespace("lead");
    let (one, two) = (Candidate::start(&cluster, "one"), Candidate::start(&cluster, "two"));
    let (first, _) = cluster.led_by(&["one", "two"], Duration::from_secs(30));
    space.apply(&services(20));
    let seen = "get msvc -o jsonpath={.items[*].status.observedGeneration}";
    space.until("all services to be seen", seen, |text| text.split(' ').count() == 20);
    space.until("all Deployments to be made", "get deploy -o name", |text| text.lines().count() == 20);
    let (leader, follower) = if first == "one" { (one, two) } else { (two, one) };
    assert_eq!(
        cluster
            .asked(follower.user, Timestamp::UNIX_EPOCH)
            .iter()
            .filter(|asked| asked.writes())
            .map(|asked| &asked.resource)
            .collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "a follower writes nothing"
    );

    // kill -9: the other takes over in time, and has nothing to write.
    let quiet = settled(&cluster, &space.name);
    let killed = Timestamp::now();
    drop(leader);
    let (new, took) = cluster.led_by(&[follower.user], TAKEOVER);
    println!("kill -9 of the leader: {new} leads after {took:?}");
    space.kubectl("scale msvc s0 --replicas=3");
    space.until("the new leader to scale", "get deploy s0 -o jsonpath={.spec.replicas}", |text| text == "3");
    let after = settled(&cluster, &space.name);
    let changed: Vec<_> = after.iter().filter(|(key, version)| quiet.get(*key) != Some(version)).map(|(key, _)| key.as_str()).collect();
    assert!(changed.iter().all(|key| key.ends_with("/s0")), "written without need: {changed:?}");
    let writes = cluster.asked(follower.user, killed);
    assert!(
        writes
            .iter()
            .filter(|asked| asked.writes() && asked.resource != "leases" && asked.resource != "events")
            .all(|asked| asked.name == "s0"),
        "{writes:?}"
    );

    // SIGSTOP for 30 s: when it wakes with work before it, it writes nothing.
    let third = Candidate::start(&cluster, if follower.user == "one" { "two" } else { "one" });
    space.until("the third to watch", "get lease -n mesh-system mesh-controller -o name", |_| {
        !cluster.asked(third.user, killed).iter().filter(|asked| asked.verb == "watch").collect::<Vec<_>>().is_empty()
    });
    let paused = follower;
    paused.signal(Signal::STOP);
    let begin = Instant::now();
    let (_, took) = cluster.led_by(&[third.user], TAKEOVER);
    println!("SIGSTOP of the leader: {} leads after {took:?}", third.user);
    space.kubectl("scale msvc s1 --replicas=4");
    space.until("the third to scale", "get deploy s1 -o jsonpath={.spec.replicas}", |text| text == "4");
    std::thread::sleep(Duration::from_secs(30).saturating_sub(begin.elapsed()));
    space.kubectl("scale msvc s2 --replicas=5");
    let woken = Timestamp::now();
    paused.signal(Signal::CONT);
    space.kubectl("scale msvc s3 --replicas=6");
    for (name, replicas) in [("s2", "5"), ("s3", "6")] {
        space.until("the leader to scale", &format!("get deploy {name} -o jsonpath={{.spec.replicas}}"), |text| text == replicas);
    }
    settled(&cluster, &space.name);
    // It wrote nothing because it knew better, not because it had nothing to say.
    space.until("the woken one to look at the Lease", "get lease -n mesh-system mesh-controller -o name", |_| {
        cluster.asked(paused.user, woken).iter().any(|asked| asked.resource == "leases")
    });
    let stale: Vec<_> = cluster
        .asked(paused.user, woken)
        .into_iter()
        .filter(|asked| asked.writes() && (asked.resource != "leases" || asked.done()))
        .collect();
    assert!(stale.is_empty(), "written by a leader that was not one any more: {stale:?}");
    // One write of each Deployment for each change of it, whoever led.
    let epoch = Timestamp::UNIX_EPOCH;
    let mut writes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for asked in cluster
        .asked("one", epoch)
        .into_iter()
        .chain(cluster.asked("two", epoch))
        .filter(|asked| asked.writes() && asked.resource == "deployments")
    {
        writes.entry(asked.name).or_default().push(asked.user);
    }
    for (name, users) in writes {
        let scaled = ["s0", "s1", "s2", "s3"].contains(&name.as_str());
        assert_eq!(users.len(), 1 + usize::from(scaled), "Deployment {name} was written by {users:?}");
    }
}

/// What is there once nothing has changed for two seconds.
fn settled(cluster: &Cluster, namespace: &str) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut last, mut since) = (cluster.versions(namespace), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        assert!(Instant::now() < deadline, "it does not settle: {last:?}");
        std::thread::sleep(Duration::from_millis(200));
        let now = cluster.versions(namespace);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

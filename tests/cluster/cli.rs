//! `mesh` at a terminal whose API is a cluster's: the real program, real pods, and what a person reads.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    machine::{Cluster, Namespace},
    product::{ready, shop},
};
use mesh_gear::{
    load::Load,
    session::{End, Session, mesh},
};

const DEADLINE: Duration = Duration::from_secs(90);

/// A terminal with the cluster's kubeconfig and one namespace.
pub(crate) struct Terminal<'a> {
    cluster: &'a Cluster,
    space: &'a Namespace<'a>,
    kubeconfig: String,
}

impl<'a> Terminal<'a> {
    pub(crate) fn new(cluster: &'a Cluster, space: &'a Namespace<'a>) -> Self {
        Self { cluster, space, kubeconfig: cluster.kubeconfig().to_str().unwrap().to_owned() }
    }

    fn words<'b>(&'b self, words: &'b str) -> Vec<&'b str> {
        words.split_whitespace().chain(["--kubeconfig", &self.kubeconfig, "-n", &self.space.name]).collect()
    }

    /// Runs `mesh WORDS…` to its end.
    pub(crate) fn mesh(&self, words: &str) -> End {
        mesh(self.cluster.dir(), &self.words(words))
    }

    /// What `mesh WORDS…` prints; it must succeed, and have nothing to complain about.
    pub(crate) fn says(&self, words: &str) -> String {
        let end = self.mesh(words);
        assert_eq!((end.code, end.stderr.as_str()), (0, ""), "mesh {words}\n{}", end.stdout);
        end.stdout
    }

    /// Leaves `mesh WORDS…` running.
    fn leave(&self, words: &str) -> Session {
        Session::of(self.cluster.dir(), &self.words(words))
    }

    /// Repeats `mesh WORDS…` until its end is right.
    pub(crate) fn until(&self, what: &str, words: &str, right: impl Fn(&End) -> bool) -> End {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let end = self.mesh(words);
            // An API that has just been given our definitions is not ready for them at once, and says nothing on standard output.
            if !(end.stdout.is_empty() && end.code != 0) && right(&end) {
                return end;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: mesh {words}: {}\n{}\n{}", end.code, end.stdout, end.stderr);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The rows of `mesh ps --json` for a service.
    fn rows(&self, service: &str) -> Vec<Value> {
        rows(&self.says("ps --json"), service)
    }

    /// Waits until so many pods of a service are there, all of them ready, and none of `old`; their names.
    fn pods(&self, service: &str, count: usize, old: &BTreeSet<String>) -> BTreeSet<String> {
        let right = |end: &End| {
            let rows = rows(&end.stdout, service);
            rows.len() == count && rows.iter().all(|row| row["state"] == "Ready") && ids(&rows).is_disjoint(old)
        };
        ids(&rows(&self.until(&format!("{count} new pods of {service}"), "ps --json", right).stdout, service))
    }
}

fn rows(json: &str, service: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(json).unwrap();
    all.into_iter().filter(|row| row["service"] == service).collect()
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().filter_map(|row| row["id"].as_str()).map(str::to_owned).collect()
}

/// The names before the lines of a log.
fn speakers(log: &str) -> BTreeSet<String> {
    log.lines().map(|line| line.split_once('|').unwrap_or_else(|| panic!("no name: {line}")).0.trim().to_owned()).collect()
}

fn busybox(name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: {name}}}\nspec:\n  type: Worker\n  image: localhost/busybox:test\n  imagePullPolicy: Never\n  securityContext: {{runAsUser: 1000}}\n  command: [/bin/sh, -c, {script:?}]\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_is_applied_listed_scaled_restarted_stopped_and_deleted() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("terminal");
    let terminal = Terminal::new(&cluster, &space);
    let empty = terminal.until("the API", "ps", |end| end.code == 0);
    assert_eq!(empty.stdout, "nothing runs here, and no service is to; `mesh apply -f FILE` adds one\n");
    // Other tests have the shop's own routes.
    let file = cluster.dir().join("terminal.yaml");
    std::fs::write(&file, shop().replace("route: /api\n", "route: /api/slow\n").replace("route: /\n", "route: /terminal\n")).unwrap();
    let applied = terminal.says(&format!("apply -f {}", file.display()));
    assert_eq!(applied, "MeshService frontend created\nMeshService backend created\nMeshService worker created\n");
    ready(&space);

    let none = BTreeSet::new();
    let backends = terminal.pods("backend", 3, &none);
    let names = |text: &str| text.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(backends, names(&space.kubectl("get pods -l mesh-controller.dev/service=backend -o name")));
    for row in terminal.rows("backend").iter().chain(&terminal.rows("frontend")) {
        assert!(row["ready"] == true && row["restarts"] == 0 && row["pid"].is_null() && row["problem"].is_null(), "{row}");
        assert_eq!(row["namespace"], *space.name);
        assert!(row["node"].as_str().is_some_and(|node| !node.is_empty()), "{row}");
        assert!(row["address"].as_str().is_some_and(|address| address.ends_with(":3000")), "{row}");
    }
    let table = terminal.says("ps");
    let services: Vec<&str> = table.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(services, ["backend", "backend", "backend", "frontend", "worker"], "{table}");
    assert!(table.lines().skip(1).all(|line| line.split_whitespace().nth(3) == Some("yes")), "{table}");
    let why = terminal.says("why backend");
    let reached = format!("  /api/slow at the router\n  http://backend.{}:3000 in the cluster\n", space.name);
    assert_eq!(why, format!("backend is as wanted: 3 of 3 ready\n{reached}"));

    assert_eq!(terminal.says("scale backend=4"), "backend scaled to 4\n");
    let four = terminal.pods("backend", 4, &none);
    assert!(four.is_superset(&backends), "{four:?} have not all of {backends:?}");
    let load = Load::of_posts(cluster.router(), "/api/slow?ms=20", 2);
    load.requests(20).await;
    assert_eq!(terminal.says("restart backend"), "backend is being restarted\n");
    let new = terminal.pods("backend", 4, &four);
    load.requests(20).await;
    load.stop().await.expect_no_failures();

    let one = new.first().unwrap();
    let ended = terminal.says(&format!("stop {one}"));
    assert_eq!(ended, format!("{one} is drained and ended; its Deployment makes another (`mesh scale` changes how many there are)\n"));
    let rest = terminal.pods("backend", 4, &BTreeSet::from([one.clone()]));
    assert_eq!(rest.intersection(&new).count(), 3, "{rest:?} is {new:?} with another in the place of {one}");

    assert_eq!(terminal.says("stop backend"), "backend scaled from 4 to 0; `mesh scale backend=4` brings it back\n");
    let gone = |end: &End| rows(&end.stdout, "backend").iter().all(|row| row["id"].is_null() && row["state"] == "ScaledToZero");
    terminal.until("no backends", "ps --json", gone);
    assert!(terminal.says("why backend").starts_with("backend is as wanted: it is scaled to 0"));
    assert_eq!(terminal.says("stop backend"), "backend is at 0 already; `mesh scale backend=1` brings it back\n");

    assert_eq!(terminal.says("delete frontend"), "MeshService frontend deleted\n");
    assert!(terminal.rows("frontend").is_empty(), "it is told gone while its pod is there");
    let deleted = terminal.says(&format!("delete --ignore-not-found -f {}", file.display()));
    assert_eq!(deleted, "MeshService worker deleted\nMeshService backend deleted\n");
    assert_eq!(terminal.says("ps --json"), "[]\n");
    let nobody = terminal.mesh("why backend");
    assert_eq!(
        (nobody.code, nobody.stderr.as_str()),
        (1, "mesh: no service and no instance is called \"backend\"; there are no services here\n")
    );
}

/// Counts for as long as it lives, and says goodbye.
fn counting(round: u32) -> String {
    let script = "trap 'echo goodbye; exit 0' TERM; n=0; while :; do n=$((n+1)); echo line $n of round $ROUND; sleep 0.1; done";
    busybox("count", script, &format!("  replicas: 2\n  env: [{{name: ROUND, value: \"{round}\"}}]\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_those_of_all_pods_and_are_followed_over_scaling_and_rollout() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("words");
    let terminal = Terminal::new(&cluster, &space);
    space.apply(&counting(0));
    let first = terminal.pods("count", 2, &BTreeSet::new());
    let some = first.first().unwrap();

    terminal.until("both to speak", "logs count", |end| speakers(&end.stdout) == first);
    let tail = terminal.says("logs count --tail 3");
    assert_eq!((speakers(&tail), tail.lines().count()), (first.clone(), 6), "{tail}");
    let stamped = terminal.says("logs count --timestamps");
    let times: Vec<&str> = stamped.lines().map(|line| line.split_once("| ").unwrap().1.split(' ').next().unwrap()).collect();
    assert!(times.is_sorted() && times[0].ends_with('Z'), "{stamped}");
    // As short as it may be, without a name before the lines.
    let other = first.last().unwrap();
    let common = some.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let alone = terminal.says(&format!("logs {} --tail 1", &some[..=common]));
    assert!(alone.starts_with("line ") && alone.lines().count() == 1, "{alone}");
    let both = terminal.mesh(&format!("logs {}", &some[..common]));
    assert!(both.code == 1 && both.stderr.contains("fits 2 instances") && both.stderr.contains(some), "{}", both.stderr);

    let (mut all, mut one) = (terminal.leave("logs -f count"), terminal.leave(&format!("logs --follow {some}")));
    one.until("line 1 of round 0").await;
    for pod in &first {
        all.until_line(&format!("the first line of {pod}"), |line| line.starts_with(pod) && line.contains("| line 1 of")).await;
    }
    terminal.says("scale count=3");
    let three = terminal.pods("count", 3, &BTreeSet::new());
    let joined = three.difference(&first).next().unwrap();
    all.until_line("the third pod", |line| line.starts_with(joined) && line.ends_with("| line 1 of round 0")).await;
    space.apply(&counting(1));
    // It says 2 again.
    let second = terminal.pods("count", 2, &three);
    for pod in &second {
        all.until_line(&format!("the first line of {pod}"), |line| line.starts_with(pod) && line.ends_with("| line 1 of round 1")).await;
    }
    for pod in &three {
        all.until_line(&format!("the end of {pod}"), |line| line.starts_with(pod) && line.ends_with("| goodbye")).await;
    }
    assert_eq!(one.end().await, Some(0), "one pod is followed until it is gone");
    assert!(one.output().ends_with("goodbye\n"), "{}", one.output());
    assert_eq!(all.interrupt().await, None, "the signal is its end");
    complete(all.output(), three.len() + second.len());
}

/// Every pod's lines, each once and in their order.
fn complete(followed: &str, pods: usize) {
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for (pod, words) in followed.lines().map(|line| line.split_once('|').unwrap()) {
        let Some(number) = words.split_whitespace().nth(1) else { continue };
        let before = last.insert(pod.trim(), number.parse().unwrap()).unwrap_or_default();
        assert_eq!(last[pod.trim()], before + 1, "a line of {pod} is missing or said twice:\n{followed}");
    }
    assert_eq!(last.len(), pods, "{last:?}");
}

#[test]
fn what_is_wrong_is_told_with_the_last_words_and_the_remedy() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("whys");
    let terminal = Terminal::new(&cluster, &space);
    let missing = "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: missing}\nspec: {type: Worker, image: \"registry.invalid/nothing:1\"}\n";
    space.apply(
        &[
            &busybox("crash", "echo starting; echo no database; exit 3", ""),
            &busybox("flaky", "echo run; test -e /tmp/x && exec sleep 1000; sleep 1; touch /tmp/x; echo out of luck; exit 4", KEEPS),
            &busybox("well", "echo hello; exec sleep 1000", "  logs: {maxFiles: 2}\n"),
            missing,
        ]
        .join("---\n"),
    );

    let told = terminal.until("a crash to be told", "why crash", |end| end.stdout.contains("CrashLoopBackOff: ended with exit code 3"));
    assert_eq!((told.code, told.stderr.as_str()), (1, ""));
    for words in [
        "crash is not as wanted: 0 of 1 ready\n  Ready is False",
        " BackOff for ",
        "its last run ended with exit code 3 ",
        "  | starting\n  | no database\n",
        "what to do\n  - its program ended with exit code 3, and its last lines say why",
    ] {
        assert!(told.stdout.contains(words), "{words:?} is not in\n{}", told.stdout);
    }
    for words in ["logs crash", "logs crash --tail 1"] {
        let logs = terminal.until("the last run's words", words, |end| end.stdout.contains("waits for its next start"));
        assert!(logs.stdout.ends_with("| no database\n"), "{}", logs.stdout);
        assert_eq!(logs.stdout.contains("| starting"), words == "logs crash", "{}", logs.stdout);
    }
    let row = &terminal.rows("crash")[0];
    assert!(row["ready"] == false && row["problem"].as_str().unwrap().contains("ended with exit code 3"), "{row}");

    // It runs again: its log is that of this run, the failed run's stands in why.
    let again = |end: &End| rows(&end.stdout, "flaky").iter().any(|row| row["restarts"] == 1 && row["ready"] == true);
    terminal.until("the second run", "ps --json", again);
    let told = terminal.says("why flaky");
    assert!(told.contains("started again once") && told.contains("its last run ended with exit code 4"), "{told}");
    assert!(told.contains("the last lines of the run that failed:\n  | run\n  | out of luck\n"), "{told}");
    assert_eq!(terminal.says("logs flaky").lines().filter(|line| line.ends_with("| run")).count(), 1);

    let told = terminal.until("the image to be missed", "why missing", |end| end.stdout.contains("ImagePull"));
    assert!(
        told.code == 1 && told.stdout.contains("- the image registry.invalid/nothing:1 cannot be had: correct spec.image"),
        "{}",
        told.stdout
    );
    let logs = terminal.says("logs missing");
    assert!(logs.contains("has written nothing: ") && logs.contains("ImagePull"), "{logs}");

    let told = terminal.until("well to be well", "why well", |end| end.code == 0).stdout;
    assert!(told.starts_with("well is as wanted, but for what follows: 1 of 1 ready\n  Degraded is True"), "{told}");
    assert!(told.contains("NotHonoured: spec.logs: the kubelet keeps the output of pods"), "{told}");
    let json: Value = serde_json::from_str(&terminal.says("why well --json")).unwrap();
    assert_eq!((&json["wanted"], &json["conditions"][0]["type"]), (&true.into(), &"Degraded".into()), "{json}");
}

/// /tmp outlives a run.
const KEEPS: &str = "  volumes: [{name: kept, emptyDir: {}}]\n  volumeMounts: [{name: kept, mountPath: /tmp}]\n";

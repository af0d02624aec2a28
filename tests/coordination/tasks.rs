//! Tasks on a schedule by the real controller, which is killed again and again: each time has one run, or is listed as missed with its reason.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use mesh_gear::{
    controller::{Controller, until},
    program::program,
};

/// How often the controller is killed; `MESH_TEST_ROUNDS` says another number (20 is that of the issue, with a task each second for 5 minutes).
const ROUNDS: usize = 4;

fn rounds() -> usize {
    std::env::var("MESH_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

fn task(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask", "metadata": { "name": name }, "spec": spec })
}

fn apply(controller: &Controller, name: &str, spec: &Value) {
    let file = controller.write(&format!("{name}.yaml"), &task(name, spec));
    controller.kubectl(&["apply", "-f", &file]);
}

/// The times that the runs themselves have written down, with how often each did, in seconds.
fn written(file: &str) -> BTreeMap<i64, usize> {
    let mut times = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        *times.entry(line.parse::<jiff::Timestamp>().unwrap().as_second()).or_default() += 1;
    }
    times
}

/// The times, each second, that are listed as missed.
fn missed(status: &Value) -> BTreeMap<i64, String> {
    let all = status["missed"].as_array().cloned().unwrap_or_default();
    let second = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let entry = |missed: &Value| {
        let (from, to) = (second(&missed["from"]), second(&missed["to"]));
        assert_eq!(missed["count"], to - from + 1, "{missed}");
        let reason = missed["reason"].as_str().unwrap().to_owned();
        (from..=to).map(move |time| (time, reason.clone())).collect::<Vec<_>>()
    };
    all.iter().flat_map(entry).collect()
}

/// Suspends a task, waits for its last run, and gives its status.
async fn at_rest(controller: &Controller, name: &str) -> Value {
    controller.kubectl(&["patch", "mt", name, "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]);
    until("the task to rest", async || {
        let task = controller.json(&["get", "mt", name]);
        let seen = task["status"]["observedGeneration"] == task["metadata"]["generation"];
        (seen && task["status"]["active"] == 0).then(|| task["status"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_time_has_one_run_or_is_listed_as_missed_however_often_the_controller_is_killed() {
    let mut controller = Controller::start().await;
    let (quick, slow) = (format!("{}/quick", controller.state_dir()), format!("{}/slow", controller.state_dir()));
    let command = |file: &str, then: &str| json!(["sh", "-c", format!("echo $MESH_SCHEDULED_TIME >> {file}; {then}")]);
    let limits = json!({ "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 3 });
    let with = |spec: Value| {
        let mut spec = spec;
        spec.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        spec
    };
    apply(&controller, "quick", &with(json!({ "schedule": "* * * * * *", "template": { "command": command(&quick, "true") } })));
    // It takes longer than its period, and no two may run.
    let forbid = json!({
        "schedule": "* * * * * *", "concurrencyPolicy": "Forbid", "template": { "command": command(&slow, "sleep 1.7") },
    });
    apply(&controller, "slow", &with(forbid));
    until("the first runs", async || (!written(&quick).is_empty() && !written(&slow).is_empty()).then_some(())).await;
    for round in 0..rounds() {
        let before = written(&quick).len();
        if round % 2 == 0 {
            controller.kill_9_and_start_again().await;
        } else {
            // Away for longer than a period: what comes meanwhile is missed, but for the last of it.
            controller.kill_9();
            tokio::time::sleep(Duration::from_millis(3200)).await;
            controller.start_again().await;
        }
        until(&format!("runs after round {round}"), async || (written(&quick).len() > before + 2).then_some(())).await;
    }
    for (name, file) in [("quick", &quick), ("slow", &slow)] {
        let status = at_rest(&controller, name).await;
        let (runs, missed) = (written(file), missed(&status));
        let twice: Vec<_> = runs.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{name}: ran twice: {twice:?}");
        let (first, last) = (*runs.keys().next().unwrap(), *runs.keys().last().unwrap());
        let oldest_listed = missed.keys().next().copied().unwrap_or(first);
        let from = if status["missed"].as_array().is_some_and(|entries| entries.len() == 100) { oldest_listed } else { first };
        let unseen: BTreeSet<i64> = (from..=last).filter(|slot| !runs.contains_key(slot) && !missed.contains_key(slot)).collect();
        assert!(unseen.is_empty(), "{name}: neither run nor listed: {unseen:?}; missed: {missed:?}");
        let both: Vec<_> = runs.keys().filter(|slot| missed.contains_key(slot)).collect();
        assert!(both.is_empty(), "{name}: run and listed as missed: {both:?}");
        let reasons: BTreeSet<&str> = missed.range(..=last).map(|(_, reason)| reason.as_str()).collect();
        let expected = if name == "quick" { BTreeSet::from(["Superseded"]) } else { BTreeSet::from(["StillRunning", "Superseded"]) };
        assert!(reasons.is_subset(&expected) && !reasons.is_empty(), "{name}: {reasons:?}");
        eprintln!("{name}: {} runs, {} missed in {} times", runs.len(), missed.range(first..=last).count(), last - first + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_run_reads_each_line_once_and_hears_of_its_end_though_the_controller_is_killed_meanwhile() {
    let mut controller = Controller::start().await;
    let go = format!("{}/go", controller.state_dir());
    let script = format!("seq 1 60000; while ! [ -e {go} ]; do sleep 0.1; done; seq 60001 120000");
    apply(&controller, "lines", &json!({ "template": { "command": ["sh", "-c", script] } }));
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut waits = Command::new(program("mesh"))
        .args(["--state-dir", &controller.state_dir(), "task", "run", "lines", "--wait"])
        .stdout(printed.reopen().unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = || fs::read_to_string(printed.path()).unwrap();
    until("the first lines", async || (!text().is_empty()).then_some(())).await;
    controller.kill_9_and_start_again().await;
    fs::write(&go, "").unwrap();
    let code = until("the end of the run", async || waits.try_wait().unwrap()).await.code();
    let mut said = String::new();
    waits.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the API does not answer") && said.contains("the API answers again"), "{said}");
    assert!(text().lines().map(|line| line.parse::<u32>().unwrap()).eq(1..=120_000), "{} lines: {said}", text().lines().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_deletes_a_task_waits_until_its_runs_have_ended() {
    let controller = Controller::start().await;
    let ended = format!("{}/ended", controller.state_dir());
    let script = format!("trap 'sleep 1; touch {ended}; exit' TERM; echo begun; while :; do sleep 0.1; done");
    let file = controller.write("long.yaml", &task("long", &json!({ "template": { "command": ["sh", "-c", script] } })));
    controller.kubectl(&["apply", "-f", &file]);
    let mesh = |words: &[&str]| Command::new(program("mesh")).args(["--state-dir", &controller.state_dir()]).args(words).output().unwrap();
    assert!(mesh(&["task", "run", "long"]).status.success());
    until("the run to write", async || (!mesh(&["task", "logs", "long"]).stdout.is_empty()).then_some(())).await;
    let deleted = mesh(&["delete", "-f", &file]);
    assert!(deleted.status.success(), "{deleted:?}");
    assert!(fs::exists(&ended).unwrap() && controller.each("mi", "/metadata/name").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_its_field_and_says_what_would_be_right() {
    let controller = Controller::start().await;
    for (name, spec, expected) in [
        (
            "cron",
            json!({ "schedule": "every day", "template": { "command": ["x"] } }),
            "spec.schedule: Invalid value: \"every day\": it has 2 fields; write five fields",
        ),
        (
            "zone",
            json!({ "schedule": "@daily", "timeZone": "Mars/Olympus", "template": { "command": ["x"] } }),
            "spec.timeZone: Invalid value: \"Mars/Olympus\" is not in the time zone database",
        ),
        ("nothing", json!({ "schedule": "@daily" }), "give exactly one of template (a command or an image), serviceRef"),
        ("empty", json!({ "template": {} }), "give command (an argument vector) or image"),
        ("program", json!({ "template": { "command": [""] } }), "the first element of command is the program: it cannot be empty"),
        ("lonely", json!({ "timeZone": "UTC", "template": { "command": ["x"] } }), "timeZone is that of the schedule"),
        (
            "fragment",
            json!({ "http": { "service": "web", "path": "/jobs#one" } }),
            "spec.http.path: Invalid value: path is a path with a query if wanted, without a fragment (#)",
        ),
        ("space", json!({ "http": { "service": "web", "path": "/a b" } }), "a space as %20"),
        ("control", json!({ "http": { "service": "web", "path": "/a\u{1}b" } }), "write any other character as its %-escapes"),
        ("escape", json!({ "http": { "service": "web", "path": "/100%" } }), "write any other character as its %-escapes"),
        ("slashes", json!({ "http": { "service": "web", "path": "//host/a" } }), "path begins with one slash"),
        (
            "never",
            json!({ "http": { "service": "web", "path": "/", "timeout": "0h0s" } }),
            "timeout is how long the answer may take: at least 1ms",
        ),
        ("limit", json!({ "backoffLimit": -1, "template": { "command": ["x"] } }), "spec.backoffLimit: Invalid value: -1"),
    ] {
        let file = controller.write(&format!("{name}.yaml"), &task(name, &spec));
        let said = controller.kubectl_fails(&["apply", "-f", &file]);
        assert!(said.contains(expected), "{name}: {said}");
    }
    for (name, path) in [("query", "/jobs/run?kind=nightly&full=1"), ("escaped", "/a%20b"), ("root", "/?a=/b?c"), ("quote", "/it's/")] {
        apply(&controller, name, &json!({ "http": { "service": "web", "path": path } }));
    }
}

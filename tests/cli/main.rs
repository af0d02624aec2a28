//! `mesh` as people use it: the real binary, its output, its exit codes, and what is left when it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod import;
mod printed;
mod state_dir;
mod words;

use std::{
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mesh_gear::{
    golden,
    machine::api,
    session::{Session, mesh, project},
};

#[test]
fn help_says_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    let verbs =
        ["", "init", "import", "run", "ps", "logs", "why", "stop", "scale", "restart", "apply", "delete", "export", "doctor", "completion"];
    for verb in verbs {
        let words: Vec<&str> = [verb, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        text.extend(["$ mesh ", &words.join(" "), "\n", &mesh(dir.path(), &words).stdout, "\n"]);
    }
    golden::check("tests/golden/cli/help.txt", &text);
}

#[test]
fn a_store_that_a_controller_would_refuse_is_told_by_doctor_in_the_project_and_nothing_else_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join(".mesh");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("kubeconfig"), "").unwrap();
    mesh_store::Store::open(&state, &mesh_store::Options::default()).unwrap();
    let store = state.join("store.redb");
    let whole = std::fs::read(&store).unwrap();
    std::fs::write(&store, &whole[..5000]).unwrap();
    let doctor = mesh(dir.path(), &["doctor"]);
    assert_eq!(doctor.code, 1, "{}", doctor.stderr);
    assert!(doctor.stdout.contains(&format!("store file {} is damaged", store.display())), "{}", doctor.stdout);
    assert_eq!(doctor.stderr, "");
    assert_eq!(std::fs::read(&store).unwrap().len(), 5000);
}

#[test]
fn what_is_wrong_before_anything_runs_is_said_with_the_remedy_and_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let none = mesh(dir.path(), &["run", "--all"]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("name a file with -f, or let `mesh init` write one"), "{}", none.stderr);
    let nowhere = mesh(dir.path(), &["ps"]);
    assert_eq!(nowhere.code, 5);
    assert!(nowhere.stderr.contains("start one with `mesh run` or `mesh-controller`"), "{}", nowhere.stderr);
    std::fs::write(dir.path().join("compose.yaml"), "services: {}\n").unwrap();
    let init = mesh(dir.path(), &["init"]);
    assert!(init.code == 0 && init.stderr.contains("`mesh import compose.yaml` makes MeshServices of it"), "{}", init.stderr);
    assert_eq!(mesh(dir.path(), &["init"]).code, 1);
    let which = mesh(dir.path(), &["run"]);
    assert_eq!(
        (which.code, which.stderr.as_str()),
        (2, "mesh: say what to run: `mesh run --all`, or the names of services and tasks (web)\n")
    );
    assert_eq!(mesh(dir.path(), &["scale", "api"]).code, 2);
    std::fs::write(dir.path().join("bad.yaml"), "kind: [\n").unwrap();
    assert_eq!(mesh(dir.path(), &["run", "-f", "bad.yaml"]).code, 4);
}

#[test]
fn a_router_port_in_use_is_named_with_the_flag_that_changes_it() {
    let dir = project("{command: [sleep, '60'], type: Worker}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let end = mesh(dir.path(), &["run", "--all", "--router-listen", &address]);
    assert_eq!(end.code, 1);
    assert!(end.stderr.contains(&address) && end.stderr.contains("--router-listen"), "{}", end.stderr);
}

#[test]
fn a_run_warns_of_a_service_that_serves_the_state_directory() {
    let dir = project("{command: [python3, -m, http.server, $(PORT)]}");
    // It says so before it finds that it cannot run.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let end = mesh(dir.path(), &["run", "--all", "--router-listen", &taken.local_addr().unwrap().to_string()]);
    let folder = dir.path().canonicalize().unwrap();
    let wanted = format!("mesh: warning: service one serves the folder {0}/ with {0}/.mesh in it", folder.display());
    assert!(end.code == 1 && end.stderr.contains(&wanted), "{} {}", end.code, end.stderr);
}

/// An API that is busy for its first `busy` requests and empty then; its kubeconfig, and how often it was asked.
fn busy_api(dir: &Path, busy: usize) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let kubeconfig = api(dir, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) < busy {
            let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":429,"message":"storage is (re)initializing"}"#;
            ("429 Too Many Requests\r\nRetry-After: 1", body.to_owned())
        } else {
            ("200 OK", r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#.to_owned())
        }
    });
    (kubeconfig, asked)
}

#[test]
fn an_api_that_is_busy_for_a_moment_is_asked_again_and_one_that_stays_so_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (kubeconfig, asked) = busy_api(dir.path(), 2);
    let ps = mesh(dir.path(), &["ps", "--kubeconfig", &kubeconfig]);
    assert_eq!(ps.code, 0, "{}", ps.stderr);
    assert!(asked.load(Ordering::Relaxed) > 2);
    let (kubeconfig, asked) = busy_api(dir.path(), usize::MAX);
    let ps = mesh(dir.path(), &["ps", "--kubeconfig", &kubeconfig]);
    assert!(ps.code != 0 && ps.stderr.contains("storage is (re)initializing"), "{}: {}", ps.code, ps.stderr);
    assert!((2..20).contains(&asked.load(Ordering::Relaxed)), "{asked:?}");
}

#[tokio::test]
async fn a_run_shows_logs_and_addresses_and_ctrl_c_leaves_nothing() {
    let dir = project(&format!(
        "{{command: [{}, backend], replicas: 2, route: /api, healthPath: /api/health}}",
        mesh_gear::controller::shop().display()
    ));
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("all services are ready").await;
    let url = run.until("http://127.0.0.1:").await;
    let router = url.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    assert_eq!(mesh_gear::load::get(router, "/api").await.unwrap().0, 200);
    assert!(run.output().contains(&format!("export KUBECONFIG={}", dir.path().canonicalize().unwrap().join(".mesh/kubeconfig").display())));
    run.until("| listening on port").await;

    let second = mesh(dir.path(), &["run", "--all", "--router-listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 6, "{}", second.stderr);
    let ps: serde_json::Value = serde_json::from_str(&mesh(dir.path(), &["ps", "--json"]).stdout).unwrap();
    let pids: Vec<i64> = ps.as_array().unwrap().iter().map(|row| row["pid"].as_i64().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    let two = mesh(dir.path(), &["logs", "one-"]);
    assert!(two.code == 1 && two.stderr.contains("fits 2 instances: one-"), "{}", two.stderr);
    assert_eq!(mesh(dir.path(), &["logs", "one", "--tail", "1"]).stdout.lines().count(), 2);
    let why = mesh(dir.path(), &["why", "one"]);
    assert!(
        why.code == 0 && why.stdout.starts_with("one is as wanted: 2 of 2 ready\n  /api at the router\n"),
        "{}{}",
        why.stdout,
        why.stderr
    );
    assert_eq!(mesh(dir.path(), &["scale", "one=1"]).stdout, "one scaled to 1\n");
    assert_eq!(mesh(dir.path(), &["stop"]).stdout, "one scaled from 1 to 0; `mesh scale one=1` brings it back\n");

    assert_eq!(run.interrupt().await, Some(130), "{}", run.output());
    let left: Vec<_> = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
    assert!(left.is_empty(), "still there: {left:?}");
    assert!(std::net::TcpStream::connect(router).is_err(), "the router's port is still open");
}

#[tokio::test]
async fn a_second_ctrl_c_kills_what_does_not_want_to_end() {
    let dir = project(
        "{command: [sh, -c, 'trap \"\" TERM; echo deaf; while :; do sleep 0.1; done'], type: Worker, terminationGracePeriodSeconds: 600}",
    );
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("| deaf").await;
    // What an instance writes is printed at once; that it runs is written down a moment later.
    let pid = mesh_gear::controller::until("ps to tell the pid", async || {
        let ps: serde_json::Value = serde_json::from_str(&mesh(dir.path(), &["ps", "--json"]).stdout).unwrap();
        ps[0]["pid"].as_i64()
    })
    .await;
    run.signal();
    run.until("Ctrl-C kills").await;
    assert_eq!(run.interrupt().await, Some(130), "{}", run.output());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
}

#[tokio::test]
async fn what_a_run_was_ending_when_it_was_killed_is_made_again_by_the_next_run_of_the_file() {
    // Deaf, until the test lets it go; the next one stays.
    let dir = project(
        "{command: [sh, -c, 'test -e go && exec sleep 600; trap \"\" TERM; echo deaf; until test -e go; do sleep 0.1; done'], type: Worker, terminationGracePeriodSeconds: 600}",
    );
    let mut first = Session::start(&dir, &["run", "--all"]);
    first.until("| deaf").await;
    first.signal();
    first.until("Ctrl-C kills").await;
    first.kill_9().await;
    let mut second = Session::start(&dir, &["run", "--all"]);
    second.until("one is being deleted: it is made again once it is gone").await;
    std::fs::write(dir.path().join("go"), "").unwrap();
    second.until("all services are ready").await;
    let ps: serde_json::Value = serde_json::from_str(&mesh(dir.path(), &["ps", "--json"]).stdout).unwrap();
    assert_eq!((ps.as_array().unwrap().len(), &ps[0]["state"]), (1, &"Ready".into()), "{ps}");
    assert_eq!(second.interrupt().await, Some(130), "{}", second.output());
}

#[tokio::test]
async fn what_is_applied_while_it_is_being_deleted_is_there_in_the_end() {
    let dir = project(
        "{command: [sh, -c, 'trap \"\" TERM; echo deaf; while :; do sleep 0.1; done'], type: Worker, terminationGracePeriodSeconds: 2}",
    );
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("| deaf").await;
    let pid = || {
        let ps: serde_json::Value = serde_json::from_str(&mesh(dir.path(), &["ps", "--json"]).stdout).unwrap();
        ps[0]["pid"].as_i64()
    };
    let first = mesh_gear::controller::until("ps to tell the pid", async || pid()).await;
    assert_eq!(mesh(dir.path(), &["delete", "one", "--no-wait"]).stdout, "MeshService one deleted\n");
    let hasty = mesh(dir.path(), &["apply", "-f", "mesh.yaml", "--timeout", "50ms"]);
    assert_eq!(hasty.code, 3, "{}{}", hasty.stdout, hasty.stderr);
    assert!(hasty.stderr.contains("MeshService one is being deleted and not gone after 50ms"), "{}", hasty.stderr);
    let applied = mesh(dir.path(), &["apply", "-f", "mesh.yaml"]);
    let lines = "MeshService one is being deleted: it is made again once it is gone\nMeshService one created\n";
    assert_eq!((applied.code, applied.stdout.as_str()), (0, lines), "{}", applied.stderr);
    let second = mesh_gear::controller::until("the new one to run", async || pid().filter(|pid| *pid != first)).await;
    assert!(!Path::new(&format!("/proc/{first}")).exists() && Path::new(&format!("/proc/{second}")).exists());
    run.interrupt().await;
}

#[tokio::test]
async fn a_refused_manifest_ends_the_run_with_file_and_line() {
    let dir = project("{command: [sleep, '60'], type: Worker,\n  replcas: 3}");
    let end = mesh(dir.path(), &["run", "--all", "--router-listen", "127.0.0.1:0"]);
    assert_eq!(end.code, 4);
    assert!(end.stderr.contains("mesh.yaml:5: MeshService one: unknown field \"spec.replcas\""), "{}", end.stderr);
}

#[tokio::test]
async fn why_says_how_the_last_run_ended_with_its_last_words() {
    let dir = project("{command: [sh, -c, 'echo no database; exit 3'], type: Worker}");
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("| no database").await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let told = loop {
        let told = mesh(dir.path(), &["why", "one"]);
        if ["its last run ended with exit code 3", "  | no database\n", "warnings\n"].iter().all(|words| told.stdout.contains(words)) {
            break told;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}{}", told.stdout, told.stderr);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(told.code, 1);
    let json: serde_json::Value = serde_json::from_str(&mesh(dir.path(), &["why", "--json", "one-"]).stdout).unwrap();
    assert_eq!((&json["wanted"], &json["instances"][0]["lastExit"]["text"]), (&false.into(), &"ended with exit code 3".into()), "{json}");
    let deleted = mesh(dir.path(), &["delete", "one"]);
    assert_eq!((deleted.code, deleted.stdout.as_str(), deleted.stderr.as_str()), (0, "MeshService one deleted\n", ""));
    assert_eq!(mesh(dir.path(), &["ps", "--json"]).stdout, "[]\n", "delete returns when all is gone");
    run.interrupt().await;
}

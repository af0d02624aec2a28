//! Commands beside an instance.
use std::time::Duration;

use mesh_backend::{Error, ExecOutput};
use mesh_kit::redact::Redacted;
use mesh_plan::instance::Launch;

use super::fixture::{Machine, eventually, lives, sh, words};

const LIMIT: Duration = Duration::from_secs(20);

fn argv(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_command_has_the_launchs_environment_and_its_code_and_output_come_back() {
    let machine = Machine::new();
    let mut launch = sh("probe", "");
    launch.env.push(("PORT".into(), Redacted::new("8080")));
    let done = machine.backend.exec(&Launch::Process(launch.clone()), &argv("echo $PORT; pwd; echo bad >&2; exit 3"), LIMIT).await.unwrap();
    assert_eq!(done, ExecOutput { code: Some(3), output: "8080\n/\nbad\n".into(), timed_out: false });
    let killed = machine.backend.exec(&Launch::Process(launch.clone()), &argv("kill -9 $$"), LIMIT).await.unwrap();
    assert_eq!(killed, ExecOutput { code: None, output: String::new(), timed_out: false });
    let missing = machine.backend.exec(&Launch::Process(launch.clone()), &["nope".into()], LIMIT).await.unwrap_err();
    assert!(matches!(missing, Error::CommandNotFound { .. }), "{missing}");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_its_group() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let script = format!("sleep 1000 & echo $! $$ > {}; echo begun; sleep 1000", out.display());
    let done = machine.backend.exec(&Launch::Process(sh("probe", "")), &argv(&script), Duration::from_millis(300)).await.unwrap();
    assert_eq!(done, ExecOutput { code: None, output: "begun\n".into(), timed_out: true });
    assert!(!words(&out, 2).await.iter().any(|pid| lives(pid)));
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_killed() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let command = argv(&format!("sleep 1000 & echo $! $$ > {}; sleep 1000", out.display()));
    let launch = sh("probe", "");
    let beside = Launch::Process(launch);
    let pids = tokio::select! {
        done = machine.backend.exec(&beside, &command, LIMIT) => panic!("{done:?}"),
        pids = words(&out, 2) => pids,
    };
    eventually("the end of both", async || (!pids.iter().any(|pid| lives(pid))).then_some(())).await;
}

#[tokio::test]
async fn what_a_command_leaves_in_its_group_does_not_hold_it_up_and_a_flood_is_cut() {
    let machine = Machine::new();
    let done = machine
        .backend
        .exec(&Launch::Process(sh("probe", "")), &argv("sleep 1000 & head -c 1000000 /dev/zero | tr '\\0' x"), LIMIT)
        .await
        .unwrap();
    assert_eq!((done.code, done.output.len(), done.timed_out), (Some(0), 4096, false));
}

/// Makes a session of its own, in which somebody stays, and writes down who.
fn with_a_stayer(out: &std::path::Path, then: &str) -> Vec<String> {
    argv(&format!("(setsid env -i sh -c 'echo $$ >> {0}; sleep 1000' &); while ! test -s {0}; do sleep 0.01; done; {then}", out.display()))
}

#[tokio::test]
async fn what_a_command_started_in_a_session_of_its_own_ends_with_it_and_with_its_time() {
    let machine = Machine::new();
    let launch = Launch::Process(sh("probe", ""));
    for (then, limit, timed_out) in [("exit 0", LIMIT, false), ("sleep 1000", Duration::from_millis(500), true)] {
        let out = machine.state.path().join(format!("pids-{timed_out}"));
        let done = machine.backend.exec(&launch, &with_a_stayer(&out, then), limit).await.unwrap();
        assert_eq!(done.timed_out, timed_out);
        assert!(!words(&out, 1).await.iter().any(|pid| lives(pid)), "timed out: {timed_out}");
    }
}

#[tokio::test]
async fn what_a_command_started_in_a_session_of_its_own_ends_when_nobody_waits_for_it() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let (launch, command) = (Launch::Process(sh("probe", "")), with_a_stayer(&out, "sleep 1000"));
    let pids = tokio::select! {
        done = machine.backend.exec(&launch, &command, LIMIT) => panic!("{done:?}"),
        pids = words(&out, 1) => pids,
    };
    eventually("its end", async || (!pids.iter().any(|pid| lives(pid))).then_some(())).await;
}

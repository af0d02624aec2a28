//! What is told of Jobs as a cluster writes them.
use serde_json::{Value, json};

use super::*;

fn job(status: &Value) -> Job {
    let metadata = json!({
        "name": "nightly-1", "uid": "j", "creationTimestamp": "2026-11-28T13:00:00Z",
        "annotations": {SCHEDULED: "2026-11-28T14:00:00+01:00"},
    });
    serde_json::from_value(json!({"metadata": metadata, "spec": {"activeDeadlineSeconds": 60, "template": {}}, "status": status})).unwrap()
}

fn pod(name: &str, second: u8, phase: &str, state: &Value) -> Pod {
    let metadata = json!({
        "name": name, "creationTimestamp": format!("2026-11-28T13:00:{second:02}Z"),
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "nightly-1", "uid": "j"}],
    });
    let app = json!({"name": CONTAINER, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    serde_json::from_value(json!({"metadata": metadata, "status": {"phase": phase, "containerStatuses": [app]}})).unwrap()
}

fn exited(code: i32, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "message": message}})
}

fn condition(type_: &str, reason: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": reason, "message": "Job has …", "lastTransitionTime": "2026-11-28T13:01:00Z"})
}

fn told_of(status: &Value, pods: &[Pod]) -> TaskRunStatus {
    told(&job(status), pods, None, "2026-11-28T13:02:00Z".parse().unwrap())
}

#[test]
fn a_run_that_failed_says_how_its_last_try_ended_and_what_it_wrote() {
    let pods = [pod("a", 1, "Failed", &exited(1, "first\n")), pod("b", 9, "Failed", &exited(3, "no database\n"))];
    let run = told_of(&json!({"failed": 2, "conditions": [condition("Failed", "BackoffLimitExceeded")]}), &pods);
    assert_eq!((run.state, run.tries, run.exit_code), (InstanceState::Failed, 2, Some(3)));
    assert_eq!(run.message, "it ended with exit code 3 (2 tries)");
    assert_eq!(run.last_words.as_deref(), Some("no database"));
    assert_eq!(run.completion_time.unwrap().0.to_string(), "2026-11-28T13:01:00Z");
    assert_eq!(run.scheduled_time.unwrap().0.to_string(), "2026-11-28T13:00:00Z");
}

#[test]
fn a_run_that_goes_on_says_what_it_waits_for() {
    let waiting = json!({"waiting": {"reason": "ErrImageNeverPull", "message": "Container image \"x\" is not present"}});
    for (pods, state, message) in [
        (vec![], InstanceState::Pending, ""),
        (vec![pod("a", 1, "Pending", &waiting)], InstanceState::Pending, "Container image \"x\" is not present"),
        (vec![pod("a", 1, "Running", &json!({"running": {}}))], InstanceState::Running, ""),
        (vec![pod("a", 1, "Failed", &exited(3, ""))], InstanceState::BackOff, "it ended with exit code 3, and is tried again"),
    ] {
        let run = told_of(&json!({"active": 1}), &pods);
        assert_eq!((run.state, run.message.as_str(), run.completion_time), (state, message, None));
    }
}

#[test]
fn a_run_that_took_too_long_says_so_and_one_whose_pods_are_gone_what_was_known_of_them() {
    let failed = json!({"failed": 1, "conditions": [condition("Failed", "DeadlineExceeded")]});
    assert_eq!(told_of(&failed, &[]).message, "it took longer than activeDeadlineSeconds, 60 s");
    let complete =
        || json!({"succeeded": 1, "completionTime": "2026-11-28T13:00:30Z", "conditions": [condition("Complete", "CompletionsReached")]});
    let before = told_of(&complete(), &[pod("a", 1, "Succeeded", &exited(0, "3 rows"))]);
    assert_eq!((before.state, before.exit_code), (InstanceState::Succeeded, Some(0)));
    let after = told(&job(&complete()), &[], Some(&before), "2026-11-28T13:02:00Z".parse().unwrap());
    assert_eq!(after, before);
    assert_eq!(standing(&job(&complete())).end, Some(true));
}

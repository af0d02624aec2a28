//! A table of situations in the life of a run of a task.
use serde_json::{Value, json};

use super::*;
use crate::{
    fixture::{at, instance},
    instance::{Exit, PortOwner, Running},
    lifecycle::{Health, Memory, Plan, StartFailure, plan},
};
use mesh_api::MeshInstance;

/// A run that was made at second 100.
fn run(more: &Value) -> MeshInstance {
    let mut run = instance("a", 0);
    let mut spec = json!({ "task": "nightly", "backoffLimit": 2 });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run.spec.run = Some(serde_json::from_value(spec).unwrap());
    run.spec.serves = false;
    run
}

fn running(attempt: u32, stopping: bool) -> Observed {
    let (pid, since, address, port_owner, image) = (42, at(100), None, PortOwner::NoPort, None);
    Observed::Running(Running { attempt, pid, since, stopping, address, port_owner, image })
}

fn exited(attempt: u32, end: i64, how: ExitHow) -> Observed {
    Observed::Exited(Exit { attempt, since: at(100), at: at(end), how })
}

fn look(run: &MeshInstance, observed: &Observed, memory: &Memory, now: i64) -> Plan {
    let health = Health::default();
    plan(&Facts { instance: run, observed, health: &health, memory, routers: &[], announced: true, now: at(now) })
}

fn next(run: &MeshInstance, observed: &Observed, now: i64) -> Plan {
    let mut memory = Memory::default();
    memory.note(observed);
    look(run, observed, &memory, now)
}

/// The state, and the reason and message of the last condition.
fn said(plan: &Plan) -> (InstanceState, &str, &str) {
    let last = plan.status.conditions.last().unwrap();
    (plan.status.state.unwrap(), &last.reason, &last.message)
}

#[test]
fn a_run_starts_runs_and_is_complete_with_exit_code_0() {
    let made = run(&json!({}));
    assert_eq!(next(&made, &Observed::Absent, 100).step, Step::Start { attempt: 0 });
    let going = next(&made, &running(0, false), 101);
    assert_eq!((going.step.clone(), said(&going).0, going.status.completion_time.clone()), (wait(), InstanceState::Running, None));
    let done = next(&made, &exited(0, 105, ExitHow::Code(0)), 106);
    assert_eq!((said(&done), done.status.conditions[0].status.as_str()), ((InstanceState::Succeeded, "Succeeded", ""), "True"));
    assert_eq!(done.status.completion_time.as_ref().unwrap().0, at(106));
}

#[test]
fn what_a_run_came_to_stands_even_if_its_record_is_lost() {
    let mut done = run(&json!({}));
    done.status = Some(next(&done, &exited(0, 105, ExitHow::Code(0)), 106).status);
    for observed in [Observed::Absent, running(0, false), exited(0, 105, ExitHow::Code(0))] {
        let plan = next(&done, &observed, 200);
        assert_eq!((plan.step, Some(plan.status)), (wait(), done.status.clone()));
    }
}

#[test]
fn a_run_that_fails_is_tried_again_later_and_later_as_often_as_it_may_be() {
    let made = run(&json!({}));
    let waits = next(&made, &exited(0, 105, ExitHow::Code(3)), 106);
    assert_eq!(waits.step, Step::Wait { wake: Some(Duration::from_secs(9)) });
    assert_eq!(
        said(&waits),
        (InstanceState::BackOff, "CrashLoopBackOff", "it ended with exit code 3 (try 1 of 3); it is tried again after 10 s")
    );
    assert_eq!(next(&made, &exited(0, 105, ExitHow::Code(3)), 115).step, Step::Start { attempt: 1 });
    assert_eq!(next(&made, &exited(1, 120, ExitHow::Signal(9)), 121).step, Step::Wait { wake: Some(Duration::from_secs(19)) });
    let failed = next(&made, &exited(2, 150, ExitHow::Code(3)), 151);
    assert_eq!(said(&failed), (InstanceState::Failed, "BackoffLimitExceeded", "it ended with exit code 3 (3 tries)"));
    let types: Vec<_> = failed.status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
    assert_eq!(types, [("Complete", "False"), ("Failed", "True")]);
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_has_failed_however_it_ends_then() {
    let made = run(&json!({ "activeDeadlineSeconds": 60 }));
    assert_eq!(next(&made, &running(0, false), 130).step, Step::Wait { wake: Some(Duration::from_secs(30)) });
    let late = next(&made, &running(0, false), 160);
    assert_eq!((late.step.clone(), said(&late).1), (Step::Stop { grace: Duration::from_secs(10) }, "DeadlineExceeded"));
    assert_eq!(next(&made, &running(0, true), 161).step, wait());
    for how in [ExitHow::Code(0), ExitHow::Signal(15)] {
        let failed = next(&made, &exited(0, 162, how), 163);
        assert_eq!(said(&failed), (InstanceState::Failed, "DeadlineExceeded", "it took longer than activeDeadlineSeconds, 60 s"));
    }
    let in_time = next(&made, &exited(0, 159, ExitHow::Code(0)), 500);
    assert_eq!(said(&in_time).0, InstanceState::Succeeded, "it was only looked at late");
    assert_eq!(said(&next(&made, &Observed::Absent, 170)).1, "DeadlineExceeded", "one that never started");
}

#[test]
fn a_run_that_is_cancelled_is_ended_and_what_it_came_to_before_stands() {
    let made = run(&json!({ "cancelled": { "at": "1970-01-01T00:02:00Z", "why": "the next one has come" } }));
    assert_eq!(next(&made, &running(0, false), 121).step, Step::Stop { grace: Duration::from_secs(10) });
    let ended = next(&made, &exited(0, 121, ExitHow::Code(0)), 122);
    assert_eq!(said(&ended), (InstanceState::Failed, "Cancelled", "the next one has come"));
    assert_eq!(said(&next(&made, &exited(0, 119, ExitHow::Code(0)), 122)).0, InstanceState::Succeeded);
}

#[test]
fn a_start_that_cannot_come_about_is_a_try_and_one_that_only_we_cannot_make_is_none() {
    let made = run(&json!({}));
    let after = |reason: &'static str, times: i64| {
        let mut memory = Memory::default();
        for second in 0..times {
            memory.note_start_failure(StartFailure { reason, message: "no such program".into(), at: at(100 + second) });
        }
        look(&made, &Observed::Absent, &memory, 100 + times)
    };
    assert_eq!(said(&after(reason::COMMAND_NOT_FOUND, 2)).0, InstanceState::Pending);
    assert_eq!(said(&after(reason::COMMAND_NOT_FOUND, 3)), (InstanceState::Failed, "CommandNotFound", "no such program"));
    for ours in [reason::ENGINE_UNREACHABLE, reason::NODE_EXHAUSTED, reason::PULLING] {
        assert_ne!(said(&after(ours, 30)).0, InstanceState::Failed, "{ours}");
    }
}

#[test]
fn a_run_whose_record_is_lost_counts_as_a_try() {
    let mut made = run(&json!({ "backoffLimit": 0 }));
    made.status = Some(next(&made, &running(0, false), 101).status);
    assert_eq!(said(&next(&made, &Observed::Absent, 500)), (InstanceState::Failed, "BackoffLimitExceeded", "what it came to is not known"));
    let mut patient = run(&json!({}));
    patient.status = made.status;
    assert_eq!(next(&patient, &Observed::Absent, 500).step, Step::Start { attempt: 1 });
}

//! A table of situations in the life of an instance.
use crate::instance::PortOwner;
use mesh_api::{
    MeshInstanceSpec, duration,
    instance::{InstanceTemplate, RouterDrain},
    service::Logs,
};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn instance() -> MeshInstance {
    let template = InstanceTemplate { command: vec!["web".into()], termination_grace_period_seconds: 7, ..InstanceTemplate::default() };
    let spec = MeshInstanceSpec {
        service: "web".into(),
        revision: "a".into(),
        ordinal: 0,
        node_name: "here".into(),
        serves: true,
        port: None,
        drain_timeout: duration::Duration::from_secs(30),
        logs: Logs::default(),
        template,
        run: None,
    };
    let mut instance = MeshInstance::new("web-a-0", spec);
    instance.metadata.uid = Some("u".into());
    instance
}

fn running(attempt: u32) -> Observed {
    Observed::Running(Running {
        attempt,
        pid: 42,
        since: at(100),
        stopping: false,
        address: Some("127.0.0.1:20000".parse().unwrap()),
        port_owner: PortOwner::Ours,
        image: None,
    })
}

fn exited(attempt: u32, since: i64, end: i64) -> Observed {
    Observed::Exited(Exit { attempt, since: at(since), at: at(end), how: ExitHow::Code(1) })
}

fn next(instance: &MeshInstance, observed: &Observed, health: &Health, memory: &Memory, routers: &[String], now: i64) -> Plan {
    plan(&Facts { instance, observed, health, memory, routers, announced: true, now: at(now) })
}

fn remembering(observations: &[Observed]) -> Memory {
    let mut memory = Memory::default();
    for observed in observations {
        memory.note(observed);
    }
    memory
}

fn deleted(routers: Vec<RouterDrain>) -> MeshInstance {
    let mut instance = instance();
    instance.metadata.deletion_timestamp = Some(Time(at(200)));
    instance.status = Some(MeshInstanceStatus { address: Some("127.0.0.1:20000".into()), routers, ..MeshInstanceStatus::default() });
    instance
}

fn entry(name: &str, drained: bool) -> RouterDrain {
    RouterDrain { name: name.into(), slice_revision: "5".into(), in_flight: i64::from(!drained), drained }
}

#[test]
fn a_new_instance_is_started_as_run_0() {
    let plan = next(&instance(), &Observed::Absent, &Health::default(), &Memory::default(), &[], 100);
    assert_eq!(plan.step, Step::Start { attempt: 0 });
}

#[test]
fn a_running_one_waits_until_its_probes_have_seen_this_very_run() {
    let of_last_run = Health { attempt: 0, ready: true, ..Health::default() };
    let plan = next(&instance(), &running(1), &of_last_run, &Memory::default(), &[], 100);
    assert_eq!(plan.status.state, Some(InstanceState::Starting));
    assert_eq!(plan.status.conditions[0].status, "False");
    let of_this_run = Health { attempt: 1, ready: true, ..Health::default() };
    let plan = next(&instance(), &running(1), &of_this_run, &Memory::default(), &[], 100);
    assert_eq!((plan.status.state, plan.status.restart_count, plan.status.pid), (Some(InstanceState::Ready), 1, Some(42)));
}

#[test]
fn a_worker_without_a_probe_is_ready_once_it_has_been_up_for_long_enough_and_not_one_moment_before() {
    let mut worker = instance();
    worker.spec.serves = false;
    let health = Health { attempt: 0, ready: true, was_ready: true, ..Health::default() };
    let at_second = |worker: &MeshInstance, now| next(worker, &running(0), &health, &Memory::default(), &[], now);
    for (now, wake) in [(100, Some(Duration::from_secs(2))), (101, Some(Duration::from_secs(1))), (102, None), (500, None), (50, None)] {
        let plan = at_second(&worker, now);
        assert_eq!(plan.step, Step::Wait { wake }, "second {now}");
        let ready = plan.status.conditions[0].status == "True";
        assert_eq!((ready, plan.status.state == Some(InstanceState::Ready)), (wake.is_none(), wake.is_none()), "second {now}");
    }
    // One that ends before is never called ready, and what a probe has said counts at once.
    assert_eq!(next(&worker, &exited(0, 100, 101), &health, &Memory::default(), &[], 101).status.conditions[0].status, "False");
    worker.spec.template.readiness_probe = Some(mesh_api::probe::Probe::http("/health"));
    assert_eq!(at_second(&worker, 100).status.state, Some(InstanceState::Ready));
}

#[test]
fn the_first_end_is_followed_by_a_start_at_once_and_the_next_ones_by_longer_waits() {
    let first = exited(0, 100, 101);
    let plan = next(&instance(), &first, &Health::default(), &remembering(std::slice::from_ref(&first)), &[], 101);
    assert_eq!(plan.step, Step::Start { attempt: 1 });
    let second = exited(1, 101, 102);
    let memory = remembering(&[first, second.clone(), second.clone()]);
    let plan = next(&instance(), &second, &Health::default(), &memory, &[], 102);
    assert!(
        matches!(plan.step, Step::Wait { wake: Some(wake) } if wake <= Duration::from_millis(500) && wake >= Duration::from_millis(375)),
        "{plan:?}"
    );
    assert_eq!(plan.status.state, Some(InstanceState::BackOff));
    assert!(plan.status.conditions[0].message.contains("exit code 1"), "{plan:?}");
    assert_eq!(next(&instance(), &second, &Health::default(), &memory, &[], 103).step, Step::Start { attempt: 2 });
}

#[test]
fn an_instance_whose_last_run_was_removed_counts_on_from_what_was_reported() {
    let mut instance = instance();
    instance.status = Some(MeshInstanceStatus { restart_count: 3, ..MeshInstanceStatus::default() });
    let found = exited(2, 100, 101);
    let plan = next(&instance, &found, &Health::default(), &remembering(std::slice::from_ref(&found)), &[], 200);
    assert_eq!((plan.step, plan.status.restart_count), (Step::Start { attempt: 4 }, 3));
}

#[test]
fn a_stable_run_resets_the_backoff() {
    let memory = remembering(&[exited(0, 0, 1), exited(1, 1, 2), exited(2, 10, 70)]);
    assert_eq!(memory.failures, 1);
}

#[test]
fn a_program_that_failed_its_liveness_probe_is_stopped_with_its_grace() {
    let health = Health { attempt: 0, dead: Some("liveness probe: connection refused".into()), ..Health::default() };
    let plan = next(&instance(), &running(0), &health, &Memory::default(), &[], 100);
    assert_eq!(plan.step, Step::Stop { grace: Duration::from_secs(7) });
    let mut memory = Memory::default();
    memory.note_stop(&health);
    memory.note(&exited(0, 100, 101));
    let status = next(&instance(), &exited(0, 100, 101), &Health::default(), &memory, &[], 101).status;
    let last = status.last_exit.unwrap();
    assert_eq!(last.message, "ended with exit code 1, because its liveness probe: connection refused");
    assert_eq!(last.started_at, Some(Time(at(100))));
    let next_health = Health { attempt: 1, dead: Some("startup probe".into()), ..Health::default() };
    memory.note_stop(&next_health);
    let status = next(&instance(), &running(1), &next_health, &memory, &[], 102).status;
    assert_eq!(status.last_exit.unwrap().message, last.message, "what is known of the run before does not change");
    let mut memory = remembering(&[exited(0, 100, 101)]);
    memory.note(&exited(1, 101, 102));
    let status = next(&instance(), &exited(1, 101, 102), &Health::default(), &memory, &[], 102).status;
    assert_eq!(status.last_exit.unwrap().message, "ended with exit code 1", "the next run ended by itself");
    assert!(status.conditions[0].message.starts_with("the program ended with exit code 1 after 1.0 s (2 times in a row)"));
}

#[test]
fn a_start_that_failed_says_why_and_is_tried_again_later() {
    let mut memory = Memory::default();
    memory.note_start_failure(StartFailure { reason: reason::COMMAND_NOT_FOUND, message: "web: no such program".into(), at: at(100) });
    let plan = next(&instance(), &Observed::Absent, &Health::default(), &memory, &[], 100);
    assert!(matches!(plan.step, Step::Wait { wake: Some(_) }));
    assert_eq!(plan.status.conditions[0].reason, reason::COMMAND_NOT_FOUND);
}

#[test]
fn a_deleted_instance_is_stopped_only_when_every_living_router_has_let_it_go() {
    let routers = ["r1".to_owned(), "r2".to_owned()];
    let after = |entries, now| next(&deleted(entries), &running(0), &Health::default(), &Memory::default(), &routers, now).step;
    let stop = Step::Stop { grace: Duration::from_secs(7) };
    assert!(matches!(after(vec![], 201), Step::Wait { wake: Some(_) }));
    assert!(matches!(after(vec![entry("r1", true)], 201), Step::Wait { .. }));
    assert!(matches!(after(vec![entry("r1", true), entry("r2", false)], 201), Step::Wait { .. }));
    assert_eq!(after(vec![entry("r1", true), entry("r2", true)], 201), stop);
    assert_eq!(after(vec![], 233), stop, "the deadline has passed");
}

#[test]
fn an_instance_that_drains_serves_its_sessions_for_as_long_as_its_probes_pass() {
    for ready in [true, false] {
        let health = Health { ready, was_ready: true, ..Health::default() };
        let plan = next(&deleted(vec![]), &running(0), &health, &Memory::default(), &["r1".to_owned()], 201);
        let told = plan.status.conditions.iter().any(|c| c.type_ == reason::READY && c.status == "True");
        assert_eq!((plan.status.state, told), (Some(InstanceState::Draining), ready));
    }
}

#[test]
fn a_router_whose_lease_has_run_out_is_not_waited_for() {
    let plan = next(&deleted(vec![]), &running(0), &Health::default(), &Memory::default(), &[], 201);
    assert_eq!(plan.step, Step::Stop { grace: Duration::from_secs(7) });
}

#[test]
fn a_deleted_instance_that_has_ended_is_released() {
    let routers = ["r1".to_owned()];
    for observed in [Observed::Absent, exited(0, 100, 150)] {
        let plan = next(&deleted(vec![]), &observed, &Health::default(), &Memory::default(), &routers, 201);
        assert_eq!(plan.step, Step::Release);
    }
}

#[test]
fn what_is_missing_for_a_start_is_looked_for_every_few_seconds_however_often_it_failed() {
    let mut memory = Memory::default();
    for second in 100..200 {
        let failure = StartFailure { reason: reason::CONFIG_MISSING, message: "no ConfigMap".into(), at: at(second) };
        memory.note_start_failure(failure);
    }
    let step = |now| next(&instance(), &Observed::Absent, &Health::default(), &memory, &[], now).step;
    assert!(matches!(step(200), Step::Wait { wake: Some(wake) } if wake <= Duration::from_secs(4)), "{:?}", step(200));
    assert_eq!(step(203), Step::Start { attempt: 0 });
}

#[test]
fn a_start_for_which_we_lack_something_is_tried_again_soon_and_counts_for_nothing() {
    let first = exited(0, 100, 101);
    for reason in [reason::NODE_EXHAUSTED, reason::ENGINE_UNREACHABLE] {
        let mut memory = remembering(std::slice::from_ref(&first));
        for second in 102..200 {
            memory.note_start_failure(StartFailure { reason, message: "too many open files".into(), at: at(second) });
        }
        let plan = next(&instance(), &first, &Health::default(), &memory, &[], 199);
        assert_eq!((plan.step, plan.status.conditions[0].reason.as_str()), (Step::Wait { wake: Some(ASK_AGAIN) }, reason));
        assert_eq!(next(&instance(), &first, &Health::default(), &memory, &[], 200).step, Step::Start { attempt: 1 });
        assert_eq!(memory.failures, 1, "the next end is its second");
    }
}

#[test]
fn what_a_failing_instance_says_stays_the_same_while_it_waits() {
    let ends = [exited(0, 100, 101), exited(1, 101, 102), exited(2, 102, 103), exited(3, 103, 104), exited(4, 104, 105)];
    let memory = remembering(&ends);
    let status = |now| next(&instance(), &ends[4], &Health::default(), &memory, &[], now).status.conditions[0].message.clone();
    assert_eq!(status(105), status(107));
    assert!(status(105).contains("exit code 1 after 1.0 s (5 times in a row)"), "{}", status(105));
}

#[test]
fn a_clock_that_was_set_back_does_not_hold_an_instance_up() {
    let ends = [exited(0, 1000, 1001), exited(1, 1001, 1002)];
    let plan = next(&instance(), &ends[1], &Health::default(), &remembering(&ends), &[], 500);
    assert_eq!(plan.step, Step::Start { attempt: 2 });
}

#[test]
fn a_deleted_instance_without_a_slice_is_not_drained_for_long() {
    let routers = ["r1".to_owned()];
    let instance = deleted(vec![]);
    let (observed, health, memory) = (running(0), Health::default(), Memory::default());
    let step = |announced, now| {
        let facts = Facts { instance: &instance, observed: &observed, health: &health, memory: &memory, routers: &routers, announced, now };
        plan(&facts).step
    };
    assert!(matches!(step(true, at(203)), Step::Wait { .. }));
    assert!(matches!(step(false, at(201)), Step::Wait { .. }));
    assert_eq!(step(false, at(203)), Step::Stop { grace: Duration::from_secs(7) });
}

#[test]
fn an_instance_whose_port_is_not_its_own_any_more_gets_no_requests_however_its_probes_stand() {
    let health = Health { ready: true, was_ready: true, ..Health::default() };
    let owned_by = |port_owner| match running(0) {
        Observed::Running(running) => Observed::Running(Running { port_owner, ..running }),
        other => other,
    };
    let said = |port_owner| {
        let status = next(&instance(), &owned_by(port_owner), &health, &Memory::default(), &[], 900).status;
        (status.state, status.conditions[0].status.clone(), status.conditions[0].reason.clone())
    };
    let words = |state, ready: &str, reason: &str| (Some(state), ready.to_owned(), reason.to_owned());
    assert_eq!(said(PortOwner::Ours), words(InstanceState::Ready, "True", reason::RUNNING));
    assert_eq!(said(PortOwner::Foreign("pid 1 (thief)".into())), words(InstanceState::NotReady, "False", reason::PORT_TAKEN));
    assert_eq!(said(PortOwner::Nobody), words(InstanceState::NotReady, "False", reason::NOT_LISTENING));
    assert_eq!(said(PortOwner::Unknown("no descriptors".into())), words(InstanceState::Ready, "True", reason::RUNNING));
}

#[test]
fn probes_that_cannot_be_made_are_told_of_and_change_nothing() {
    let unknown = Some("too many open files".to_owned());
    let ready = Health { ready: true, was_ready: true, unknown: unknown.clone(), ..Health::default() };
    let plan = next(&instance(), &running(0), &ready, &Memory::default(), &[], 900);
    assert_eq!((plan.status.state, plan.status.conditions[0].message.as_str()), (Some(InstanceState::Ready), "too many open files"));
    let starting = Health { unknown, ..Health::default() };
    let plan = next(&instance(), &running(0), &starting, &Memory::default(), &[], 900);
    assert_eq!((plan.status.state, plan.status.conditions[0].reason.as_str()), (Some(InstanceState::Starting), reason::PROBE_UNKNOWN));
}

#[test]
fn what_was_just_started_is_reported_when_it_serves_or_after_a_moment() {
    let (instance, observed, memory) = (instance(), running(0), Memory::default());
    let left = |health: &Health, millis| {
        let now = at(100) + SignedDuration::from_millis(millis);
        let facts = Facts { instance: &instance, observed: &observed, health, memory: &memory, routers: &[], announced: true, now };
        unsettled(&facts, &plan(&facts))
    };
    assert_eq!(left(&Health::default(), 100), SETTLE.checked_sub(Duration::from_millis(100)));
    assert_eq!(left(&Health::default(), 1000), None);
    assert_eq!(left(&Health { ready: true, ..Health::default() }, 1), None);
}

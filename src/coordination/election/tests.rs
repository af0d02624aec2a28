//! What an election does in time: values, models, and runs over a fake Lease.
use proptest::prelude::*;

use super::*;

mod model;
mod runs;

fn at(seconds: u64) -> BootTime {
    BootTime::after_boot(Duration::from_secs(seconds))
}

fn held_by(holder: &str) -> LeaseSpec {
    LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: Some(15), ..LeaseSpec::default() }
}

fn lease(spec: LeaseSpec) -> Lease {
    let metadata = ObjectMeta { resource_version: Some("7".into()), ..ObjectMeta::default() };
    Lease { metadata, spec: Some(spec) }
}

#[test]
fn a_lease_is_taken_when_it_is_missing_given_back_or_silent_for_its_duration_and_renewed_when_it_is_ours() {
    let decide = |spec: Option<LeaseSpec>, now| evaluate(spec.as_ref(), "me", at(100), at(now));
    assert_eq!(decide(None, 100), Step::Acquire);
    assert_eq!(decide(Some(LeaseSpec::default()), 100), Step::Acquire);
    assert_eq!(decide(Some(held_by("")), 100), Step::Acquire);
    assert_eq!(decide(Some(held_by("me")), 100), Step::Renew);
    // However late: who wrote meanwhile is found by the resource version.
    assert_eq!(decide(Some(held_by("me")), 900), Step::Renew);
    assert_eq!(decide(Some(held_by("other")), 114), Step::Wait(at(115)));
    assert_eq!(decide(Some(held_by("other")), 115), Step::Acquire);
    // The holder's own promise counts, not ours; a senseless one does not.
    let promise = |seconds| LeaseSpec { lease_duration_seconds: seconds, ..held_by("other") };
    assert_eq!(decide(Some(promise(Some(60))), 159), Step::Wait(at(160)));
    assert_eq!(decide(Some(promise(Some(-1))), 101), Step::Wait(at(115)));
    assert_eq!(decide(Some(promise(None)), 101), Step::Wait(at(115)));
}

#[test]
fn only_a_changed_record_counts_as_a_sign_of_life_and_its_wall_clock_counts_for_nothing() {
    let mut me = Candidate::new("me", Timing::default());
    assert_eq!(me.step(at(100)), None);
    // A time far in the future in the record.
    let renewed = |second| LeaseSpec { renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())), ..held_by("other") };
    me.see(Some(lease(renewed(9_000_000_000))), at(100));
    me.see(Some(lease(renewed(9_000_000_000))), at(108));
    assert_eq!(me.step(at(108)), Some(Step::Wait(at(115))));
    let mut annotated = lease(renewed(9_000_000_000));
    annotated.metadata.annotations = Some([("note".to_owned(), "x".to_owned())].into());
    annotated.metadata.resource_version = Some("8".into());
    me.see(Some(annotated), at(110));
    assert_eq!(me.step(at(110)), Some(Step::Wait(at(115))));
    // The clock of the other went back by years: a change all the same.
    me.see(Some(lease(renewed(1))), at(112));
    assert_eq!(me.step(at(112)), Some(Step::Wait(at(127))));
    assert_eq!((me.holds(), me.holder()), (false, Some("other")));
}

#[test]
fn acquiring_counts_a_transition_renewing_does_not_and_giving_back_leaves_the_rest() {
    let wall = Timestamp::from_second(1_000).unwrap();
    let mut me = Candidate::new("me", Timing::default());
    me.see(None, at(1));
    let first = me.proposal(wall).spec.unwrap();
    assert_eq!((first.lease_transitions, first.lease_duration_seconds), (Some(0), Some(15)));
    assert_eq!(first.acquire_time, Some(MicroTime(wall)));
    assert!(me.resignation(wall).is_none());

    me.see(Some(lease(LeaseSpec { lease_transitions: Some(4), ..held_by("") })), at(2));
    let mut taken = me.proposal(wall);
    assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(taken.spec.as_ref().unwrap().lease_transitions, Some(5));
    taken.metadata.resource_version = Some("8".into());
    me.see(Some(taken), at(3));

    let later = Timestamp::from_second(1_002).unwrap();
    let renewed = me.proposal(later).spec.unwrap();
    assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(5), Some(MicroTime(wall))));
    assert_eq!(renewed.renew_time, Some(MicroTime(later)));
    let back = me.resignation(later).unwrap();
    assert_eq!(back.metadata.resource_version.as_deref(), Some("8"));
    let spec = back.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some(""), Some(5)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn never_may_two_write_at_once(seed in any::<u64>(), count in 2..5_usize, steps in 50..600_usize) {
        model::run(seed, count, steps);
    }
}

#[test]
fn in_the_model_leaders_come_and_go() {
    let changes: usize = (0..200).map(|seed| model::run(seed, 3, 400)).sum();
    assert!(changes > 500, "a model in which nobody leads proves nothing: {changes} elections");
}

//! A task through random days: its runs take their time, its controller is away, crashes between two writes and comes back, its clock is
//! set. Whatever happens, a slot starts once at most, and is started or missed.
use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{ConcurrencyPolicy, Decision, Missed, Policy, Run, Schedule, State, decide, slot_name};

const TASK: &str = "backup";
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What happens next. After each of these the controller looks.
#[derive(Debug, Clone)]
enum Step {
    /// So many seconds pass.
    Pass(i64),
    /// It sleeps until the decision wakes it.
    Sleep,
    /// Somebody sets the clock on or back by so many seconds.
    SetClock(i64),
    /// Somebody suspends the task or lets it go on.
    Suspend(bool),
}

/// Where the controller dies while it does what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    No,
    BeforeStart,
    BeforeStatus,
    /// And does it all again, from a cache that does not show the new run yet.
    BeforeStatusWithOldCache,
}

#[derive(Debug)]
struct World {
    policy: Policy,
    /// How many seconds a run takes.
    length: i64,
    /// What the clock shows.
    now: Timestamp,
    /// How many seconds have really passed.
    passed: i64,
    state: State,
    /// The run objects: the slot of each, and when it ends, in seconds that have really passed.
    runs: BTreeMap<String, (Timestamp, i64)>,
    missed: Vec<Missed>,
    wake: Option<Timestamp>,
    /// The clock was set back so far that what was handled may be met again.
    is_confused: bool,
}

impl World {
    fn new(policy: Policy, created: Timestamp, length: i64) -> Self {
        Self {
            policy,
            length,
            now: created,
            passed: 0,
            state: State { last_handled: created },
            runs: BTreeMap::new(),
            missed: Vec::new(),
            wake: None,
            is_confused: false,
        }
    }

    fn run(&mut self, step: &Step, crash: Crash) {
        match step {
            Step::Pass(seconds) => self.pass(SignedDuration::from_secs(*seconds)),
            Step::Sleep => {
                let time = self.wake.map_or(SignedDuration::ZERO, |wake| wake.duration_since(self.now));
                self.pass(time.clamp(SignedDuration::ZERO, DAY * 2));
            }
            Step::SetClock(seconds) => self.now += SignedDuration::from_secs(*seconds),
            Step::Suspend(suspend) => self.policy.suspend = *suspend,
        }
        self.look(crash);
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now += time;
        self.passed += time.as_secs();
    }

    fn list(&self) -> Vec<Run> {
        let run = |(name, (slot, end)): (&String, &(Timestamp, i64))| Run {
            name: name.clone(),
            slot: Some(*slot),
            finished: *end <= self.passed,
        };
        self.runs.iter().map(run).collect()
    }

    fn going(&self) -> usize {
        self.list().iter().filter(|run| !run.finished).count()
    }

    fn look(&mut self, crash: Crash) {
        self.is_confused |= self.state.last_handled > self.now + DAY;
        let decision = decide(&self.state, &self.policy, &self.list(), self.now);
        assert!(decision.wake.is_none_or(|wake| wake > self.now), "it never spins: {decision:?}");
        for name in &decision.replace {
            self.runs.get_mut(name).unwrap().1 = self.passed;
        }
        if crash == Crash::BeforeStart {
            return;
        }
        if let Some(slot) = decision.start {
            self.start(slot);
        }
        match crash {
            Crash::No => self.write(&decision),
            Crash::BeforeStart | Crash::BeforeStatus => return,
            Crash::BeforeStatusWithOldCache => {
                if let Some(slot) = decision.start {
                    assert!(self.runs.contains_key(&slot_name(TASK, slot)), "the create conflicts, and nothing starts twice");
                }
                self.write(&decision);
            }
        }
        let again = decide(&self.state, &self.policy, &self.list(), self.now);
        let nothing = Decision { replace: vec![], start: None, missed: vec![], ..decision };
        assert_eq!(again, nothing, "what is done is done");
    }

    fn start(&mut self, slot: Timestamp) {
        let begin = self.policy.time_of(slot);
        assert!(begin <= self.now, "not before its time");
        assert!(self.policy.starting_deadline.is_none_or(|deadline| self.now < begin + deadline), "not after its deadline");
        assert!(!self.policy.suspend);
        assert!(self.policy.concurrency == ConcurrencyPolicy::Allow || self.going() == 0, "no two at a time");
        let before = self.runs.insert(slot_name(TASK, slot), (slot, self.passed + self.length));
        assert_eq!(before, None, "{slot} starts twice");
    }

    fn write(&mut self, decision: &Decision) {
        self.missed.extend(&decision.missed);
        assert!(decision.last_handled >= self.state.last_handled || self.is_confused);
        self.state.last_handled = decision.last_handled;
        self.wake = decision.wake;
    }

    /// Every slot that is handled is started or missed, and not both.
    fn check(&self, created: Timestamp) {
        let handled: Vec<Timestamp> = self.policy.schedule.slots(created, self.state.last_handled).collect();
        let is_started = |slot: &Timestamp| self.runs.contains_key(&slot_name(TASK, *slot));
        let just_before = |moment: Timestamp| moment - SignedDuration::from_nanos(1);
        let of = |missed: &Missed| self.policy.schedule.slots(just_before(missed.from), missed.to).collect::<Vec<_>>();
        for missed in &self.missed {
            let slots = of(missed);
            assert_eq!((slots.first(), slots.last()), (Some(&missed.from), Some(&missed.to)));
            let count = u64::try_from(slots.len()).unwrap();
            assert!(missed.count == count || (10_000..count).contains(&missed.count), "{missed:?}: {count}");
        }
        let expected: Vec<Timestamp> = handled.into_iter().filter(|slot| !is_started(slot)).collect();
        assert_eq!(self.missed.iter().flat_map(of).collect::<Vec<_>>(), expected);
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    let schedules = [
        ("* * * * *", None),
        ("@every 7m", None),
        ("*/40 * * * * *", None),
        ("@hourly", Some("Europe/Berlin")),
        ("*/20 1-3 * * *", Some("Europe/Berlin")),
        ("30 2 * * *", Some("Australia/Lord_Howe")),
        ("*/15 * * * *", Some("Australia/Lord_Howe")),
    ];
    let concurrency = prop_oneof![Just(ConcurrencyPolicy::Allow), Just(ConcurrencyPolicy::Forbid), Just(ConcurrencyPolicy::Replace)];
    let deadline = prop::option::of((1_u64..7200).prop_map(Duration::from_secs));
    let jitter = prop::option::of((1_u64..3600).prop_map(Duration::from_secs));
    (prop::sample::select(schedules.to_vec()), concurrency, deadline, jitter).prop_map(
        |((text, zone), concurrency, starting_deadline, jitter)| {
            let schedule = Schedule::parse(text, zone).unwrap();
            Policy { uid: "7c9e6679".into(), schedule, concurrency, starting_deadline, suspend: false, jitter }
        },
    )
}

/// Around the days in which the clocks of Berlin and Lord Howe are changed.
fn created() -> impl Strategy<Value = Timestamp> {
    let days = ["2026-03-28T00:00:11Z", "2026-10-03T00:00:11Z", "2026-10-24T00:00:11Z"];
    prop::sample::select(days.to_vec()).prop_map(|day| day.parse().unwrap())
}

fn step() -> impl Strategy<Value = (Step, Crash)> {
    let step = prop_oneof![
        4 => (0_i64..3600).prop_map(Step::Pass),
        1 => (0_i64..12 * 3600).prop_map(Step::Pass),
        4 => Just(Step::Sleep),
        1 => (-7200_i64..7200).prop_map(Step::SetClock),
        1 => any::<bool>().prop_map(Step::Suspend),
    ];
    let crash = prop_oneof![
        4 => Just(Crash::No),
        1 => Just(Crash::BeforeStart),
        1 => Just(Crash::BeforeStatus),
        1 => Just(Crash::BeforeStatusWithOldCache),
    ];
    (step, crash)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_slot_is_started_once_or_missed_for_a_reason(
        policy in policy(), created in created(), length in 0_i64..7200, steps in prop::collection::vec(step(), 1..60),
    ) {
        let policy = Policy { schedule: policy.schedule.anchored_at(created), ..policy };
        let mut world = World::new(policy, created, length);
        for (step, crash) in &steps {
            world.run(step, *crash);
        }
        if !world.is_confused {
            world.check(created);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_by_years_neither_starts_a_slot_twice_nor_silences_the_task(
        policy in policy(), created in created(), length in 0_i64..600, before in prop::collection::vec(step(), 0..20),
        wrong in 2_i64..400, after in prop::collection::vec(step(), 0..20),
    ) {
        let policy = Policy { schedule: policy.schedule.anchored_at(created), starting_deadline: None, ..policy };
        let mut world = World::new(policy, created, length);
        let days = wrong * 24 * 3600;
        let wrong = [(Step::SetClock(days), Crash::No), (Step::Pass(60), Crash::No), (Step::SetClock(-days), Crash::No)];
        for (step, crash) in before.iter().chain(&wrong).chain(&after) {
            world.run(step, *crash);
        }
        let runs = world.runs.len();
        for step in [Step::Suspend(false), Step::Pass(3600), Step::Pass(2 * 24 * 3600), Step::Sleep, Step::Sleep, Step::Sleep] {
            world.run(&step, Crash::No);
        }
        prop_assert!(world.runs.len() > runs);
    }

    #[test]
    fn whoever_sleeps_until_told_starts_every_slot_in_time(policy in policy(), created in created()) {
        let policy = Policy { schedule: policy.schedule.anchored_at(created), ..policy };
        let mut world = World::new(policy, created, 0);
        world.look(Crash::No);
        for _ in 0..50 {
            world.run(&Step::Sleep, Crash::No);
        }
        prop_assert_eq!(world.missed.len(), 0);
        prop_assert!(world.runs.len() >= 49);
        world.check(created);
    }
}

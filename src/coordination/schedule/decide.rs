//! What to do about the slots of a task that have come: each is started once or missed for a reason that is told. Pure: it is given the
//! time, and what exists. The executor ends, creates and writes the status, in this order.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::Schedule;

/// How many slots are gone through at most. Of those after them all but the newest are one, so that a year of every second takes no time.
const COUNTED: usize = 10_000;
/// How far a clock may have been set back. See [`State::last_handled`].
const SET_BACK: SignedDuration = SignedDuration::from_hours(24);

/// What `spec` says about the runs of a task.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `metadata.uid`, by which the jitter of one task differs from another's.
    pub uid: String,
    /// When it runs, [anchored](Schedule::anchored_at) at its creation.
    pub schedule: Schedule,
    /// Whether runs may overlap.
    pub concurrency: ConcurrencyPolicy,
    /// `startingDeadlineSeconds`, at least 1: how long after its time a run may still start. Without it a run that was missed while nobody
    /// looked starts however late.
    pub starting_deadline: Option<Duration>,
    /// Nothing is decided: the slots that come wait, and are started or missed once this is over.
    pub suspend: bool,
    /// A run starts up to so much after its slot, and before the next one. How much is the same for a slot whoever asks, so that tasks of
    /// one schedule are spread and a restart changes nothing. The deadline counts from there.
    pub jitter: Option<Duration>,
}

/// What happens to a slot that comes while a run is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcurrencyPolicy {
    /// Its run starts beside it.
    Allow,
    /// It waits until the run has finished, as long as the starting deadline gives it; without a deadline it is missed at once.
    Forbid,
    /// The run is ended and its own starts. One that a rollout waits for is not ended: its end is waited for as with Forbid.
    Replace,
}

/// What is kept of a task between two decisions, in its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Every slot until here is started or missed. In the beginning the task's creation; the present when the schedule or its zone has
    /// changed, since a new schedule says nothing of the past.
    ///
    /// If it is in the future, the clock was set back. By up to a day: what was handled stays handled, and the task waits until the clock
    /// has come there again. By more: the clock had been wrong before, and counting starts from the present. (One minute in 2030 shall not
    /// silence a task for years. A slot that is met again then has its object still, if the history keeps it.)
    pub last_handled: Timestamp,
}

/// A run of the task that has an object, finished or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its object's name.
    pub name: String,
    /// The slot that it is for; none if a rollout waits for it.
    pub slot: Option<Timestamp>,
    /// It has come to its end. One that is being ended has not.
    pub finished: bool,
}

/// What to do now, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Names of runs to end.
    pub replace: Vec<String>,
    /// The slot whose run starts. That its object exists already is no error.
    pub start: Option<Timestamp>,
    /// Missed since the last decision, oldest first.
    pub missed: Vec<Missed>,
    /// The new [`State::last_handled`]. It is written with what was missed, after the run is made, and before that run's object may be
    /// removed from the history.
    pub last_handled: Timestamp,
    /// When there is something to do next, if nothing changes before. Always in the future; none if no slot is left. A timer does not see
    /// that the clock is set, so whoever sleeps until then looks again every minute or so.
    pub wake: Option<Timestamp>,
}

/// Slots without a run, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// How many they are; from 10000 on there may be more.
    pub count: u64,
    /// Why.
    pub reason: Reason,
}

/// Why a slot has no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A run was going, and no two may.
    StillRunning,
    /// The starting deadline was over.
    TooLate,
    /// Nobody looked in time, or the task was suspended, and a later slot has come. As with a CronJob only the latest of them is started.
    Superseded,
}

/// Decides what to do about the slots that have come. `runs` are all of the task that have an object.
pub fn decide(state: &State, policy: &Policy, runs: &[Run], now: Timestamp) -> Decision {
    let last = if state.last_handled > later(now, SET_BACK) { now } else { state.last_handled };
    let mut decision = Decision { replace: vec![], start: None, missed: vec![], last_handled: last, wake: None };
    if policy.suspend {
        return decision;
    }
    let mut slots = slots(&policy.schedule, last, now);
    // A slot starts before the next one, so only the newest may have its time yet to come.
    let is_to_come = |slots: &mut Slots| policy.time_of(slots.last) > now;
    let to_come = slots.pop_if(is_to_come).map(|slots| slots.last).or_else(|| policy.schedule.next_after(last.max(now)));
    let latest = slots.pop().map(|slots| slots.last);
    for slots in slots {
        let reason = policy.obstacle(slots.last, runs, now).unwrap_or(Reason::Superseded);
        decision.note(slots, reason, runs);
    }
    let waits_until = latest.and_then(|slot| decision.settle(slot, policy, runs, now));
    decision.wake = to_come.map(|slot| policy.time_of(slot)).into_iter().chain(waits_until).min();
    decision
}

impl Decision {
    /// Starts the latest slot, or notes why not; or leaves it for later, and says until when it waits.
    fn settle(&mut self, slot: Timestamp, policy: &Policy, runs: &[Run], now: Timestamp) -> Option<Timestamp> {
        let obstacle = policy.obstacle(slot, runs, now);
        let deadline = policy.deadline_of(slot).filter(|deadline| now < *deadline);
        if obstacle == Some(Reason::StillRunning) && deadline.is_some() && !has_run(slot, runs) {
            return deadline;
        }
        if let Some(reason) = obstacle {
            self.note(Slots::one(slot), reason, runs);
        } else if !has_run(slot, runs) {
            self.start = Some(slot);
            let going = runs.iter().filter(|run| policy.concurrency == ConcurrencyPolicy::Replace && !run.finished);
            self.replace = going.map(|run| run.name.clone()).collect();
        }
        self.last_handled = slot;
        None
    }

    /// Notes slots as missed, unless a run of theirs was made before a crash.
    fn note(&mut self, slots: Slots, reason: Reason, runs: &[Run]) {
        let before = self.last_handled;
        self.last_handled = slots.last;
        if has_run(slots.last, runs) {
            return;
        }
        match self.missed.last_mut().filter(|missed| missed.to == before && missed.reason == reason) {
            Some(missed) => (missed.to, missed.count) = (slots.last, missed.count.saturating_add(1)),
            None => self.missed.push(Missed { from: slots.first, to: slots.last, count: 1, reason }),
        }
    }
}

impl Policy {
    /// Why a slot that has come may not start.
    fn obstacle(&self, slot: Timestamp, runs: &[Run], now: Timestamp) -> Option<Reason> {
        let is_busy = runs.iter().filter(|run| !run.finished).any(|run| match self.concurrency {
            ConcurrencyPolicy::Allow => false,
            ConcurrencyPolicy::Forbid => true,
            ConcurrencyPolicy::Replace => run.slot.is_none(),
        });
        let is_late = self.deadline_of(slot).is_some_and(|deadline| deadline <= now);
        if is_busy { Some(Reason::StillRunning) } else { is_late.then_some(Reason::TooLate) }
    }

    /// From when on a slot is too late.
    fn deadline_of(&self, slot: Timestamp) -> Option<Timestamp> {
        let deadline = self.starting_deadline?;
        Some(later(self.time_of(slot), SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX)))
    }

    /// When the run of a slot is to start: the jitter after it, if there is one.
    pub(super) fn time_of(&self, slot: Timestamp) -> Timestamp {
        let Some(jitter) = self.jitter else { return slot };
        let jitter = SignedDuration::try_from(jitter).unwrap_or(SignedDuration::MAX);
        let room = self.schedule.next_after(slot).map_or(jitter, |next| next.duration_since(slot).min(jitter));
        let digest = Sha256::new().chain_update(&self.uid).chain_update([0]).chain_update(slot.as_second().to_be_bytes()).finalize();
        let draw = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let offset = u128::from(draw).checked_rem(room.as_millis().unsigned_abs()).unwrap_or(0);
        later(slot, SignedDuration::from_millis(i64::try_from(offset).unwrap_or(0)))
    }
}

fn has_run(slot: Timestamp, runs: &[Run]) -> bool {
    runs.iter().any(|run| run.slot == Some(slot))
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Slots that follow one another: one, or those in the middle of very many.
#[derive(Debug, Clone, Copy)]
struct Slots {
    first: Timestamp,
    last: Timestamp,
}

impl Slots {
    fn one(slot: Timestamp) -> Self {
        Self { first: slot, last: slot }
    }
}

/// The slots after a moment until another, oldest first. The newest two stand alone always: the one that may start, and the one that may have its time yet
/// to come.
fn slots(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Slots> {
    let mut slots: Vec<Slots> = schedule.slots(after, until).take(COUNTED).map(Slots::one).collect();
    let Some(known) = slots.last().filter(|_| slots.len() == COUNTED).map(|slots| slots.last) else { return slots };
    let newest = newest(schedule, known, until, 3);
    slots.extend(newest.into_iter().map(Slots::one));
    // What is between them and the others goes with the third of them.
    if let (Some(middle), Some(first)) = (slots.get_mut(COUNTED), schedule.next_after(known)) {
        middle.first = first;
    }
    slots
}

/// The newest slots after a moment until another, at most so many. Looks back from the end, further each time, until there are enough.
fn newest(schedule: &Schedule, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
    let mut span = SignedDuration::from_mins(1);
    loop {
        let begin = until.checked_sub(span).unwrap_or(after).max(after);
        let mut slots: Vec<Timestamp> = schedule.slots(begin, until).collect();
        if slots.len() >= most || begin == after {
            slots.drain(..slots.len().saturating_sub(most));
            return slots;
        }
        span = span.saturating_add(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}Z").parse().unwrap()
    }

    fn hourly() -> Policy {
        Policy {
            uid: "7c9e6679".into(),
            schedule: Schedule::parse("@hourly", None).unwrap().anchored_at(at("01T00:00:00")),
            concurrency: ConcurrencyPolicy::Allow,
            starting_deadline: None,
            suspend: false,
            jitter: None,
        }
    }

    fn run(slot: &str, finished: bool) -> Run {
        Run { name: format!("run-{slot}"), slot: Some(at(slot)), finished }
    }

    fn of_a_rollout() -> Run {
        Run { name: "before".into(), slot: None, finished: false }
    }

    fn look(last_handled: &str, policy: &Policy, runs: &[Run], now: &str) -> Decision {
        decide(&State { last_handled: at(last_handled) }, policy, runs, at(now))
    }

    /// Nothing to do until then.
    fn idle(last_handled: &str, wake: &str) -> Decision {
        Decision { replace: vec![], start: None, missed: vec![], last_handled: at(last_handled), wake: Some(at(wake)) }
    }

    fn start(slot: &str, wake: &str) -> Decision {
        Decision { start: Some(at(slot)), ..idle(slot, wake) }
    }

    fn missed(from: &str, to: &str, count: u64, reason: Reason) -> Vec<Missed> {
        vec![Missed { from: at(from), to: at(to), count, reason }]
    }

    fn skipped(slot: &str, reason: Reason) -> Vec<Missed> {
        missed(slot, slot, 1, reason)
    }

    #[test]
    fn a_slot_starts_when_it_comes() {
        assert_eq!(look("28T12:00:00", &hourly(), &[], "28T12:59:59.999"), idle("28T12:00:00", "28T13:00:00"));
        assert_eq!(look("28T12:00:00", &hourly(), &[], "28T13:00:00"), start("28T13:00:00", "28T14:00:00"));
        assert_eq!(look("28T13:00:00", &hourly(), &[], "28T13:00:00"), idle("28T13:00:00", "28T14:00:00"));
    }

    #[test]
    fn after_a_downtime_the_latest_slot_starts_and_the_others_are_missed() {
        let expected =
            Decision { missed: missed("28T10:00:00", "28T11:00:00", 2, Reason::Superseded), ..start("28T12:00:00", "28T13:00:00") };
        assert_eq!(look("28T09:00:00", &hourly(), &[], "28T12:40:00"), expected);
    }

    #[test]
    fn the_starting_deadline_says_how_late_a_run_may_start() {
        let policy = Policy { starting_deadline: Some(Duration::from_secs(90 * 60)), ..hourly() };
        assert_eq!(look("28T12:00:00", &policy, &[], "28T13:59:00"), start("28T13:00:00", "28T14:00:00"));
        let policy = Policy { starting_deadline: Some(Duration::from_secs(60)), ..hourly() };
        assert_eq!(look("28T12:00:00", &policy, &[], "28T13:00:59"), start("28T13:00:00", "28T14:00:00"));
        let late = missed("28T12:00:00", "28T13:00:00", 2, Reason::TooLate);
        assert_eq!(look("28T11:00:00", &policy, &[], "28T13:01:00"), Decision { missed: late, ..idle("28T13:00:00", "28T14:00:00") });
    }

    #[test]
    fn forbid_misses_a_slot_that_comes_while_a_run_is_going() {
        let policy = Policy { concurrency: ConcurrencyPolicy::Forbid, ..hourly() };
        let busy = skipped("28T13:00:00", Reason::StillRunning);
        let expected = Decision { missed: busy, ..idle("28T13:00:00", "28T14:00:00") };
        assert_eq!(look("28T12:00:00", &policy, &[run("28T12:00:00", false)], "28T13:00:00"), expected);
        assert_eq!(look("28T12:00:00", &policy, &[run("28T12:00:00", true)], "28T13:00:00"), start("28T13:00:00", "28T14:00:00"));
        assert_eq!(look("28T12:00:00", &policy, &[of_a_rollout()], "28T13:00:00"), expected);
    }

    #[test]
    fn forbid_starts_late_if_the_run_ends_before_the_deadline() {
        let policy = Policy { concurrency: ConcurrencyPolicy::Forbid, starting_deadline: Some(Duration::from_secs(600)), ..hourly() };
        let (going, finished) = ([run("28T12:00:00", false)], [run("28T12:00:00", true)]);
        assert_eq!(look("28T12:00:00", &policy, &going, "28T13:00:00"), idle("28T12:00:00", "28T13:10:00"));
        assert_eq!(look("28T12:00:00", &policy, &finished, "28T13:07:00"), start("28T13:00:00", "28T14:00:00"));
        let busy = skipped("28T13:00:00", Reason::StillRunning);
        let expected = Decision { missed: busy, ..idle("28T13:00:00", "28T14:00:00") };
        assert_eq!(look("28T12:00:00", &policy, &going, "28T13:10:00"), expected);
    }

    #[test]
    fn of_slots_that_wait_only_the_latest_does() {
        let policy = Policy { concurrency: ConcurrencyPolicy::Forbid, starting_deadline: Some(Duration::from_secs(2 * 3600)), ..hourly() };
        let busy = skipped("28T13:00:00", Reason::StillRunning);
        let expected = Decision { missed: busy, ..idle("28T13:00:00", "28T15:00:00") };
        assert_eq!(look("28T12:00:00", &policy, &[run("28T12:00:00", false)], "28T14:00:00"), expected);
    }

    #[test]
    fn replace_ends_what_is_going() {
        let policy = Policy { concurrency: ConcurrencyPolicy::Replace, ..hourly() };
        let runs = [run("28T11:00:00", true), run("28T12:00:00", false)];
        let expected = Decision { replace: vec!["run-28T12:00:00".into()], ..start("28T13:00:00", "28T14:00:00") };
        assert_eq!(look("28T12:00:00", &policy, &runs, "28T13:00:00"), expected);
        assert_eq!(look("28T12:00:00", &policy, &runs, "28T12:59:00"), idle("28T12:00:00", "28T13:00:00"));
    }

    #[test]
    fn a_run_that_a_rollout_waits_for_is_not_replaced() {
        let policy = Policy { concurrency: ConcurrencyPolicy::Replace, ..hourly() };
        let busy = skipped("28T13:00:00", Reason::StillRunning);
        let expected = Decision { missed: busy, ..idle("28T13:00:00", "28T14:00:00") };
        assert_eq!(look("28T12:00:00", &policy, &[of_a_rollout()], "28T13:00:00"), expected);
        let policy = Policy { starting_deadline: Some(Duration::from_secs(600)), ..policy };
        assert_eq!(look("28T12:00:00", &policy, &[of_a_rollout()], "28T13:00:00"), idle("28T12:00:00", "28T13:10:00"));
        assert_eq!(look("28T12:00:00", &hourly(), &[of_a_rollout()], "28T13:00:00"), start("28T13:00:00", "28T14:00:00"));
    }

    #[test]
    fn slots_that_come_while_a_task_is_suspended_wait_and_are_those_of_a_downtime_once_it_goes_on() {
        let suspended = Policy { suspend: true, ..hourly() };
        let nothing = Decision { wake: None, ..idle("28T09:00:00", "28T10:00:00") };
        assert_eq!(look("28T09:00:00", &suspended, &[], "28T12:40:00"), nothing);
        let expected =
            Decision { missed: missed("28T10:00:00", "28T11:00:00", 2, Reason::Superseded), ..start("28T12:00:00", "28T13:00:00") };
        assert_eq!(look("28T09:00:00", &hourly(), &[], "28T12:40:00"), expected);
        let policy = Policy { starting_deadline: Some(Duration::from_secs(600)), ..hourly() };
        let expected = Decision { missed: missed("28T10:00:00", "28T12:00:00", 3, Reason::TooLate), ..idle("28T12:00:00", "28T13:00:00") };
        assert_eq!(look("28T09:00:00", &policy, &[], "28T12:40:00"), expected);
    }

    #[test]
    fn a_slot_whose_run_was_made_before_a_crash_is_neither_started_again_nor_missed() {
        let forbid = Policy { concurrency: ConcurrencyPolicy::Forbid, ..hourly() };
        let replace = Policy { concurrency: ConcurrencyPolicy::Replace, ..hourly() };
        let waiting = Policy { starting_deadline: Some(Duration::from_secs(3600)), ..forbid.clone() };
        for policy in [hourly(), forbid, waiting, replace] {
            for finished in [false, true] {
                let runs = [run("28T13:00:00", finished)];
                assert_eq!(look("28T12:00:00", &policy, &runs, "28T13:20:00"), idle("28T13:00:00", "28T14:00:00"));
            }
        }
        let expected = Decision { missed: skipped("28T12:00:00", Reason::Superseded), ..start("28T14:00:00", "28T15:00:00") };
        assert_eq!(look("28T11:00:00", &hourly(), &[run("28T13:00:00", true)], "28T14:00:00"), expected);
    }

    #[test]
    fn the_jitter_of_a_slot_is_always_the_same_and_ends_before_the_next() {
        let policy = Policy { jitter: Some(Duration::from_secs(600)), starting_deadline: Some(Duration::from_secs(60)), ..hourly() };
        assert_eq!(look("28T12:00:00", &policy, &[], "28T13:00:00"), idle("28T12:00:00", "28T13:06:05.580"));
        assert_eq!(look("28T12:00:00", &policy, &[], "28T13:06:05.580"), start("28T13:00:00", "28T14:03:59.638"));
        assert_eq!(look("28T12:00:00", &policy, &[], "28T13:07:05.579").start, Some(at("28T13:00:00")), "the deadline counts from there");
        assert_eq!(look("28T12:00:00", &policy, &[], "28T13:07:05.580").missed, skipped("28T13:00:00", Reason::TooLate));
        let other = Policy { uid: "another".into(), ..policy };
        assert_ne!(look("28T12:00:00", &other, &[], "28T13:00:00").wake, Some(at("28T13:06:05.580")));
        let wide = Policy { jitter: Some(Duration::from_secs(30 * 24 * 3600)), ..hourly() };
        for slot in wide.schedule.slots(at("01T00:00:00"), at("28T00:00:00")) {
            let time = wide.time_of(slot);
            assert!(slot <= time && time < wide.schedule.next_after(slot).unwrap(), "{slot}: {time}");
        }
    }

    #[test]
    fn missed_slots_that_follow_one_another_for_one_reason_are_one_entry() {
        let expected = missed("20T01:00:00", "27T23:00:00", 8 * 24 - 1, Reason::Superseded);
        assert_eq!(look("20T00:00:00", &hourly(), &[], "28T00:00:00").missed, expected);
        let policy = Policy { starting_deadline: Some(Duration::from_secs(2 * 3600)), ..hourly() };
        let of_two_reasons =
            [missed("20T01:00:00", "27T22:00:00", 8 * 24 - 2, Reason::TooLate), skipped("27T23:00:00", Reason::Superseded)].concat();
        assert_eq!(look("20T00:00:00", &policy, &[], "28T00:00:00").missed, of_two_reasons);
        let around_a_run =
            [missed("20T01:00:00", "20T04:00:00", 4, Reason::Superseded), missed("20T06:00:00", "20T08:00:00", 3, Reason::Superseded)]
                .concat();
        assert_eq!(look("20T00:00:00", &hourly(), &[run("20T05:00:00", true)], "20T09:00:00").missed, around_a_run);
    }

    #[test]
    fn a_year_of_every_second_is_not_gone_through() {
        let schedule = Schedule::parse("* * * * * *", None).unwrap();
        for (schedule, concurrency) in [
            (schedule.clone(), ConcurrencyPolicy::Allow),
            (schedule, ConcurrencyPolicy::Forbid),
            (Schedule::parse("@every 1s", None).unwrap(), ConcurrencyPolicy::Allow),
        ] {
            let policy = Policy { schedule, concurrency, ..hourly() };
            let from: Timestamp = "2025-11-28T13:00:00Z".parse().unwrap();
            let decision = decide(&State { last_handled: from }, &policy, &[], at("28T13:00:00"));
            assert_eq!(decision.start, Some(at("28T13:00:00")));
            let [missed] = decision.missed[..] else { panic!("{:?}", decision.missed) };
            assert_eq!((missed.from.duration_since(from).as_secs(), missed.to, missed.count > 10_000), (1, at("28T12:59:59"), true));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_by_less_than_a_day_repeats_nothing() {
        assert_eq!(look("28T13:00:00", &hourly(), &[], "28T12:00:30"), idle("28T13:00:00", "28T14:00:00"));
        assert_eq!(look("28T13:00:00", &hourly(), &[], "27T13:00:00"), idle("28T13:00:00", "28T14:00:00"));
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_silence_a_task() {
        assert_eq!(look("28T13:00:00", &hourly(), &[], "27T12:30:00"), idle("27T12:30:00", "27T13:00:00"));
        let busy = [run("28T13:00:00", false)];
        let forbid = Policy { concurrency: ConcurrencyPolicy::Forbid, ..hourly() };
        let decision = look("27T12:30:00", &forbid, &busy, "27T13:00:00");
        assert_eq!(decision.missed, skipped("27T13:00:00", Reason::StillRunning), "what the wrong clock started is going still");
    }

    #[test]
    fn a_task_that_was_created_while_the_clock_was_far_ahead_runs_all_the_same() {
        let created: Timestamp = "2030-01-01T00:10:00Z".parse().unwrap();
        for (schedule, slot) in [("@hourly", "28T14:00:00"), ("@every 1h", "28T13:10:00")] {
            let policy = Policy { schedule: Schedule::parse(schedule, None).unwrap().anchored_at(created), ..hourly() };
            let decision = decide(&State { last_handled: created }, &policy, &[], at("28T13:00:00"));
            assert_eq!(decision, idle("28T13:00:00", slot), "{schedule}");
        }
    }
}

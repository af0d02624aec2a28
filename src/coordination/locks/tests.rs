//! What becomes of a key: values, and a model in which agents, programs and the API fail at any moment.
mod model;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;

use super::{
    Holding, Kind, Loss, Refusal,
    message::{Change, Command, Done, Failed, Message, Record, Waiter},
    slot::Slot,
};
use crate::session::{Session, Standing};
use mesh_kit::clock::BootTime;

fn at(millis: u64) -> BootTime {
    BootTime::after_boot(Duration::from_millis(millis))
}

fn run(name: &str) -> Session {
    Session { instance: name.to_owned(), uid: format!("u-{name}"), attempt: 0 }
}

fn waiter(id: u64, name: &str, until: Option<BootTime>) -> Waiter {
    Waiter { id, session: run(name), ticket: id, ttl: Duration::from_secs(10), until, metadata: Map::new() }
}

/// The record of one who holds it since that second, by the write with this revision.
fn held(name: &str, revision: u64, fence: u64) -> Record {
    let time = Timestamp::from_second(i64::try_from(fence).unwrap()).unwrap();
    let holding = Holding {
        holder: run(name).to_string(),
        fence,
        ttl: Duration::from_secs(10),
        acquired: time,
        renewed: Timestamp::from_second(i64::try_from(revision).unwrap()).unwrap(),
        ticket: None,
        metadata: Map::new(),
    };
    Record { exists: true, revision, watched: true, holding: Some(holding), ..Record::default() }
}

fn free(revision: u64) -> Record {
    Record { revision, ..Record::default() }
}

/// A slot in which `a` got the key by the write of revision 1, sent at 0.
fn with_a() -> Slot {
    let mut slot = Slot::new(Kind::Lock, at(0));
    let asked = slot.step(Message::Ask(waiter(1, "a", None)), at(0));
    assert!(
        matches!(&asked[..], [Command::Write(None, Change::Take { session, .. }), Command::Answer(1, Ok(Done::Queued(1)))] if *session == run("a")),
        "{asked:?}"
    );
    let done = slot.step(Message::Wrote(Ok(held("a", 1, 1))), at(1));
    assert!(matches!(&done[..], [Command::Answer(1, Ok(Done::Held(holding)))] if holding.fence == 1), "{done:?}");
    slot
}

fn takes(commands: &[Command]) -> Option<String> {
    commands.iter().find_map(|command| match command {
        Command::Write(_, Change::Take { session, .. }) => Some(session.instance.clone()),
        _ => None,
    })
}

#[test]
fn who_waits_gets_it_in_the_order_of_tickets_by_the_write_that_takes_it_from_the_one_before() {
    let mut slot = with_a();
    assert_eq!(slot.step(Message::Ask(waiter(3, "c", None)), at(10)), [Command::Answer(3, Ok(Done::Queued(1)))]);
    assert_eq!(slot.step(Message::Ask(waiter(2, "b", None)), at(11)), [Command::Answer(2, Ok(Done::Queued(1)))]);
    // Not at once: the end of the acquisition is to be written.
    let released = slot.step(Message::Release(9, run("a"), 1), at(20));
    assert_eq!(released[0], Command::Lost(1, Loss::Released));
    assert_eq!(takes(&released).as_deref(), Some("b"));
    let taken = slot.step(Message::Wrote(Ok(held("b", 2, 2))), at(21));
    assert!(taken.contains(&Command::Answer(9, Ok(Done::Released))), "{taken:?}");
    let ended = slot.step(Message::Run(run("b"), Standing::Ended), at(30));
    assert_eq!((&ended[0], takes(&ended).as_deref()), (&Command::Lost(2, Loss::InstanceEnded), Some("c")));
}

#[test]
fn what_the_watch_still_tells_of_a_key_that_was_given_back_is_over_and_the_key_is_kept_in_mind_until_then() {
    // A Lease's removal has a revision that only the watch tells; a Redis says it at once.
    for (removal, said) in [(2, 1), (2, 2)] {
        let mut slot = with_a();
        slot.step(Message::Release(9, run("a"), 1), at(20));
        assert_eq!(slot.step(Message::Wrote(Ok(free(said))), at(21)), [Command::Answer(9, Ok(Done::Released))]);
        assert_eq!(slot.step(Message::Seen(held("a", 1, 1), Standing::Lives), at(22)), []);
        assert!(slot.holding(at(22)).is_none() && !slot.is_idle(), "it is taken anew at once, and is not forgotten");
        slot.step(Message::Seen(free(removal), Standing::Unknown), at(23));
        assert!(slot.is_idle(), "{removal} {said}");
        // The watch may be first, and what it did not tell is read.
        let mut slot = with_a();
        slot.step(Message::Release(9, run("a"), 1), at(20));
        slot.step(Message::Seen(free(removal), Standing::Unknown), at(21));
        slot.step(Message::Wrote(Ok(free(said))), at(22));
        assert!(slot.is_idle(), "{removal} {said}");
        let mut slot = with_a();
        slot.step(Message::Release(9, run("a"), 1), at(20));
        slot.step(Message::Wrote(Ok(free(said))), at(21));
        assert_eq!(slot.step(Message::Doubt, at(22)), [Command::Read]);
        slot.step(Message::Read(Ok(Record::default()), Standing::Unknown), at(23));
        assert!(slot.is_idle(), "{removal} {said}");
    }
}

#[test]
fn who_does_not_renew_is_told_before_its_time_is_over_and_only_then_another_has_it() {
    let mut slot = with_a();
    slot.step(Message::Ask(waiter(2, "b", None)), at(10));
    assert_eq!(slot.wake(), Some(at(8000)));
    assert_eq!(slot.step(Message::Wake, at(8000)), [Command::Lost(1, Loss::NotRenewed)]);
    let late = slot.step(Message::Renew(7, run("a"), 1), at(9000));
    assert_eq!(late, [Command::Answer(7, Err(Refusal::Lost(Loss::NotRenewed)))]);
    assert_eq!((slot.step(Message::Wake, at(9999)), slot.wake()), (vec![], Some(at(10_000))));
    assert_eq!(takes(&slot.step(Message::Wake, at(10_000))).as_deref(), Some("b"));
}

#[test]
fn a_renewal_counts_from_when_it_was_sent_and_nobody_elses_does() {
    let mut slot = with_a();
    for (session, fence) in [(run("b"), 1), (run("a"), 0)] {
        let refused = slot.step(Message::Renew(5, session, fence), at(100));
        assert_eq!(refused, [Command::Answer(5, Err(Refusal::Lost(Loss::NotHeld)))]);
    }
    let renewed = slot.step(Message::Renew(5, run("a"), 1), at(5000));
    assert_eq!(renewed, [Command::Write(Some(1), Change::Renew { fence: 1 })]);
    let done = slot.step(Message::Wrote(Ok(held("a", 4, 1))), at(7000));
    assert!(matches!(&done[..], [Command::Answer(5, Ok(Done::Held(_)))]), "{done:?}");
    assert_eq!(slot.wake(), Some(at(13_000)));
}

#[test]
fn while_the_api_is_away_a_holder_is_told_in_time_and_an_asker_at_once() {
    let mut slot = with_a();
    slot.step(Message::Renew(5, run("a"), 1), at(3000));
    let failed = slot.step(Message::Wrote(Err(Failed::Away("no".into()))), at(4000));
    assert_eq!(failed, [Command::Answer(5, Err(Refusal::Unavailable("no".into())))]);
    let asked = slot.step(Message::Ask(waiter(2, "b", Some(at(4001)))), at(4001));
    assert_eq!(asked, [Command::Answer(2, Err(Refusal::Unavailable("no".into())))]);
    assert_eq!(slot.step(Message::Wake, at(8000))[0], Command::Lost(1, Loss::Unavailable));
}

#[test]
fn what_is_refused_for_good_is_told_at_once_to_who_asked_and_is_not_tried_again() {
    let refused = || Failed::Refused("namespaces \"nowhere\" not found".into());
    let told = |id| Command::Answer(id, Err(Refusal::Refused("namespaces \"nowhere\" not found".into())));
    let mut slot = Slot::new(Kind::Lock, at(0));
    slot.step(Message::Ask(waiter(1, "a", None)), at(0));
    slot.step(Message::Ask(waiter(2, "b", None)), at(1));
    // It may be for what the first says: the second tries for itself.
    let first = slot.step(Message::Wrote(Err(refused())), at(2));
    assert_eq!((&first[0], takes(&first).as_deref()), (&told(1), Some("b")));
    assert_eq!(slot.step(Message::Wrote(Err(refused())), at(3)), [told(2)]);
    assert!(slot.is_idle() && slot.wake().is_none());
    // The record is that of something else: nobody gets it.
    slot.step(Message::Ask(waiter(1, "a", None)), at(4));
    slot.step(Message::Ask(waiter(2, "b", None)), at(5));
    assert_eq!(slot.step(Message::Wrote(Err(Failed::Conflict)), at(6)), [Command::Read]);
    assert_eq!(slot.step(Message::Read(Err(refused()), Standing::Unknown), at(7)), [told(1), told(2)]);
    assert!(slot.is_idle());
}

#[test]
fn while_it_is_refused_what_a_holder_wants_is_told_to_be_away_and_what_is_left_is_cleared_away_now_and_then() {
    let mut slot = with_a();
    slot.step(Message::Renew(5, run("a"), 1), at(3000));
    let failed = slot.step(Message::Wrote(Err(Failed::Refused("no".into()))), at(4000));
    assert_eq!(failed, [Command::Answer(5, Err(Refusal::Unavailable("no".into())))]);
    let released = slot.step(Message::Release(6, run("a"), 1), at(4001));
    assert_eq!((released, slot.wake()), (vec![Command::Lost(1, Loss::Released)], Some(at(4500))));
    assert_eq!(slot.step(Message::Wake, at(4500)), [Command::Read]);
    slot.step(Message::Read(Ok(held("a", 1, 1)), Standing::Lives), at(4501));
    let failed = slot.step(Message::Wrote(Err(Failed::Refused("no".into()))), at(4502));
    assert_eq!((failed, slot.wake()), (vec![Command::Answer(6, Err(Refusal::Unavailable("no".into())))], Some(at(5002))));
}

#[test]
fn a_record_of_our_own_that_nobody_has_held_for_an_hour_goes() {
    let hour = 60 * 60 * 1000;
    let unused = |ours| {
        let record = Record { exists: true, watched: true, ours, ..free(9) };
        let mut slot = Slot::found(Kind::Leader, record, Standing::Unknown, at(0), at(0));
        assert_eq!(slot.step(Message::Wake, at(hour - 1)), []);
        slot
    };
    let mut slot = unused(true);
    assert_eq!(slot.step(Message::Wake, at(hour)), [Command::Write(Some(9), Change::Remove)]);
    slot.step(Message::Wrote(Ok(free(9))), at(hour + 1));
    slot.step(Message::Seen(free(10), Standing::Unknown), at(hour + 2));
    assert!(slot.is_idle());
    // Another was first, or it may not be: an hour more.
    let mut slot = unused(true);
    slot.step(Message::Wake, at(hour));
    assert_eq!(slot.step(Message::Wrote(Err(Failed::Conflict)), at(hour + 1)), [Command::Read]);
    slot.step(Message::Read(Ok(Record { exists: true, ours: true, ..free(10) }), Standing::Unknown), at(hour + 2));
    assert_eq!(slot.wake(), Some(at(2 * hour + 2)));
    // That of another program, which may want it as it is.
    assert_eq!(unused(false).step(Message::Wake, at(2 * hour)), []);
    // Somebody wants it.
    assert_eq!(takes(&unused(true).step(Message::Ask(waiter(1, "a", None)), at(hour))).as_deref(), Some("a"));
}

#[test]
fn a_write_without_an_answer_that_came_through_is_found_again_and_counts_from_when_it_was_sent() {
    let mut slot = Slot::new(Kind::Lock, at(0));
    slot.step(Message::Ask(waiter(1, "a", None)), at(0));
    slot.step(Message::Wrote(Err(Failed::Away("late".into()))), at(5000));
    assert_eq!(slot.step(Message::Wake, at(5500)), [Command::Read]);
    let found = slot.step(Message::Read(Ok(held("a", 1, 1)), Standing::Lives), at(5501));
    assert!(matches!(&found[..], [Command::Answer(1, Ok(Done::Held(_)))]), "{found:?}");
    assert_eq!(slot.wake(), Some(at(8000)));
    // One who has gone meanwhile does not have it.
    let mut slot = Slot::new(Kind::Lock, at(0));
    slot.step(Message::Ask(waiter(1, "a", None)), at(0));
    slot.step(Message::Wrote(Err(Failed::Away("late".into()))), at(5000));
    slot.step(Message::Leave(1), at(5100));
    slot.step(Message::Wake, at(5500));
    assert_eq!(slot.step(Message::Read(Ok(held("a", 1, 1)), Standing::Lives), at(5501)), [Command::Write(Some(1), Change::Free)]);
}

#[test]
fn who_got_it_from_an_agent_that_died_before_it_said_so_has_it_when_it_asks_again() {
    let mut record = held("a", 9, 9);
    record.holding.as_mut().unwrap().ticket = Some(4);
    let mut slot = Slot::found(Kind::Lock, record, Standing::Lives, at(2000), at(0));
    // Another thread of the same program is another asker.
    assert_eq!(slot.step(Message::Ask(waiter(5, "a", None)), at(5)), [Command::Answer(5, Ok(Done::Queued(1)))]);
    assert_eq!(slot.step(Message::Ask(waiter(4, "b", None)), at(5)), [Command::Answer(4, Ok(Done::Queued(1)))]);
    assert!(matches!(&slot.step(Message::Ask(waiter(4, "a", None)), at(6))[..], [Command::Answer(4, Ok(Done::Held(_)))]));
}

#[test]
fn notes_of_others_on_the_record_are_no_other_acquisition_and_its_removal_is_the_end_of_one() {
    let mut slot = with_a();
    let noted = Record { revision: 3, ..held("a", 1, 1) };
    // Before the first renewal a Lease's own revision is taken for the fence.
    let noted = Record { holding: noted.holding.map(|holding| Holding { fence: 3, ..holding }), ..noted };
    assert_eq!(slot.step(Message::Seen(noted, Standing::Lives), at(50)), []);
    assert!(slot.held_by(&run("a"), 1).is_ok());
    assert_eq!(slot.step(Message::Seen(free(4), Standing::Unknown), at(60)), [Command::Lost(1, Loss::TakenAway)]);
    assert!(slot.is_idle());
}

#[test]
fn what_another_agent_of_the_same_runs_wrote_is_looked_for_before_it_is_said_to_be_nobodys() {
    let mut slot = Slot::new(Kind::Lock, at(0));
    assert_eq!(slot.step(Message::Renew(5, run("a"), 7), at(1)), [Command::Read]);
    let found = slot.step(Message::Read(Ok(held("a", 7, 7)), Standing::Lives), at(2));
    assert_eq!(found, [Command::Write(Some(7), Change::Renew { fence: 7 })]);

    let mut slot = Slot::new(Kind::Lock, at(0));
    assert_eq!(slot.step(Message::Release(9, run("a"), 7), at(1)), [Command::Read]);
    let found = slot.step(Message::Read(Ok(held("a", 7, 7)), Standing::Lives), at(2));
    assert_eq!(found, [Command::Lost(7, Loss::Released), Command::Write(Some(7), Change::Free)]);
    assert_eq!(slot.step(Message::Wrote(Ok(free(7))), at(3)), [Command::Answer(9, Ok(Done::Released))]);
    slot.step(Message::Seen(free(8), Standing::Unknown), at(3));
    assert!(slot.is_idle());
    // It may not be there, or nobody can say.
    assert_eq!(slot.step(Message::Release(9, run("a"), 9), at(4)), [Command::Read]);
    let away = slot.step(Message::Read(Err(Failed::Away("no".into())), Standing::Unknown), at(5));
    assert_eq!(away, [Command::Answer(9, Err(Refusal::Unavailable("no".into())))]);
    assert_eq!(slot.step(Message::Release(9, run("a"), 9), at(6)), []);
    assert_eq!(slot.step(Message::Wake, at(505)), [Command::Read]);
    let gone = slot.step(Message::Read(Ok(Record::default()), Standing::Unknown), at(506));
    assert_eq!(gone, [Command::Answer(9, Err(Refusal::Lost(Loss::NotHeld)))]);
}

#[test]
fn a_renewal_by_another_agent_of_the_same_runs_keeps_the_lock_here_too() {
    let mut slot = Slot::new(Kind::Lock, at(0));
    slot.step(Message::Seen(held("a", 1, 1), Standing::Lives), at(0));
    slot.step(Message::Ask(waiter(2, "b", None)), at(1));
    slot.step(Message::Seen(held("a", 5, 1), Standing::Lives), at(5000));
    assert_eq!((slot.step(Message::Wake, at(12_999)), slot.wake()), (vec![], Some(at(13_000))));
    assert_eq!(slot.step(Message::Wake, at(13_000)), [Command::Lost(1, Loss::NotRenewed)]);
    // Word of the next one comes late: only the attempt to take it shows that it lives.
    assert_eq!(takes(&slot.step(Message::Wake, at(15_000))).as_deref(), Some("b"));
    assert_eq!(slot.step(Message::Wrote(Err(Failed::Conflict)), at(15_001)), [Command::Read]);
    assert_eq!(slot.step(Message::Read(Ok(held("a", 9, 1)), Standing::Lives), at(15_002)), []);
    assert_eq!((slot.step(Message::Wake, at(23_001)), slot.wake()), (vec![], Some(at(23_002))));
    let ended = slot.step(Message::Run(run("a"), Standing::Ended), at(23_001));
    assert_eq!((&ended[0], takes(&ended).as_deref()), (&Command::Lost(1, Loss::InstanceEnded), Some("b")));
}

#[test]
fn another_clients_lease_is_waited_for_as_long_as_it_was_seen_to_change() {
    let mut foreign = held("x", 5, 5);
    foreign.watched = false;
    if let Some(holding) = &mut foreign.holding {
        holding.holder = "host_3fd1".into();
    }
    let mut slot = Slot::new(Kind::Leader, at(0));
    slot.step(Message::Ask(waiter(1, "a", None)), at(0));
    assert_eq!(slot.step(Message::Wrote(Err(Failed::Conflict)), at(1)), [Command::Read]);
    // From now on its changes are to be seen.
    let read = slot.step(Message::Read(Ok(foreign.clone()), Standing::Unknown), at(2));
    assert_eq!(read, [Command::Write(Some(5), Change::Mark)]);
    foreign.watched = true;
    foreign.revision = 6;
    slot.step(Message::Wrote(Ok(foreign.clone())), at(3));
    assert_eq!(slot.wake(), Some(at(10_002)));
    foreign.revision = 7;
    foreign.holding.as_mut().unwrap().renewed = Timestamp::UNIX_EPOCH;
    slot.step(Message::Seen(foreign, Standing::Unknown), at(9000));
    assert_eq!((slot.step(Message::Wake, at(18_999)), slot.wake()), (vec![], Some(at(19_000))));
    assert_eq!(takes(&slot.step(Message::Wake, at(19_000))).as_deref(), Some("a"));
}

#[test]
fn after_a_start_those_who_waited_before_come_first_and_a_run_that_still_lives_keeps_what_it_holds() {
    let mut slot = Slot::found(Kind::Lock, held("a", 9, 3), Standing::Unknown, at(2000), at(0));
    assert_eq!(slot.step(Message::Run(run("a"), Standing::Lives), at(10)), []);
    assert_eq!(slot.held_by(&run("a"), 3).map(|holding| holding.fence), Ok(3));
    slot.step(Message::Ask(waiter(8, "new", None)), at(20));
    // It ends, and the one who asked after the start is not the first that did.
    let ended = slot.step(Message::Run(run("a"), Standing::Ended), at(30));
    assert_eq!((takes(&ended), slot.wake()), (None, Some(at(2000))));
    slot.step(Message::Ask(waiter(4, "old", None)), at(500));
    assert_eq!(takes(&slot.step(Message::Wake, at(2000))).as_deref(), Some("old"));
    // Nobody held it: nobody can have waited.
    let mut slot = Slot::found(Kind::Leader, Record { exists: true, watched: true, ..free(9) }, Standing::Unknown, at(2000), at(0));
    assert_eq!(takes(&slot.step(Message::Ask(waiter(8, "new", None)), at(20))).as_deref(), Some("new"));
}

#[test]
fn what_nobody_holds_any_more_is_cleared_away_but_another_programs_lease_of_a_leader() {
    let lapsed = |kind| {
        let mut slot = Slot::found(kind, held("elsewhere", 9, 3), Standing::Unknown, at(0), at(0));
        assert_eq!(slot.step(Message::Wake, at(0)), []);
        slot.step(Message::Wake, at(10_000))
    };
    assert_eq!(lapsed(Kind::Lock), [Command::Write(Some(9), Change::Free)]);
    assert_eq!(lapsed(Kind::Leader), []);
}

#[test]
fn a_wait_has_its_end_and_says_who_holds_it() {
    let mut slot = with_a();
    let refused = slot.step(Message::Ask(waiter(2, "b", Some(at(10)))), at(10));
    assert!(matches!(&refused[..], [Command::Answer(2, Err(Refusal::Held(by)))] if by.instance() == "a"), "{refused:?}");
    slot.step(Message::Ask(waiter(3, "b", Some(at(500)))), at(11));
    assert_eq!(slot.wake(), Some(at(500)));
    assert!(matches!(&slot.step(Message::Wake, at(500))[..], [Command::Answer(3, Err(Refusal::Held(_)))]));
}

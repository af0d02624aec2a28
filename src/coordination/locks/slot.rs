//! One key, decided in values: messages in, commands out. It knows nothing of how a lock is kept; there is one write at a time, each against the revision
//! that was read, so that whoever else writes is found out and never overwritten.
//!
//! Times are this machine's boot-time clock. An acquisition is good until its ttl after the *sending* of its last write that came through: whoever watches
//! from elsewhere has seen that write later. The holder is told of its loss before that, and only then may another have it.
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    Holding, Kind, Loss, MAX_WAITERS, Refusal,
    message::{Change, Command, Done, Failed, Id, Message, Record, Waiter},
    tenure::{Held, Tenure},
};
use crate::session::{Session, Standing};
use mesh_kit::clock::BootTime;

/// How long to leave what keeps the locks alone after it did not answer, or refused.
const AWAY: Duration = Duration::from_millis(500);
/// How long a record that this program made stays when nobody holds it.
const UNUSED: Duration = Duration::from_secs(60 * 60);

/// What was sent, and is not answered yet.
#[derive(Debug, Clone, PartialEq)]
enum Pending {
    Read,
    Take { waiter: Waiter, left: bool, asked: BootTime },
    Renew { id: Id, asked: BootTime },
    Free,
    Mark,
}

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    kind: Kind,
    record: Record,
    /// When the record was last seen to change.
    changed: BootTime,
    /// What is in `record` may not be what is there.
    stale: bool,
    /// It was removed here, and the watch has not come to that yet: what it still tells was before.
    removed: bool,
    tenure: Tenure,
    /// By ticket.
    queue: VecDeque<Waiter>,
    /// Renewals that wait for their turn.
    renewals: VecDeque<(Id, Session, u64)>,
    /// Who gives it back and waits for that to be written.
    releasing: Vec<Id>,
    /// Who gives back what was not seen here yet: another agent wrote it.
    unseen: Vec<(Id, Session, u64)>,
    pending: Option<Pending>,
    /// Seen while something was under way.
    news: Option<(Record, Standing)>,
    /// Whose attempt to take it had no answer, so that it may have come through, and when it was sent.
    unanswered: Option<(Id, Session, BootTime)>,
    /// Why the last attempt came to nothing, and when the next may be.
    trouble: Option<(String, BootTime)>,
    /// Nobody gets it before: who waited before this agent began is on the way back.
    settled: BootTime,
    /// The last acquisition here that is over.
    last: Option<(u64, Loss)>,
    wake: Option<BootTime>,
}

impl Slot {
    /// One of which nothing is known.
    pub(super) fn new(kind: Kind, now: BootTime) -> Self {
        Self {
            kind,
            record: Record::default(),
            changed: now,
            stale: false,
            removed: false,
            tenure: Tenure::Other,
            queue: VecDeque::new(),
            renewals: VecDeque::new(),
            releasing: Vec::new(),
            unseen: Vec::new(),
            pending: None,
            news: None,
            unanswered: None,
            trouble: None,
            settled: BootTime::after_boot(Duration::ZERO),
            last: None,
            wake: None,
        }
    }

    /// One that this agent found when it began; where it was held, nobody gets it before `settled`. To be woken at once.
    pub(super) fn found(kind: Kind, record: Record, standing: Standing, settled: BootTime, now: BootTime) -> Self {
        let mut this = Self::new(kind, now);
        if record.holding.is_some() {
            this.settled = settled;
        }
        this.see(record, standing, now, &mut Vec::new());
        this
    }

    /// Somebody comes back who waited before this agent began: others who did may be on the way still.
    pub(super) fn settle(&mut self, until: BootTime) {
        self.settled = self.settled.max(until);
    }

    /// Who holds it now: not whoever held it too long without a word.
    pub(super) fn holding(&self, now: BootTime) -> Option<&Holding> {
        self.record.holding.as_ref().filter(|_| self.free_at().is_none_or(|free| now < free))
    }

    /// The acquisition that a run has here.
    pub(super) fn held_by(&self, session: &Session, fence: u64) -> Result<&Holding, Loss> {
        match (&self.tenure, &self.record.holding) {
            (Tenure::Ours(held), Some(holding)) if held.session == *session && held.fence == fence => Ok(holding),
            _ => Err(self.lost(fence)),
        }
    }

    /// Whether it can be forgotten: nobody holds it, wants it, or is to be told something, and nothing old of it is told any more.
    pub(super) fn is_idle(&self) -> bool {
        let asked = self.queue.len() + self.renewals.len() + self.releasing.len() + self.unseen.len();
        !self.record.exists && !self.removed && self.pending.is_none() && asked == 0
    }

    /// The runs of which one has it, or wants it, or has just asked for it.
    pub(super) fn sessions(&self) -> BTreeSet<Session> {
        let takes = match &self.pending {
            Some(Pending::Take { waiter, .. }) => Some(&waiter.session),
            _ => None,
        };
        let wants = self.queue.iter().map(|waiter| &waiter.session);
        self.record.session().into_iter().chain(takes.into_iter().chain(wants).cloned()).collect()
    }

    /// What stands in its record, as far as is known.
    pub(super) const fn record(&self) -> &Record {
        &self.record
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes note of what happened; what is to be done about it.
    pub(super) fn step(&mut self, message: Message, now: BootTime) -> Vec<Command> {
        let mut out = Vec::new();
        let mut asked = None;
        match message {
            Message::Ask(waiter) if self.queue.len() >= MAX_WAITERS => out.push(Command::Answer(waiter.id, Err(Refusal::Busy))),
            Message::Ask(waiter) => {
                let already = self.already(&waiter).cloned();
                asked = Some(waiter.id).filter(|_| already.is_none());
                match already {
                    Some(holding) => out.push(Command::Answer(waiter.id, Ok(Done::Held(holding)))),
                    None => self.enter(waiter),
                }
            }
            Message::Leave(id) => self.leave(id),
            Message::Renew(id, session, fence) => {
                self.stale |= self.is_unseen(fence);
                self.renewals.push_back((id, session, fence));
            }
            Message::Release(id, session, fence) if self.is_unseen(fence) => {
                self.stale = true;
                self.unseen.push((id, session, fence));
            }
            Message::Release(id, session, fence) => self.release(id, &session, fence, now, &mut out),
            Message::Doubt => self.stale = true,
            Message::Seen(record, standing) if self.pending.is_some() => self.news = Some((record, standing)),
            Message::Seen(record, standing) => self.see_newer(record, standing, now, &mut out),
            Message::Read(result, standing) => self.read(result, standing, now, &mut out),
            Message::Wrote(result) => self.wrote(result, now, &mut out),
            Message::Run(session, standing) => self.run(&session, standing, now, &mut out),
            Message::Wake => {}
        }
        if self.pending.is_none()
            && let Some((record, standing)) = self.news.take()
        {
            self.see_newer(record, standing, now, &mut out);
        }
        self.decide(now, &mut out);
        // Also the one who is served next: until that is written it may have to ask again.
        if let Some(id) = asked
            && let Some(position) = self.position(id)
        {
            out.push(Command::Answer(id, Ok(Done::Queued(position))));
        }
        out
    }

    /// How many are served before it, itself included; none if it has its answer.
    fn position(&self, id: Id) -> Option<usize> {
        let taking = matches!(&self.pending, Some(Pending::Take { waiter, .. }) if waiter.id == id);
        if taking { Some(1) } else { self.queue.iter().position(|waiter| waiter.id == id).map(|place| place + 1) }
    }

    /// When to be woken, if nothing happens before.
    pub(super) const fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// Does what can be done now, and sees when there will be more to do.
    fn decide(&mut self, now: BootTime, out: &mut Vec<Command>) {
        self.wake = None;
        self.lapse(now, out);
        if self.pending.is_none() {
            self.work(now, out);
        }
        if self.pending.is_none() {
            self.give_up(now, out);
        }
    }

    fn wake_at(&mut self, at: BootTime) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// An acquisition that was not renewed is over before its time is: its holder has to know by then.
    fn lapse(&mut self, now: BootTime, out: &mut Vec<Command>) {
        let Tenure::Ours(held) = &self.tenure else { return };
        let (notice, until) = (held.notice(), held.until());
        if now < notice {
            self.wake_at(notice);
        } else {
            let loss = if held.tried { Loss::Unavailable } else { Loss::NotRenewed };
            self.lose(loss, until, out);
        }
    }

    /// Whoever had it here has it no longer; another may have it then.
    fn lose(&mut self, loss: Loss, until: BootTime, out: &mut Vec<Command>) {
        if let Tenure::Ours(held) = std::mem::replace(&mut self.tenure, Tenure::Over(until)) {
            self.last = Some((held.fence, loss));
            out.push(Command::Lost(held.fence, loss));
        }
    }

    /// Why the acquisition of this fence is none, or none any more.
    fn lost(&self, fence: u64) -> Loss {
        self.last.filter(|(last, _)| *last == fence).map_or(Loss::NotHeld, |(_, loss)| loss)
    }

    fn work(&mut self, now: BootTime, out: &mut Vec<Command>) {
        if let Some(again) = self.trouble.as_ref().map(|(_, again)| *again).filter(|again| now < *again) {
            if self.stale || !self.renewals.is_empty() || self.is_wanted() {
                self.wake_at(again);
            }
            return;
        }
        if self.stale {
            self.pending = Some(Pending::Read);
            return out.push(Command::Read);
        }
        while let Some((id, session, fence)) = self.renewals.pop_front() {
            match &mut self.tenure {
                Tenure::Ours(held) if held.session == session && held.fence == fence => {
                    held.tried = true;
                    return self.write(Pending::Renew { id, asked: now }, Change::Renew { fence }, out);
                }
                _ => out.push(Command::Answer(id, Err(Refusal::Lost(self.lost(fence))))),
            }
        }
        if !self.is_wanted() {
            return self.clear(now, out);
        }
        let Some(free) = self.free_at() else { return };
        // Who waited before this agent began may still be on the way back.
        let from = if self.queue.is_empty() { free } else { free.max(self.settled) };
        if now < from {
            self.wake_at(from);
            if self.record.exists && !self.record.watched {
                self.write(Pending::Mark, Change::Mark, out);
            }
            return;
        }
        match self.queue.pop_front() {
            Some(waiter) => {
                let transitions = if self.record.exists { self.record.transitions.saturating_add(1) } else { 0 };
                let (session, metadata) = (waiter.session.clone(), waiter.metadata.clone());
                let change = Change::Take { session, ttl: waiter.ttl, ticket: waiter.ticket, metadata, transitions };
                self.write(Pending::Take { waiter, left: false, asked: now }, change, out);
            }
            None => self.write(Pending::Free, Change::Free, out),
        }
    }

    /// A record that nobody has held for long goes.
    fn clear(&mut self, now: BootTime, out: &mut Vec<Command>) {
        if !self.record.exists || !self.record.ours || self.record.holding.is_some() {
            return;
        }
        let at = self.changed + UNUSED;
        if now < at {
            self.wake_at(at);
        } else {
            self.write(Pending::Free, Change::Remove, out);
        }
    }

    fn write(&mut self, pending: Pending, change: Change, out: &mut Vec<Command>) {
        self.pending = Some(pending);
        out.push(Command::Write(self.record.exists.then_some(self.record.revision), change));
    }

    /// Whether somebody wants it, or it is held by nobody and the record does not say so yet.
    fn is_wanted(&self) -> bool {
        // The record of a leader elsewhere is not ours to clear away.
        let left = self.record.holding.is_some() && (self.kind == Kind::Lock || matches!(self.tenure, Tenure::Over(_)));
        !self.queue.is_empty() || left
    }

    /// From when on it is anybody's; none while a run of this agent has it.
    fn free_at(&self) -> Option<BootTime> {
        let Some(holding) = &self.record.holding else { return Some(BootTime::after_boot(Duration::ZERO)) };
        match self.tenure {
            Tenure::Ours(_) => None,
            Tenure::Over(until) => Some(until),
            Tenure::Other => Some(self.changed + holding.ttl),
        }
    }

    /// Tells those whose wait is over.
    fn give_up(&mut self, now: BootTime, out: &mut Vec<Command>) {
        for waiter in std::mem::take(&mut self.queue) {
            if waiter.until.is_none_or(|until| now < until) {
                self.queue.push_back(waiter);
                continue;
            }
            let refusal = match (&self.trouble, &self.record.holding) {
                (Some((trouble, _)), _) => Refusal::Unavailable(trouble.clone()),
                (None, Some(holding)) => Refusal::Held(Box::new(holding.clone())),
                // It settles still.
                (None, None) => Refusal::Unavailable("it has just begun, and waits for those who asked before".to_owned()),
            };
            out.push(Command::Answer(waiter.id, Err(refusal)));
        }
        if let Some(until) = self.queue.iter().filter_map(|waiter| waiter.until).min() {
            self.wake_at(until);
        }
    }

    /// What it got when it asked before, and was not told: this agent was another then.
    fn already(&self, waiter: &Waiter) -> Option<&Holding> {
        let Tenure::Ours(held) = &self.tenure else { return None };
        self.record.holding.as_ref().filter(|holding| held.session == waiter.session && holding.ticket == Some(waiter.ticket))
    }

    fn enter(&mut self, waiter: Waiter) {
        let place = self.queue.iter().position(|other| other.ticket > waiter.ticket).unwrap_or(self.queue.len());
        self.queue.insert(place, waiter);
    }

    fn leave(&mut self, id: Id) {
        self.queue.retain(|waiter| waiter.id != id);
        if let Some(Pending::Take { waiter, left, .. }) = &mut self.pending {
            *left |= waiter.id == id;
        }
    }

    /// Whether the write of this fence is newer than all that was seen here: another agent's, which is to be read first.
    const fn is_unseen(&self, fence: u64) -> bool {
        fence > self.record.revision
    }

    fn release(&mut self, id: Id, session: &Session, fence: u64, now: BootTime, out: &mut Vec<Command>) {
        match self.held_by(session, fence) {
            Ok(_) => {
                self.lose(Loss::Released, now, out);
                self.releasing.push(id);
            }
            // The answer to a release that came through may have been lost on its way.
            Err(Loss::Released) if matches!(self.tenure, Tenure::Over(_)) => self.releasing.push(id),
            Err(Loss::Released) => out.push(Command::Answer(id, Ok(Done::Released))),
            Err(loss) => out.push(Command::Answer(id, Err(Refusal::Lost(loss)))),
        }
    }

    fn run(&mut self, session: &Session, standing: Standing, now: BootTime, out: &mut Vec<Command>) {
        if standing == Standing::Ended {
            for waiter in std::mem::take(&mut self.queue) {
                if waiter.session == *session {
                    out.push(Command::Answer(waiter.id, Err(Refusal::Lost(Loss::InstanceEnded))));
                } else {
                    self.queue.push_back(waiter);
                }
            }
            if let Some(Pending::Take { waiter, left, .. }) = &mut self.pending {
                *left |= waiter.session == *session;
            }
        }
        self.stand(session, standing, now, out);
    }

    /// What is known of a run, if it is that of the holder.
    fn stand(&mut self, session: &Session, standing: Standing, now: BootTime, out: &mut Vec<Command>) {
        let Some(holding) = self.record.holding.as_ref().filter(|holding| holding.holder.parse().as_ref() == Ok(session)) else { return };
        match (standing, &self.tenure) {
            // It held the key before this agent began.
            (Standing::Lives, Tenure::Other) => {
                let held = Held { session: session.clone(), fence: holding.fence, ttl: holding.ttl, asked: now, tried: false };
                self.tenure = Tenure::Ours(held);
            }
            (Standing::Ended, Tenure::Ours(_)) => self.lose(Loss::InstanceEnded, now, out),
            (Standing::Ended, Tenure::Over(until)) => self.tenure = Tenure::Over(now.min(*until)),
            (Standing::Ended, Tenure::Other) => self.tenure = Tenure::Over(now),
            (Standing::Lives | Standing::Unknown, _) => {}
        }
    }

    fn see_newer(&mut self, record: Record, standing: Standing, now: BootTime, out: &mut Vec<Command>) {
        if record.revision > self.record.revision {
            self.see(record, standing, now, out);
        } else if !record.exists && record.revision == self.record.revision {
            self.removed = false;
        }
    }

    /// So it stands in the record.
    fn see(&mut self, mut record: Record, standing: Standing, now: BootTime, out: &mut Vec<Command>) {
        let same = self.record.acquisition() == record.acquisition();
        if let (true, Some(known), Some(holding)) = (same, &self.record.holding, &mut record.holding) {
            // Notes that others put on the record are no other acquisition, and no sign of life.
            holding.fence = known.fence;
            if known.renewed != holding.renewed {
                self.changed = now;
                self.tenure.renewed(self.last, holding.fence, now);
            }
        } else {
            self.changed = now;
            self.lose(Loss::TakenAway, now, out);
            self.tenure = Tenure::Other;
        }
        self.record = record;
        self.removed = false;
        if let Some(session) = self.record.session() {
            self.stand(&session, standing, now, out);
        }
    }

    fn read(&mut self, result: Result<Record, Failed>, standing: Standing, now: BootTime, out: &mut Vec<Command>) {
        self.pending = None;
        match result {
            Ok(record) => {
                self.stale = false;
                self.trouble = None;
                // What is not there has no revision of its own.
                let revision = if record.exists { record.revision } else { self.record.revision };
                let record = Record { revision, ..record };
                match self.unanswered.take() {
                    Some((id, session, asked)) if self.is_new(&record, &session) => {
                        let waiter = self.queue.iter().position(|waiter| waiter.id == id).and_then(|place| self.queue.remove(place));
                        self.taken(waiter, asked, record, now, out);
                    }
                    _ => self.see(record, standing, now, out),
                }
                for (id, session, fence) in std::mem::take(&mut self.unseen) {
                    self.release(id, &session, fence, now, out);
                }
            }
            Err(failed) => {
                let unseen = self.unseen.iter().map(|(id, ..)| *id);
                let (asked, refusal): (Vec<_>, _) = match &failed {
                    Failed::Conflict => (Vec::new(), None),
                    Failed::Away(why) => (unseen.collect(), Some(Refusal::Unavailable(why.clone()))),
                    Failed::Refused(why) => {
                        let waiting = self.queue.drain(..).map(|waiter| waiter.id);
                        (waiting.chain(self.releasing.drain(..)).chain(unseen).collect(), Some(Refusal::Refused(why.clone())))
                    }
                };
                if let Some(refusal) = refusal {
                    self.unseen.clear();
                    out.extend(asked.into_iter().map(|id| Command::Answer(id, Err(refusal.clone()))));
                }
                self.failed(failed, now);
            }
        }
    }

    /// Whether it tells of an acquisition by this run that was not known.
    fn is_new(&self, record: &Record, session: &Session) -> bool {
        record.session().as_ref() == Some(session) && record.acquisition() != self.record.acquisition()
    }

    fn failed(&mut self, failed: Failed, now: BootTime) {
        self.stale = true;
        if let Failed::Away(why) | Failed::Refused(why) = failed {
            self.trouble = Some((why, now + AWAY));
        }
    }

    fn wrote(&mut self, result: Result<Record, Failed>, now: BootTime, out: &mut Vec<Command>) {
        let Some(pending) = self.pending.take() else { return };
        let record = match result {
            Ok(record) => record,
            Err(failed) => return self.not_written(pending, failed, now, out),
        };
        self.trouble = None;
        match pending {
            Pending::Take { waiter, left, asked } => self.taken(Some(waiter).filter(|_| !left), asked, record, now, out),
            Pending::Renew { id, asked } => {
                self.see(record, Standing::Unknown, now, out);
                let answer = match (&mut self.tenure, &self.record.holding) {
                    (Tenure::Ours(held), Some(holding)) => {
                        (held.asked, held.tried) = (asked, false);
                        Ok(Done::Held(holding.clone()))
                    }
                    _ => Err(Refusal::Lost(self.last.map_or(Loss::TakenAway, |(_, loss)| loss))),
                };
                out.push(Command::Answer(id, answer));
            }
            Pending::Free => {
                self.see(record, Standing::Unknown, now, out);
                self.removed = !self.record.exists;
                self.released(out);
            }
            Pending::Mark | Pending::Read => self.see(record, Standing::Unknown, now, out),
        }
    }

    /// It is this waiter's, or that of one who is not there any more.
    fn taken(&mut self, waiter: Option<Waiter>, asked: BootTime, record: Record, now: BootTime, out: &mut Vec<Command>) {
        self.see(record, Standing::Unknown, now, out);
        self.released(out);
        let Some(holding) = &self.record.holding else { return };
        let Some(waiter) = waiter else {
            self.tenure = Tenure::Over(now);
            return;
        };
        let held = Held { session: waiter.session, fence: holding.fence, ttl: holding.ttl, asked, tried: false };
        if now < held.notice() {
            out.push(Command::Answer(waiter.id, Ok(Done::Held(holding.clone()))));
            self.tenure = Tenure::Ours(held);
        } else {
            // The answer came too late to be of use.
            out.push(Command::Answer(waiter.id, Err(Refusal::Unavailable("the lock was written too late".to_owned()))));
            self.tenure = Tenure::Over(held.until());
        }
    }

    /// The record says now that whoever gave it back does not hold it.
    fn released(&mut self, out: &mut Vec<Command>) {
        out.extend(self.releasing.drain(..).map(|id| Command::Answer(id, Ok(Done::Released))));
    }

    fn not_written(&mut self, pending: Pending, failed: Failed, now: BootTime, out: &mut Vec<Command>) {
        match (pending, &failed) {
            (Pending::Take { waiter, .. }, Failed::Refused(why)) => {
                // What is there is as it was: whoever is next may try at once.
                return out.push(Command::Answer(waiter.id, Err(Refusal::Refused(why.clone()))));
            }
            (Pending::Take { waiter, left, asked }, failed) => {
                if matches!(failed, Failed::Away(_)) {
                    self.unanswered = Some((waiter.id, waiter.session.clone(), asked));
                }
                if !left {
                    self.enter(waiter);
                }
            }
            (Pending::Renew { id, .. }, Failed::Away(why) | Failed::Refused(why)) => {
                out.push(Command::Answer(id, Err(Refusal::Unavailable(why.clone()))));
            }
            (Pending::Renew { id, .. }, Failed::Conflict) => {
                // Another's note on the record, or its loss: seen after a look, and tried again or refused then.
                if let Tenure::Ours(held) = &self.tenure {
                    self.renewals.push_front((id, held.session.clone(), held.fence));
                } else {
                    out.push(Command::Answer(id, Err(Refusal::Lost(self.last.map_or(Loss::TakenAway, |(_, loss)| loss)))));
                }
            }
            (Pending::Free | Pending::Mark | Pending::Read, _) => {}
        }
        if let Failed::Away(why) | Failed::Refused(why) = &failed {
            let refused = self.releasing.drain(..).map(|id| Command::Answer(id, Err(Refusal::Unavailable(why.clone()))));
            out.extend(refused);
        }
        self.failed(failed, now);
    }
}

//! Two agents, their programs, and one API: writes and their answers come late or never, watches lag, agents start anew, programs end, people meddle.
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

const TTL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Op {
    /// Time passes, in milliseconds.
    Pass(u64),
    Ask(usize),
    /// By its own agent, or by the other one where both know it.
    Renew(usize, bool),
    Release(usize, bool),
    /// A program leaves the queue.
    Leave(usize),
    /// A program's run ends.
    End(usize),
    /// The API works off the oldest request of an agent. Its answer comes, or does not.
    Serve(usize, bool),
    /// It is away: the oldest request of an agent is not done.
    Refuse(usize),
    /// An agent's watch gets its next event.
    Watch(usize),
    /// An agent is killed and starts anew.
    Restart(usize),
    /// A person notes something on the Lease, or removes it.
    Note,
    Remove,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (program, agent) = (|| 0..PROGRAMS, || 0..2_usize);
    let op = prop_oneof![
        6 => prop_oneof![Just(1), Just(50), Just(900), Just(4000), Just(11_000)].prop_map(Op::Pass),
        6 => program().prop_map(Op::Ask),
        5 => (program(), any::<bool>()).prop_map(|(program, own)| Op::Renew(program, own)),
        3 => (program(), any::<bool>()).prop_map(|(program, own)| Op::Release(program, own)),
        1 => program().prop_map(Op::Leave),
        1 => program().prop_map(Op::End),
        16 => (agent(), prop::bool::weighted(0.9)).prop_map(|(agent, answered)| Op::Serve(agent, answered)),
        1 => agent().prop_map(Op::Refuse),
        8 => agent().prop_map(Op::Watch),
        1 => agent().prop_map(Op::Restart),
        1 => Just(Op::Note),
        1 => Just(Op::Remove),
    ];
    prop::collection::vec(op, 1..250)
}

/// One agent, and what is on its way to and from the API.
struct Agent {
    slot: Slot,
    /// The one request that is under way.
    request: Option<Command>,
    events: VecDeque<Record>,
}

/// One program: a run of an instance at an agent.
#[derive(Default)]
struct Program {
    run: u32,
    /// It asked then, with this id, and has no answer.
    asks: Option<u64>,
    /// It has been told that it has it, and has to renew first to know until when.
    fence: Option<u64>,
    /// It believes to hold it until then.
    until: Option<BootTime>,
    /// Renewals on their way, with when they were sent.
    renewals: BTreeMap<u64, BootTime>,
}

struct World {
    /// Both agents know all runs, as in a cluster; else each those of its machine.
    shared: bool,
    now: BootTime,
    revision: u64,
    record: Record,
    agents: [Agent; 2],
    programs: Vec<Program>,
    ids: u64,
    fences: Vec<u64>,
    /// Grants, by id, for the order.
    served: Vec<u64>,
}

const PROGRAMS: usize = 6;

impl World {
    fn new(shared: bool) -> Self {
        let agent = || Agent { slot: Slot::new(Kind::Lock, at(1000)), request: None, events: VecDeque::new() };
        Self {
            shared,
            now: at(1000),
            revision: 1,
            record: Record::default(),
            agents: [agent(), agent()],
            programs: (0..PROGRAMS).map(|_| Program::default()).collect(),
            ids: 0,
            fences: Vec::new(),
            served: Vec::new(),
        }
    }

    fn session(&self, program: usize) -> Session {
        Session { instance: format!("p{program}"), uid: format!("u{program}"), attempt: self.programs[program].run }
    }

    /// What the agent of a program knows of whoever holds a record.
    fn standing(&self, agent: usize, record: &Record) -> Standing {
        let Some(session) = record.holding.as_ref().and_then(|holding| holding.holder.parse::<Session>().ok()) else {
            return Standing::Unknown;
        };
        let program: usize = session.uid[1..].parse().unwrap();
        if !self.shared && program % 2 != agent {
            Standing::Unknown
        } else if self.programs[program].run == session.attempt {
            Standing::Lives
        } else {
            Standing::Ended
        }
    }

    fn step(&mut self, agent: usize, message: Message) {
        let commands = self.agents[agent].slot.step(message, self.now);
        for command in commands {
            match command {
                Command::Read | Command::Write(..) => {
                    assert!(self.agents[agent].request.is_none(), "two requests at once");
                    self.agents[agent].request = Some(command);
                }
                Command::Answer(id, result) => self.answered(id, result),
                Command::Lost(fence, _) => {
                    for program in self.programs.iter_mut().skip(agent).step_by(2).filter(|program| program.fence == Some(fence)) {
                        (program.fence, program.until) = (None, None);
                    }
                }
            }
        }
    }

    fn answered(&mut self, id: u64, result: Result<Done, Refusal>) {
        let now = self.now;
        let concerned = |program: &&mut Program| program.asks == Some(id) || program.renewals.contains_key(&id);
        let Some(program) = self.programs.iter_mut().find(concerned) else { return };
        if let Some(sent) = program.renewals.remove(&id) {
            if let (Ok(Done::Held(holding)), true) = (&result, program.fence.is_some()) {
                assert_eq!(Some(holding.fence), program.fence);
                program.until = Some(program.until.map_or(sent + TTL, |until| until.max(sent + TTL)));
            }
            return;
        }
        match result {
            Ok(Done::Held(holding)) => {
                program.asks = None;
                program.fence = Some(holding.fence);
                assert!(now.since_boot() > Duration::ZERO);
                assert!(self.fences.iter().all(|fence| *fence < holding.fence), "{} after {:?}", holding.fence, self.fences);
                self.fences.push(holding.fence);
                self.served.push(id);
            }
            Ok(Done::Queued(_) | Done::Released) => {}
            Err(_) => program.asks = None,
        }
    }

    /// Works off an agent's request; what it changed is seen by both watches.
    fn serve(&mut self, agent: usize, answered: bool) {
        let Some(request) = self.agents[agent].request.take() else { return };
        let message = match request {
            Command::Read => {
                // What is not there has no revision.
                let found = if self.record.exists { self.record.clone() } else { Record::default() };
                let standing = self.standing(agent, &found);
                Message::Read(if answered { Ok(found) } else { Err(Failed::Away("lost".into())) }, standing)
            }
            Command::Write(against, change) => {
                let result = self.write(against, change);
                Message::Wrote(if answered { result } else { Err(Failed::Away("lost".into())) })
            }
            _ => return,
        };
        self.step(agent, message);
    }

    fn write(&mut self, against: Option<u64>, change: Change) -> Result<Record, Failed> {
        if against != self.record.exists.then_some(self.record.revision) {
            return Err(Failed::Conflict);
        }
        let time = Timestamp::from_millisecond(i64::try_from(self.now.since_boot().as_millis()).unwrap()).unwrap();
        let revision = self.revision + 1;
        let mut record = Record { exists: true, revision, watched: true, ..self.record.clone() };
        match change {
            Change::Take { session, ttl, ticket, metadata, transitions } => {
                let holder = session.to_string();
                // Made unlike any other by the revision, as the time of a real one is.
                let acquired = Timestamp::from_microsecond(time.as_microsecond() + i64::try_from(revision).unwrap()).unwrap();
                record.transitions = transitions;
                record.holding = Some(Holding { holder, fence: revision, ttl, acquired, renewed: time, ticket: Some(ticket), metadata });
            }
            Change::Renew { fence } => {
                let holding = record.holding.as_mut().unwrap();
                (holding.fence, holding.renewed) = (fence, time);
            }
            Change::Free | Change::Remove => record = Record { revision, ..Record::default() },
            Change::Mark => {}
        }
        self.put(record.clone());
        Ok(if record.exists { record } else { Record { revision: against.unwrap_or(0), ..Record::default() } })
    }

    fn put(&mut self, record: Record) {
        self.revision = record.revision;
        self.record = record;
        for agent in &mut self.agents {
            agent.events.push_back(self.record.clone());
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Pass(millis) => {
                let end = self.now + Duration::from_millis(millis);
                // Both are woken in time; programs look at their clocks.
                while let Some((wake, agent)) =
                    (0..2).filter_map(|agent| Some((self.agents[agent].slot.wake()?, agent))).min().filter(|(wake, _)| *wake <= end)
                {
                    self.now = self.now.max(wake);
                    self.step(agent, Message::Wake);
                    assert!(self.agents[agent].slot.wake() != Some(wake), "woken at {wake:?} for nothing");
                }
                self.now = end;
            }
            Op::Ask(program) => self.ask(program),
            Op::Renew(program, own) => self.renew(program, own),
            Op::Release(program, own) => self.release(program, own),
            Op::Leave(program) => {
                if let Some(id) = self.programs[program].asks.take() {
                    self.step(program % 2, Message::Leave(id));
                }
            }
            Op::End(program) => {
                let session = self.session(program);
                self.programs[program] = Program { run: session.attempt + 1, ..Program::default() };
                self.step(program % 2, Message::Run(session.clone(), Standing::Ended));
                if self.shared {
                    self.step(1 - program % 2, Message::Run(session, Standing::Ended));
                }
            }
            Op::Serve(agent, answered) => self.serve(agent, answered),
            Op::Refuse(agent) => match self.agents[agent].request.take() {
                Some(Command::Read) => self.step(agent, Message::Read(Err(Failed::Away("away".into())), Standing::Unknown)),
                Some(_) => self.step(agent, Message::Wrote(Err(Failed::Away("away".into())))),
                None => {}
            },
            Op::Watch(agent) => {
                if let Some(record) = self.agents[agent].events.pop_front() {
                    let standing = self.standing(agent, &record);
                    self.step(agent, Message::Seen(record, standing));
                }
            }
            Op::Restart(agent) => self.restart(agent),
            Op::Note if self.record.exists => {
                let (renewed, revision) = (self.record.clone(), self.revision + 1);
                let mut record = Record { revision, ..renewed };
                if let Some(holding) = &mut record.holding
                    && holding.fence == self.record.revision
                {
                    holding.fence = revision;
                }
                self.put(record);
            }
            Op::Remove if self.record.exists => {
                // Whoever held it is not told by that alone: its agent has to see it.
                for program in &mut self.programs {
                    program.until = None;
                }
                let revision = self.revision + 1;
                self.put(Record { revision, ..Record::default() });
            }
            Op::Note | Op::Remove => {}
        }
        self.check();
    }

    fn ask(&mut self, program: usize) {
        let id = self.id();
        let session = self.session(program);
        let state = &mut self.programs[program];
        if state.asks.is_some() || state.fence.is_some() {
            return;
        }
        state.asks = Some(id);
        let waiter = Waiter { id, session, ticket: id, ttl: TTL, until: None, metadata: Map::new() };
        self.step(program % 2, Message::Ask(waiter));
    }

    /// The agent that a program asks.
    const fn agent(&self, program: usize, own: bool) -> usize {
        if own || !self.shared { program % 2 } else { 1 - program % 2 }
    }

    fn renew(&mut self, program: usize, own: bool) {
        let Some(fence) = self.programs[program].fence else { return };
        let (id, now) = (self.id(), self.now);
        self.programs[program].renewals.insert(id, now);
        self.step(self.agent(program, own), Message::Renew(id, self.session(program), fence));
    }

    fn release(&mut self, program: usize, own: bool) {
        let Some(fence) = self.programs[program].fence.take() else { return };
        self.programs[program].until = None;
        let id = self.id();
        self.step(self.agent(program, own), Message::Release(id, self.session(program), fence));
    }

    fn restart(&mut self, agent: usize) {
        let standing = self.standing(agent, &self.record);
        let settled = self.now + Duration::from_secs(2);
        let slot = Slot::found(Kind::Lock, self.record.clone(), standing, settled, self.now);
        self.agents[agent] = Agent { slot, request: None, events: VecDeque::new() };
        self.step(agent, Message::Wake);
        if self.programs.iter().skip(agent).step_by(2).any(|program| program.asks.is_some()) {
            self.agents[agent].slot.settle(settled);
        }
        for program in (agent..PROGRAMS).step_by(2) {
            self.programs[program].renewals.clear();
            // Who waited asks again with its ticket.
            if let Some(id) = self.programs[program].asks {
                let session = self.session(program);
                let waiter = Waiter { id, session, ticket: id, ttl: TTL, until: None, metadata: Map::new() };
                self.step(agent, Message::Ask(waiter));
            }
        }
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Never two who believe to hold it, each by its own clock.
    fn check(&self) {
        let believers = self.programs.iter().filter(|program| program.until.is_some_and(|until| self.now < until)).count();
        assert!(believers <= 1, "{believers} believe to hold it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn at_most_one_believes_to_hold_it_and_fences_only_grow_and_whoever_waits_gets_it(shared: bool, ops in ops()) {
        let mut world = World::new(shared);
        for op in ops {
            world.apply(op);
        }
        // Now all goes well: whoever waits is served, whoever has it gives it back.
        for _ in 0..200 {
            for agent in 0..2 {
                world.serve(agent, true);
                while !world.agents[agent].events.is_empty() {
                    let record = world.agents[agent].events.pop_front().unwrap();
                    let standing = world.standing(agent, &record);
                    world.step(agent, Message::Seen(record, standing));
                }
            }
            for program in 0..PROGRAMS {
                world.release(program, true);
            }
            world.apply(Op::Pass(900));
        }
        let waiting: Vec<usize> = (0..PROGRAMS).filter(|program| world.programs[*program].asks.is_some()).collect();
        prop_assert!(waiting.is_empty(), "{waiting:?} wait still; {:?} {:?}", world.agents[0].slot, world.agents[1].slot);
        prop_assert!(!world.record.exists, "{:?} is left", world.record);
    }

    #[test]
    fn at_one_agent_the_order_of_asking_is_the_order_of_serving(ops in ops()) {
        let mut world = World::new(false);
        for op in ops {
            let op = match op {
                Op::Serve(_, answered) => Op::Serve(0, answered),
                Op::Watch(_) => Op::Watch(0),
                Op::Restart(_) => Op::Restart(0),
                // With the Lease it is forgotten that somebody may have waited.
                Op::Remove => continue,
                // Those of the other agent do nothing.
                Op::Ask(program) | Op::Release(program, _) | Op::Renew(program, _) | Op::Leave(program) | Op::End(program) if program % 2 == 1 => continue,
                op => op,
            };
            let before = world.served.len();
            let waiting: Vec<u64> = world.programs.iter().filter_map(|program| program.asks).collect();
            world.apply(op);
            for id in &world.served[before..] {
                let passed: Vec<_> = waiting.iter().filter(|other| *other < id && !world.served.contains(other)).collect();
                prop_assert!(passed.is_empty(), "{id} is served before {passed:?}");
            }
        }
    }
}

//! A small world of candidates, in values: every call takes as long as it likes and may be lost, every process may be stopped at any point, and no wall clock is right.
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// What a candidate is in the middle of.
enum Call {
    None,
    /// A read was sent.
    Reading,
    /// The API has answered it; the answer is on its way.
    Read(Option<Lease>),
    /// A write was sent, at that time of the sender's clock.
    Writing {
        lease: Lease,
        asked: BootTime,
    },
    /// The API took it (or did not); the answer is on its way.
    Wrote {
        answer: Option<Lease>,
        asked: BootTime,
    },
}

struct Process {
    candidate: Candidate,
    call: Call,
    stale: bool,
    until: BootTime,
    /// Since when its machine runs: every machine's clock starts elsewhere.
    boot: Duration,
    /// How wrong its wall clock is, in seconds.
    skew: i64,
}

struct Api {
    lease: Option<Lease>,
    version: u64,
}

impl Api {
    fn write(&mut self, mut lease: Lease) -> Option<Lease> {
        let known = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if known != lease.metadata.resource_version {
            return None;
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(lease)
    }
}

impl Process {
    fn now(&self, world: Duration) -> BootTime {
        BootTime::after_boot(self.boot + world)
    }

    /// Goes on by one step; the runner's `attempt`, cut into the pieces between which anything may happen.
    fn step(&mut self, api: &mut Api, world: Duration, lost: bool) -> bool {
        let now = self.now(world);
        match std::mem::replace(&mut self.call, Call::None) {
            Call::None if self.stale || !self.candidate.holds() => self.call = Call::Reading,
            Call::None => self.propose(world),
            Call::Reading => self.call = Call::Read(api.lease.clone()),
            Call::Read(_) if lost => self.stale = true,
            Call::Read(lease) => {
                self.candidate.see(lease, now);
                self.stale = false;
                self.propose(world);
            }
            Call::Writing { lease, asked } => self.call = Call::Wrote { answer: api.write(lease), asked },
            Call::Wrote { .. } if lost => {}
            Call::Wrote { answer: None, .. } => {}
            Call::Wrote { answer: Some(lease), asked } => {
                self.candidate.see(Some(lease), now);
                self.stale = false;
                let led = now < self.until;
                self.until = asked + Timing::default().renew_deadline;
                return !led && now < self.until;
            }
        }
        false
    }

    fn propose(&mut self, world: Duration) {
        let now = self.now(world);
        match self.candidate.step(now) {
            Some(Step::Acquire | Step::Renew) => {
                let wall = Timestamp::from_second(1_000_000 + i64::try_from(world.as_secs()).unwrap() + self.skew).unwrap();
                self.stale = true;
                self.call = Call::Writing { lease: self.candidate.proposal(wall), asked: now };
            }
            Some(Step::Wait(_)) => self.until = at(0),
            None => {}
        }
    }
}

/// Runs a world of `count` candidates for so many steps; returns how often somebody began to lead.
pub(super) fn run(seed: u64, count: usize, steps: usize) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let mut api = Api { lease: None, version: 0 };
    let mut processes: Vec<Process> = (0..count)
        .map(|index| Process {
            candidate: Candidate::new(format!("p{index}"), Timing::default()),
            call: Call::None,
            stale: true,
            until: at(0),
            boot: Duration::from_secs(random.random_range(0..1_000_000)),
            skew: random.random_range(-500_000..500_000),
        })
        .collect();
    let (mut world, mut elected) = (Duration::ZERO, 0);
    for _ in 0..steps {
        // Mostly quick; now and then all are stopped for a long time, which is the same as each being stopped in turn.
        world += Duration::from_millis(match random.random_range(0..20) {
            0 => random.random_range(0..20_000),
            1..=3 => random.random_range(0..3_000),
            _ => random.random_range(0..200),
        });
        // Not each is as likely: some are stopped for most of the time.
        let chosen = random.random_range(0..count).min(random.random_range(0..count + 1));
        let lost = random.random_bool(0.05);
        if let Some(process) = processes.get_mut(chosen) {
            elected += usize::from(process.step(&mut api, world, lost));
        }
        let writers = processes.iter().filter(|process| process.now(world) < process.until).count();
        assert!(writers <= 1, "{writers} may write at once: seed {seed}");
    }
    elected
}

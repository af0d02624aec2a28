//! The life of one instance: start, probe, restart with backoff, drain, stop, release. Level-based: from what is, the next step; never from an event.
mod run;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    instance::{Exit, ExitHow, Observed, PortOwner, Running},
    uptime,
};
use mesh_api::{
    MeshInstance, MeshInstanceStatus,
    conditions::{Want, instance as reason, task},
    instance::{InstanceState, LastExit},
    probe::PortNumber,
};
use mesh_kit::backoff::Backoff;

/// The waits between failed runs.
pub const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_mins(1) };
/// The waits after starts that did not come about: trying again costs little, and what was missing may be there by now.
pub const START_BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(4) };
/// The wait while what a start needs is on its way, or used up.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A run of at least this long was stable: the next failure counts as the first.
pub const STABLE: SignedDuration = SignedDuration::from_mins(1);
/// Routers stop at the drain deadline by their own clocks; the agent gives them this much longer to say so.
pub const ACK_SLACK: SignedDuration = SignedDuration::from_secs(2);

/// What was just started stays unreported for so long: most programs serve by then, and a state that lasts for milliseconds would cost each of them two
/// more writes. When it is a restart the report that is there says too much meanwhile, so that is for a moment only.
const SETTLE: Duration = Duration::from_secs(1);
/// The same for one that is started again.
const SETTLE_AGAIN: Duration = Duration::from_millis(15);

/// What the probes found of the current run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// The run that was probed.
    pub attempt: u32,
    /// It may get requests.
    pub ready: bool,
    /// It has been ready at least once in this run.
    pub was_ready: bool,
    /// Why it is not ready: a reason, and words.
    pub not_ready: Option<(&'static str, String)>,
    /// A startup or liveness probe failed for good: restart it.
    pub dead: Option<String>,
    /// Which probe could not be made, and why: the cause is on our side, so it counts neither for the instance nor against it.
    pub unknown: Option<String>,
}

/// What the agent remembers of an instance besides its status; lost with the agent, which costs at most an early restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Runs that failed in a row.
    pub failures: u32,
    /// The last run that was counted, how it ended, and because of what if that is known: a run that is followed by the next at once is
    /// never seen as ended by the status.
    last: Option<(Exit, String)>,
    /// The last run that was told to end because of its probes, and what they found.
    given_up: Option<(u32, String)>,
    /// The last start that did not come about.
    pub start_failure: Option<StartFailure>,
    /// Starts that did not come about, and for which the program or its spec is to blame.
    refused: u32,
}

/// A start that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// A reason of the condition Ready.
    pub reason: &'static str,
    /// Names the thing and the remedy.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

impl StartFailure {
    /// It is no failure: what the start needs is on its way, and is asked for again soon.
    pub fn is_under_way(&self) -> bool {
        self.reason == reason::PULLING
    }

    /// It says nothing about the program: the cause is on our side.
    fn is_ours(&self) -> bool {
        matches!(self.reason, reason::ENGINE_UNREACHABLE | reason::NODE_EXHAUSTED)
    }
}

impl Memory {
    /// Takes note of a look: counts a run that ended, once.
    pub fn note(&mut self, observed: &Observed) {
        let Observed::Exited(exit) = observed else { return };
        if self.last.as_ref().is_some_and(|(last, _)| last.attempt == exit.attempt) {
            return;
        }
        self.last = Some((exit.clone(), self.because(exit.attempt)));
        self.failures = if exit.at.duration_since(exit.since) >= STABLE { 1 } else { self.failures.saturating_add(1) };
    }

    /// Takes note that a run is told to end.
    pub fn note_stop(&mut self, health: &Health) {
        if let Some(why) = &health.dead {
            self.given_up = Some((health.attempt, why.clone()));
        }
    }

    /// `, because its liveness probe failed …`, of a run that was told to end for that.
    fn because(&self, attempt: u32) -> String {
        self.given_up.as_ref().filter(|(of, _)| *of == attempt).map(|(_, why)| format!(", because its {why}")).unwrap_or_default()
    }

    /// Takes note of a start that did not come about.
    pub fn note_start_failure(&mut self, failure: StartFailure) {
        let mut failure = failure;
        if !failure.is_under_way() {
            self.refused = self.refused.saturating_add(u32::from(!failure.is_ours()));
            self.failures = if failure.is_ours() { self.failures } else { self.failures.saturating_add(1).max(2) };
        } else if let Some(known) = self.start_failure.take_if(|known| known.reason == reason::IMAGE_PULL) {
            // It could not be pulled, and is being tried again: why it could not is what people want to know until it can.
            failure = StartFailure { at: failure.at, ..known };
        }
        self.start_failure = Some(failure);
    }

    /// Takes note of a start, and gives what had stood in its way until now.
    pub fn note_started(&mut self) -> Option<StartFailure> {
        self.start_failure.take()
    }
}

/// Everything a plan is made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The object.
    pub instance: &'a MeshInstance,
    /// What the backend found.
    pub observed: &'a Observed,
    /// What the probes found.
    pub health: &'a Health,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The routers whose leases run.
    pub routers: &'a [String],
    /// Its `EndpointSlice` is there: routers can say that they have drained it.
    pub announced: bool,
    /// Now.
    pub now: Timestamp,
}

/// The one next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Start run number `attempt`.
    Start {
        /// Its number.
        attempt: u32,
    },
    /// Tell it to end.
    Stop {
        /// Between SIGTERM and SIGKILL.
        grace: Duration,
    },
    /// Remove what is left of it and let its object go.
    Release,
    /// Nothing to do until something changes, or until `wake` at the latest.
    Wait {
        /// When to look again.
        wake: Option<Duration>,
    },
}

/// The next step, and the agent's part of the status as it is before that step.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do.
    pub step: Step,
    /// What to report; the routers' entries are left out.
    pub status: MeshInstanceStatus,
}

/// What the state and the condition Ready are to say.
struct Say {
    state: InstanceState,
    ready: bool,
    reason: &'static str,
    message: String,
}

impl Say {
    fn new(state: InstanceState, reason: &'static str, message: impl Into<String>) -> Self {
        Self { state, ready: false, reason, message: message.into() }
    }
}

/// Plans the next step.
pub fn plan(facts: &Facts<'_>) -> Plan {
    let run = facts.instance.spec.run.as_ref();
    let (step, say) = match run {
        _ if facts.instance.metadata.deletion_timestamp.is_some() => end(facts),
        // What it came to stands, whatever becomes of what it has left.
        Some(_) if let Some(done) = run::done(facts) => return Plan { step: wait(), status: done },
        Some(run) => run::live(facts, run),
        None => live(facts),
    };
    let conditions = if run.is_some() { run::conditions(facts, &say) } else { vec![ready(facts, &say)] };
    Plan { step, status: status(facts, say.state, conditions) }
}

fn ready(facts: &Facts<'_>, say: &Say) -> Condition {
    condition(facts, Want::new(reason::READY, say.ready, say.reason, say.message.clone()))
}

fn condition(facts: &Facts<'_>, want: Want) -> Condition {
    let old = old_status(facts).map(|status| status.conditions.as_slice()).unwrap_or_default();
    want.over(old, facts.instance.metadata.generation, facts.now)
}

/// What to report of an instance that the backend cannot look at, or cannot end.
pub fn blind(instance: &MeshInstance, message: String, now: Timestamp) -> MeshInstanceStatus {
    let old = instance.status.clone().unwrap_or_default();
    let type_ = if instance.spec.run.is_some() { task::COMPLETE } else { reason::READY };
    let reason = if instance.metadata.deletion_timestamp.is_some() { reason::STOP_FAILED } else { reason::START_FAILED };
    let said = Want::new(type_, false, reason, message).over(&old.conditions, instance.metadata.generation, now);
    MeshInstanceStatus { conditions: vec![said], routers: Vec::new(), ..old }
}

/// How much longer the status of one that was just started, and does not serve yet, is better not written.
pub fn unsettled(facts: &Facts<'_>, plan: &Plan) -> Option<Duration> {
    let Observed::Running(running) = facts.observed else { return None };
    if plan.status.state != Some(InstanceState::Starting) || !matches!(plan.step, Step::Wait { .. }) {
        return None;
    }
    let known = old_status(facts).is_some_and(|status| status.start_time.is_some());
    // A clock that was set back says nothing about it: then it is long enough.
    let up = Duration::try_from(facts.now.duration_since(running.since)).unwrap_or(Duration::MAX);
    Some(if known { SETTLE_AGAIN } else { SETTLE }.saturating_sub(up)).filter(|left| !left.is_zero())
}

fn live(facts: &Facts<'_>) -> (Step, Say) {
    match facts.observed {
        Observed::Running(running) if running.stopping => {
            let message = format!("being restarted{}", facts.memory.because(running.attempt));
            (wait(), Say::new(InstanceState::NotReady, reason::UNHEALTHY, message))
        }
        Observed::Running(running) => run(facts, running),
        // What is left may be of an earlier run than the last: somebody has removed that one.
        Observed::Exited(exit) => rest(facts, exit.attempt.max(counted(facts)).saturating_add(1), exit.at, Some(exit)),
        Observed::Absent => {
            let started = old_status(facts).is_some_and(|status| status.start_time.is_some());
            let attempt = counted(facts);
            let now = facts.memory.start_failure.as_ref().map_or(facts.now, |failure| failure.at);
            rest(facts, if started { attempt.saturating_add(1) } else { attempt }, now, None)
        }
    }
}

/// The number of the last run that was reported.
fn counted(facts: &Facts<'_>) -> u32 {
    old_status(facts).map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0))
}

/// A program that runs: is it healthy?
fn run(facts: &Facts<'_>, running: &Running) -> (Step, Say) {
    let health = facts.health;
    if health.attempt != running.attempt {
        return (wait(), Say::new(InstanceState::Starting, reason::PROBING, "started"));
    }
    if let Some(why) = &health.dead {
        return (Step::Stop { grace: grace(facts) }, Say::new(InstanceState::NotReady, reason::UNHEALTHY, why.clone()));
    }
    let lost = port_trouble(running).filter(|_| health.ready);
    if health.ready && lost.is_none() {
        if let Some(left) = unproven(facts, running) {
            let message = format!("has to be up for {} s, as there is no probe that says more", uptime::MINIMUM.as_secs());
            return (Step::Wait { wake: Some(left) }, Say::new(InstanceState::Starting, reason::UNPROVEN, message));
        }
        let message = health.unknown.clone().unwrap_or_default();
        return (wait(), Say { state: InstanceState::Ready, ready: true, reason: reason::RUNNING, message });
    }
    let state = if health.was_ready { InstanceState::NotReady } else { InstanceState::Starting };
    let unknown = || health.unknown.clone().map(|why| (reason::PROBE_UNKNOWN, why));
    let (reason, message) =
        lost.or_else(unknown).or_else(|| health.not_ready.clone()).unwrap_or((reason::PROBING, "not probed yet".to_owned()));
    (wait(), Say::new(state, reason, message))
}

/// Why a program must get no requests on its port: a reason, and words. None if it may, or has no port, or if that could not be found out.
pub fn port_trouble(running: &Running) -> Option<(&'static str, String)> {
    let port = running.address.map_or(0, |address| address.port());
    match &running.port_owner {
        PortOwner::NoPort | PortOwner::Ours | PortOwner::Unknown(_) => None,
        PortOwner::Nobody => {
            Some((reason::NOT_LISTENING, format!("nothing listens on port {port} (the program is told its port in $PORT)")))
        }
        PortOwner::LoopbackOnly => Some((
            reason::LOOPBACK_ONLY,
            "the program listens on 127.0.0.1 inside its container only, where no request arrives: let it listen on 0.0.0.0".to_owned(),
        )),
        PortOwner::Foreign(who) => {
            Some((reason::PORT_TAKEN, format!("port {port} is listened on by {who}, which is not of this instance")))
        }
    }
}

/// How much longer a program must be up before it counts as ready.
fn unproven(facts: &Facts<'_>, running: &Running) -> Option<Duration> {
    let spec = &facts.instance.spec;
    let minimum = uptime::minimum(spec.serves, spec.template.readiness_probe.as_ref(), spec.template.startup_probe.as_ref());
    // A clock that was set back says nothing about it: then it is long enough.
    let up = Duration::try_from(facts.now.duration_since(running.since)).unwrap_or(Duration::MAX);
    Some(minimum.saturating_sub(up)).filter(|left| !left.is_zero())
}

/// A program that does not run: start it, or wait for the backoff to pass. `from` is when the last run or start failed.
fn rest(facts: &Facts<'_>, attempt: u32, from: Timestamp, exit: Option<&Exit>) -> (Step, Say) {
    let failure = facts.memory.start_failure.as_ref();
    let from = failure.map_or(from, |failure| failure.at.max(from));
    let delay = match failure {
        Some(failure) if failure.is_under_way() || failure.is_ours() => ASK_AGAIN,
        Some(_) => START_BACKOFF.delay(facts.memory.failures, jitter(facts, attempt)),
        None => BACKOFF.delay(facts.memory.failures, jitter(facts, attempt)),
    };
    // A clock that was set back says nothing about the wait: then it is over.
    let passed = Duration::try_from(facts.now.duration_since(from)).unwrap_or(Duration::MAX);
    let left = delay.saturating_sub(passed);
    if left.is_zero() {
        return (Step::Start { attempt }, Say::new(InstanceState::Pending, reason::PENDING, "to be started"));
    }
    // Not what is left of it: a message that changes by itself would be written again and again.
    let again = format!("to be started again after {:.1} s", delay.as_secs_f64());
    let say = match (failure, exit) {
        (Some(failure), _) => Say::new(InstanceState::Pending, failure.reason, failure.message.clone()),
        (None, Some(exit)) => {
            let ran = exit.at.duration_since(exit.since).as_secs_f64();
            let because = facts.memory.because(exit.attempt);
            let failures = facts.memory.failures;
            let often = if failures > 1 { format!(" ({failures} times in a row)") } else { String::new() };
            let message = format!("the program ended with {} after {ran:.1} s{because}{often}; {again}", exit.how);
            Say::new(InstanceState::BackOff, reason::BACK_OFF, message)
        }
        (None, None) => Say::new(InstanceState::Pending, reason::PENDING, again),
    };
    (Step::Wait { wake: Some(left) }, say)
}

/// An instance whose object is deleted: drain, stop, release.
fn end(facts: &Facts<'_>) -> (Step, Say) {
    match facts.observed {
        Observed::Absent | Observed::Exited(_) => (Step::Release, Say::new(InstanceState::Terminating, reason::TERMINATING, "ended")),
        Observed::Running(running) if running.stopping => {
            (wait(), Say::new(InstanceState::Terminating, reason::TERMINATING, "told to end; waiting for it"))
        }
        Observed::Running(running) => drain(facts, running),
    }
}

fn drain(facts: &Facts<'_>, running: &Running) -> (Step, Say) {
    let stop =
        (Step::Stop { grace: grace(facts) }, Say::new(InstanceState::Terminating, reason::TERMINATING, "drained; is being told to end"));
    let status = old_status(facts);
    // Without an address no router has ever heard of it.
    if status.is_none_or(|status| status.address.is_none()) {
        return stop;
    }
    let deleted = facts.instance.metadata.deletion_timestamp.as_ref().map_or(facts.now, |time| time.0);
    // Where the slice is gone already (its namespace is deleted), routers have stopped by themselves and will never say so.
    let patience = if facts.announced { facts.instance.spec.drain_timeout.get() } else { Duration::ZERO };
    let limit = SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX).saturating_add(ACK_SLACK);
    let left = Duration::try_from(limit.saturating_sub(facts.now.duration_since(deleted))).unwrap_or_default();
    let entries = status.map(|status| status.routers.as_slice()).unwrap_or_default();
    let waiting: Vec<&String> =
        facts.routers.iter().filter(|router| !entries.iter().any(|entry| entry.name == **router && entry.drained)).collect();
    if waiting.is_empty() || left.is_zero() {
        return stop;
    }
    let in_flight: i64 = entries.iter().map(|entry| entry.in_flight).sum();
    let names = waiting.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let message = format!("waiting for {names}; {in_flight} in flight");
    // It serves the sessions that it has, for as long as its probes say so.
    let ready = facts.health.ready && facts.health.attempt == running.attempt && port_trouble(running).is_none();
    let say = Say { ready, ..Say::new(InstanceState::Draining, reason::DRAINING, message) };
    // A router that dies meanwhile is found by its lease, so look again now and then.
    (Step::Wait { wake: Some(left.min(Duration::from_secs(2))) }, say)
}

fn wait() -> Step {
    Step::Wait { wake: None }
}

fn grace(facts: &Facts<'_>) -> Duration {
    Duration::from_secs(u64::try_from(facts.instance.spec.template.termination_grace_period_seconds).unwrap_or(0))
}

fn old_status<'a>(facts: &Facts<'a>) -> Option<&'a MeshInstanceStatus> {
    facts.instance.status.as_ref()
}

/// Between 0 and 1, different for each instance and run, the same each time it is asked.
fn jitter(facts: &Facts<'_>, attempt: u32) -> f64 {
    let seed = facts
        .instance
        .metadata
        .uid
        .as_deref()
        .unwrap_or_default()
        .bytes()
        .fold(attempt, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    f64::from(seed.wrapping_mul(2_654_435_761) >> 16) / f64::from(u16::MAX)
}

fn status(facts: &Facts<'_>, state: InstanceState, conditions: Vec<Condition>) -> MeshInstanceStatus {
    let old = old_status(facts).cloned().unwrap_or_default();
    let over = matches!(state, InstanceState::Succeeded | InstanceState::Failed);
    let mut status = MeshInstanceStatus {
        observed_generation: facts.instance.metadata.generation,
        state: Some(state),
        completion_time: over.then_some(Time(facts.now)),
        conditions,
        pid: None,
        last_exit: facts.memory.last.as_ref().map(|(exit, because)| last_exit(exit, because)).or(old.last_exit),
        routers: Vec::new(),
        ..old
    };
    match facts.observed {
        Observed::Running(running) => {
            status.pid = Some(running.pid.into());
            status.start_time = Some(Time(running.since));
            status.image_id.clone_from(&running.image);
            status.restart_count = i32::try_from(running.attempt).unwrap_or(i32::MAX);
            if let Some(address) = running.address {
                status.address = Some(address.to_string());
                status.port = Some(PortNumber(address.port()));
            }
        }
        Observed::Exited(exit) => {
            status.restart_count = status.restart_count.max(i32::try_from(exit.attempt).unwrap_or(i32::MAX));
            status.start_time = Some(Time(exit.since));
        }
        Observed::Absent => {}
    }
    status
}

/// How a program ended, in the words of the status.
fn last_exit(exit: &Exit, because: &str) -> LastExit {
    let (exit_code, signal) = match exit.how {
        ExitHow::Code(code) => (Some(code), None),
        ExitHow::Signal(signal) => (None, Some(signal)),
        ExitHow::Unknown => (None, None),
    };
    let message = format!("ended with {}{because}", exit.how);
    LastExit { exit_code, signal, started_at: Some(Time(exit.since)), finished_at: Time(exit.at), message }
}

#[cfg(test)]
mod tests;

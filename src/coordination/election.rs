//! Election by Lease, as client-go does it: the holder renews; who sees the record unchanged for a lease's duration takes it. The decisions are values here;
//! [`runner`] carries them out. Times in the record are for people: what counts is when *this* process saw it change, by its own clock, so that
//! wall clocks may differ and jump (client-go#448). Two processes may still both believe to lead if one's writes are held up by the network for longer
//! than the 5 s between the deadline for renewals and the lease's end (k/k#19511); writes are idempotent and carry resource versions where it matters.
mod runner;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

pub use self::runner::{Election, Options};
use mesh_kit::clock::BootTime;

/// How long things last in an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Who has seen the record unchanged for so long may take it. Whole seconds: it stands in the record.
    pub lease: Duration,
    /// Who has not renewed for so long writes nothing more. Shorter than the lease.
    pub renew_deadline: Duration,
    /// Between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take it: it is nobody's, or its holder has been silent for too long.
    Acquire,
    /// It is ours: renew it.
    Renew,
    /// It is another's, at least until then.
    Wait(BootTime),
}

/// What to do about a lease that this process saw change last at `observed`.
pub fn evaluate(lease: Option<&LeaseSpec>, me: &str, observed: BootTime, now: BootTime) -> Step {
    let Some(lease) = lease else { return Step::Acquire };
    match lease.holder_identity.as_deref() {
        None | Some("") => Step::Acquire,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let until = observed + promised(lease);
            if now < until { Step::Wait(until) } else { Step::Acquire }
        }
    }
}

/// For how long the record's writer has promised to be silent at the most.
fn promised(lease: &LeaseSpec) -> Duration {
    let seconds = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    seconds.map_or(Timing::default().lease, Duration::from_secs)
}

/// One process's view of the lease: what it read, when that changed, and what it would write.
#[derive(Debug, Clone)]
pub struct Candidate {
    me: String,
    timing: Timing,
    seen: Option<Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    lease: Option<Lease>,
    /// When the record was seen to change. Notes that others put on the object are no change of the record.
    changed: BootTime,
}

impl Candidate {
    /// One that has seen nothing yet.
    pub fn new(me: impl Into<String>, timing: Timing) -> Self {
        Self { me: me.into(), timing, seen: None }
    }

    /// The lease was read: it is so, or it is not there. `now` is when the answer came.
    pub fn see(&mut self, lease: Option<Lease>, now: BootTime) {
        let spec = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.spec.clone());
        let changed = self.seen.as_ref().filter(|seen| spec(&seen.lease) == spec(&lease)).map_or(now, |seen| seen.changed);
        self.seen = Some(Seen { lease, changed });
    }

    /// Whether the record that was seen last names this process.
    pub fn holds(&self) -> bool {
        self.spec().is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.me))
    }

    /// Who holds it, as far as was seen.
    pub fn holder(&self) -> Option<&str> {
        self.spec()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// What to do now; nothing before the lease was read.
    pub fn step(&self, now: BootTime) -> Option<Step> {
        let seen = self.seen.as_ref()?;
        Some(evaluate(self.spec(), &self.me, seen.changed, now))
    }

    /// What to write to acquire or renew it: the record that was seen, with its resource version, so that whoever was faster wins.
    pub fn proposal(&self, wall: Timestamp) -> Lease {
        let old = self.spec();
        let held = self.holds();
        let transitions = old.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(i32::try_from(self.timing.lease.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: if held { old.and_then(|spec| spec.acquire_time.clone()) } else { Some(MicroTime(wall)) },
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(if held || old.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        };
        Lease { metadata: self.metadata(), spec: Some(spec) }
    }

    /// What to write so that another may take it at once; nothing if it is not ours.
    pub fn resignation(&self, wall: Timestamp) -> Option<Lease> {
        let spec = self.spec().filter(|_| self.holds())?.clone();
        let spec = LeaseSpec { holder_identity: Some(String::new()), renew_time: Some(MicroTime(wall)), ..spec };
        Some(Lease { metadata: self.metadata(), spec: Some(spec) })
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.seen.as_ref()?.lease.as_ref()?.spec.as_ref()
    }

    /// What others wrote there stays; who wrote what is the API's own.
    fn metadata(&self) -> ObjectMeta {
        let known = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        known.map(|lease| ObjectMeta { managed_fields: None, ..lease.metadata.clone() }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

//! Carries an election out: reads, takes, renews and gives back the Lease. Every call has a deadline; every write carries the resource version of what was read.
use std::{convert::Infallible, future::Future, pin::pin, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::time::{sleep, timeout};

use super::{Candidate, Step, Timing};
use crate::Leadership;
use mesh_api::labels;
use mesh_kit::clock::{self, BootClock};

/// A single call waits no longer than this.
const CALL: Duration = Duration::from_secs(5);
/// After losing a race: soon, but not at once.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Who stands, and for which Lease.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This process, unlike any other that ever was.
    pub identity: String,
    /// 15 s, 10 s and 2 s, but in tests.
    pub timing: Timing,
    /// The system's, but in tests.
    pub clock: BootClock,
}

/// One process's part in the election.
#[derive(Debug)]
pub struct Election {
    leases: Api<Lease>,
    options: Options,
    candidate: Candidate,
    leadership: Leadership,
    /// What was read last may not be what is there: a write's answer was not seen.
    stale: bool,
    /// What was told last, so that a lasting trouble is told once.
    trouble: Option<String>,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API did not answer in time")]
    Silence(#[from] tokio::time::error::Elapsed),
}

impl Failed {
    /// Another wrote first.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }
}

impl Election {
    /// Stands for election through a client without the gate.
    pub fn new(client: Client, options: Options) -> Self {
        Self {
            leases: Api::namespaced(client, &options.namespace),
            candidate: Candidate::new(options.identity.as_str(), options.timing),
            leadership: Leadership::none(options.clock.clone()),
            options,
            stale: true,
            trouble: None,
        }
    }

    /// Whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Takes part until shutdown; then gives the Lease back, so that another need not wait for its end.
    ///
    /// # Errors
    /// None that is not retried.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Infallible> {
        let mut end = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = self.round() => {}
            }
        }
        self.leadership.end("this process ends");
        if let Err(error) = self.resign().await {
            tracing::warn!(%error, lease = self.options.name, "the lease could not be given back; another takes it when it ends");
        }
        Ok(())
    }

    /// One attempt, and the pause after it.
    async fn round(&mut self) {
        self.check();
        let pause = match self.attempt().await {
            Ok(pause) => {
                self.trouble = None;
                pause
            }
            Err(failed) if failed.is_conflict() => AFTER_CONFLICT,
            Err(failed) => {
                self.tell(failed.to_string());
                self.options.timing.retry
            }
        };
        self.check();
        sleep(self.at_most(pause)).await;
    }

    /// So long, or until this process's time to lead is over: that is noted when it comes.
    fn at_most(&self, wait: Duration) -> Duration {
        let left = self.leadership.until().since(self.options.clock.now());
        if left.is_zero() { wait } else { wait.min(left) }
    }

    /// Notes that the promise is over, by the clock alone.
    fn check(&self) {
        if !self.leadership.may_write() {
            self.leadership.end("the lease was not renewed in time");
        }
    }

    /// Reads what must be read, writes what is to be written; returns how long to pause.
    async fn attempt(&mut self) -> Result<Duration, Failed> {
        if self.stale || !self.candidate.holds() {
            self.read().await?;
        }
        let (now, timing) = (self.options.clock.now(), self.options.timing);
        match self.candidate.step(now) {
            Some(Step::Wait(until)) => {
                self.leadership.end("the lease is another's");
                // A bit more often than the retry, so that a takeover is within the lease's duration and one retry.
                let pause = timing.retry.mul_f64(0.9 - 0.2 * rand::random::<f64>());
                Ok(pause.min(until.since(now)))
            }
            Some(Step::Acquire | Step::Renew) => {
                self.write(&self.candidate.proposal(clock::now())).await?;
                Ok(timing.retry)
            }
            None => Ok(timing.retry),
        }
    }

    async fn read(&mut self) -> Result<(), Failed> {
        let found = timeout(self.at_most(CALL), self.leases.get_opt(&self.options.name)).await??;
        self.candidate.see(found, self.options.clock.now());
        self.stale = false;
        Ok(())
    }

    /// Writes a proposal. The time that it is good for counts from before it was sent: nobody can have seen it earlier.
    async fn write(&mut self, proposal: &Lease) -> Result<(), Failed> {
        let asked = self.options.clock.now();
        let written = self.put(proposal).await?;
        let held = self.candidate.holds();
        self.candidate.see(Some(written), self.options.clock.now());
        if !held {
            tracing::debug!(lease = self.options.name, identity = self.options.identity, "the lease is taken");
        }
        self.leadership.extend(asked + self.options.timing.renew_deadline);
        Ok(())
    }

    /// Sends a lease; until its answer is here, what was read counts as stale.
    async fn put(&mut self, lease: &Lease) -> Result<Lease, Failed> {
        self.stale = true;
        let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let patience = self.at_most(CALL);
        let written = if lease.metadata.resource_version.is_some() {
            timeout(patience, self.leases.replace(&self.options.name, &params, lease)).await??
        } else {
            let mut lease = lease.clone();
            lease.metadata.name = Some(self.options.name.clone());
            timeout(patience, self.leases.create(&params, &lease)).await??
        };
        self.stale = false;
        Ok(written)
    }

    /// Gives the lease back, if it is ours.
    async fn resign(&mut self) -> Result<(), Failed> {
        if self.stale {
            self.read().await?;
        }
        let Some(lease) = self.candidate.resignation(clock::now()) else { return Ok(()) };
        self.put(&lease).await?;
        tracing::info!(lease = self.options.name, "the lease is given back");
        Ok(())
    }

    fn tell(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(error = trouble, lease = self.options.name, "the lease could not be read or written; it is tried again");
            self.trouble = Some(trouble);
        }
    }
}

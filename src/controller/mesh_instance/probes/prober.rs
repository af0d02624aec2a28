//! The probing of one run: first that its own process listens on its port, then startup, then readiness and liveness side by side.
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{Answers, Target, check::check};
use mesh_api::{conditions::instance as reason, probe::Probe};
use mesh_backend::Backend;
use mesh_plan::instance::{Observed, PortOwner};

/// A program that has just started is asked often at first, then less and less.
const FIRST: Duration = Duration::from_millis(5);
/// Nothing that has not been ready yet waits longer than this between questions, unless its probe's period is shorter.
const SLOWEST: Duration = Duration::from_secs(1);

/// Probes a run until the task is aborted.
pub(super) async fn probe(target: Target, backend: Backend, answers: Answers) {
    if let Some(startup) = &target.startup
        && !target.adopted_ready
        && !started(startup, &target, &backend, &answers).await
    {
        return;
    }
    tokio::join!(readiness(&target, &backend, &answers), liveness(&target, &backend, &answers));
}

/// The waits between questions to a program that is not ready yet.
struct Eager {
    next: Duration,
    slowest: Duration,
}

impl Eager {
    fn new(period: Duration) -> Self {
        Self { next: FIRST, slowest: SLOWEST.min(period) }
    }

    async fn wait(&mut self) {
        sleep(self.next).await;
        self.next = self.next.mul_f64(1.5).min(self.slowest);
    }
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// Waits for the startup probe; false if it never passed in its time.
async fn started(startup: &Probe, target: &Target, backend: &Backend, answers: &Answers) -> bool {
    sleep(seconds(startup.initial_delay_seconds)).await;
    let patience = seconds(startup.period_seconds) * u32::try_from(startup.failure_threshold).unwrap_or(1);
    let deadline = Instant::now() + patience;
    let mut eager = Eager::new(seconds(startup.period_seconds));
    loop {
        let Err(why) = check(startup, target, backend).await else { return true };
        if Instant::now() >= deadline {
            answers.change(target, |health| health.dead = Some(format!("startup probe failed for {patience:?}: {why}")));
            return false;
        }
        answers.change(target, |health| health.not_ready = Some((reason::PROBING, format!("startup probe: {why}"))));
        eager.wait().await;
    }
}

/// Finds out whether the run may get requests, for as long as it lasts.
async fn readiness(target: &Target, backend: &Backend, answers: &Answers) {
    if target.address.is_some() {
        listens(target, backend, answers).await;
    }
    let ready = |health: &mut mesh_plan::lifecycle::Health| {
        health.ready = true;
        health.was_ready = true;
        health.not_ready = None;
    };
    let Some(probe) = &target.readiness else { return answers.change(target, ready) };
    sleep(seconds(probe.initial_delay_seconds)).await;
    let mut eager = Eager::new(seconds(probe.period_seconds));
    let (mut successes, mut failures, mut was_ready) = (0, 0, target.adopted_ready);
    loop {
        let asked = Instant::now();
        match check(probe, target, backend).await {
            Ok(()) => {
                (successes, failures) = (successes + 1, 0);
                if successes >= probe.success_threshold {
                    was_ready = true;
                    answers.change(target, ready);
                }
            }
            Err(why) => {
                (successes, failures) = (0, failures + 1);
                let reason = if was_ready { reason::PROBE_FAILED } else { reason::PROBING };
                if !was_ready || failures >= probe.failure_threshold {
                    answers.change(target, |health| {
                        health.ready = false;
                        health.not_ready = Some((reason, format!("readiness probe: {why}")));
                    });
                }
            }
        }
        if was_ready {
            sleep_until(asked + seconds(probe.period_seconds)).await;
        } else {
            eager.wait().await;
        }
    }
}

/// Waits until a process of the instance's own listens on its port: nobody else's gets its requests.
async fn listens(target: &Target, backend: &Backend, answers: &Answers) {
    let mut eager = Eager::new(SLOWEST);
    let port = target.address.map_or(0, |address| address.port());
    loop {
        let owner = match backend.observe(&target.key).await {
            Ok(Observed::Running(running)) if running.attempt == target.attempt => running.port_owner,
            // Another run, or none: the agent sees that too, and ends this task.
            _ => PortOwner::Nobody,
        };
        let trouble = match owner {
            PortOwner::NoPort | PortOwner::Ours => return,
            PortOwner::Nobody => {
                (reason::NOT_LISTENING, format!("nothing listens on port {port} yet (the program is told its port in $PORT)"))
            }
            PortOwner::LoopbackOnly => (
                reason::LOOPBACK_ONLY,
                "the program listens on 127.0.0.1 inside its container only, where no request arrives: let it listen on 0.0.0.0".to_owned(),
            ),
            PortOwner::Foreign(who) => (reason::PORT_TAKEN, format!("port {port} is listened on by {who}, which is not of this instance")),
        };
        answers.change(target, |health| {
            health.ready = false;
            health.not_ready = Some(trouble);
        });
        eager.wait().await;
    }
}

/// Finds out whether the run must be restarted.
async fn liveness(target: &Target, backend: &Backend, answers: &Answers) {
    let Some(probe) = &target.liveness else { return };
    sleep(seconds(probe.initial_delay_seconds)).await;
    let mut failures = 0;
    loop {
        sleep(seconds(probe.period_seconds)).await;
        match check(probe, target, backend).await {
            Ok(()) => failures = 0,
            Err(why) => {
                failures += 1;
                if failures >= probe.failure_threshold {
                    answers.change(target, |health| health.dead = Some(format!("liveness probe failed {failures} times: {why}")));
                    return;
                }
            }
        }
    }
}

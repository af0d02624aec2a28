//! The probing of one run: first that its own process listens on its port, then startup, then readiness and liveness side by side.
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Answers, Target,
    check::{Trouble, check},
    unknown::Asked,
};
use mesh_api::{conditions::instance as reason, probe::Probe};
use mesh_backend::Backend;
use mesh_plan::{
    instance::{Observed, PortOwner},
    lifecycle::{Health, port_trouble},
};

/// A program that has just started is asked often at first, then less and less.
const FIRST: Duration = Duration::from_millis(2);
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

/// Makes a check. One that cannot be made is no answer: it is told and counted, and whoever asked goes on as if he had not asked.
async fn ask(what: Asked, probe: &Probe, target: &Target, backend: &Backend, answers: &Answers) -> Option<Result<(), String>> {
    match check(probe, target, backend).await {
        Err(Trouble::Ours(why)) => {
            answers.unknown(target, what, &why);
            None
        }
        Err(Trouble::Theirs(why)) => Some(Err(why)),
        Ok(()) => Some(Ok(())),
    }
}

/// Waits for the startup probe; false if it never passed in its time.
async fn started(startup: &Probe, target: &Target, backend: &Backend, answers: &Answers) -> bool {
    sleep(seconds(startup.initial_delay_seconds)).await;
    let patience = seconds(startup.period_seconds) * u32::try_from(startup.failure_threshold).unwrap_or(1);
    let mut deadline = Instant::now() + patience;
    let mut eager = Eager::new(seconds(startup.period_seconds));
    let mut asked = Instant::now();
    loop {
        let answer = ask(Asked::Startup, startup, target, backend, answers).await;
        let last = std::mem::replace(&mut asked, Instant::now());
        match answer {
            Some(Ok(())) => {
                answers.change(target, |health| health.unknown = None);
                return true;
            }
            Some(Err(why)) if asked >= deadline => {
                answers.change(target, |health| health.dead = Some(format!("startup probe failed for {patience:?}: {why}")));
                return false;
            }
            Some(Err(why)) => answers.change(target, |health| {
                health.unknown = None;
                health.not_ready = Some((reason::PROBING, format!("startup probe: {why}")));
            }),
            // That time is not the program's.
            None => deadline += asked - last,
        }
        eager.wait().await;
    }
}

/// Finds out whether the run may get requests, for as long as it lasts.
async fn readiness(target: &Target, backend: &Backend, answers: &Answers) {
    if target.address.is_some() {
        listens(target, backend, answers).await;
    }
    let ready = |health: &mut Health| {
        health.ready = true;
        health.was_ready = true;
        health.not_ready = None;
        health.unknown = None;
    };
    let Some(probe) = &target.readiness else { return answers.change(target, ready) };
    sleep(seconds(probe.initial_delay_seconds)).await;
    let mut eager = Eager::new(seconds(probe.period_seconds));
    let (mut successes, mut failures, mut was_ready) = (0, 0, target.adopted_ready);
    loop {
        let asked = Instant::now();
        match ask(Asked::Readiness, probe, target, backend, answers).await {
            None => {}
            Some(Ok(())) => {
                (successes, failures) = (successes + 1, 0);
                if successes >= probe.success_threshold {
                    was_ready = true;
                    answers.change(target, ready);
                }
            }
            Some(Err(why)) => {
                (successes, failures) = (0, failures + 1);
                let reason = if was_ready { reason::PROBE_FAILED } else { reason::PROBING };
                let counts = !was_ready || failures >= probe.failure_threshold;
                answers.change(target, |health| {
                    health.unknown = None;
                    if counts {
                        health.ready = false;
                        health.not_ready = Some((reason, format!("readiness probe: {why}")));
                    }
                });
            }
        }
        if was_ready {
            sleep_until(asked + seconds(probe.period_seconds)).await;
        } else {
            eager.wait().await;
        }
    }
}

/// Waits until a process of the instance's own listens on its port: nobody else's gets its requests. From then on every look at the instance tells
/// whose the port is.
async fn listens(target: &Target, backend: &Backend, answers: &Answers) {
    let mut eager = Eager::new(SLOWEST);
    loop {
        let trouble = match backend.observe(&target.key).await {
            Ok(Observed::Running(running)) if running.attempt == target.attempt => match (port_trouble(&running), running.port_owner) {
                (Some(trouble), _) => Some(trouble),
                (None, PortOwner::Unknown(why)) => {
                    answers.unknown(target, Asked::Port, &why);
                    None
                }
                (None, _) => return,
            },
            // Another run, or none: the agent sees that too, and ends this task.
            Ok(_) => None,
            Err(error) => {
                answers.unknown(target, Asked::Port, &error.to_string());
                None
            }
        };
        if let Some(trouble) = trouble {
            answers.change(target, |health| {
                health.ready = false;
                health.not_ready = Some(trouble);
                health.unknown = None;
            });
        }
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
        match ask(Asked::Liveness, probe, target, backend, answers).await {
            None => {}
            Some(Ok(())) => {
                failures = 0;
                answers.change(target, |health| health.unknown = None);
            }
            Some(Err(why)) => {
                failures += 1;
                if failures >= probe.failure_threshold {
                    let often = if failures > 1 { format!(" {failures} times") } else { String::new() };
                    answers.change(target, |health| health.dead = Some(format!("liveness probe failed{often}: {why}")));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

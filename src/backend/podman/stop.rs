//! Stops a container: SIGTERM, the grace, SIGKILL by the engine; where the engine gets stuck, by force. A task per stop, so that no other waits for it.
use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Inner, process,
    slot::{Held, Slot, Stopping},
};
use crate::{
    Error,
    engine::{self, containers::Status},
};
use mesh_kit::backoff::Backoff;
use mesh_plan::instance::{InstanceKey, Observed};

/// The engine itself kills after the grace; so much later it is taken to be stuck.
const STUCK: Duration = Duration::from_secs(10);
/// How long one attempt at force may take.
const FORCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
const AGAIN: Backoff = Backoff { base: Duration::from_millis(250), max: Duration::from_secs(10) };

impl Inner {
    /// Begins to stop what runs; a second call may only shorten the time.
    pub(super) async fn stop(self: &Arc<Self>, key: &InstanceKey, grace: Duration) -> Result<(), Error> {
        let slot = self.slots.of(key);
        let deadline = Instant::now() + if grace.is_zero() { grace } else { grace + STUCK };
        let sooner = Instant::now() + grace;
        if shorten(&slot, sooner) {
            return Ok(());
        }
        let mut state = slot.state.lock().await;
        let held = match self.look(&slot, &mut state).await? {
            Observed::Running(_) => state.held.clone(),
            Observed::Absent | Observed::Exited(_) => None,
        };
        // Another call may have come in between.
        let Some(held) = held.filter(|_| !shorten(&slot, sooner)) else { return Ok(()) };
        let (sender, receiver) = watch::channel(deadline);
        *slot.stopping() = Some(Stopping { deadline: sender, trouble: None });
        drop(state);
        let inner = Arc::clone(self);
        self.shutdown.spawn_work(async move {
            tokio::select! {
                // The engine goes on with a stop that was asked for, and one that was not is asked for by whoever comes after us.
                () = inner.shutdown.triggered() => {}
                () = inner.end(&slot, &held, grace, receiver) => {}
            }
            *slot.stopping() = None;
            slot.look_again();
            inner.subscribers.tell(&slot.key);
        });
        Ok(())
    }

    async fn end(&self, slot: &Slot, held: &Held, grace: Duration, mut deadline: watch::Receiver<Instant>) {
        let in_time = tokio::select! {
            () = self.gently(slot, held, grace), if !grace.is_zero() => true,
            () = passed(&mut deadline) => false,
        };
        if !in_time {
            self.by_force(slot, held).await;
        }
    }

    /// Returns when it has ended. A stop that the engine lost (it was restarted) is asked for again.
    async fn gently(&self, slot: &Slot, held: &Held, grace: Duration) {
        let begun = Instant::now();
        for failures in 2.. {
            let left = grace.saturating_sub(begun.elapsed());
            if let Err(error) = self.ask(held, left).await {
                tracing::debug!(container = held.name, %error, "the engine did not stop it; asked again");
                if !error.is_unreachable() {
                    self.trouble(slot, held, &error);
                }
            }
            if self.has_ended(held).await {
                return;
            }
            sleep(AGAIN.delay(failures, 0.0)).await;
        }
    }

    async fn ask(&self, held: &Held, grace: Duration) -> Result<(), engine::Error> {
        // A paused program gets no signal.
        if self.engine.inspect(&held.id).await?.is_some_and(|found| found.status == Status::Paused) {
            self.engine.unpause(&held.id).await?;
        }
        self.engine.stop(&held.id, grace).await
    }

    /// SIGKILL, and then removal, again and again until it is gone.
    async fn by_force(&self, slot: &Slot, held: &Held) {
        for failures in 2.. {
            if let Err(error) = self.kill(held).await {
                self.trouble(slot, held, &error);
                tracing::warn!(container = held.name, %error, "it cannot be stopped; tried again");
            }
            if self.has_ended(held).await {
                return;
            }
            sleep(AGAIN.delay(failures, 0.0)).await;
        }
    }

    async fn kill(&self, held: &Held) -> Result<(), engine::Error> {
        let killed = within(self.engine.kill(&held.id, "SIGKILL"), self).await;
        let give_up = Instant::now() + FORCE;
        while killed.is_ok() && Instant::now() < give_up {
            if self.has_ended(held).await {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        // The engine could not: the kernel can, and the removal tells the engine that there is nothing left to hold.
        if let Err(error) = process::kill(held.pid, &held.id) {
            tracing::warn!(container = held.name, %error, "its process cannot be killed now");
        }
        within(self.engine.remove(&held.id), self).await
    }

    /// Whether the kernel and the engine agree that it has ended; one that does not answer agrees with nothing.
    async fn has_ended(&self, held: &Held) -> bool {
        if !matches!(process::is_of(held.pid, &held.id), Ok(false)) {
            return false;
        }
        let is_held = |pid, id: &str| !matches!(process::holds(pid, id), Ok(false));
        match within(self.engine.inspect(&held.id), self).await {
            Ok(found) => found.is_none_or(|found| !found.status.runs() || found.holder.is_none_or(|pid| !is_held(pid, &found.id))),
            Err(_) => false,
        }
    }

    /// What stands in the way is seen by the next look.
    fn trouble(&self, slot: &Slot, held: &Held, error: &engine::Error) {
        let by_hand = format!("{} rm -f {}", self.engine.program(), held.name);
        if let Some(stopping) = slot.stopping().as_mut() {
            stopping.trouble = Some(format!("{error}; it is tried again and again; by hand: {by_hand}"));
        }
        self.subscribers.tell(&slot.key);
    }
}

/// A stop that is under way comes to its end sooner; false if there is none.
fn shorten(slot: &Slot, deadline: Instant) -> bool {
    let stopping = slot.stopping();
    let Some(stopping) = stopping.as_ref() else { return false };
    stopping.deadline.send_if_modified(|known| {
        let sooner = deadline < *known;
        *known = deadline.min(*known);
        sooner
    });
    true
}

async fn passed(deadline: &mut watch::Receiver<Instant>) {
    loop {
        let until = *deadline.borrow_and_update();
        tokio::select! {
            () = sleep_until(until) => return,
            Ok(()) = deadline.changed() => {}
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T, engine::Error>>, inner: &Inner) -> Result<T, engine::Error> {
    let late = |_| engine::Error::Unreachable { socket: inner.engine.socket().to_owned(), why: format!("no answer within {FORCE:?}") };
    timeout(FORCE, call).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

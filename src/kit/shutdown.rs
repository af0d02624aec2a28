//! Named tasks under one shutdown: whoever spawns says the name, and a task that ends before it was asked to stops the process.
use std::{fmt::Display, future::Future, pin::Pin, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

/// What a task is, once it is spawned: of one type, so that what carries tasks is compiled once and not for each of them.
type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Waits until the end is asked for. Owned, so that it can live in a struct or be a stream's `take_until`.
pub type Triggered = WaitForCancellationFutureOwned;

/// The handle that spawns tasks and tells them to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    deaths: mpsc::UnboundedSender<String>,
}

/// The owner's side: learns of a task that died, and waits for all of them at the end.
#[derive(Debug)]
pub struct Supervisor {
    shutdown: Shutdown,
    deaths: mpsc::UnboundedReceiver<String>,
}

impl Shutdown {
    /// A new handle and its owner's side.
    pub fn new() -> (Self, Supervisor) {
        let (sender, deaths) = mpsc::unbounded_channel();
        let shutdown = Self { token: CancellationToken::new(), tasks: TaskTracker::new(), deaths: sender };
        (shutdown.clone(), Supervisor { shutdown, deaths })
    }

    /// Runs a task for as long as the process lives. If it returns (or panics) before shutdown, the process stops.
    #[expect(clippy::disallowed_methods, reason = "this is the method that gives a task its name and owner")]
    pub fn spawn<E: Display>(&self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        let (token, deaths) = (self.token.clone(), self.deaths.clone());
        let task: Task<Result<(), String>> = Box::pin(async move { task.await.map_err(|error| error.to_string()) });
        let handle = tokio::spawn(task);
        self.tasks.spawn(async move {
            let end = match handle.await {
                Ok(Ok(())) => "ended".to_owned(),
                Ok(Err(error)) => error,
                Err(panic) => panic.to_string(),
            };
            if !token.is_cancelled() {
                tracing::error!(task = name, error = end, "a task ended that should not have");
                // The owner may be gone already at the very end; nothing is left to tell then.
                let _ = deaths.send(format!("{name}: {end}"));
            }
        });
    }

    /// Runs a short piece of work that shutdown waits for, and whose end is no event.
    pub fn spawn_work(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work: Task<()> = Box::pin(work);
        drop(self.tasks.spawn(work));
    }

    /// Runs a piece of work to its end even if the caller is dropped meanwhile; none if this process ends it first.
    pub async fn complete<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        self.spawn_work(async move {
            // The caller may be gone: then nobody asks for the outcome.
            let _ = done.send(work.await);
        });
        result.await.ok()
    }

    /// Asks every task to end.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether the end has been asked for.
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is asked for.
    pub fn triggered(&self) -> Triggered {
        self.token.clone().cancelled_owned()
    }
}

impl Supervisor {
    /// Waits for a task that died before shutdown; returns its name and why.
    pub async fn death(&mut self) -> String {
        match self.deaths.recv().await {
            Some(death) => death,
            None => std::future::pending().await,
        }
    }

    /// Asks all tasks to end and waits for them, at most `grace`. False if some were still running then.
    pub async fn finish(self, grace: Duration) -> bool {
        self.shutdown.trigger();
        self.shutdown.tasks.close();
        tokio::time::timeout(grace, self.shutdown.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_is_reported_by_name() {
        let (shutdown, mut supervisor) = Shutdown::new();
        shutdown.spawn("writer", async { Err::<(), _>("disk full") });
        assert_eq!(supervisor.death().await, "writer: disk full");
    }

    #[tokio::test]
    async fn finish_waits_for_tasks_that_heed_the_trigger() {
        let (shutdown, supervisor) = Shutdown::new();
        let end = shutdown.triggered();
        shutdown.spawn("server", async move {
            end.await;
            Ok::<(), String>(())
        });
        assert!(supervisor.finish(Duration::from_secs(5)).await);
    }
}

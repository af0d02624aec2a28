//! What the processes that run until a signal have in common: how they log, that they tell systemd when they are ready, and that they end in order.
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use super::{
    exit::{Code, Failure, Result},
    signals::Signals,
};
use mesh_kit::{
    shutdown::{Shutdown, Supervisor},
    systemd,
    telemetry::LogFormat,
};

/// How a process logs.
#[derive(Debug, Clone, Args)]
pub(super) struct LogArgs {
    /// How its own log looks.
    #[arg(long, env = "MESH_LOG_FORMAT", value_enum, default_value = "auto")]
    log_format: LogFormat,
    /// What of it is written: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, env = "MESH_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    log_level: String,
}

impl LogArgs {
    /// The format, and the filter.
    pub(super) fn telemetry(&self) -> (LogFormat, String) {
        (self.log_format, self.log_level.clone())
    }
}

/// Tells the service manager once the router knows where requests go.
pub(super) fn tell_when_ready(mut ready: watch::Receiver<bool>, status: String, shutdown: &Shutdown) {
    let end = shutdown.triggered();
    shutdown.spawn_work(async move {
        tokio::select! {
            known = ready.wait_for(|ready| *ready) => if known.is_ok() { systemd::ready(&status) },
            () = end => {}
        }
    });
}

/// Ends all tasks, after a signal or because one of them died.
pub(super) async fn end(supervisor: Supervisor, signals: &mut Signals, death: Option<String>, grace: Duration) -> Result {
    systemd::stopping();
    let ended = tokio::select! {
        ended = supervisor.finish(grace) => ended,
        // A second signal does not wait.
        _ = signals.next() => false,
    };
    match death {
        Some(death) => Err(Failure::new(Code::Failed, format!("a part of this process ended: {death}"))),
        None if ended => Ok(()),
        None => Err(Failure::new(Code::Failed, "ended before all its tasks had; instances go on running")),
    }
}

//! Tells the service manager how this process is doing (sd_notify(3)), if one started it and asked for it (`Type=notify`). Never decides anything.
//! Called by the programs' tops only.
use sd_notify::NotifyState;

/// It serves from now on (again, after [`reloading`]); `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    // A line break would begin another message.
    let status = status.replace(['\n', '\r'], " ");
    send(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// It reads its configuration again; [`ready`] must follow.
pub fn reloading() {
    // Managers from 253 on want to know when.
    let now = NotifyState::monotonic_usec_now();
    match now {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager was not told of the reload: no monotonic clock"),
    }
}

/// It ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    // Without a manager that listens this does nothing.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager was not told: $NOTIFY_SOCKET");
    }
}

//! systemd over D-Bus: the few calls that are needed, on a connection that is made again when it is lost.
use std::{collections::HashMap, fmt::Write, sync::Arc, time::Duration};

use tokio::sync::Mutex;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, connection::Builder};

use super::{place::Manager, state::UnitState};
use crate::Error;

/// The name of systemd on the bus.
pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Its manager object.
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// What its unit objects are below.
pub(super) const UNITS_PATH: &str = "/org/freedesktop/systemd1/unit";
const SYSTEM_SOCKET: &str = "/run/dbus/system_bus_socket";
/// systemd answers at once, except that a reload takes its time.
const ANSWER: Duration = Duration::from_secs(60);

/// The methods of systemd's manager that are used.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait SystemdManager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;
}

/// The end of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobEnd {
    /// Its object.
    pub(super) job: String,
    /// `done`, `failed`, `timeout`, `canceled`, `dependency`, `skipped`, …
    pub(super) result: String,
}

/// The connection for calls.
#[derive(Debug)]
pub(super) struct Bus {
    manager: Manager,
    connection: Mutex<Option<Connection>>,
}

impl Bus {
    pub(super) fn new(manager: Manager) -> Self {
        Self { manager, connection: Mutex::default() }
    }

    /// Where the bus is looked for.
    pub(super) fn address(&self) -> String {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match self.manager {
            Manager::System => format!("unix:path={SYSTEM_SOCKET}"),
            Manager::User => set("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| {
                let uid = rustix::process::getuid().as_raw();
                format!("unix:path={}/bus", set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{uid}")))
            }),
        }
    }

    /// A connection of the caller's own, which answers.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let address = self.address();
        let connect = async { Builder::address(address.as_str()).method_timeout(ANSWER).build().await };
        connect.await.map_err(|error| self.absent(&error))
    }

    fn absent(&self, error: &zbus::Error) -> Error {
        let remedy = match self.manager {
            Manager::System => {
                "the quadlet backend needs systemd and its D-Bus (apt-get install dbus; systemctl start dbus), as root: without them use --backend podman"
            }
            Manager::User => {
                "the quadlet backend needs the user's systemd and its D-Bus: log in with a session of your own, or let it run without one \
                 (loginctl enable-linger $USER), and set XDG_RUNTIME_DIR=/run/user/$(id -u); without systemd use --backend podman"
            }
        };
        Error::EngineUnreachable { engine: format!("systemd (D-Bus at {})", self.address()), why: format!("{error}; {remedy}") }
    }

    async fn connected(&self) -> Result<Connection, Error> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    async fn manager(&self) -> Result<SystemdManagerProxy<'static>, Error> {
        let connection = self.connected().await?;
        SystemdManagerProxy::new(&connection).await.map_err(|error| self.absent(&error))
    }

    /// systemd's version, as it says it: `257.13-1~deb13u1`.
    pub(super) async fn version(&self) -> Result<String, Error> {
        self.manager().await?.version().await.map_err(|error| self.absent(&error))
    }

    /// Has the generators run again.
    pub(super) async fn reload(&self) -> Result<(), Error> {
        self.manager().await?.reload().await.map_err(|error| self.refused("reload systemd", &error))
    }

    /// Starts a unit (at once, if it waits to be started again); the job.
    pub(super) async fn start(&self, unit: &str, again: bool) -> Result<String, Error> {
        let manager = self.manager().await?;
        // A start is put off until the wait before an automatic restart is over; a restart is not.
        let job = if again { manager.restart_unit(unit, "replace").await } else { manager.start_unit(unit, "replace").await };
        job.map(|path| path.to_string()).map_err(|error| self.refused(&format!("start {unit}"), &error))
    }

    /// Stops a unit; the job, or none if there is no such unit.
    pub(super) async fn stop(&self, unit: &str) -> Result<Option<String>, Error> {
        match self.manager().await?.stop_unit(unit, "replace").await {
            Ok(job) => Ok(Some(job.to_string())),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(self.refused(&format!("stop {unit}"), &error)),
        }
    }

    /// Kills everything of a unit.
    pub(super) async fn kill(&self, unit: &str) -> Result<(), Error> {
        match self.manager().await?.kill_unit(unit, "all", 9).await {
            Err(error) if !is_unknown(&error) => Err(self.refused(&format!("kill {unit}"), &error)),
            _ => Ok(()),
        }
    }

    /// Makes systemd forget that a unit failed.
    pub(super) async fn reset_failed(&self, unit: &str) -> Result<(), Error> {
        match self.manager().await?.reset_failed_unit(unit).await {
            Err(error) if !is_unknown(&error) => Err(self.refused(&format!("reset {unit}"), &error)),
            _ => Ok(()),
        }
    }

    /// What systemd knows of a unit; one that it has not loaded is loaded for it.
    pub(super) async fn state(&self, unit: &str) -> Result<UnitState, Error> {
        let connection = self.connected().await?;
        let path = object_path(unit);
        let reply = connection.call_method(Some(SYSTEMD), path.as_str(), Some("org.freedesktop.DBus.Properties"), "GetAll", &("",)).await;
        let properties = reply.and_then(|reply| reply.body().deserialize::<HashMap<String, OwnedVariant>>());
        properties.map(|properties| UnitState::of(&properties)).map_err(|error| self.refused(&format!("look at {unit}"), &error))
    }

    fn refused(&self, act: &str, error: &zbus::Error) -> Error {
        match error {
            zbus::Error::InputOutput(_) | zbus::Error::Connection(..) => self.absent(error),
            zbus::Error::MethodError(_, Some(text), _) => Error::Refused { act: act.to_owned(), why: format!("systemd says: {text}") },
            other => Error::Refused { act: act.to_owned(), why: format!("systemd says: {other}") },
        }
    }
}

fn is_unknown(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.systemd1.NoSuchUnit")
}

/// The object of a unit: all but letters and digits is escaped (and a digit at the beginning).
pub(super) fn object_path(unit: &str) -> String {
    let mut path = format!("{UNITS_PATH}/");
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// The same manager for a task that watches.
pub(super) async fn subscribe(connection: &Connection) -> zbus::Result<()> {
    SystemdManagerProxy::new(connection).await?.subscribe().await
}

/// A receiver that is told of jobs, and the end of one of them, if it comes in time.
pub(super) async fn end_of(jobs: &mut tokio::sync::broadcast::Receiver<JobEnd>, job: &str, limit: Duration) -> Option<Arc<str>> {
    let wait = async {
        loop {
            match jobs.recv().await {
                Ok(end) if end.job == job => return Some(Arc::from(end.result)),
                Ok(_) => {}
                // Too many at once: what became of it is seen by a look.
                Err(_) => return None,
            }
        }
    };
    tokio::time::timeout(limit, wait).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_unit_is_the_one_that_systemd_gives_it() {
        assert_eq!(object_path("foo@1.service"), "/org/freedesktop/systemd1/unit/foo_401_2eservice");
        assert_eq!(object_path("1-a.b.service"), "/org/freedesktop/systemd1/unit/_31_2da_2eb_2eservice");
    }
}

//! systemd's signals: which instance to look at again, and how jobs ended. A connection that is lost is made again, and then everything is looked at.
use std::{convert::Infallible, future::Future, num::NonZeroUsize, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use zbus::{MatchRule, Message, MessageStream, OwnedObjectPath, message::Type};

use super::{
    Inner,
    bus::{self, JobEnd, MANAGER_PATH, SYSTEMD, UNITS_PATH},
};

/// Between attempts to reach the bus.
const AGAIN: Duration = Duration::from_secs(1);
/// So many signals may wait; a reload makes one per unit.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Watches until shutdown.
pub(super) async fn watch(inner: Arc<Inner>, end: impl Future<Output = ()>) -> Result<(), Infallible> {
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            lost = listen(&inner) => {
                tracing::warn!(error = %lost, "systemd is not heard; tried again");
                drop(inner.health.send_replace(Err(lost)));
            }
        }
        tokio::select! {
            () = &mut end => return Ok(()),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Listens until the connection is lost; why it was.
async fn listen(inner: &Inner) -> String {
    let signals = match signals(inner).await {
        Ok(signals) => signals,
        Err(why) => return why,
    };
    drop(inner.health.send_replace(Ok(())));
    inner.look_at_all();
    tokio::pin!(signals);
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(signal) => inner.heard(&signal),
            Err(error) => return error.to_string(),
        }
    }
    "the bus closed the connection".to_owned()
}

async fn signals(inner: &Inner) -> Result<impl stream::Stream<Item = zbus::Result<Message>>, String> {
    let connection = inner.bus.connect().await.map_err(|error| error.to_string())?;
    let make = async {
        let rule = || MatchRule::builder().msg_type(Type::Signal);
        let manager = rule().sender(SYSTEMD).path(MANAGER_PATH).build()?;
        let units = rule().sender(SYSTEMD).path_namespace(UNITS_PATH).interface("org.freedesktop.DBus.Properties").build()?;
        let manager = MessageStream::for_match_rule(manager, &connection, Some(QUEUE)).await?;
        let units = MessageStream::for_match_rule(units, &connection, Some(QUEUE)).await?;
        bus::subscribe(&connection).await?;
        Ok::<_, zbus::Error>(stream::select(manager, units))
    };
    make.await.map_err(|error| error.to_string())
}

impl Inner {
    fn heard(&self, signal: &Message) {
        let header = signal.header();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        match member.as_str() {
            "PropertiesChanged" => {
                let path = header.path().map(ToString::to_string).unwrap_or_default();
                self.look_at(&path);
            }
            "JobRemoved" => {
                if let Ok((_, job, unit, result)) = signal.body().deserialize::<(u32, OwnedObjectPath, String, String)>() {
                    // Nobody may be waiting.
                    let _ = self.jobs.send(JobEnd { job: job.to_string(), result });
                    self.look_at(&bus::object_path(&unit));
                }
            }
            "UnitNew" | "UnitRemoved" => {
                if let Ok((_, path)) = signal.body().deserialize::<(String, OwnedObjectPath)>() {
                    self.look_at(path.as_str());
                }
            }
            "Reloading" if signal.body().deserialize::<bool>().is_ok_and(|begins| !begins) && !self.reloads.is_busy() => self.look_at_all(),
            _ => {}
        }
    }

    fn look_at(&self, path: &str) {
        if let Some(key) = self.index.of_object(path) {
            self.subscribers.tell(&key);
        }
    }

    fn look_at_all(&self) {
        for key in self.index.keys() {
            self.subscribers.tell(&key);
        }
    }
}

//! Looks at instances: from memory while nothing says "look again" and the process lives, else by asking the engine and then the kernel.
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep},
};

use super::{
    Inner,
    identity::{self, IMAGE},
    process,
    refusal::refused,
    slot::{Held, Slot, State},
};
use crate::{
    Error,
    engine::containers::{Inspected, Status, Summary},
    ready, sockets,
};
use mesh_api::labels;
use mesh_kit::clock;
use mesh_plan::instance::{Exit, ExitHow, InstanceKey, Observed, PortOwner, Running};
use mesh_shim::identity::hold;

/// So long the engine may take to notice the end of a process whose conmon lives.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);
/// A process that a signal ended has this and the signal's number as its exit code.
const SIGNALLED: i64 = 128;
const SIGNALS: i64 = 64;

/// What a close look at a container found.
pub(super) enum Found {
    /// It runs.
    Running(Held),
    /// It has ended.
    Ended(Exit),
    /// It is gone.
    Nothing,
}

impl Inner {
    pub(super) async fn observe(self: &Arc<Self>, key: &InstanceKey) -> Result<Observed, Error> {
        let slot = self.slots.of(key);
        let mut state = slot.state.lock().await;
        let observed = self.look(&slot, &mut state).await;
        // The time of an end that nobody saw is known nowhere else.
        let nothing_held = state.held.is_none() && state.ended_unseen.is_none();
        drop(state);
        if nothing_held && observed.is_ok() {
            self.slots.forget(&slot);
        }
        observed
    }

    /// Looks at one instance, whose slot the caller holds.
    pub(super) async fn look(self: &Arc<Self>, slot: &Arc<Slot>, state: &mut State) -> Result<Observed, Error> {
        let news = slot.news();
        let lives = match &state.held {
            Some(held) => process::is_of(held.pid, &held.id).map_err(unseen(&slot.key))?,
            None => false,
        };
        if let Some(held) = state.held.as_mut().filter(|held| lives && held.news == news) {
            return running(slot, held);
        }
        match self.find(slot, state).await {
            Ok(Found::Running(mut held)) => {
                held.news = news;
                running(slot, state.held.insert(held))
            }
            Ok(Found::Ended(exit)) => {
                state.held = None;
                Ok(Observed::Exited(exit))
            }
            Ok(Found::Nothing) => {
                state.held = None;
                Ok(Observed::Absent)
            }
            // The engine is away, and its containers run on without it: what the kernel says of this one is enough.
            Err(error @ Error::EngineUnreachable { .. }) => match state.held.as_mut() {
                Some(held) if lives => running(slot, held),
                Some(held) => {
                    let at = *held.gone.get_or_insert_with(clock::now);
                    Ok(Observed::Exited(Exit { attempt: held.attempt, since: held.since, at, how: ExitHow::Unknown }))
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn find(self: &Arc<Self>, slot: &Arc<Slot>, state: &mut State) -> Result<Found, Error> {
        let all = self.containers_of(&slot.key).await?;
        // What was made and never started is a start that was cut off: the next one removes it.
        let ran = all.into_iter().filter(|it| !matches!(it.status, Status::Created | Status::Removing));
        let Some(newest) = ran.max_by_key(|it| identity::attempt(&it.labels)) else { return Ok(Found::Nothing) };
        self.close_look(slot, state, &newest.id).await
    }

    /// Every container of an instance.
    pub(super) async fn containers_of(&self, key: &InstanceKey) -> Result<Vec<Summary>, Error> {
        let found = self.engine.containers(&self.of_instance(key)).await;
        found.map_err(|error| refused(&self.engine, format!("list the containers of {key}"), &error))
    }

    async fn close_look(self: &Arc<Self>, slot: &Arc<Slot>, state: &mut State, id: &str) -> Result<Found, Error> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let found = self.engine.inspect(id).await;
            let found = found.map_err(|error| refused(&self.engine, format!("look at the container of {}", slot.key), &error))?;
            let Some(found) = found else { return Ok(Found::Nothing) };
            if !found.status.runs() {
                // Where the machine went down under it, the engine knows that it has ended and nothing more.
                return Ok(Found::Ended(exit(&found).unwrap_or_else(|| ended_unseen(state, &found))));
            }
            if process::is_of(found.pid, &found.id).map_err(unseen(&slot.key))?
                && let Some(held) = self.hold(slot, state, &found)?
            {
                return Ok(Found::Running(held));
            }
            // Its process is gone: the engine learns of that from conmon within milliseconds, or never if conmon is gone too.
            let held = found.holder.map_or(Ok(true), |holder| process::holds(holder, &found.id)).map_err(unseen(&slot.key))?;
            if !held || Instant::now() > give_up {
                return Ok(Found::Ended(ended_unseen(state, &found)));
            }
            sleep(PAUSE).await;
        }
    }

    /// Keeps what was found, and watches for the end of the process; none if it has just ended.
    fn hold(self: &Arc<Self>, slot: &Arc<Slot>, state: &State, found: &Inspected) -> Result<Option<Held>, Error> {
        let known = state.held.as_ref().filter(|held| held.id == found.id && held.pid == found.pid);
        if known.is_none() {
            let end = hold(found.pid);
            if !process::is_of(found.pid, &found.id).map_err(unseen(&slot.key))? {
                return Ok(None);
            }
            if let Ok(Some(Ok(end))) = end.map(|end| end.map(ready::watch)) {
                self.watch_end(slot, end);
            } else {
                // No descriptor is free: its end is learnt of from the engine alone, a little later.
                tracing::warn!(container = found.name, "its process cannot be watched");
            }
        }
        Ok(Some(Held {
            id: found.id.clone(),
            name: found.name.clone(),
            attempt: identity::attempt(&found.labels),
            pid: found.pid,
            since: found.started.or(known.map(|held| held.since)).unwrap_or_else(clock::now),
            port: found.port,
            image: found.labels.get(IMAGE).cloned(),
            stopping: found.status == Status::Stopping,
            listens: known.is_some_and(|held| held.listens),
            gone: None,
            news: 0,
        }))
    }

    fn watch_end(self: &Arc<Self>, slot: &Arc<Slot>, end: AsyncFd<OwnedFd>) {
        let (inner, slot) = (Arc::clone(self), Arc::clone(slot));
        self.shutdown.spawn_work(async move {
            tokio::select! {
                () = inner.shutdown.triggered() => return,
                _ = end.readable() => {}
            }
            slot.look_again();
            inner.subscribers.tell(&slot.key);
        });
    }

    /// Every instance of ours of which the engine has something: a container, or a volume that was to go with it.
    pub(super) async fn list(&self) -> Result<Vec<InstanceKey>, Error> {
        let ours = [(labels::CONTROLLER, self.controller.as_str())];
        let containers =
            self.engine.containers(&ours).await.map_err(|error| refused(&self.engine, "list containers".to_owned(), &error))?;
        let volumes = self.engine.volumes(&ours).await.map_err(|error| refused(&self.engine, "list volumes".to_owned(), &error))?;
        let mut keys: Vec<InstanceKey> = containers.iter().filter_map(|it| identity::key(|label| it.labels.get(label))).collect();
        keys.extend(volumes.iter().filter_map(|(_, labels)| identity::key(|label| labels.get(label))));
        keys.sort();
        keys.dedup();
        Ok(keys)
    }
}

/// Its processes could not be looked at.
fn unseen(key: &InstanceKey) -> impl FnOnce(io::Error) -> Error + use<> {
    let act = format!("look at the processes of {key}");
    move |source| Error::System { act, source }
}

fn running(slot: &Slot, held: &mut Held) -> Result<Observed, Error> {
    let stopping = slot.stopping();
    if let Some(trouble) = stopping.as_ref().and_then(|stopping| stopping.trouble.clone()) {
        return Err(Error::Refused { act: format!("stop container {}", held.name), why: trouble });
    }
    let port_owner = match held.port {
        None => PortOwner::NoPort,
        Some(_) if held.listens => PortOwner::Ours,
        Some(port) => sockets::port_owner(held.pid, port.container),
    };
    held.listens = port_owner == PortOwner::Ours;
    Ok(Observed::Running(Running {
        attempt: held.attempt,
        pid: u32::try_from(held.pid).unwrap_or_default(),
        since: held.since,
        stopping: held.stopping || stopping.is_some(),
        address: held.port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.host))),
        port_owner,
        image: held.image.clone(),
    }))
}

/// The end of a container as the engine tells it; none if it does not know when that was.
fn exit(found: &Inspected) -> Option<Exit> {
    let at = found.finished?;
    let how = match found.exit_code {
        code if code > SIGNALLED && code <= SIGNALLED + SIGNALS => ExitHow::Signal(i32::try_from(code - SIGNALLED).unwrap_or_default()),
        // What the engine gives when nobody could tell it.
        code if code < 0 => ExitHow::Unknown,
        code => ExitHow::Code(i32::try_from(code).unwrap_or(i32::MAX)),
    };
    Some(Exit { attempt: identity::attempt(&found.labels), since: found.started.unwrap_or(at).min(at), at, how })
}

/// The end of a container of which the engine does not know: the time stays that of the first look.
fn ended_unseen(state: &mut State, found: &Inspected) -> Exit {
    let at = match &state.ended_unseen {
        Some((id, at)) if *id == found.id => *at,
        _ => clock::now(),
    };
    state.ended_unseen = Some((found.id.clone(), at));
    Exit { attempt: identity::attempt(&found.labels), since: found.started.unwrap_or(at), at, how: ExitHow::Unknown }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ended(exit_code: i64, finished: Option<&str>) -> Inspected {
        Inspected {
            id: "0f".to_owned(),
            name: "web".to_owned(),
            status: Status::Exited,
            pid: 0,
            holder: None,
            started: Some("2026-11-21T09:00:00Z".parse().unwrap()),
            finished: finished.map(|at| at.parse().unwrap()),
            exit_code,
            labels: BTreeMap::from([(labels::ATTEMPT.to_owned(), "3".to_owned())]),
            port: None,
        }
    }

    #[test]
    fn an_exit_code_is_a_code_a_signal_or_nothing() {
        let at = "2026-11-21T09:00:05Z";
        for (code, how) in [
            (0, ExitHow::Code(0)),
            (128, ExitHow::Code(128)),
            (137, ExitHow::Signal(9)),
            (143, ExitHow::Signal(15)),
            (255, ExitHow::Code(255)),
            (-1, ExitHow::Unknown),
        ] {
            let exit = exit(&ended(code, Some(at))).unwrap();
            assert_eq!((exit.attempt, exit.at.to_string(), exit.how), (3, at.to_owned(), how), "{code}");
        }
    }

    #[test]
    fn an_end_that_nobody_saw_was_when_it_was_first_found() {
        let found = ended(0, None);
        assert_eq!(exit(&found), None);
        let mut state = State::default();
        let first = ended_unseen(&mut state, &found);
        assert_eq!(first.how, ExitHow::Unknown);
        assert_eq!(ended_unseen(&mut state, &found), first);
    }
}

//! One look at an instance: systemd's word, the record, and the container's processes.
use super::{Inner, proc, record::Record, state, state::Phase, state::UnitState};
use std::{io, time::Duration};

use crate::{Error, InstanceUsage, sockets};
use mesh_kit::clock;
use mesh_plan::instance::{InstanceKey, Observed, PortOwner, Running};

impl Inner {
    /// Looks at one instance.
    pub(super) async fn observe(&self, key: &InstanceKey) -> Result<Observed, Error> {
        let lock = self.index.lock(&key.uid);
        let _one = lock.lock().await;
        let Some((record, state)) = self.look(&key.uid).await? else { return Ok(Observed::Absent) };
        let unseen = |source| Error::System { act: format!("look at the processes of {key}"), source };
        observed(&record, &state, state_owner).map_err(unseen)
    }

    /// What every running instance uses.
    pub(super) async fn usage(&self) -> Result<Vec<InstanceUsage>, Error> {
        let mut found = Vec::new();
        for record in self.index.all() {
            let state = self.bus.state(&record.unit()).await?;
            if state.phase() == Phase::Running {
                let cpu = Duration::from_nanos(state.cpu.unwrap_or_default());
                found.push(InstanceUsage { key: record.key, cpu, memory: state.memory.unwrap_or_default() });
            }
        }
        Ok(found)
    }

    /// The record, brought up to date, and what systemd says; none of an instance that is not known.
    pub(super) async fn look(&self, uid: &str) -> Result<Option<(Record, UnitState)>, Error> {
        let Some(record) = self.index.get(uid) else { return Ok(None) };
        let state = self.bus.state(&record.unit()).await?;
        let record = state::seen(&record, &state, &self.boot_id, clock::now());
        self.index.put(&self.place, record.clone())?;
        Ok(Some((record, state)))
    }
}

/// The container's first process, and who listens.
fn state_owner(conmon: u32, port: Option<u16>) -> io::Result<(Option<u32>, PortOwner)> {
    let payload = proc::payload(conmon)?;
    let owner = match (port, payload) {
        (None, _) => PortOwner::NoPort,
        (Some(_), None) => PortOwner::Nobody,
        (Some(port), Some(pid)) => sockets::port_owner(i32::try_from(pid).unwrap_or_default(), port),
    };
    Ok((payload, owner))
}

fn observed(
    record: &Record,
    state: &UnitState,
    processes: impl Fn(u32, Option<u16>) -> io::Result<(Option<u32>, PortOwner)>,
) -> io::Result<Observed> {
    let phase = state.phase();
    Ok(match phase {
        Phase::Idle | Phase::Ended => record.ended.clone().or_else(|| record.last.clone()).map_or(Observed::Absent, Observed::Exited),
        Phase::Starting | Phase::Running | Phase::Stopping => {
            let (payload, port_owner) = processes(state.main_pid, record.port.map(|(_, inside)| inside))?;
            Observed::Running(Running {
                attempt: record.attempt,
                pid: payload.unwrap_or(state.main_pid),
                since: record.since.or(state.started).unwrap_or(record.made),
                stopping: phase == Phase::Stopping,
                address: record.port.map(|(host, _)| std::net::SocketAddr::from(([127, 0, 0, 1], host))),
                port_owner,
                image: record.image.clone(),
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_plan::instance::{Exit, ExitHow};

    fn record() -> Record {
        let key = InstanceKey { namespace: "shop".into(), name: "api-r-0".into(), uid: "u".into() };
        let made = "2026-11-21T09:00:00Z".parse().unwrap();
        Record { attempt: 2, port: Some((20_000, 8080)), ..Record::new(key, "mesh-shop.api-r", 0, "mesh-shop-api-r-0", made) }
    }

    fn state(active: &str, sub: &str) -> UnitState {
        UnitState { active: active.into(), sub: sub.into(), invocation: "a".into(), main_pid: 7, ..UnitState::default() }
    }

    fn look(record: &Record, state: &UnitState) -> Observed {
        let processes = |_, port| {
            assert_eq!(port, Some(8080), "it is looked for inside the container");
            Ok((Some(8), PortOwner::Ours))
        };
        observed(record, state, processes).unwrap()
    }

    #[test]
    fn a_unit_that_is_up_or_on_its_way_runs() {
        for (active, sub, stopping) in
            [("active", "running", false), ("activating", "start", false), ("deactivating", "stop-sigterm", true)]
        {
            let Observed::Running(running) = look(&record(), &state(active, sub)) else { panic!("{active}") };
            assert_eq!((running.attempt, running.pid, running.stopping), (2, 8, stopping), "{active}");
            assert_eq!(running.address, Some("127.0.0.1:20000".parse().unwrap()));
        }
    }

    #[test]
    fn a_unit_whose_processes_cannot_be_looked_at_is_not_called_unready() {
        let unseen = |_, _| Err(rustix::io::Errno::MFILE.into());
        assert!(observed(&record(), &state("active", "running"), unseen).is_err());
    }

    #[test]
    fn a_unit_at_rest_is_its_last_end_or_nothing() {
        let exit = |attempt| Exit { attempt, since: record().made, at: record().made, how: ExitHow::Code(1) };
        let rest = state("activating", "auto-restart");
        assert_eq!(look(&record(), &rest), Observed::Absent);
        let before = Record { last: Some(exit(1)), ..record() };
        assert_eq!(look(&before, &rest), Observed::Exited(exit(1)));
        let ended = Record { ended: Some(exit(2)), ..before };
        assert_eq!(look(&ended, &rest), Observed::Exited(exit(2)));
    }
}

//! What the agent holds between reconciles: memories, ports, probes. All of it can be lost; it is made again from the API and the backend.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use futures::{Stream, stream};
use kube::{Client, runtime::reflector::ObjectRef};

use super::{
    Options, launch,
    orphans::Orphans,
    ports::Ports,
    probes::{Probers, Target},
    requests::Requests,
};
use crate::notes::Notes;
use mesh_api::{MeshInstance, MeshInstanceStatus, conditions::instance as reason};
use mesh_backend::{self as backend, Backend};
use mesh_plan::{
    container,
    instance::{InstanceKey, Observed},
    lifecycle::{Health, Memory, StartFailure},
    task,
};

/// The agent's state.
pub(super) struct Agent {
    pub(super) client: Client,
    pub(super) backend: Backend,
    pub(super) options: Options,
    pub(super) ports: Ports,
    pub(super) notes: Notes,
    pub(super) orphans: Orphans,
    memories: Mutex<HashMap<String, Memory>>,
    /// The status that was last told of in Events, by uid: the object at hand may be older.
    told: Mutex<HashMap<String, MeshInstanceStatus>>,
    probers: Probers,
    pub(super) requests: Requests,
}

impl Agent {
    /// A new agent, and the stream of instances whose probes have changed their mind.
    pub(super) fn new(
        client: Client,
        backend: Backend,
        options: Options,
        notes: Notes,
        orphans: Orphans,
    ) -> (Self, impl Stream<Item = ObjectRef<MeshInstance>> + Send + 'static) {
        let (probers, probed) = Probers::new(backend.clone(), options.unknown_probes.clone());
        let (requests, answered) = Requests::new(client.clone());
        let ports = Ports::new(options.ports);
        let (memories, told) = (Mutex::default(), Mutex::default());
        let agent = Self { client, backend, options, ports, notes, orphans, memories, told, probers, requests };
        (agent, stream::select(probed, answered))
    }

    /// Looks at an instance: what the backend has of it, or the request that it is.
    pub(super) async fn observe(&self, instance: &MeshInstance, key: &InstanceKey) -> Result<Observed, backend::Error> {
        if task::request(instance).is_some() { Ok(self.requests.observe(&key.uid)) } else { self.backend.observe(key).await }
    }

    /// Takes note of a look, and gives what is remembered.
    pub(super) fn note(&self, key: &InstanceKey, observed: &Observed) -> Memory {
        if let Observed::Running(running) = observed
            && let Some(address) = running.address
        {
            self.ports.reserve(&key.uid, address.port());
        }
        if let Some(door) = &self.options.door {
            door.tell(key, observed);
        }
        self.remember(key, |memory| {
            memory.note(observed);
            memory.clone()
        })
    }

    /// Changes what is remembered.
    pub(super) fn remember<T>(&self, key: &InstanceKey, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(self.memories.lock().unwrap_or_else(PoisonError::into_inner).entry(key.uid.clone()).or_default())
    }

    /// Takes note that a status is being told of, and gives the one that was told of before, if there was one.
    pub(super) fn tell(&self, uid: &str, status: MeshInstanceStatus) -> Option<MeshInstanceStatus> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), status)
    }

    /// Sees to it that a running program is probed, and gives what the probes have found.
    pub(super) async fn probe(&self, instance: &MeshInstance, key: &InstanceKey, observed: &Observed) -> Health {
        let Observed::Running(running) = observed else {
            self.probers.forget(&key.uid);
            return Health::default();
        };
        // Whoever is to come to an end serves nobody.
        if instance.spec.run.is_some() {
            return Health::default();
        }
        if !self.probers.has(&key.uid, running.attempt) && !running.stopping {
            let template = &instance.spec.template;
            let probes = [&template.readiness_probe, &template.liveness_probe, &template.startup_probe];
            // Only a command needs the environment; without one, a missing ConfigMap does not stand in the way of an adopted instance.
            let exec = probes.iter().any(|probe| probe.as_ref().is_some_and(|probe| probe.exec.is_some()));
            let port = running.address.map(|address| address.port());
            let launch = if exec {
                launch::launch(&self.client, &self.options, instance, key, running.attempt, port).await.map(Some)
            } else {
                Ok(None)
            };
            let launch = match launch {
                Ok(launch) => launch,
                Err(StartFailure { message, .. }) => {
                    return Health { attempt: running.attempt, not_ready: Some((reason::CONFIG_MISSING, message)), ..Health::default() };
                }
            };
            let inside = if self.options.backend.runs_containers() { container::port(&launch::of(instance, key)) } else { None };
            self.probers.start(Target::new(instance, key, running, launch, inside));
        }
        self.probers.health(&key.uid)
    }

    /// Whether something of an instance may be here: it was looked at, and not released since.
    pub(super) fn remembers(&self, uid: &str) -> bool {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).contains_key(uid)
    }

    /// Forgets an instance that is gone.
    pub(super) fn forget(&self, key: &InstanceKey) {
        self.probers.forget(&key.uid);
        self.requests.forget(&key.uid);
        self.ports.release(&key.uid);
        if let Some(door) = &self.options.door {
            door.forget(key);
        }
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.uid);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.uid);
    }
}

//! Carries out a step on the backend. What the backend says against a start becomes part of the instance's status.
use std::time::Duration;

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{agent::Agent, launch};
use crate::{Error, api, notes::Note};
use mesh_api::{MeshInstance, conditions::instance as reason, labels};
use mesh_backend as backend;
use mesh_kit::clock;
use mesh_plan::{
    instance::{Action, InstanceKey},
    lifecycle::{Memory, StartFailure},
    task,
};

/// Starts a run; a start that does not come about is remembered, with its cause.
pub(super) async fn start(agent: &Agent, instance: &MeshInstance, key: &InstanceKey, attempt: u32) -> Result<(), Error> {
    match try_start(agent, instance, key, attempt).await {
        Ok(()) => {
            if agent.remember(key, Memory::note_started).is_some_and(|failure| failure.is_under_way()) {
                let image = instance.spec.template.image.as_deref().unwrap_or_default();
                agent.notes.publish(instance, Note::normal("Pulled", format!("image {image} is here")));
            }
            if let Some(adopted) = agent.backend.adopted(key) {
                agent.notes.publish(instance, Note::normal("Adopted", adopted));
            }
            let again = if attempt > 0 { format!(" again (restart {attempt})") } else { String::new() };
            agent.notes.publish(instance, Note::normal("Started", format!("started{again}")));
        }
        Err(failure) => {
            let known = agent.remember(key, |memory| memory.start_failure.as_ref().is_some_and(|old| old.message == failure.message));
            if !known {
                let message = failure.message.clone();
                let note = if failure.is_under_way() { Note::normal("Pulling", message) } else { Note::warning(failure.reason, message) };
                agent.notes.publish(instance, note);
            }
            agent.remember(key, |memory| memory.note_start_failure(failure));
        }
    }
    Ok(())
}

async fn try_start(agent: &Agent, instance: &MeshInstance, key: &InstanceKey, attempt: u32) -> Result<(), StartFailure> {
    if let Some(http) = task::request(instance) {
        agent.requests.start(instance, http.clone(), attempt);
        return Ok(());
    }
    let port = if instance.spec.serves { Some(port(agent, instance, key)?) } else { None };
    let launch = launch::launch(&agent.client, &agent.options, instance, key, attempt, port).await?;
    if let Some(door) = &agent.options.door {
        let written = door.write(key, &launch::caller(instance, key, attempt), agent.options.backend.runs_containers());
        written.map_err(|source| failure(&backend::Error::System { act: "write the instance's token".to_owned(), source }))?;
    }
    agent.backend.execute(Action::Start(Box::new(launch))).await.map_err(|error| failure(&error))
}

fn port(agent: &Agent, instance: &MeshInstance, key: &InstanceKey) -> Result<u16, StartFailure> {
    let is_free = |port| agent.backend.port_is_free(port);
    let unseen = |source| failure(&backend::Error::System { act: "look who listens on ports".to_owned(), source });
    if let Some(fixed) = instance.spec.port {
        if is_free(fixed.0).map_err(unseen)? {
            agent.ports.reserve(&key.uid, fixed.0);
            return Ok(fixed.0);
        }
        let message = format!(
            "port {} is taken by another process: end that, or change spec.port (ss -ltnp 'sport = :{}' shows who has it)",
            fixed.0, fixed.0
        );
        return Err(StartFailure { reason: reason::PORT_TAKEN, message, at: clock::now() });
    }
    agent.ports.assign(&key.uid, is_free).map_err(unseen)?.ok_or_else(|| {
        let message = format!(
            "no port of the node's range {} is free: scale down, or give the controller a larger --port-range",
            agent.options.ports
        );
        StartFailure { reason: reason::PORTS_EXHAUSTED, message, at: clock::now() }
    })
}

fn failure(error: &backend::Error) -> StartFailure {
    let reason = match error {
        backend::Error::EngineUnreachable { .. } => reason::ENGINE_UNREACHABLE,
        error if error.is_ours() => reason::NODE_EXHAUSTED,
        backend::Error::CommandNotFound { .. } => reason::COMMAND_NOT_FOUND,
        backend::Error::CommandNotExecutable { .. } => reason::COMMAND_NOT_EXECUTABLE,
        backend::Error::WorkingDir { .. } => reason::WORKING_DIR,
        backend::Error::Pulling { .. } => reason::PULLING,
        backend::Error::Image { .. } => reason::IMAGE_PULL,
        backend::Error::ImageNeverPull { .. } => reason::IMAGE_NEVER_PULL,
        backend::Error::ImageArchitecture { .. } => reason::IMAGE_ARCHITECTURE,
        backend::Error::NameTaken { .. } => reason::NAME_TAKEN,
        backend::Error::HostPath { .. } => reason::HOST_PATH,
        backend::Error::PortTaken { .. } => reason::PORT_TAKEN,
        backend::Error::Unsupported(_) => reason::UNSUPPORTED,
        backend::Error::StillRuns(_) | backend::Error::WrongLaunch(_) | backend::Error::Refused { .. } | backend::Error::System { .. } => {
            reason::START_FAILED
        }
    };
    StartFailure { reason, message: error.to_string(), at: clock::now() }
}

/// Tells a program to end.
pub(super) async fn stop(agent: &Agent, instance: &MeshInstance, key: &InstanceKey, grace: Duration) -> Result<(), backend::Error> {
    if task::request(instance).is_some() {
        agent.requests.stop(&key.uid);
        return Ok(());
    }
    agent.backend.execute(Action::Stop { key: key.clone(), grace }).await
}

/// Removes what is left of an ended instance, and lets its object go.
pub(super) async fn release(agent: &Agent, instance: &MeshInstance, key: &InstanceKey) -> Result<(), Error> {
    agent.backend.execute(Action::Remove(key.clone())).await.map_err(|source| Error::Backend { act: "remove", source })?;
    agent.forget(key);
    let finalizers: Vec<&String> = instance.finalizers().iter().filter(|name| *name != labels::DRAIN_FINALIZER).collect();
    let patch = json!({ "metadata": { "finalizers": finalizers, "uid": key.uid } });
    let instances: Api<MeshInstance> = Api::namespaced(agent.client.clone(), &key.namespace);
    match instances.patch_metadata(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        // Gone already, or made anew under the same name: either way this one is let go.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        result => result.map(drop).map_err(api("remove the finalizer of MeshInstance")),
    }
}

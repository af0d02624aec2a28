//! What has to be done once before a new revision starts (`spec.rollout.before`): a run of a task, made here, and how it stands.
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, ResourceExt};
use serde_json::from_value;

use super::dereference::World;
use crate::{
    Error, api,
    mesh_task::{Asked, NotMade, ask},
};
use mesh_api::{
    MeshInstance, MeshService, MeshTask,
    conditions::service::{TASK_FAILED, WAITING_FOR_TASK},
    instance::{InstanceState, InstanceTemplate},
    labels, names,
    task::TaskRunStatus,
};
use mesh_plan::{service_status::replicas::Trouble, task, template::Revision};

/// Why a revision does not start yet; none if it may. A revision that has been made is never held up again: its `ControllerRevision` stands for that.
pub(super) async fn look(client: &Client, service: &MeshService, revision: &str, world: &World) -> Result<Option<Trouble>, Error> {
    let object = names::controller_revision(&service.name_any(), revision);
    let is_made = world.revisions.iter().any(|known| known.name_any() == object);
    let runs: Api<MeshInstance> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    gate(client, service, revision, is_made, async |task, name, asked| {
        let run = match runs.get_opt(name).await.map_err(api("read the run of MeshTask"))? {
            Some(run) => run,
            None => ask(client, task, asked).await?,
        };
        Ok(task::told(&run))
    })
    .await
}

/// Why a revision of a service does not start yet, here or in a cluster. `run` gives the run of that name, which it makes if it is not there.
pub(crate) async fn gate(
    client: &Client,
    service: &MeshService,
    revision: &str,
    is_made: bool,
    run: impl AsyncFnOnce(&MeshTask, &str, Asked) -> Result<TaskRunStatus, NotMade>,
) -> Result<Option<Trouble>, Error> {
    let Some(before) = service.spec.rollout.before.as_ref().filter(|_| !is_made && service.spec.replicas > 0) else { return Ok(None) };
    let tasks: Api<MeshTask> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let Some(task) = tasks.get_opt(&before.task).await.map_err(api("read MeshTask"))? else {
        let text =
            format!("spec.rollout.before.task: there is no MeshTask {:?} in this namespace: apply it, or leave `before` out", before.task);
        return Ok(Some((TASK_FAILED, text)));
    };
    let name = task::before(&task, &service.name_any(), revision);
    let asked = Asked { name: Some(name.clone()), before: Some(service.name_any()), args: None };
    match run(&task, &name, asked).await {
        Ok(told) => Ok(standing(&before.task, &told)),
        Err(NotMade::Refused(why)) => Ok(Some((TASK_FAILED, format!("task {} cannot run: {why}", before.task)))),
        Err(NotMade::Api(error)) => Err(error),
    }
}

/// What a run that comes first says: nothing once it has succeeded.
fn standing(task: &str, run: &TaskRunStatus) -> Option<Trouble> {
    let message = if run.message.is_empty() { String::new() } else { format!(": {}", run.message) };
    match run.state {
        InstanceState::Succeeded => None,
        InstanceState::Failed => {
            let words =
                run.last_words.as_deref().and_then(|words| words.lines().last()).map(|words| format!(" ({words})")).unwrap_or_default();
            let text = format!(
                "task {task} has failed, so the rollout is stopped{message}{words}; `mesh task logs {task} {}` shows it. \
                 Change the task or the service, or delete that run to try it again",
                run.name
            );
            Some((TASK_FAILED, text))
        }
        state => Some((WAITING_FOR_TASK, format!("task {task} is to be done first; its run {} is {state:?}{message}", run.name))),
    }
}

/// The revision that was made last.
pub(super) fn newest(world: &World) -> Option<Revision> {
    let newest = world.revisions.iter().max_by_key(|revision| revision.revision)?;
    Some(Revision { name: newest.labels().get(labels::REVISION)?.clone(), template: template(newest)? })
}

fn template(revision: &ControllerRevision) -> Option<InstanceTemplate> {
    from_value(revision.data.0.pointer("/spec/template")?.clone()).ok()
}

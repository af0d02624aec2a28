//! What has to be done once before a new revision starts (`spec.rollout.before`): a run of a task, made here, and how it stands.
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::from_value;

use super::dereference::World;
use crate::{
    Error, api,
    mesh_task::{Asked, NotMade, TURN, ask},
    writes,
};
use mesh_api::{
    MeshInstance, MeshService, MeshTask,
    conditions::service::{TASK_FAILED, WAITING_FOR_TASK},
    instance::{InstanceState, InstanceTemplate},
    labels, names,
    task::{ConcurrencyPolicy, TaskRunStatus},
};
use mesh_plan::{
    service_status::replicas::Trouble,
    task::{self, First, Seen},
    template::Revision,
};

/// Why a revision does not start yet; none if it may. A revision that has been made is never held up again: its `ControllerRevision` stands for that.
pub(super) async fn look(client: &Client, service: &MeshService, revision: &str, world: &World) -> Result<Option<Trouble>, Error> {
    let object = names::controller_revision(&service.name_any(), revision);
    let is_made = world.revisions.iter().any(|known| known.name_any() == object);
    let instances = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    gate(client, service, revision, is_made, &Instances { client, instances }).await
}

/// Ends the runs for revisions of a service that is being deleted.
pub(super) async fn end(client: &Client, service: &MeshService) -> Result<(), Error> {
    if service.spec.rollout.before.is_none() {
        return Ok(());
    }
    let instances = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let runs = Instances { client, instances };
    for name in task::withdrawn(ConcurrencyPolicy::Replace, &service.name_any(), &runs.all().await?) {
        runs.end(&name).await?;
    }
    Ok(())
}

/// The runs of the tasks of a namespace, here or in a cluster.
pub(crate) trait Runs {
    /// All that are there.
    async fn all(&self) -> Result<Vec<Seen>, Error>;
    /// Makes one.
    async fn make(&self, task: &MeshTask, asked: Asked) -> Result<TaskRunStatus, NotMade>;
    /// Ends one and removes it; it is there until it has ended.
    async fn end(&self, name: &str) -> Result<(), Error>;
}

/// Runs on nodes.
struct Instances<'a> {
    client: &'a Client,
    instances: Api<MeshInstance>,
}

impl Runs for Instances<'_> {
    async fn all(&self) -> Result<Vec<Seen>, Error> {
        let runs = self.instances.list(&ListParams::default().labels(labels::TASK)).await.map_err(api("list the runs of MeshTasks"))?;
        Ok(runs.items.iter().map(task::seen).collect())
    }

    async fn make(&self, task: &MeshTask, asked: Asked) -> Result<TaskRunStatus, NotMade> {
        Ok(task::told(&ask(self.client, task, asked).await?))
    }

    async fn end(&self, name: &str) -> Result<(), Error> {
        writes::delete(&self.instances, name, &DeleteParams::background(), "end the run of MeshTask").await
    }
}

/// Why a revision of a service does not start yet, here or in a cluster. Its run is made if it is not there and no other comes first.
pub(crate) async fn gate(
    client: &Client,
    service: &MeshService,
    revision: &str,
    is_made: bool,
    runs: &impl Runs,
) -> Result<Option<Trouble>, Error> {
    let Some(before) = &service.spec.rollout.before else { return Ok(None) };
    let tasks: Api<MeshTask> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let task = tasks.get_opt(&before.task).await.map_err(api("read MeshTask"))?;
    if is_made || service.spec.replicas == 0 {
        if let Some(task) = &task {
            for name in task::withdrawn(task.spec.concurrency_policy, &service.name_any(), &runs.all().await?) {
                runs.end(&name).await?;
            }
        }
        return Ok(None);
    }
    let Some(task) = task else {
        let text =
            format!("spec.rollout.before.task: there is no MeshTask {:?} in this namespace: apply it, or leave `before` out", before.task);
        return Ok(Some((TASK_FAILED, text)));
    };
    let own = service.name_any();
    let name = task::before(&task, service, revision);
    let _turn = TURN.lock().await;
    let made = match task::first(&task, &own, &name, &runs.all().await?) {
        First::There(told) => Ok(told),
        First::Make => runs.make(&task, Asked { name: Some(name), before: Some(own), args: None }).await,
        First::After(other, end) => {
            for name in &end {
                runs.end(name).await?;
            }
            return Ok(Some((WAITING_FOR_TASK, waits(&own, &other, end.contains(&other.told.name)))));
        }
    };
    match made {
        Ok(told) => Ok(standing(&before.task, &told)),
        Err(NotMade::Refused(why)) => Ok(Some((TASK_FAILED, format!("task {} cannot run: {why}", before.task)))),
        Err(NotMade::Api(error)) => Err(error),
    }
}

/// That a run comes before the one that a service needs.
fn waits(service: &str, run: &Seen, is_ended: bool) -> String {
    let of = match run.standing.before.as_deref() {
        Some(own) if own == service => " for the earlier revision".to_owned(),
        Some(other) => format!(" for service {other}"),
        None => String::new(),
    };
    let how = if is_ended { "is being ended" } else { "goes on" };
    format!("waits for {}'s run {}{of}, which {how}", run.task, run.told.name)
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

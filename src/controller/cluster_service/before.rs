//! What has to be done once before a Deployment gets a new pod template (`spec.rollout.before`): a Job of a task, made here, and how it stands.
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};

use super::{Context, dereference::World};
use crate::{
    Error, api,
    children::is_of,
    cluster_task::ask,
    mesh_service::before::{Runs, gate},
    mesh_task::{Asked, NotMade},
    writes,
};
use mesh_api::{MeshService, MeshTask, labels, task::TaskRunStatus};
use mesh_backend::kubernetes::status::task::{standing, told};
use mesh_kit::clock;
use mesh_plan::{service_status::replicas::Trouble, task::Seen};

/// Why a revision does not start yet; none if it may. One that the Deployment has is never held up again.
pub(super) async fn look(context: &Context, service: &MeshService, revision: &str, world: &World) -> Result<Option<Trouble>, Error> {
    let is_made = world.deployment.as_deref().filter(|deployment| is_of(*deployment, service)).is_some_and(|deployment| {
        let labels = deployment.spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        labels.and_then(|labels| labels.get(labels::REVISION)).is_some_and(|made| made == revision)
    });
    let namespace = service.namespace().unwrap_or_default();
    let (jobs, pods) = (Api::namespaced(context.client.clone(), &namespace), Api::namespaced(context.client.clone(), &namespace));
    let runs = Cluster { context, jobs, pods };
    Box::pin(gate(&context.client, service, revision, is_made, &runs)).await
}

/// Runs in a cluster.
struct Cluster<'a> {
    context: &'a Context,
    jobs: Api<Job>,
    pods: Api<Pod>,
}

impl Runs for Cluster<'_> {
    async fn all(&self) -> Result<Vec<Seen>, Error> {
        let of_tasks = ListParams::default().labels(labels::TASK);
        let jobs = self.jobs.list(&of_tasks).await.map_err(api("list the Jobs of MeshTasks"))?.items;
        let pods =
            if jobs.is_empty() { Vec::new() } else { self.pods.list(&of_tasks).await.map_err(api("list the pods of MeshTasks"))?.items };
        let task = |job: &Job| job.labels().get(labels::TASK).cloned().unwrap_or_default();
        let seen = |job: &Job| Seen { task: task(job), told: told(job, &pods, None, clock::now()), standing: standing(job) };
        Ok(jobs.iter().map(seen).collect())
    }

    async fn make(&self, task: &MeshTask, asked: Asked) -> Result<TaskRunStatus, NotMade> {
        Ok(told(&ask(&self.context.client, task, self.context.options.door.as_ref(), asked).await?, &[], None, clock::now()))
    }

    async fn end(&self, name: &str) -> Result<(), Error> {
        // It is there as long as its pods are.
        writes::delete(&self.jobs, name, &DeleteParams::foreground(), "end the Job of MeshTask").await
    }
}

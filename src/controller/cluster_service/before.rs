//! What has to be done once before a Deployment gets a new pod template (`spec.rollout.before`): a Job of a task, made here, and how it stands.
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};

use super::{Context, dereference::World};
use crate::{
    Error, api,
    children::is_of,
    cluster_task::ask,
    mesh_service::before::{cannot_run, no_task, standing},
    mesh_task::{Asked, NotMade},
};
use mesh_api::{MeshService, MeshTask, labels};
use mesh_backend::kubernetes::status::task::{JOB, told};
use mesh_kit::clock;
use mesh_plan::{service_status::replicas::Trouble, task};

/// Why a revision does not start yet; none if it may. One that the Deployment has is never held up again.
pub(super) async fn look(context: &Context, service: &MeshService, revision: &str, world: &World) -> Result<Option<Trouble>, Error> {
    let Some(before) = &service.spec.rollout.before else { return Ok(None) };
    let is_made = world.deployment.as_deref().filter(|deployment| is_of(*deployment, service)).is_some_and(|deployment| {
        let labels = deployment.spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        labels.and_then(|labels| labels.get(labels::REVISION)).is_some_and(|made| made == revision)
    });
    if is_made || service.spec.replicas == 0 {
        return Ok(None);
    }
    let (client, namespace) = (&context.client, service.namespace().unwrap_or_default());
    let tasks: Api<MeshTask> = Api::namespaced(client.clone(), &namespace);
    let Some(task) = tasks.get_opt(&before.task).await.map_err(api("read MeshTask"))? else { return Ok(Some(no_task(&before.task))) };
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let name = task::before(&task, &service.name_any(), revision);
    let job = match jobs.get_opt(&name).await.map_err(api("read the Job of MeshTask"))? {
        Some(job) => job,
        None => match ask(client, &task, Asked { name: Some(name.clone()), before: Some(service.name_any()), args: None }).await {
            Ok(job) => job,
            Err(NotMade::Refused(why)) => return Ok(Some(cannot_run(&before.task, &why))),
            Err(NotMade::Api(error)) => return Err(error),
        },
    };
    let own = ListParams::default().labels(&format!("{JOB}={name}"));
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pods = pods.list(&own).await.map_err(api("list the pods of MeshTask"))?.items;
    Ok(standing(&before.task, &told(&job, &pods, None, clock::now())))
}

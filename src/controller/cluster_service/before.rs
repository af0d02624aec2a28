//! What has to be done once before a Deployment gets a new pod template (`spec.rollout.before`): a Job of a task, made here, and how it stands.
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};

use super::{Context, dereference::World};
use crate::{Error, api, children::is_of, cluster_task::ask, mesh_service::before::gate};
use mesh_api::{MeshService, labels};
use mesh_backend::kubernetes::status::task::{JOB, told};
use mesh_kit::clock;
use mesh_plan::service_status::replicas::Trouble;

/// Why a revision does not start yet; none if it may. One that the Deployment has is never held up again.
pub(super) async fn look(context: &Context, service: &MeshService, revision: &str, world: &World) -> Result<Option<Trouble>, Error> {
    let is_made = world.deployment.as_deref().filter(|deployment| is_of(*deployment, service)).is_some_and(|deployment| {
        let labels = deployment.spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        labels.and_then(|labels| labels.get(labels::REVISION)).is_some_and(|made| made == revision)
    });
    let (client, namespace) = (&context.client, service.namespace().unwrap_or_default());
    let (jobs, pods): (Api<Job>, Api<Pod>) = (Api::namespaced(client.clone(), &namespace), Api::namespaced(client.clone(), &namespace));
    let standing = gate(client, service, revision, is_made, async |task, name, asked| {
        let job = match jobs.get_opt(name).await.map_err(api("read the Job of MeshTask"))? {
            Some(job) => job,
            None => ask(client, task, context.options.door.as_ref(), asked).await?,
        };
        let own = ListParams::default().labels(&format!("{JOB}={name}"));
        let pods = pods.list(&own).await.map_err(api("list the pods of MeshTask"))?.items;
        Ok(told(&job, &pods, None, clock::now()))
    });
    Box::pin(standing).await
}

//! Fetches what a task's reconcile looks at, live: its `CronJob`, its Jobs and their pods, the service that it needs.
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{Error, api, mesh_task::service};
use mesh_api::{MeshService, MeshTask, labels};
use mesh_backend::kubernetes::status::task::newest_first;

/// What was found.
pub(super) struct World {
    /// The `CronJob` of the task's name, whoever owns it.
    pub(super) cron_job: Option<CronJob>,
    /// The task's Jobs, newest first.
    pub(super) jobs: Vec<Job>,
    /// Their pods.
    pub(super) pods: Vec<Pod>,
    /// The service that it needs, if that is there.
    pub(super) service: Option<MeshService>,
}

/// Fetches it.
pub(super) async fn dereference(client: &Client, task: &MeshTask) -> Result<World, Error> {
    let namespace = task.namespace().unwrap_or_default();
    let own = ListParams::default().labels(&format!("{}={}", labels::TASK, task.name_any()));
    let cron_jobs: Api<CronJob> = Api::namespaced(client.clone(), &namespace);
    let cron_job = cron_jobs.get_opt(&task.name_any()).await.map_err(api("read the CronJob of MeshTask"))?;
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let jobs = jobs.list(&own).await.map_err(api("list the Jobs of MeshTask"))?.items;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pods = if jobs.is_empty() { Vec::new() } else { pods.list(&own).await.map_err(api("list the pods of MeshTask"))?.items };
    Ok(World { cron_job, jobs: newest_first(jobs), pods, service: service(client, task).await? })
}

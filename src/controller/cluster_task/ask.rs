//! Makes the Job of a run that somebody asks for, whatever the schedule says.
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client, ResourceExt, api::PostParams};

use super::dereference::service;
use crate::{
    api,
    mesh_task::{Asked, NotMade},
};
use mesh_api::{MeshTask, names};
use mesh_backend::kubernetes::render::task as render;

/// Makes it. One of its name that is there already is that run.
///
/// # Errors
/// Why it cannot run, or what the API said.
pub async fn ask(client: &Client, task: &MeshTask, asked: Asked) -> Result<Job, NotMade> {
    let Asked { name, before, args } = asked;
    let objects = render::objects(task, service(client, task).await?.as_ref())?;
    let name = name.unwrap_or_else(|| names::run(&task.name_any(), &format!("manual-{}", rand::random::<u32>())));
    let job = render::job(task, &objects.run, name.clone(), args, before);
    let jobs: Api<Job> = Api::namespaced(client.clone(), &task.namespace().unwrap_or_default());
    match jobs.create(&PostParams::default(), &job).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(jobs.get(&name).await.map_err(api("read the Job of MeshTask"))?),
        made => Ok(made.map_err(api("create the Job of MeshTask"))?),
    }
}

//! Makes the Job of a run that somebody asks for, whatever the schedule says.
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client, ResourceExt};

use crate::{
    mesh_task::{Asked, NotMade, service},
    writes,
};
use mesh_api::MeshTask;
use mesh_backend::kubernetes::render::{Door, task as render};

/// Makes it. One of its name that is there already is that run. `door` is where it finds the mesh.
///
/// # Errors
/// Why it cannot run, or what the API said.
pub async fn ask(client: &Client, task: &MeshTask, door: Option<&Door>, asked: Asked) -> Result<Job, NotMade> {
    let objects = render::objects(task, service(client, task).await?.as_ref(), door)?;
    let job = render::job(task, &objects.run, asked.name(task), asked.args, asked.before);
    let jobs: Api<Job> = Api::namespaced(client.clone(), &task.namespace().unwrap_or_default());
    Ok(writes::create_or_get(&jobs, &job, "create the Job of MeshTask").await?)
}

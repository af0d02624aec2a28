//! A run of a task as the API has it: a `MeshInstance` on a machine, a Job in a cluster. The verbs know no other difference.
use std::{fmt::Debug, time::Duration};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    runtime::{watcher, watcher::watcher as watch},
};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::patience::Patience;
use crate::{
    exit::{Code, Failure, Result},
    follow::failure,
    instance::{Instance, api, has, mesh, pod},
    target::Connection,
};
use mesh_api::{MeshInstance, MeshTask, task::TaskRunStatus};
use mesh_backend::kubernetes::status::task as of_job;
use mesh_controllers::{
    cluster_task,
    mesh_task::{self, Asked},
};
use mesh_kit::clock;
use mesh_plan::task;

/// Between two looks whether a run has begun to write, or has another try.
pub(super) const LOOK: Duration = Duration::from_millis(300);

/// What is run.
pub(super) enum Ran {
    Instance(Box<MeshInstance>),
    Job(Box<Job>),
}

impl Ran {
    /// Makes one, with arguments in the place of the task's own.
    pub(super) async fn ask(connection: &Connection, task: &MeshTask, args: Option<Vec<String>>) -> Result<Self> {
        let asked = Asked { args, ..Asked::default() };
        let made = if in_cluster(connection).await? {
            let door = task.status.as_ref().and_then(|status| status.door.clone());
            cluster_task::ask(&connection.client, task, door.as_ref(), asked).await.map(|job| Self::Job(Box::new(job)))
        } else {
            mesh_task::ask(&connection.client, task, asked).await.map(|run| Self::Instance(Box::new(run)))
        };
        made.map_err(|error| Failure::new(Code::Failed, error.to_string()))
    }

    /// The one of this name.
    pub(super) async fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        if in_cluster(connection).await? {
            return Ok(jobs(connection).get_opt(name).await?.map(|job| Self::Job(Box::new(job))));
        }
        Ok(connection.instances().get_opt(name).await?.map(|run| Self::Instance(Box::new(run))))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Instance(run) => run.name_any(),
            Self::Job(job) => job.name_any(),
        }
    }

    /// The beginning of the answer, of one that is a request.
    pub(super) fn answer(&self) -> Option<String> {
        match self {
            Self::Instance(run) if task::request(run).is_some() => {
                Some(run.status.clone().and_then(|status| status.last_words).unwrap_or_default())
            }
            Self::Instance(_) | Self::Job(_) => None,
        }
    }

    /// Whose log is the run's: that of its newest try, once it has one.
    pub(super) async fn writer(&self, connection: &Connection) -> Result<Option<Instance>> {
        match self {
            Self::Instance(run) => Ok(Some(mesh::instance(run))),
            Self::Job(job) => {
                let pods = pods(connection, job).await?;
                Ok(of_job::pods_of(job, &pods).first().map(|newest| pod::instance(newest)))
            }
        }
    }

    /// Waits for its end, and tells of it; none if it is gone.
    pub(super) async fn end(&self, connection: &Connection) -> Result<Option<TaskRunStatus>> {
        match self {
            Self::Instance(run) => {
                let ended = end_of(connection.instances(), run.as_ref(), task::is_finished).await?;
                Ok(ended.as_ref().map(task::told))
            }
            Self::Job(job) => {
                let Some(ended) = end_of(jobs(connection), job.as_ref(), |job| of_job::standing(job).end.is_some()).await? else {
                    return Ok(None);
                };
                Ok(Some(of_job::told(&ended, &pods(connection, &ended).await?, None, clock::now())))
            }
        }
    }
}

/// Whether the API is that of a cluster, where Jobs are.
async fn in_cluster(connection: &Connection) -> Result<bool> {
    has(&jobs(connection), &[404]).await
}

fn jobs(connection: &Connection) -> Api<Job> {
    api(&connection.client, Some(&connection.namespace))
}

async fn pods(connection: &Connection, job: &Job) -> Result<Vec<Pod>> {
    let own = ListParams::default().labels(&format!("{}={}", of_job::JOB, job.name_any()));
    Ok(api::<Pod>(&connection.client, Some(&connection.namespace)).list(&own).await?.items)
}

/// The object once it has come to its end; none if it is gone.
async fn end_of<K>(api: Api<K>, object: &K, is_finished: impl Fn(&K) -> bool) -> Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={}", object.name_any()));
    let events = watch(api, config);
    pin_mut!(events);
    let (mut is_there, mut patience) = (false, Patience::default());
    loop {
        let event = match events.next().await.transpose() {
            Ok(event) => event,
            // What was seen is too old, or the watch was ended by a server that goes: it is listed again.
            Err(error @ watcher::Error::WatchError(_)) => {
                tracing::debug!(%error, "the run is listed again");
                sleep(LOOK).await;
                continue;
            }
            Err(error) => {
                patience.bear(failure(error)).await?;
                continue;
            }
        };
        // A list begins before it is asked for.
        if !matches!(event, Some(watcher::Event::Init)) {
            patience.answered();
        }
        match event {
            Some(watcher::Event::Apply(seen) | watcher::Event::InitApply(seen)) if seen.uid() == object.uid() => {
                is_there = true;
                if is_finished(&seen) {
                    return Ok(Some(seen));
                }
            }
            Some(watcher::Event::Delete(_)) | None => return Ok(None),
            Some(watcher::Event::Init) => is_there = false,
            Some(watcher::Event::InitDone) if !is_there => return Ok(None),
            Some(_) => {}
        }
    }
}

//! `mesh delete`: services by name, or everything that is in files; waits until their instances, and the runs of tasks, are gone.
use std::{path::PathBuf, time::Duration};

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
    runtime::{conditions, wait::await_condition},
};
use serde::de::DeserializeOwned;

use super::{
    exit::{Code, Failure, Result},
    instance,
    manifest::{self, Document},
    output,
    resource::api_of,
    select::no_service,
    target::Connection,
};
use mesh_api::{MeshInstance, MeshService, MeshTask, duration::Duration as Wait, labels::TASK};

/// Delete services, or the objects in files.
#[derive(Debug, Args)]
pub struct Delete {
    /// The services.
    #[arg(value_name = "SERVICE", required_unless_present = "files", conflicts_with = "files")]
    services: Vec<String>,
    /// A file, a directory, or - for standard input: everything in it.
    #[arg(short, long = "file", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Do not wait until it is gone.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait.
    #[arg(long, default_value = "2m", value_name = "DURATION")]
    timeout: Wait,
    /// What is not there is no failure.
    #[arg(long)]
    ignore_not_found: bool,
}

impl Delete {
    /// Deletes, and waits.
    pub async fn run(self, connection: &Connection) -> Result {
        let services = connection.services();
        // Before anything is deleted.
        for name in self.services.iter().filter(|_| !self.ignore_not_found) {
            if services.get_opt(name).await?.is_none() {
                return Err(no_service(connection, name).await);
            }
        }
        let mut gone = Vec::new();
        for name in &self.services {
            if let Some(uid) = self.delete(&services, name, &format!("MeshService {name}")).await? {
                gone.push((Target::Service(services.clone(), connection.namespace.clone()), name.clone(), uid));
            }
        }
        // Without files there is nothing to read; a file with nothing in it is a mistake.
        let documents = if self.files.is_empty() { Vec::new() } else { manifest::read(&self.files)? };
        // What came first when it was applied goes last.
        for document in documents.iter().rev() {
            let (api, _) = api_of(connection, document).await?;
            match self.delete(&api, document.name(), &document.title()).await? {
                Some(uid) => gone.push((Target::of(connection, document, api), document.name().to_owned(), uid)),
                None if self.ignore_not_found => {}
                None => return Err(Failure::new(Code::Failed, format!("{} is not there", document.title()))),
            }
        }
        if self.no_wait {
            return Ok(());
        }
        let wait = async {
            for (target, name, uid) in gone {
                target.gone(connection, &name, &uid).await?;
            }
            Ok(())
        };
        let late =
            || Failure::new(Code::NotReady, format!("not gone after {}; instances are drained first, `mesh ps` shows them", self.timeout));
        tokio::time::timeout(self.timeout.get().max(Duration::from_millis(1)), wait).await.unwrap_or_else(|_| Err(late()))
    }

    /// Deletes one; its uid, by which its end is known, or none if it is not there.
    async fn delete<K>(&self, api: &Api<K>, name: &str, title: &str) -> Result<Option<String>>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let Some(object) = api.get_opt(name).await? else { return Ok(None) };
        api.delete(name, &DeleteParams::default()).await?;
        output::print_line(&format!("{title} deleted"))?;
        Ok(Some(object.meta().uid.clone().unwrap_or_default()))
    }
}

/// An object whose end is waited for.
enum Target {
    /// A service of a namespace.
    Service(Api<MeshService>, String),
    /// A task of a namespace.
    Task(Api<MeshTask>, String),
    Any(Api<DynamicObject>),
}

impl Target {
    fn of(connection: &Connection, document: &Document, api: Api<DynamicObject>) -> Self {
        let (client, namespace) = (&connection.client, document.object.metadata.namespace.as_ref().unwrap_or(&connection.namespace));
        if document.is_service() {
            Self::Service(instance::api(client, Some(namespace)), namespace.clone())
        } else if document.is_task() {
            Self::Task(instance::api(client, Some(namespace)), namespace.clone())
        } else {
            Self::Any(api)
        }
    }

    async fn gone(self, connection: &Connection, name: &str, uid: &str) -> Result {
        match self {
            Self::Any(api) => end(api, name, uid).await,
            Self::Service(services, namespace) => {
                end(services.clone(), name, uid).await?;
                let pods = instance::api::<Pod>(&connection.client, Some(&namespace));
                made_gone(&services, &pods, &instance::pods_of(Some(name)), name).await
            }
            Self::Task(tasks, namespace) => {
                end(tasks.clone(), name, uid).await?;
                let of_task = format!("{TASK}={name}");
                made_gone(&tasks, &instance::api::<MeshInstance>(&connection.client, Some(&namespace)), &of_task, name).await?;
                made_gone(&tasks, &instance::api::<Pod>(&connection.client, Some(&namespace)), &of_task, name).await
            }
        }
    }
}

/// Waits until the object of that uid is gone.
pub(super) async fn end<K>(api: Api<K>, name: &str, uid: &str) -> Result
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let end = Box::pin(await_condition(api, name, conditions::is_deleted(uid))).await;
    end.map(drop).map_err(|error| Failure::from(anyhow::Error::from(error)))
}

/// A task goes first, and in a cluster a service too: what was made of it is collected then. Another one of the name would have its own.
async fn made_gone<K, M>(owners: &Api<K>, made: &Api<M>, selector: &str, name: &str) -> Result
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
    M: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let of_owner = ListParams::default().labels(selector);
    loop {
        let left = instance::listed(made, of_owner.clone(), &[403, 404]).await?;
        if left.is_empty() || owners.get_opt(name).await?.is_some() {
            return Ok(());
        }
        for one in left {
            end(made.clone(), &one.name_any(), &one.uid().unwrap_or_default()).await?;
        }
    }
}

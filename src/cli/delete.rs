//! `mesh delete`: services by name, or everything that is in files; waits until their instances are gone.
use std::{path::PathBuf, time::Duration};

use clap::Args;
use kube::{
    Api, Resource,
    api::{DeleteParams, DynamicObject},
    runtime::{conditions, wait::await_condition},
};
use serde::de::DeserializeOwned;

use super::{
    apply::api_of,
    exit::{Code, Failure, Result},
    manifest, output,
    target::Connection,
};
use crate::api::duration::Duration as Wait;

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
        let mut gone = Vec::new();
        for name in &self.services {
            let api = connection.services();
            let uid = self.delete(&api, name, &format!("MeshService {name}")).await?;
            gone.extend(uid.map(|uid| (Target::Service(api), name.clone(), uid)));
        }
        // What came first when it was applied goes last.
        for document in manifest::read(&self.files)?.iter().rev() {
            let (api, _) = api_of(connection, document).await?;
            let uid = self.delete(&api, document.name(), &document.title()).await?;
            gone.extend(uid.map(|uid| (Target::Any(api), document.name().to_owned(), uid)));
        }
        if self.no_wait {
            return Ok(());
        }
        let wait = async {
            for (target, name, uid) in gone {
                target.gone(&name, &uid).await?;
            }
            Ok(())
        };
        let late =
            || Failure::new(Code::NotReady, format!("not gone after {}; instances are drained first, `mesh ps` shows them", self.timeout));
        tokio::time::timeout(self.timeout.get().max(Duration::from_millis(1)), wait).await.unwrap_or_else(|_| Err(late()))
    }

    /// Deletes one; its uid, by which its end is known.
    async fn delete<K>(&self, api: &Api<K>, name: &str, title: &str) -> Result<Option<String>>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let uid = match api.get_opt(name).await? {
            Some(object) => object.meta().uid.clone(),
            None if self.ignore_not_found => return Ok(None),
            None => return Err(Failure::new(Code::Failed, format!("{title} is not there"))),
        };
        api.delete(name, &DeleteParams::default()).await?;
        output::print_line(&format!("{title} deleted"))?;
        Ok(uid)
    }
}

/// An object whose end is waited for.
enum Target {
    Service(Api<crate::api::MeshService>),
    Any(Api<DynamicObject>),
}

impl Target {
    async fn gone(self, name: &str, uid: &str) -> Result {
        let end = match self {
            Self::Service(api) => await_condition(api, name, conditions::is_deleted(uid)).await.map(drop),
            Self::Any(api) => await_condition(api, name, conditions::is_deleted(uid)).await.map(drop),
        };
        end.map_err(|error| Failure::from(anyhow::Error::from(error)))
    }
}

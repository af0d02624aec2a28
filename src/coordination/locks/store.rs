//! What keeps the records of all keys: Leases of an API, or a Redis. Three things are asked of it: a read, a write against the revision that was read, and a watch.
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use super::{
    Key, calls,
    message::{Change, Failed, Record, Seen},
    redis::Redis,
};

/// Keeps the records. Cheap to clone.
#[derive(Clone)]
pub enum Store {
    /// As Leases.
    Leases {
        /// Speaks to their API.
        client: Client,
        /// Only those of this namespace; none: of all.
        namespace: Option<String>,
    },
    /// In a Redis.
    Redis(Redis),
}

impl Store {
    pub(super) fn watch(&self) -> BoxStream<'static, Seen> {
        match self {
            Self::Leases { client, namespace: Some(namespace) } => calls::watch(Api::namespaced(client.clone(), namespace)),
            Self::Leases { client, namespace: None } => calls::watch(Api::all(client.clone())),
            Self::Redis(redis) => redis.watch(),
        }
    }

    pub(super) async fn read(self, key: Key) -> (Key, Result<Record, Failed>) {
        let record = match self {
            Self::Leases { client, .. } => calls::read(leases(client, &key), &key).await,
            Self::Redis(redis) => redis.read(&key).await,
        };
        (key, record)
    }

    /// For an agent, if that has a name.
    pub(super) async fn write(
        self,
        key: Key,
        revision: Option<u64>,
        change: Change,
        agent: Option<String>,
    ) -> (Key, Result<Record, Failed>) {
        let record = match self {
            Self::Leases { client, .. } => calls::write(leases(client, &key), &key, revision, &change, agent.as_deref()).await,
            Self::Redis(redis) => redis.write(&key, revision, &change, agent.as_deref()).await,
        };
        (key, record)
    }

    /// What it is, in words.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Leases { .. } => "the API",
            Self::Redis(_) => "Redis",
        }
    }
}

fn leases(client: Client, key: &Key) -> Api<Lease> {
    Api::namespaced(client, &key.namespace)
}

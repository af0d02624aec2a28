//! What runs here without an object: ended, unless it is what another store has left. Looked for at the start and when a watch begins anew, and found at once
//! where an object goes whose program was not released: somebody has taken away its finalizer.
use std::{collections::HashSet, time::Duration};

use futures::{Future, StreamExt};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    agent::Agent,
    orphans::{GRACE, News},
};
use crate::{Error, api};
use mesh_api::MeshInstance;
use mesh_plan::instance::{Action, InstanceKey, Observed};

/// How long after its grace a program may take to be gone.
const SLACK: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 16;

/// Looks at what the agent's watch sees.
pub(super) fn see(agent: &Agent, synced: &mut bool, event: &watcher::Result<Event<MeshInstance>>) {
    match event {
        Ok(Event::Delete(instance)) if agent.remembers(&instance.uid().unwrap_or_default()) => agent.orphans.suspect(instance),
        // The first list is that of the start, when everything is looked at anyway.
        Ok(Event::InitDone) if std::mem::replace(synced, true) => agent.orphans.tell(News::Unsure),
        _ => {}
    }
}

/// Ends what is told of, until the agent ends.
pub(super) fn work(agent: &Agent, news: UnboundedReceiver<News>) -> impl Future<Output = ()> {
    UnboundedReceiverStream::new(news).for_each_concurrent(AT_ONCE, move |news| async move {
        match news {
            News::Gone(key, grace) => gone(agent, key, grace).await,
            News::Replaced(key) => {
                tracing::info!(instance = %key, uid = key.uid, "left by an earlier store, and replaced now; it is ended");
                end(agent, &key, GRACE).await;
                agent.options.ledger.strike(&key.uid);
            }
            News::Unsure => {
                if let Err(error) = sweep(agent).await {
                    tracing::warn!(%error, "what runs here without a MeshInstance could not be looked for");
                }
            }
        }
    })
}

/// Takes note of the ports that are given away, and of what runs here without an object: that is ended, or kept.
pub(super) async fn sweep(agent: &Agent) -> Result<(), Error> {
    // First what runs: an instance that is made meanwhile is no orphan.
    let found = agent.backend.list().await.map_err(|source| Error::Backend { act: "list instances", source })?;
    let mine = ListParams::default().fields(&format!("spec.nodeName={}", agent.options.node));
    let known = Api::<MeshInstance>::all(agent.client.clone()).list(&mine).await.map_err(api("list MeshInstances"))?.items;
    for instance in &known {
        if let (Some(uid), Some(port)) = (instance.uid(), instance.status.as_ref().and_then(|status| status.port)) {
            agent.ports.reserve(&uid, port.0);
        }
    }
    let uids: HashSet<String> = known.iter().filter_map(ResourceExt::uid).collect();
    if let Some(door) = &agent.options.door {
        door.sessions.listed(uids.iter().chain(found.iter().map(|key| &key.uid)).cloned().collect());
    }
    let (known, orphans): (Vec<_>, Vec<_>) = found.into_iter().partition(|key| uids.contains(&key.uid));
    for orphan in agent.options.ledger.sort(orphans, !known.is_empty()) {
        agent.orphans.tell(News::Gone(orphan, GRACE));
    }
    Ok(())
}

/// An instance is there: what an earlier store has left of its service is ended.
pub(super) fn replace(agent: &Agent, instance: &MeshInstance) {
    for key in agent.options.ledger.replace(instance.metadata.namespace.as_deref().unwrap_or_default(), &instance.spec.service) {
        agent.orphans.tell(News::Replaced(key));
    }
}

/// One whose object is gone: ended if it still runs, and if the API says the same.
async fn gone(agent: &Agent, key: InstanceKey, grace: Duration) {
    match agent.backend.observe(&key).await {
        Ok(Observed::Absent) => return agent.forget(&key),
        Ok(Observed::Running(_) | Observed::Exited(_)) => {}
        Err(error) => {
            return tracing::warn!(instance = %key, %error, "its MeshInstance is gone, and it cannot be looked at; the next start looks again");
        }
    }
    let instances: Api<MeshInstance> = Api::namespaced(agent.client.clone(), &key.namespace);
    match instances.get_metadata_opt(&key.name).await {
        Ok(found) if found.as_ref().and_then(ResourceExt::uid).as_deref() == Some(&key.uid) => {}
        Ok(_) => {
            tracing::warn!(instance = %key, uid = key.uid, "runs here without a MeshInstance, so it is ended");
            end(agent, &key, grace).await;
        }
        Err(error) => {
            tracing::warn!(instance = %key, %error, "its MeshInstance seems to be gone, and the API does not say; the next start looks again");
        }
    }
}

/// Ends it, and removes what is left of it.
async fn end(agent: &Agent, key: &InstanceKey, grace: Duration) {
    let deadline = Instant::now() + grace + SLACK;
    if let Err(error) = try_end(agent, key, grace, deadline).await {
        tracing::warn!(instance = %key, %error, "what is left of it is removed at the next start");
    }
    agent.forget(key);
}

async fn try_end(agent: &Agent, key: &InstanceKey, grace: Duration, deadline: Instant) -> Result<(), mesh_backend::Error> {
    let mut changes = agent.backend.changes();
    agent.backend.execute(Action::Stop { key: key.clone(), grace }).await?;
    while let Observed::Running(_) = agent.backend.observe(key).await? {
        // Whatever the change is about: it is looked at again.
        if timeout_at(deadline, changes.next()).await.is_err() {
            break;
        }
    }
    agent.backend.execute(Action::Remove(key.clone())).await
}

//! What is known of instances that run here without an object: told by those who see objects go, to the sweep that ends what is left.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::launch::key;
use mesh_api::{MeshInstance, names};
use mesh_plan::instance::InstanceKey;

/// Between SIGTERM and SIGKILL, where no object says how long.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What is found out by those who see objects go, and told to the one who ends what is left.
pub(super) struct Orphans {
    news: UnboundedSender<News>,
    /// What another store has left, by uid.
    kept: Mutex<HashMap<String, InstanceKey>>,
}

/// Something to look into.
#[derive(Debug)]
pub(super) enum News {
    /// The object of this one is gone, and it was not released.
    Gone(InstanceKey, Duration),
    /// An object of its service is there again.
    Replaced(InstanceKey),
    /// Objects may have gone unseen.
    Unsure,
}

impl Orphans {
    pub(super) fn new() -> (Self, UnboundedReceiver<News>) {
        let (news, receiver) = mpsc::unbounded_channel();
        (Self { news, kept: Mutex::default() }, receiver)
    }

    pub(super) fn tell(&self, news: News) {
        // The receiver lives as long as the agent's work.
        let _ = self.news.send(news);
    }

    /// The object of this instance is gone, it seems; what runs of it may be left.
    pub(super) fn suspect(&self, instance: &MeshInstance) {
        let grace = u64::try_from(instance.spec.template.termination_grace_period_seconds).map_or(GRACE, Duration::from_secs);
        self.tell(News::Gone(key(instance), grace));
    }

    /// Takes note of what was left, in place of what was noted before.
    pub(super) fn keep(&self, keys: Vec<InstanceKey>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = keys.into_iter().map(|key| (key.uid.clone(), key)).collect();
    }

    /// An instance of a service is there: what another store has left of that service is not needed any more.
    pub(super) fn replace(&self, instance: &MeshInstance) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            return;
        }
        let (namespace, service) = (instance.namespace().unwrap_or_default(), instance.spec.service.as_str());
        let is_of = |key: &InstanceKey| key.namespace == namespace && names::service_of(&key.name) == Some(service);
        for (_, key) in kept.extract_if(|_, key| is_of(key)) {
            self.tell(News::Replaced(key));
        }
    }
}

//! What is known of instances that run here without an object: told by those who see objects go, to the sweep that ends what is left.
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::launch::key;
use mesh_api::MeshInstance;
use mesh_plan::instance::InstanceKey;

/// Between SIGTERM and SIGKILL, where no object says how long.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What is found out by those who see objects go, and told to the one who ends what is left.
pub(super) struct Orphans {
    news: UnboundedSender<News>,
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
        (Self { news }, receiver)
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
}

//! The status of a service, from its instances: what `kubectl get`, `kubectl wait` and kstatus look at.
pub mod replicas;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use self::replicas::{Picture, Replica, TELLING, Trouble};
use crate::{endpoints::Announced, routes::Claim, validate::Refusal};
use mesh_api::{MeshInstance, MeshService, MeshServiceStatus, conditions::instance::READY};

/// Everything the status is made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The service.
    pub service: &'a MeshService,
    /// The revision that its spec asks for.
    pub revision: &'a str,
    /// All its instances, those being ended included.
    pub instances: &'a [MeshInstance],
    /// Those of them that routers have been told of.
    pub announced: &'a Announced,
    /// Why nothing is done for it, if so.
    pub refusal: Option<&'a Refusal>,
    /// A claim of its routes that an older service has, and that service.
    pub conflict: Option<(Claim, String)>,
    /// Why no instance of the revision is made yet.
    pub obstacle: Option<Trouble>,
    /// Now.
    pub now: Timestamp,
}

/// The status, and when it may change without anything else changing (the progress deadline).
pub fn status(facts: &Facts<'_>) -> (MeshServiceStatus, Option<SignedDuration>) {
    replicas::status(&Picture {
        service: facts.service,
        revision: facts.revision,
        wanted: usize::try_from(facts.service.spec.replicas).unwrap_or(0),
        replicas: facts.instances.iter().map(|instance| replica(facts, instance)).collect(),
        obstacle: facts.obstacle.clone(),
        stalled: false,
        refusal: facts.refusal,
        conflict: facts.conflict.clone(),
        degraded: None,
        now: facts.now,
    })
}

fn replica(facts: &Facts<'_>, instance: &MeshInstance) -> Replica {
    let ready = instance.status.as_ref().and_then(|status| status.conditions.iter().find(|c| c.type_ == READY));
    Replica {
        name: instance.name_any(),
        updated: instance.spec.revision == facts.revision,
        made: instance.creation_timestamp().map(|time| time.0),
        ready_since: ready.filter(|c| c.status == "True").map(|c| c.last_transition_time.0),
        serves: facts.announced.serves(instance),
        ending: instance.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        trouble: ready.and_then(|c| Some((*TELLING.iter().find(|reason| c.reason == **reason)?, c.message.clone()))),
    }
}

#[cfg(test)]
mod tests;

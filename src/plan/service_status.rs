//! The status of a service, from its instances: what `kubectl get`, `kubectl wait` and kstatus look at.
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::{
    api::{
        MeshInstance, MeshService, MeshServiceStatus,
        conditions::{
            Want,
            instance::{self as instance_reason, READY as INSTANCE_READY},
            is_true, service as condition,
        },
        labels,
    },
    plan::{
        endpoints::Announced,
        rollout::bounds,
        routes::{self, Claim},
        validate::Refusal,
    },
};

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
    /// Now.
    pub now: Timestamp,
}

/// What was counted.
struct Counts<'a> {
    wanted: usize,
    alive: Vec<&'a MeshInstance>,
    ready: usize,
    updated: usize,
    updated_ready: usize,
    ending: usize,
}

/// The status, and when it may change without anything else changing (the progress deadline).
pub fn status(facts: &Facts<'_>) -> (MeshServiceStatus, Option<SignedDuration>) {
    let counts = count(facts);
    let old = facts.service.status.clone().unwrap_or_default();
    let (progressing, wake) = progressing(facts, &counts, &old.conditions);
    let wants = [ready(facts, &counts, &progressing), available(facts, &counts), progressing, routes_accepted(facts)];
    let generation = facts.service.metadata.generation;
    let status = MeshServiceStatus {
        observed_generation: generation,
        replicas: number(counts.alive.len()),
        ready_replicas: number(counts.ready),
        updated_replicas: number(counts.updated),
        ready: Some(format!("{}/{}", counts.ready, counts.wanted)),
        route: route_text(facts.service),
        selector: Some(format!("{}={}", labels::SERVICE, facts.service.name_any())),
        current_revision: Some(facts.revision.to_owned()),
        conditions: wants.into_iter().map(|want| want.over(&old.conditions, generation, facts.now)).collect(),
    };
    (status, wake)
}

fn count<'a>(facts: &Facts<'a>) -> Counts<'a> {
    let (ending, alive): (Vec<_>, Vec<_>) = facts.instances.iter().partition(|instance| instance.metadata.deletion_timestamp.is_some());
    let updated: Vec<_> = alive.iter().filter(|instance| instance.spec.revision == facts.revision).collect();
    Counts {
        wanted: usize::try_from(facts.service.spec.replicas).unwrap_or(0),
        ready: alive.iter().filter(|instance| facts.announced.serves(instance)).count(),
        updated_ready: updated.iter().filter(|instance| facts.announced.serves(instance)).count(),
        updated: updated.len(),
        ending: ending.len(),
        alive,
    }
}

fn ready(facts: &Facts<'_>, counts: &Counts<'_>, progressing: &Want) -> Want {
    let want = |status, reason, message: String| Want::new(condition::READY, status, reason, message);
    if is_deleted(facts) {
        return want(false, condition::TERMINATING, ending(facts.instances.len()));
    }
    if let Some(refusal) = facts.refusal {
        return want(false, refusal.reason, refusal.message.clone());
    }
    let trouble = worst(&counts.alive);
    let short = short(counts);
    let with_trouble = |message: String| {
        let text = trouble.as_ref().map(|(_, text)| text.clone()).or_else(|| untold(facts, &counts.alive));
        text.map_or(message.clone(), |text| format!("{message}: {text}"))
    };
    let complete = counts.updated_ready == counts.wanted && counts.alive.len() == counts.wanted;
    if !complete {
        if progressing.reason == condition::DEADLINE_EXCEEDED {
            return want(false, condition::DEADLINE_EXCEEDED, with_trouble(short));
        }
        return match trouble {
            Some((reason, text))
                if ![instance_reason::PROBING, instance_reason::NOT_LISTENING, instance_reason::PULLING].contains(&reason) =>
            {
                let reason = if reason == instance_reason::BACK_OFF { condition::CRASH_LOOP } else { reason };
                want(false, reason, format!("{short}: {text}"))
            }
            _ if counts.alive.len() > counts.updated && counts.updated > 0 => want(false, condition::ROLLING_OUT, with_trouble(short)),
            _ => want(false, condition::WAITING, with_trouble(short)),
        };
    }
    if let Some((claim, other)) = &facts.conflict {
        return want(false, condition::ROUTE_CONFLICT, conflict_text(claim, other));
    }
    if counts.wanted == 0 {
        let message = if counts.ending > 0 { ending(counts.ending) } else { String::new() };
        return want(counts.ending == 0, condition::SCALED_TO_ZERO, message);
    }
    want(true, condition::ALL_READY, short)
}

/// How many are ready, in one phrase: the same number that the column READY shows, and during a rollout whose they are.
fn short(counts: &Counts<'_>) -> String {
    if counts.alive.len() == counts.updated {
        return format!("{} of {} ready", counts.ready, counts.wanted);
    }
    let old = counts.ready.saturating_sub(counts.updated_ready);
    format!("{} of {} ready ({} of the new revision, {old} of an old one)", counts.ready, counts.wanted, counts.updated_ready)
}

fn ending(count: usize) -> String {
    format!("waiting for {count} instance{} to end", if count == 1 { "" } else { "s" })
}

fn is_deleted(facts: &Facts<'_>) -> bool {
    facts.service.metadata.deletion_timestamp.is_some()
}

/// The first instance with something to tell: its reason and its message.
fn worst(alive: &[&MeshInstance]) -> Option<(&'static str, String)> {
    const TELLING: [&str; 21] = [
        instance_reason::COMMAND_NOT_FOUND,
        instance_reason::COMMAND_NOT_EXECUTABLE,
        instance_reason::WORKING_DIR,
        instance_reason::CONFIG_MISSING,
        instance_reason::IMAGE_PULL,
        instance_reason::IMAGE_NEVER_PULL,
        instance_reason::IMAGE_ARCHITECTURE,
        instance_reason::NAME_TAKEN,
        instance_reason::HOST_PATH,
        instance_reason::UNSUPPORTED,
        instance_reason::ENGINE_UNREACHABLE,
        instance_reason::PORTS_EXHAUSTED,
        instance_reason::PORT_TAKEN,
        instance_reason::START_FAILED,
        instance_reason::BACK_OFF,
        instance_reason::UNHEALTHY,
        instance_reason::PROBE_FAILED,
        instance_reason::LOOPBACK_ONLY,
        instance_reason::NOT_LISTENING,
        instance_reason::PROBING,
        instance_reason::PULLING,
    ];
    TELLING.iter().find_map(|reason| {
        alive.iter().find_map(|instance| {
            let condition = instance.status.as_ref()?.conditions.iter().find(|c| c.type_ == INSTANCE_READY && c.reason == *reason)?;
            Some((*reason, format!("{}: {}", instance.name_any(), condition.message)))
        })
    })
}

/// The first instance that is ready itself, and of which routers have not been told yet.
fn untold(facts: &Facts<'_>, alive: &[&MeshInstance]) -> Option<String> {
    let is_ready = |instance: &MeshInstance| instance.status.as_ref().is_some_and(|status| is_true(&status.conditions, INSTANCE_READY));
    let found = alive.iter().find(|instance| is_ready(instance) && !facts.announced.serves(instance))?;
    Some(format!("{}: runs, and its EndpointSlice does not say so yet", found.name_any()))
}

fn available(facts: &Facts<'_>, counts: &Counts<'_>) -> Want {
    let spec = &facts.service.spec;
    let wanted = u32::try_from(spec.replicas).unwrap_or(0);
    let minimum = wanted.saturating_sub(bounds(&spec.rollout, wanted).unavailable);
    let enough = counts.ready >= usize::try_from(minimum).unwrap_or(usize::MAX);
    let reason = if enough { condition::MINIMUM_AVAILABLE } else { condition::MINIMUM_UNAVAILABLE };
    Want::new(condition::AVAILABLE, enough, reason, format!("{} of at least {minimum} serve", counts.ready))
}

fn progressing(facts: &Facts<'_>, counts: &Counts<'_>, old: &[Condition]) -> (Want, Option<SignedDuration>) {
    let want = |status, reason, message: &str| Want::new(condition::PROGRESSING, status, reason, message);
    if is_deleted(facts) {
        return (want(false, condition::TERMINATING, ""), None);
    }
    if let Some(refusal) = facts.refusal {
        return (want(false, refusal.reason, &refusal.message), None);
    }
    let done = want(true, condition::ROLLED_OUT, "");
    if counts.updated_ready == counts.wanted && counts.alive.len() == counts.wanted {
        return (done, None);
    }
    // Once a rollout has ended, an instance that fails is no rollout.
    let rolled_out = old.iter().any(|c| {
        c.type_ == condition::PROGRESSING && c.reason == condition::ROLLED_OUT && c.observed_generation == facts.service.metadata.generation
    });
    if rolled_out && counts.alive.len() == counts.updated {
        return (done, None);
    }
    let deadline = SignedDuration::from_secs(facts.service.spec.rollout.progress_deadline_seconds.into());
    let left = deadline.saturating_sub(facts.now.duration_since(last_progress(facts, counts)));
    if left.is_positive() {
        (want(true, condition::ROLLING_OUT, ""), Some(left))
    } else {
        let message = format!("no progress for {} s", deadline.as_secs());
        (want(false, condition::DEADLINE_EXCEEDED, &message), None)
    }
}

/// When something last went forward: an instance of the revision was made or became ready, or one of the others went.
fn last_progress(facts: &Facts<'_>, counts: &Counts<'_>) -> Timestamp {
    let of_instance = |instance: &&MeshInstance| {
        let made = instance.creation_timestamp().map(|time| time.0);
        let ready = instance.status.as_ref().and_then(|status| {
            status.conditions.iter().find(|c| c.type_ == INSTANCE_READY && c.status == "True").map(|c| c.last_transition_time.0)
        });
        made.max(ready)
    };
    let updated = counts.alive.iter().filter(|instance| instance.spec.revision == facts.revision).filter_map(of_instance).max();
    let going = facts.instances.iter().filter_map(|instance| instance.metadata.deletion_timestamp.as_ref().map(|time| time.0)).max();
    updated.max(going).unwrap_or(facts.now)
}

fn routes_accepted(facts: &Facts<'_>) -> Want {
    match &facts.conflict {
        Some((claim, other)) => Want::new(condition::ROUTES_ACCEPTED, false, condition::ROUTE_CONFLICT, conflict_text(claim, other)),
        None if routes::claims(&facts.service.spec).is_empty() => Want::new(condition::ROUTES_ACCEPTED, true, condition::NO_ROUTES, ""),
        None => Want::new(condition::ROUTES_ACCEPTED, true, condition::ACCEPTED, ""),
    }
}

fn conflict_text(claim: &Claim, other: &str) -> String {
    format!("route {claim} belongs to the older service {other}, which gets its requests: choose another route, or delete that service")
}

fn route_text(service: &MeshService) -> Option<String> {
    let claims = routes::claims(&service.spec);
    (!claims.is_empty()).then(|| claims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;

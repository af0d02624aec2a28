//! The status of a service from its running copies, whatever they are: instances on a machine, pods in a cluster. Both tell the same story in the same words.
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::{
    rollout::bounds,
    routes::{self, Claim},
    validate::Refusal,
};
use mesh_api::{
    MeshService, MeshServiceStatus,
    conditions::{Want, instance as reason, service as condition},
    labels,
};

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its name, for people.
    pub name: String,
    /// It is of the revision that the spec asks for.
    pub updated: bool,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// Since when it is ready itself.
    pub ready_since: Option<Timestamp>,
    /// It is ready, and requests find it.
    pub serves: bool,
    /// When it was told to end.
    pub ending: Option<Timestamp>,
    /// Why it is not ready, if that is one of the reasons of [`TELLING`].
    pub trouble: Option<Trouble>,
}

/// A reason and what it says.
pub type Trouble = (&'static str, String);

/// Everything the status is made from.
#[derive(Debug, Clone)]
pub struct Picture<'a> {
    /// The service.
    pub service: &'a MeshService,
    /// The revision that its spec asks for; empty if that cannot be told.
    pub revision: &'a str,
    /// How many copies are wanted.
    pub wanted: usize,
    /// All copies, those being ended included.
    pub replicas: Vec<Replica>,
    /// Why copies cannot be made at all.
    pub obstacle: Option<Trouble>,
    /// What runs the copies says that the rollout does not get on.
    pub stalled: bool,
    /// Why nothing is done for it, if so.
    pub refusal: Option<&'a Refusal>,
    /// A claim of its routes that an older service has, and that service.
    pub conflict: Option<(Claim, String)>,
    /// It works, but not in every way as the spec says: the reason and what it says.
    pub degraded: Option<Trouble>,
    /// Now.
    pub now: Timestamp,
}

/// What was counted.
struct Counts<'a> {
    alive: Vec<&'a Replica>,
    ready: usize,
    updated: usize,
    updated_ready: usize,
    ending: usize,
}

/// Reasons that a service takes from its copies, the gravest first.
pub const TELLING: [&str; 31] = [
    condition::TASK_FAILED,
    reason::COMMAND_NOT_FOUND,
    reason::COMMAND_NOT_EXECUTABLE,
    reason::WORKING_DIR,
    reason::CONFIG_MISSING,
    reason::IMAGE_INVALID,
    reason::IMAGE_PULL,
    reason::IMAGE_NEVER_PULL,
    reason::IMAGE_ARCHITECTURE,
    reason::NAME_TAKEN,
    reason::HOST_PATH,
    reason::UNSUPPORTED,
    reason::ENGINE_UNREACHABLE,
    reason::NODE_EXHAUSTED,
    reason::PORTS_EXHAUSTED,
    reason::PORT_TAKEN,
    reason::START_FAILED,
    reason::PROBE_UNKNOWN,
    reason::REPLICA_FAILURE,
    reason::BACK_OFF,
    reason::UNHEALTHY,
    reason::PROBE_FAILED,
    reason::LOOPBACK_ONLY,
    reason::UNSCHEDULABLE,
    reason::INIT_RUNNING,
    reason::NOT_LISTENING,
    reason::PROBING,
    reason::UNPROVEN,
    reason::CREATING,
    reason::PULLING,
    condition::WAITING_FOR_TASK,
];

/// Those of [`TELLING`] that pass by themselves: they are told, and are no reason of a service.
const PASSING: [&str; 6] =
    [reason::PROBING, reason::UNPROVEN, reason::NOT_LISTENING, reason::PULLING, reason::CREATING, reason::INIT_RUNNING];

/// The status, and when it may change without anything else changing (the progress deadline).
pub fn status(picture: &Picture<'_>) -> (MeshServiceStatus, Option<SignedDuration>) {
    let counts = count(picture);
    let old = picture.service.status.clone().unwrap_or_default();
    let (progressing, wake) = progressing(picture, &counts, &old.conditions);
    let degraded = picture.degraded.clone().map(|(reason, text)| Want::new(condition::DEGRADED, true, reason, text));
    let wants = [ready(picture, &counts, &progressing), available(picture, &counts), progressing, routes_accepted(picture)];
    let generation = picture.service.metadata.generation;
    let over = |want: Want| want.over(&old.conditions, generation, picture.now);
    let status = MeshServiceStatus {
        observed_generation: generation,
        replicas: number(counts.alive.len()),
        ready_replicas: number(counts.ready),
        updated_replicas: number(counts.updated),
        ready: Some(format!("{}/{}", counts.ready, picture.wanted)),
        route: route_text(picture.service),
        selector: Some(format!("{}={}", labels::SERVICE, picture.service.name_any())),
        current_revision: (!picture.revision.is_empty()).then(|| picture.revision.to_owned()),
        conditions: wants.into_iter().chain(degraded).map(over).collect(),
    };
    (status, wake)
}

fn count<'a>(picture: &'a Picture<'_>) -> Counts<'a> {
    let (ending, alive): (Vec<_>, Vec<_>) = picture.replicas.iter().partition(|replica| replica.ending.is_some());
    let updated: Vec<_> = alive.iter().filter(|replica| replica.updated).collect();
    Counts {
        ready: alive.iter().filter(|replica| replica.serves).count(),
        updated_ready: updated.iter().filter(|replica| replica.serves).count(),
        updated: updated.len(),
        ending: ending.len(),
        alive,
    }
}

fn is_complete(picture: &Picture<'_>, counts: &Counts<'_>) -> bool {
    counts.updated_ready == picture.wanted && counts.alive.len() == picture.wanted
}

fn ready(picture: &Picture<'_>, counts: &Counts<'_>, progressing: &Want) -> Want {
    let want = |status, reason, message: String| Want::new(condition::READY, status, reason, message);
    if is_deleted(picture) {
        return want(false, condition::TERMINATING, ending(picture.replicas.len()));
    }
    if let Some(refusal) = picture.refusal {
        return want(false, refusal.reason, refusal.message.clone());
    }
    let trouble = worst(picture, &counts.alive);
    let short = short(picture, counts);
    let with_trouble = |message: String| {
        let text = trouble.as_ref().map(|(_, text)| text.clone()).or_else(|| untold(&counts.alive));
        text.map_or(message.clone(), |text| format!("{message}: {text}"))
    };
    if !is_complete(picture, counts) {
        if progressing.reason == condition::DEADLINE_EXCEEDED {
            return want(false, condition::DEADLINE_EXCEEDED, with_trouble(short));
        }
        return match trouble {
            Some((reason, text)) if !PASSING.contains(&reason) => {
                let reason = if reason == reason::BACK_OFF { condition::CRASH_LOOP } else { reason };
                want(false, reason, format!("{short}: {text}"))
            }
            _ if counts.alive.len() > counts.updated && counts.updated > 0 => want(false, condition::ROLLING_OUT, with_trouble(short)),
            _ => want(false, condition::WAITING, with_trouble(short)),
        };
    }
    if let Some((claim, other)) = &picture.conflict {
        return want(false, condition::ROUTE_CONFLICT, conflict_text(claim, other));
    }
    if picture.wanted == 0 {
        let message = if counts.ending > 0 { ending(counts.ending) } else { String::new() };
        return want(counts.ending == 0, condition::SCALED_TO_ZERO, message);
    }
    want(true, condition::ALL_READY, short)
}

/// How many are ready, in one phrase: the same number that the column READY shows, and during a rollout whose they are.
fn short(picture: &Picture<'_>, counts: &Counts<'_>) -> String {
    if counts.alive.len() == counts.updated {
        return format!("{} of {} ready", counts.ready, picture.wanted);
    }
    let old = counts.ready.saturating_sub(counts.updated_ready);
    format!("{} of {} ready ({} of the new revision, {old} of an old one)", counts.ready, picture.wanted, counts.updated_ready)
}

fn ending(count: usize) -> String {
    format!("waiting for {count} instance{} to end", if count == 1 { "" } else { "s" })
}

fn is_deleted(picture: &Picture<'_>) -> bool {
    picture.service.metadata.deletion_timestamp.is_some()
}

/// The gravest trouble, of the first copy that has it, or of the making of copies.
fn worst(picture: &Picture<'_>, alive: &[&Replica]) -> Option<Trouble> {
    let of_copies = |wanted: &'static str| {
        alive.iter().find_map(|replica| {
            let (reason, text) = replica.trouble.as_ref()?;
            (*reason == wanted).then(|| (wanted, format!("{}: {text}", replica.name)))
        })
    };
    let of_all = |wanted: &'static str| picture.obstacle.clone().filter(|(reason, _)| *reason == wanted);
    TELLING.iter().find_map(|reason| of_copies(reason).or_else(|| of_all(reason)))
}

/// The first copy that is ready itself, and of which routers have not been told yet.
fn untold(alive: &[&Replica]) -> Option<String> {
    let found = alive.iter().find(|replica| replica.ready_since.is_some() && !replica.serves)?;
    Some(format!("{}: runs, and its EndpointSlice does not say so yet", found.name))
}

fn available(picture: &Picture<'_>, counts: &Counts<'_>) -> Want {
    let wanted = u32::try_from(picture.wanted).unwrap_or(u32::MAX);
    let minimum = wanted.saturating_sub(bounds(&picture.service.spec.rollout, wanted).unavailable);
    let enough = counts.ready >= usize::try_from(minimum).unwrap_or(usize::MAX);
    let reason = if enough { condition::MINIMUM_AVAILABLE } else { condition::MINIMUM_UNAVAILABLE };
    Want::new(condition::AVAILABLE, enough, reason, format!("{} of at least {minimum} serve", counts.ready))
}

fn progressing(picture: &Picture<'_>, counts: &Counts<'_>, old: &[Condition]) -> (Want, Option<SignedDuration>) {
    let want = |status, reason, message: &str| Want::new(condition::PROGRESSING, status, reason, message);
    if is_deleted(picture) {
        return (want(false, condition::TERMINATING, ""), None);
    }
    if let Some(refusal) = picture.refusal {
        return (want(false, refusal.reason, &refusal.message), None);
    }
    // A task takes its time, and one that has failed will not go on.
    if let Some((reason, text)) =
        picture.obstacle.as_ref().filter(|(reason, _)| [condition::WAITING_FOR_TASK, condition::TASK_FAILED].contains(reason))
    {
        return (want(*reason == condition::WAITING_FOR_TASK, reason, text), None);
    }
    let done = want(true, condition::ROLLED_OUT, "");
    if is_complete(picture, counts) {
        return (done, None);
    }
    // Once a rollout has ended, a copy that fails is no rollout.
    let generation = picture.service.metadata.generation;
    let rolled_out =
        old.iter().any(|c| c.type_ == condition::PROGRESSING && c.reason == condition::ROLLED_OUT && c.observed_generation == generation);
    if rolled_out && counts.alive.len() == counts.updated {
        return (done, None);
    }
    let deadline = SignedDuration::from_secs(picture.service.spec.rollout.progress_deadline_seconds.into());
    let left = deadline.saturating_sub(picture.now.duration_since(last_progress(picture, counts)));
    if left.is_positive() && !picture.stalled {
        (want(true, condition::ROLLING_OUT, ""), Some(left))
    } else {
        let message = format!("no progress for {} s", deadline.as_secs());
        (want(false, condition::DEADLINE_EXCEEDED, &message), None)
    }
}

/// When something last went forward: a copy of the revision was made or became ready, one of the others went, or the service was changed.
fn last_progress(picture: &Picture<'_>, counts: &Counts<'_>) -> Timestamp {
    let updated = counts.alive.iter().filter(|replica| replica.updated).filter_map(|replica| replica.made.max(replica.ready_since)).max();
    let going = picture.replicas.iter().filter_map(|replica| replica.ending).max();
    let progress = updated.max(going).unwrap_or(picture.now);
    changed(picture.service).map_or(progress, |changed| progress.max(changed))
}

/// When somebody last wrote the service itself, to the second; status is what we write.
fn changed(service: &MeshService) -> Option<Timestamp> {
    let writers = service.metadata.managed_fields.iter().flatten().filter(|writer| writer.subresource.as_deref() != Some("status"));
    writers.filter_map(|writer| writer.time.as_ref()).map(|time| time.0).max()
}

fn routes_accepted(picture: &Picture<'_>) -> Want {
    match &picture.conflict {
        Some((claim, other)) => Want::new(condition::ROUTES_ACCEPTED, false, condition::ROUTE_CONFLICT, conflict_text(claim, other)),
        None if routes::claims(&picture.service.spec).is_empty() => Want::new(condition::ROUTES_ACCEPTED, true, condition::NO_ROUTES, ""),
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

//! From facts to a report: what is not as it should be, in the order in which it helps. Pure.
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    events::Told,
    remedy,
    report::{Detail, Off, Other, Report},
};
use crate::instance::{Instance, Kind};
use mesh_api::{MeshService, conditions::service as condition};
use mesh_plan::routes::claims;

/// How many instances are shown with all that is known of them.
pub(super) const DETAILED: usize = 3;
/// How many events are shown.
const EVENTS: usize = 8;
/// An end that is longer ago is no news of an instance that is ready.
const NEWS: SignedDuration = SignedDuration::from_mins(10);

/// A warning that was last given longer ago is about something else than what is wrong now: a cluster tries again within 17 minutes at the latest.
const PAST: SignedDuration = SignedDuration::from_mins(20);

/// What is known.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) namespace: String,
    pub(super) name: String,
    /// None if it is gone, and its instances are not yet.
    pub(super) service: Option<MeshService>,
    /// The instances, in the order of [`in_order`].
    pub(super) looked: Vec<Looked>,
    /// Each once, the newest first.
    pub(super) events: Vec<Told>,
    pub(super) now: Timestamp,
}

/// An instance, and the last lines of the run that failed.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) instance: Instance,
    pub(super) log: Vec<String>,
}

/// Those in trouble first, then those that were started again lately; of each the one that is in it for longest.
pub(super) fn in_order(mut instances: Vec<Instance>, now: Timestamp) -> Vec<Instance> {
    instances.sort_by_key(|instance| (instance.ready, !is_of_interest(instance, now), instance.since, instance.id.clone()));
    instances
}

/// It is not ready, or its program ended lately.
pub(super) fn is_of_interest(instance: &Instance, now: Timestamp) -> bool {
    let ended = instance.last_exit.as_ref().and_then(|exit| exit.at);
    !instance.ready || (instance.restarts > 0 && ended.is_some_and(|ended| now.duration_since(ended) < NEWS))
}

/// Makes the report; `only` is the instance that was asked for.
pub(super) fn report(facts: &Facts, only: Option<&str>) -> Report {
    let conditions = if only.is_some() { Vec::new() } else { off(facts) };
    let interesting: Vec<&Looked> = facts.looked.iter().filter(|looked| is_of_interest(&looked.instance, facts.now)).collect();
    // What is degraded works: it is told, and no failure.
    let wrong = conditions.iter().any(|off| off.type_ != condition::DEGRADED);
    let well = !wrong && facts.service.is_some() && facts.looked.iter().all(|looked| looked.instance.ready);
    let is_past = |told: &Told| told.last.is_some_and(|last| facts.now.duration_since(last) > PAST);
    let events: Vec<Told> = facts.events.iter().filter(|told| !is_past(told)).cloned().collect();
    let instances: Vec<Detail> = interesting.iter().take(DETAILED).map(|looked| detail(looked, &events)).collect();
    let others = interesting.iter().skip(DETAILED).map(|looked| &looked.instance);
    let probes: Vec<&Told> = instances.iter().flat_map(|instance| &instance.probes).collect();
    let warnings = events.iter().filter(|told| told.warning && !probes.contains(told));
    // Of a service that is well, old warnings are no answer.
    let events: Vec<Told> = if well && interesting.is_empty() { Vec::new() } else { warnings.take(EVENTS).cloned().collect() };
    let mut report = Report {
        namespace: facts.namespace.clone(),
        service: facts.name.clone(),
        instance: only.map(str::to_owned),
        wanted: well,
        summary: summary(facts, well, !conditions.is_empty(), only),
        reached_at: reached(facts),
        conditions,
        others: others.map(|i| Other { id: i.id.clone(), state: i.state.clone(), problem: i.problem() }).collect(),
        instances,
        events,
        remedies: Vec::new(),
    };
    report.remedies = remedy::remedies(&report, facts.service.as_ref().map(|service| &service.spec));
    report
}

/// The conditions that are not as they should be: all types of a service's conditions are good when True, but for the one that says what is degraded.
fn off(facts: &Facts) -> Vec<Off> {
    let Some(service) = &facts.service else { return Vec::new() };
    let own = |reason: &str, message: &str| Off {
        type_: condition::READY.to_owned(),
        status: "Unknown".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        since: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
    };
    let status = service.status.clone().unwrap_or_default();
    if status.conditions.is_empty() {
        return vec![own("NotObserved", "no controller has looked at it yet: is a mesh-controller running for this API?")];
    }
    let is_off = |one: &&Condition| (one.status == "True") == (one.type_ == condition::DEGRADED);
    let mut off: Vec<Off> = status.conditions.iter().filter(is_off).map(of_condition).collect();
    if off.iter().all(|off| off.type_ == condition::DEGRADED) && status.observed_generation < service.metadata.generation {
        off.push(own("SpecNotObserved", "the controller has not acted on the newest spec yet"));
    }
    off
}

fn of_condition(condition: &Condition) -> Off {
    Off {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: Some(condition.last_transition_time.0),
    }
}

fn detail(looked: &Looked, events: &[Told]) -> Detail {
    let instance = &looked.instance;
    let is_probe = |told: &&Told| told.name == instance.id && matches!(told.reason.as_str(), "Unhealthy" | "ProbeWarning");
    Detail {
        id: instance.id.clone(),
        kind: instance.kind,
        state: instance.state.clone(),
        ready: instance.ready,
        since: instance.since,
        restarts: instance.restarts,
        node: instance.node.clone(),
        problem: instance.trouble.clone(),
        last_exit: instance.last_exit.clone(),
        probes: events.iter().filter(is_probe).take(3).cloned().collect(),
        log: looked.log.clone(),
    }
}

fn summary(facts: &Facts, well: bool, degraded: bool, only: Option<&str>) -> String {
    if let Some(id) = only {
        let state = facts.looked.first().map(|looked| looked.instance.state.as_str()).unwrap_or_default();
        return if well { format!("{id} is as wanted: {state}") } else { format!("{id} is not as wanted: {state}") };
    }
    let (name, ready) = (&facts.name, facts.looked.iter().filter(|looked| looked.instance.ready).count());
    let Some(service) = &facts.service else { return format!("{name} is deleted, and its instances are being ended") };
    let but = if degraded { ", but for what follows" } else { "" };
    match (well, service.spec.replicas) {
        (true, 0) => format!("{name} is as wanted{but}: it is scaled to 0, and nothing runs (`mesh scale {name}=1` brings it back)"),
        (true, wanted) => format!("{name} is as wanted{but}: {ready} of {wanted} ready"),
        (false, wanted) => format!("{name} is not as wanted: {ready} of {wanted} ready"),
    }
}

/// By its routes through the routers, and by name within the cluster or the network of a VM's engine.
fn reached(facts: &Facts) -> Vec<String> {
    let Some(service) = facts.service.as_ref().filter(|service| service.spec.replicas > 0) else { return Vec::new() };
    let mut places: Vec<String> = claims(&service.spec).iter().map(|claim| format!("{claim} at the router")).collect();
    let instances = || facts.looked.iter().map(|looked| &looked.instance);
    let port =
        instances().filter(|i| i.kind == Kind::Pod).find_map(|i| i.address.as_deref()?.rsplit_once(':').map(|(_, port)| port.to_owned()));
    places.extend(port.map(|port| format!("http://{}.{}:{port} in the cluster", facts.name, facts.namespace)));
    let own = instances().filter(|i| i.kind == Kind::MeshInstance && i.ready).filter_map(|i| i.address.clone()).take(DETAILED);
    places.extend(own.map(|address| format!("http://{address} (one instance)")));
    places
}

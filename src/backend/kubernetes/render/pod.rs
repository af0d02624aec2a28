//! The pods' template, and its revision.
use k8s_openapi::{
    DeepMerge,
    api::core::v1::{Container, EnvVar, LocalObjectReference, PodSpec, PodTemplateSpec, ResourceRequirements, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use super::{Door, Surroundings, container, door, drain, environment, meta, patch, port, probes, security, some, variable, volumes};
use mesh_api::{
    MeshService, MeshServiceSpec, MeshTask,
    instance::InstanceTemplate,
    labels,
    names::{self, CONTAINER},
};
use mesh_plan::{
    template,
    validate::{DRAIN_VOLUME, Refusal},
};

/// What `kubectl logs` and `kubectl exec` mean where no container is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

pub(super) struct Made {
    pub(super) template: PodTemplateSpec,
    pub(super) revision: String,
    /// The pods are who the service's own account says.
    pub(super) own_account: bool,
}

pub(super) fn template(service: &MeshService, around: &Surroundings) -> Result<Made, Refusal> {
    let own = template::revision(service).template;
    let hook = drain::hook(&service.spec, around.drain.as_ref());
    let patch = patch::read(service, patch::Given { hook: hook.is_some(), door: around.door.is_some() })?;

    let told = around.door.as_ref().map(|door| door::variables(door, service.labels(), Some(service.spec.type_)));
    let mut app = container::container(service, &own, told);
    let mut pod = pod(&own);
    if around.door.is_some() {
        door::install(&mut pod, &mut app);
    }
    if let Some(hook) = hook {
        drain::install(&mut pod, &mut app, &service.spec, hook);
    }
    pod.containers.push(app);
    let mut template = PodTemplateSpec { metadata: Some(metadata(meta::labels(service), own.restarted_at)), spec: Some(pod) };
    template.merge_from(patch.unwrap_or_default());
    let own_account = template.spec.as_mut().is_some_and(|pod| complete(pod, service));
    let revision = stamp(&mut template);
    Ok(Made { template, revision, own_account })
}

/// The same for the runs of a task, which run `program`, in the place of `service` if it is a command of one: pods that end, are asked for nothing, and are
/// found by nobody who looks for the service.
pub(super) fn of_task(
    task: &MeshTask,
    program: MeshServiceSpec,
    service: Option<&MeshService>,
    door: Option<&Door>,
) -> Result<PodTemplateSpec, Refusal> {
    let given = patch::Given { hook: false, door: door.is_some() };
    let mut patch = service.map_or(Ok(None), |service| patch::read(service, given))?.unwrap_or_default();
    if let Some(pod) = &mut patch.spec {
        // What runs beside the program would not let the pod end.
        pod.containers.retain(|container| container.name == CONTAINER);
    }
    let runs_as = MeshService::new(&service.map_or_else(|| task.name_any(), ResourceExt::name_any), program);
    let mut own = template::revision(&runs_as).template;
    own.env.retain(|var| ![environment::TASK, environment::INDEX].contains(&var.name.as_str()));
    let told = door.map(|door| door::variables(door, task.labels(), service.map(|service| service.spec.type_)));
    let mut app = container::container(&runs_as, &own, told);
    let of_run = [variable::plain(environment::TASK, task.name_any()), variable::plain(environment::INDEX, "0")];
    app.env.get_or_insert_default().splice(0..0, of_run);
    // What it wrote last says why it failed.
    app.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    let mut pod = pod(&own);
    let mut about = metadata(meta::of_task(task), None);
    if door.is_some() {
        door::install(&mut pod, &mut app);
        about.annotations.get_or_insert_default().insert(labels::SERVICE.to_owned(), runs_as.name_any());
    }
    pod.containers.push(app);
    let mut template = PodTemplateSpec { metadata: Some(about), spec: Some(pod) };
    template.merge_from(patch);
    template.metadata.get_or_insert_default().labels.get_or_insert_default().append(&mut meta::of_task(task));
    if let Some(pod) = &mut template.spec {
        pod.restart_policy = Some("Never".to_owned());
        if let Some(service) = service {
            account(pod, service);
        }
        for app in &mut pod.containers {
            (app.ports, app.lifecycle) = (None, None);
            (app.readiness_probe, app.liveness_probe, app.startup_probe) = (None, None, None);
        }
    }
    stamp(&mut template);
    Ok(template)
}

fn metadata(labels: meta::Labels, restarted_at: Option<String>) -> ObjectMeta {
    let restarted = restarted_at.map(|at| (labels::RESTARTED_AT.to_owned(), at));
    let annotations = [(DEFAULT_CONTAINER.to_owned(), CONTAINER.to_owned())].into_iter().chain(restarted);
    ObjectMeta { labels: Some(labels), annotations: Some(annotations.collect()), ..ObjectMeta::default() }
}

fn pod(own: &InstanceTemplate) -> PodSpec {
    let mut secrets: Vec<_> = own.image_pull_secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() }).collect();
    // Server-side apply takes no name twice.
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    secrets.dedup();
    PodSpec {
        image_pull_secrets: some(secrets),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security::of_pod(own)),
        termination_grace_period_seconds: Some(own.termination_grace_period_seconds),
        volumes: some(volumes::volumes(own)),
        ..PodSpec::default()
    }
}

/// Fills in what neither the service nor its patch says; true where the pods have the service's own account.
fn complete(pod: &mut PodSpec, service: &MeshService) -> bool {
    let mut resources = None;
    if let Some(app) = pod.containers.iter_mut().find(|container| container.name == CONTAINER) {
        app.readiness_probe = app.readiness_probe.take().or_else(|| port(&service.spec).map(probes::listens));
        resources = app.resources.as_ref().map(|given| ResourceRequirements { claims: None, ..given.clone() });
    }
    // As much as the service itself: then the pod needs no more for it, stays of its quality class, and is within a quota that asks for limits.
    let installer = pod.init_containers.iter_mut().flatten().find(|container| container.name == DRAIN_VOLUME);
    if let Some(installer) = installer {
        installer.resources = resources;
    }
    pod.topology_spread_constraints.get_or_insert_with(|| spread(service));
    if pod.topology_spread_constraints.as_ref().is_some_and(Vec::is_empty) {
        pod.topology_spread_constraints = None;
    }
    account(pod, service)
}

/// Says who the pods are: whom the patch names, or the service's own account; true if it is that.
fn account(pod: &mut PodSpec, service: &MeshService) -> bool {
    let named = pod.service_account_name.take().or(pod.service_account.take()).filter(|name| !name.is_empty());
    let own = named.is_none();
    pod.service_account_name = Some(named.unwrap_or_else(|| service.name_any()));
    own
}

/// Over nodes and zones as evenly as can be, each revision for itself.
fn spread(service: &MeshService) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew: 1,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(meta::selector(service)),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    vec![over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")]
}

/// Names the revision by what the template says, and writes the name into it.
fn stamp(template: &mut PodTemplateSpec) -> String {
    // Maps of the template have strings for keys, and no Serialize in it fails.
    let revision = names::revision(&serde_json::to_vec(&template).unwrap_or_default());
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(labels::REVISION.to_owned(), revision.clone());
    let app = |container: &&mut Container| container.name == CONTAINER;
    if let Some(app) = template.spec.iter_mut().flat_map(|pod| &mut pod.containers).find(app) {
        let variable: EnvVar = variable::plain(environment::REVISION, revision.as_str());
        app.env.get_or_insert_default().insert(0, variable);
    }
    revision
}

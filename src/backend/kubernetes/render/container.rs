//! The service's own container.
use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, EnvVar, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{environment, port, probes, probes::Kind, security, some, volumes};
use mesh_api::{
    MeshService,
    container::{self, ImagePullPolicy, ResourceList},
    instance::InstanceTemplate,
    names::{CONTAINER, PORT_NAME},
};
use mesh_plan::container::default_pull;

pub(super) fn container(service: &MeshService, template: &InstanceTemplate, door: Option<Vec<EnvVar>>) -> Container {
    let own = port(&service.spec);
    let image = template.image.clone().unwrap_or_default();
    let probe = |probe: &Option<_>, kind| probe.as_ref().map(|probe| probes::probe(probe, kind, own));
    Container {
        name: CONTAINER.to_owned(),
        image_pull_policy: Some(pull_policy(template.image_pull_policy.unwrap_or_else(|| default_pull(&image)))),
        image: Some(image),
        command: some(template.command.clone()),
        args: some(template.args.clone()),
        working_dir: template.working_dir.clone(),
        ports: own.map(|port| vec![container_port(port)]),
        env: some(environment::variables(service, template, door)),
        env_from: environment::sources(template),
        readiness_probe: probe(&template.readiness_probe, Kind::Readiness),
        liveness_probe: probe(&template.liveness_probe, Kind::Other),
        startup_probe: probe(&template.startup_probe, Kind::Other),
        resources: template.resources.as_ref().and_then(resources),
        security_context: Some(security::of_container(template)),
        volume_mounts: some(volumes::mounts(template)),
        ..Container::default()
    }
}

fn container_port(port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(PORT_NAME.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

pub(super) fn pull_policy(policy: ImagePullPolicy) -> String {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
    .to_owned()
}

fn resources(wanted: &container::ResourceRequirements) -> Option<ResourceRequirements> {
    let container::ResourceRequirements { limits, requests } = wanted;
    let (limits, requests) = (limits.as_ref().and_then(amounts), requests.as_ref().and_then(amounts));
    (limits.is_some() || requests.is_some()).then(|| ResourceRequirements { limits, requests, ..ResourceRequirements::default() })
}

fn amounts(list: &ResourceList) -> Option<BTreeMap<String, Quantity>> {
    let ResourceList { cpu, memory } = list;
    let named = [("cpu", cpu), ("memory", memory)];
    let amounts: BTreeMap<_, _> =
        named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), volumes::amount(amount.as_ref()?)))).collect();
    (!amounts.is_empty()).then_some(amounts)
}

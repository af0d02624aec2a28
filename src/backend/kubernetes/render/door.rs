//! The agent's door: a pod is told where it is, and has a token of its own, which the kubelet renews before it is over.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, PodSpec, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};

use super::{Door, variable::plain, volumes};
use mesh_api::{labels, names::AUDIENCE, service::ServiceType};
use mesh_plan::{
    about::{TOKEN, TOKEN_FOLDER},
    validate::TOKEN_VOLUME,
};

/// How long a token is good; the kubelet renews it when 80% of that are over.
const SECONDS: i64 = 3600;
/// The first of the variables.
const AGENT: &str = "MESH_AGENT";

/// Variables that only pods with a door are given: what a program on a machine is told as well.
pub(super) const OWN: [&str; 5] = [AGENT, "MESH_TOKEN_FILE", "MESH_ROUTER_URL", "MESH_APP", "MESH_SERVICE_TYPE"];

/// Those of them that the pods of a service or a task with these labels have; `of` is the type of the service. How many copies there are, and which of them one is,
/// would make a new revision of each change of their number.
pub(super) fn variables(door: &Door, labels: &BTreeMap<String, String>, of: Option<ServiceType>) -> Vec<EnvVar> {
    let [agent, token, router, app, type_] = OWN;
    let known = [
        (agent, Some(door.agent.clone())),
        (token, Some(format!("{TOKEN_FOLDER}/{TOKEN}"))),
        (router, door.router.clone()),
        (app, labels.get(labels::APP_PART_OF).cloned()),
        (type_, of.map(|of| format!("{of:?}"))),
    ];
    known.into_iter().filter_map(|(name, value)| Some(plain(name, value?))).collect()
}

/// Gives a pod its token.
pub(super) fn install(pod: &mut PodSpec, app: &mut Container) {
    pod.volumes.get_or_insert_default().push(token());
    app.volume_mounts.get_or_insert_default().push(VolumeMount { read_only: Some(true), ..volumes::mount(TOKEN_VOLUME, TOKEN_FOLDER) });
}

/// Whether a pod is told of an agent.
pub(super) fn is_installed(pod: &PodSpec) -> bool {
    pod.volumes.iter().flatten().any(|volume| volume.name == TOKEN_VOLUME)
}

fn token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(SECONDS),
        path: TOKEN.to_owned(),
        ..ServiceAccountTokenProjection::default()
    };
    let source = VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() };
    Volume {
        name: TOKEN_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o644),
            sources: Some(vec![source]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

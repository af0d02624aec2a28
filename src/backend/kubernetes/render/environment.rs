//! The variables of the service's own container: what the mesh says, then what the user says.
use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, SecretEnvSource, SecretKeySelector,
};
use kube::ResourceExt;

use super::{
    door, port,
    variable::{field, plain},
};
use mesh_api::{MeshService, MeshServiceSpec, env, instance::InstanceTemplate};
use mesh_plan::template::serves;

/// The variable that is filled in once the revision is known.
pub(super) const REVISION: &str = "MESH_REVISION";

/// Variables that the mesh says; a user's of the same name are left out, as on a VM, where they lose.
const OWN: [&str; 6] = ["MESH_SERVICE", "MESH_INSTANCE", "MESH_NAMESPACE", REVISION, DRAIN_ADDRESS, POD_UID];

/// The task that a pod is a run of.
pub(super) const TASK: &str = "MESH_TASK";

/// Which copy it is. Only runs of tasks are told: there is one.
pub(super) const INDEX: &str = "MESH_INSTANCE_INDEX";

/// Whom the hook asks.
pub(super) const DRAIN_ADDRESS: &str = "MESH_DRAIN_ADDRESS";

/// Which pod it says that it is.
pub(super) const POD_UID: &str = "MESH_POD_UID";

/// Own variables come first, so that the user's may refer to them. `door` is what a pod with a door is told beside.
pub(super) fn variables(service: &MeshService, template: &InstanceTemplate, door: Option<Vec<EnvVar>>) -> Vec<EnvVar> {
    let has_door = door.is_some();
    let mut vars = vec![
        plain("MESH_SERVICE", service.name_any()),
        field("MESH_INSTANCE", "metadata.name"),
        field("MESH_NAMESPACE", "metadata.namespace"),
    ];
    vars.extend(port(&service.spec).map(|port| plain("PORT", port.to_string())));
    vars.extend(door.into_iter().flatten());
    vars.extend(template.env.iter().filter(|var| !is_own(&service.spec, &var.name, has_door)).map(variable));
    vars
}

/// Whether a variable of that name is the mesh's, in a pod with or without a door.
pub(super) fn is_own(spec: &MeshServiceSpec, name: &str, has_door: bool) -> bool {
    OWN.contains(&name) || (name == "PORT" && serves(spec)) || (has_door && door::OWN.contains(&name))
}

fn variable(var: &env::EnvVar) -> EnvVar {
    let Some(from) = &var.value_from else { return plain(&var.name, var.value.clone().unwrap_or_default()) };
    let env::EnvVarSource { config_map_key_ref, secret_key_ref } = from;
    let source = EnvVarSource {
        config_map_key_ref: config_map_key_ref.clone().map(|env::KeyRef { name, key, optional }| ConfigMapKeySelector {
            name,
            key,
            optional: optional.then_some(true),
        }),
        secret_key_ref: secret_key_ref.clone().map(|env::KeyRef { name, key, optional }| SecretKeySelector {
            name,
            key,
            optional: optional.then_some(true),
        }),
        ..EnvVarSource::default()
    };
    EnvVar { name: var.name.clone(), value: None, value_from: Some(source) }
}

/// All keys of ConfigMaps and Secrets.
pub(super) fn sources(template: &InstanceTemplate) -> Option<Vec<EnvFromSource>> {
    let sources = template.env_from.iter().map(|env::EnvFromSource { prefix, config_map_ref, secret_ref }| EnvFromSource {
        prefix: prefix.clone().filter(|prefix| !prefix.is_empty()),
        config_map_ref: config_map_ref
            .clone()
            .map(|env::ObjectRef { name, optional }| ConfigMapEnvSource { name, optional: optional.then_some(true) }),
        secret_ref: secret_ref
            .clone()
            .map(|env::ObjectRef { name, optional }| SecretEnvSource { name, optional: optional.then_some(true) }),
    });
    super::some(sources.collect())
}

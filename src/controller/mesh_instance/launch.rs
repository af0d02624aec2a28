//! From an instance's template to what a backend needs: every reference resolved, every path absolute.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;

use super::agent::Agent;
use crate::{
    api::{MeshInstance, conditions::instance as reason, service::Logs},
    kit::clock,
    plan::{
        environment::{self, Sources},
        instance::{InstanceKey, Launch, LogLimits},
        lifecycle::StartFailure,
    },
};

/// What a program gets from the controller's own environment; the rest of it is not its business.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SHELL"];

/// Makes it.
///
/// # Errors
/// What is missing, as a failure to start.
pub(super) async fn launch(
    agent: &Agent,
    instance: &MeshInstance,
    key: &InstanceKey,
    attempt: u32,
    port: Option<u16>,
) -> Result<Launch, StartFailure> {
    let template = &instance.spec.template;
    let failure = |message: String| StartFailure { reason: reason::CONFIG_MISSING, message, at: clock::now() };
    let references = environment::references(template);
    let sources = Sources {
        config_maps: fetch::<ConfigMap>(agent, &key.namespace, &references.config_maps)
            .await
            .map_err(|error| failure(error.to_string()))?,
        secrets: fetch::<Secret>(agent, &key.namespace, &references.secrets).await.map_err(|error| failure(error.to_string()))?,
    };
    let given = given(instance, key, port);
    let mut env = environment::resolve(template, &sources, &given).map_err(|missing| failure(missing.to_string()))?;
    let known: Vec<(String, String)> = env.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect();
    // What the mesh itself says stands last, so that nothing else takes its place: a program that listened elsewhere would never be ready.
    env.extend(own(instance, key, port).into_iter().map(|(name, value)| (name, crate::kit::redact::Redacted::new(value))));
    let argv = template.command.iter().chain(&template.args).map(|part| environment::expand(part, &known)).collect();
    let working_dir =
        template.working_dir.as_ref().map_or_else(|| agent.options.project_dir.clone(), |dir| agent.options.project_dir.join(dir));
    Ok(Launch { key: key.clone(), attempt, argv, env, working_dir, port, log: limits(&instance.spec.logs) })
}

fn given(instance: &MeshInstance, key: &InstanceKey, port: Option<u16>) -> Vec<(String, String)> {
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    inherited.chain(own(instance, key, port)).collect()
}

/// What the mesh tells a program about itself.
fn own(instance: &MeshInstance, key: &InstanceKey, port: Option<u16>) -> Vec<(String, String)> {
    let spec = &instance.spec;
    let mut vars = vec![
        ("MESH_SERVICE".to_owned(), spec.service.clone()),
        ("MESH_INSTANCE".to_owned(), instance.name_any()),
        ("MESH_REVISION".to_owned(), spec.revision.clone()),
        ("MESH_NAMESPACE".to_owned(), key.namespace.clone()),
    ];
    vars.extend(port.map(|port| ("PORT".to_owned(), port.to_string())));
    vars
}

async fn fetch<K>(agent: &Agent, namespace: &str, names: &[String]) -> Result<BTreeMap<String, K>, kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let objects: Api<K> = Api::namespaced(agent.client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(object) = objects.get_opt(name).await? {
            found.insert(name.clone(), object);
        }
    }
    Ok(found)
}

fn limits(logs: &Logs) -> LogLimits {
    LogLimits { max_bytes: bytes(&logs.max_size), max_files: logs.max_files }
}

/// A quantity of bytes as the schema lets it through: digits and at most one unit.
fn bytes(quantity: &str) -> u64 {
    let digits = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let scale = match unit {
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => 1,
    };
    number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_kubernetes_quantities() {
        for (text, size) in [("50Mi", 52_428_800), ("1k", 1000), ("4096", 4096), ("2Gi", 2 << 30)] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}

//! From an instance's template to what a backend needs: every reference resolved, every path absolute.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;

use super::{Options, Router, door::session};
use mesh_api::{MeshInstance, MeshService, conditions::instance as reason, labels, service::Logs};
use mesh_coordination::token::Caller;
use mesh_kit::{clock, redact::Redacted};
use mesh_plan::{
    about::{self, Of, TOKEN},
    container,
    environment::{self, Missing, Sources},
    instance::{ContainerLaunch, InstanceKey, Launch, LogLimits, ProcessLaunch},
    lifecycle::StartFailure,
    pull_secrets, quantity,
};

/// What a program gets from the controller's own environment; the rest of it is not its business.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SHELL"];

/// The key of an instance.
pub(super) fn key(instance: &MeshInstance) -> InstanceKey {
    InstanceKey { namespace: instance.namespace().unwrap_or_default(), name: instance.name_any(), uid: instance.uid().unwrap_or_default() }
}

/// Makes it.
///
/// # Errors
/// What is missing, as a failure to start.
pub(super) async fn launch(
    client: &Client,
    options: &Options,
    instance: &MeshInstance,
    key: &InstanceKey,
    attempt: u32,
    port: Option<u16>,
) -> Result<Launch, StartFailure> {
    let template = &instance.spec.template;
    let failure = |message: String| StartFailure { reason: reason::CONFIG_MISSING, message, at: clock::now() };
    let references = environment::references(template);
    let sources = Sources {
        config_maps: fetch::<ConfigMap>(client, &key.namespace, &references.config_maps)
            .await
            .map_err(|error| failure(error.to_string()))?,
        secrets: fetch::<Secret>(client, &key.namespace, &references.secrets).await.map_err(|error| failure(error.to_string()))?,
    };
    let services: Api<MeshService> = Api::namespaced(client.clone(), &key.namespace);
    let service = services.get_opt(&instance.spec.service).await.map_err(|error| failure(error.to_string()))?;
    let token = options.door.as_ref().and_then(|door| door.folder_of(key).ok());
    let door = options.door.as_ref().zip(token.as_ref());
    let door = door.map(|(door, token)| about::Door { socket: &door.socket, token, router: router(options, &door.router) });
    let spec = service.as_ref().map(|service| &service.spec);
    let of = Of { service_type: spec.map(|spec| spec.type_), replicas: spec.map(|spec| spec.replicas), door, ..of(instance, key) };
    let launch = if options.backend.runs_containers() {
        of_container(&of, instance, key, attempt, port, &sources).map(Launch::Container)
    } else {
        of_process(&of, options, instance, key, attempt, port, &sources).map(Launch::Process)
    };
    launch.map_err(|missing| failure(missing.to_string()))
}

/// Where instances reach the router: what listens on the machine's loopback does not answer a container.
fn router<'a>(options: &Options, router: &'a Router) -> Option<&'a str> {
    if options.backend.runs_containers() { router.from_containers.as_deref() } else { Some(&router.from_here) }
}

/// The run, as the agent knows it.
pub(super) fn caller(instance: &MeshInstance, key: &InstanceKey, attempt: u32) -> Caller {
    Caller { namespace: key.namespace.clone(), service: instance.spec.service.clone(), session: session(key, attempt) }
}

fn of_container(
    of: &Of<'_>,
    instance: &MeshInstance,
    key: &InstanceKey,
    attempt: u32,
    port: Option<u16>,
    sources: &Sources,
) -> Result<ContainerLaunch, Missing> {
    let container = container::container(of, sources, port)?;
    let auth = pull_secrets::registry_auth(&instance.spec.template.image_pull_secrets, sources)?;
    Ok(ContainerLaunch { key: key.clone(), attempt, container, auth, log: limits(&instance.spec.logs) })
}

/// The instance, as far as it says itself.
pub(super) fn of<'a>(instance: &'a MeshInstance, key: &'a InstanceKey) -> Of<'a> {
    let spec = &instance.spec;
    Of {
        namespace: &key.namespace,
        service: &spec.service,
        revision: &spec.revision,
        instance: &key.name,
        ordinal: spec.ordinal,
        part_of: instance.labels().get(labels::APP_PART_OF).map(String::as_str),
        serves: spec.serves,
        template: &spec.template,
        service_type: None,
        replicas: None,
        run: spec.run.as_ref(),
        door: None,
    }
}

fn of_process(
    of: &Of<'_>,
    options: &Options,
    instance: &MeshInstance,
    key: &InstanceKey,
    attempt: u32,
    port: Option<u16>,
    sources: &Sources,
) -> Result<ProcessLaunch, Missing> {
    let template = &instance.spec.template;
    let mut own = about::vars(of, port);
    own.extend(of.door.into_iter().flat_map(|door| about::door(&door.socket.to_string_lossy(), &door.token.join(TOKEN).to_string_lossy())));
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let known = environment::resolve(template, sources, &inherited.chain(own.iter().cloned()).collect::<Vec<_>>())?;
    let argv = template.command.iter().chain(&template.args).map(|part| environment::expand(part, &known).0).collect();
    let mut env: Vec<(String, Redacted)> = known.into_iter().map(|var| (var.name, var.value)).collect();
    // What the mesh itself says stands last, so that nothing else takes its place: a program that listened elsewhere would never be ready.
    env.extend(own.into_iter().map(|(name, value)| (name, Redacted::new(value))));
    let working_dir = template.working_dir.as_ref().map_or_else(|| options.project_dir.clone(), |dir| options.project_dir.join(dir));
    Ok(ProcessLaunch { key: key.clone(), attempt, argv, env, working_dir, port, log: limits(&instance.spec.logs) })
}

async fn fetch<K>(client: &Client, namespace: &str, names: &[String]) -> Result<BTreeMap<String, K>, kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let objects: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(object) = objects.get_opt(name).await? {
            found.insert(name.clone(), object);
        }
    }
    Ok(found)
}

fn limits(logs: &Logs) -> LogLimits {
    LogLimits { max_bytes: quantity::bytes(&logs.max_size), max_files: logs.max_files }
}

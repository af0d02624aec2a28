//! What the CRD's schema cannot say: whether a spec makes sense as a whole, and on the backend that is to run it.
use std::path::Path;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{about::TOKEN_FOLDER, container::DEFAULT_PORT, quantity, template::serves};
use mesh_api::{
    MeshServiceSpec,
    conditions::service::{INVALID_SPEC, UNSUPPORTED},
    container::ResourceRequirements,
    node::BackendKind,
    probe::Probe,
    service::{Logs, Rollout, RolloutType},
};

/// Why a spec is not acted on; it waits for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A reason of the condition Ready.
    pub reason: &'static str,
    /// Names the field and the remedy.
    pub message: String,
}

/// Checks a spec for a backend.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(spec: &MeshServiceSpec, backend: BackendKind) -> Result<(), Refusal> {
    match backend {
        BackendKind::Process => of_processes(spec)?,
        BackendKind::Podman | BackendKind::Quadlet => of_containers(spec, backend)?,
        BackendKind::Kubernetes => of_pods(spec)?,
    }
    for (field, probe) in probes(spec) {
        if needs_port(probe) && !serves(spec) {
            return invalid(format!(
                "spec.{field}: a Worker without a port has none to ask: name the probe's port, give spec.port, or use exec"
            ));
        }
    }
    Ok(())
}

/// A refusal of a value, in words.
pub fn invalid<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal { reason: INVALID_SPEC, message })
}

fn probes(spec: &MeshServiceSpec) -> impl Iterator<Item = (&'static str, &Probe)> {
    let probes =
        [("readinessProbe", &spec.readiness_probe), ("livenessProbe", &spec.liveness_probe), ("startupProbe", &spec.startup_probe)];
    probes.into_iter().filter_map(|(field, probe)| Some((field, probe.as_ref()?)))
}

/// Plain processes have no image, and nothing that a container is made of.
fn of_processes(spec: &MeshServiceSpec) -> Result<(), Refusal> {
    let unsupported = |message: &str| Err(Refusal { reason: UNSUPPORTED, message: message.to_owned() });
    if spec.command.is_none() {
        return unsupported("spec.image: the process backend runs no images; give spec.command, or use a backend that runs containers");
    }
    let given = [
        ("resources", spec.resources.is_some()),
        ("securityContext", spec.security_context.is_some()),
        ("volumes", !spec.volumes.is_empty()),
        ("volumeMounts", !spec.volume_mounts.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => unsupported(&format!(
            "spec.{field}: the process backend runs plain processes, which have none; leave it out, or use a backend that runs containers"
        )),
        None => Ok(()),
    }
}

/// What every container needs, whoever runs it.
fn of_images(spec: &MeshServiceSpec) -> Result<(), Refusal> {
    if spec.image.is_none() {
        let message = "spec.image: this backend runs containers, so it needs an image; give one, or use --backend process";
        return Err(Refusal { reason: UNSUPPORTED, message: message.to_owned() });
    }
    if let Some(dir) = spec.working_dir.as_ref().filter(|dir| !dir.starts_with('/')) {
        return invalid(format!("spec.workingDir {dir:?}: a container's working directory is an absolute path in it: begin it with /"));
    }
    requests_within_limits(spec)?;
    volumes(spec)
}

/// A pod has an address of its own, so its probes may ask any port. (What `spec.kubernetes.podTemplate` says is looked at where it is merged.)
fn of_pods(spec: &MeshServiceSpec) -> Result<(), Refusal> {
    of_images(spec)?;
    for (index, volume) in spec.volumes.iter().enumerate() {
        if [DRAIN_VOLUME, TOKEN_VOLUME].contains(&volume.name.as_str()) || SCRATCH.iter().any(|(name, _)| *name == volume.name) {
            return invalid(format!(
                "spec.volumes[{index}].name: {:?} is a volume that pods have anyway: choose another name",
                volume.name
            ));
        }
    }
    for (index, mount) in spec.volume_mounts.iter().enumerate() {
        if let Some((path, what)) = own_path(&mount.mount_path) {
            return invalid(format!("spec.volumeMounts[{index}].mountPath: {path} is where pods have {what}: choose another path"));
        }
    }
    let Rollout { type_, max_surge, max_unavailable, .. } = &spec.rollout;
    let none = |count: &IntOrString| quantity::text(count).trim_end_matches('%').trim_matches('0').is_empty();
    if *type_ == RolloutType::RollingUpdate && none(max_surge) && none(max_unavailable) {
        return invalid(
            "spec.rollout: maxSurge and maxUnavailable cannot both be 0, the rollout could not begin: make one of them 1".to_owned(),
        );
    }
    Ok(())
}

/// Where the containers of a pod can write although their root cannot be written, and the volumes for it.
pub const SCRATCH: [(&str, &str); 3] = [("mesh-tmp", "/tmp"), ("mesh-run", "/run"), ("mesh-var-tmp", "/var/tmp")];

/// The volume with the program that a pod's drain hook runs, and the init container that brings it.
pub const DRAIN_VOLUME: &str = "mesh-drain";

/// Where that program lies.
pub const DRAIN_PATH: &str = "/.mesh";

/// The volume with a pod's token.
pub const TOKEN_VOLUME: &str = "mesh-token";

/// The mesh's own place in a pod that a path is in, and what is there.
pub fn own_path(path: &str) -> Option<(&'static str, &'static str)> {
    let places = [(DRAIN_PATH, "the mesh's own program"), (TOKEN_FOLDER, "their token")];
    places.into_iter().find(|(place, _)| Path::new(path).starts_with(place))
}

fn of_containers(spec: &MeshServiceSpec, backend: BackendKind) -> Result<(), Refusal> {
    of_images(spec)?;
    for (field, probe) in probes(spec) {
        let asked = probe.http_get.as_ref().and_then(|get| get.port).or(probe.tcp_socket.as_ref().and_then(|socket| socket.port));
        let own = container_port(spec);
        if let Some(asked) = asked.filter(|asked| Some(asked.0) != own) {
            let published = own.map_or("none".to_owned(), |port| format!("only {port}"));
            return invalid(format!(
                "spec.{field}: port {} of the container is not published ({published} is): leave the probe's port out, or use exec",
                asked.0
            ));
        }
    }
    logs(&spec.logs, backend)
}

/// The output of units is the journal's, which heeds no wish of a service.
fn logs(logs: &Logs, backend: BackendKind) -> Result<(), Refusal> {
    if backend != BackendKind::Quadlet || *logs == Logs::default() {
        return Ok(());
    }
    let message = "spec.logs: the journal keeps the output of units, by its own limits (journald.conf): leave it out";
    Err(Refusal { reason: UNSUPPORTED, message: message.to_owned() })
}

fn container_port(spec: &MeshServiceSpec) -> Option<u16> {
    serves(spec).then(|| spec.port.map_or(DEFAULT_PORT, |port| port.0))
}

fn requests_within_limits(spec: &MeshServiceSpec) -> Result<(), Refusal> {
    let Some(ResourceRequirements { limits: Some(limits), requests: Some(requests) }) = &spec.resources else { return Ok(()) };
    let over = |read: fn(&str) -> u64, limit: &Option<IntOrString>, request: &Option<IntOrString>| {
        limit.as_ref().zip(request.as_ref()).is_some_and(|(limit, request)| read(&quantity::text(request)) > read(&quantity::text(limit)))
    };
    for (name, over) in [
        ("cpu", over(quantity::milli_cpus, &limits.cpu, &requests.cpu)),
        ("memory", over(quantity::bytes, &limits.memory, &requests.memory)),
    ] {
        if over {
            return invalid(format!(
                "spec.resources.requests.{name} is more than spec.resources.limits.{name}: lower it, or raise the limit"
            ));
        }
    }
    Ok(())
}

fn volumes(spec: &MeshServiceSpec) -> Result<(), Refusal> {
    for (index, volume) in spec.volumes.iter().enumerate() {
        if let Some(host) = volume.host_path.as_ref().filter(|host| climbs(&host.path)) {
            return invalid(format!("spec.volumes[{index}].hostPath.path {:?}: write it without ..", host.path));
        }
        if !spec.volume_mounts.iter().any(|mount| mount.name == volume.name) {
            return invalid(format!(
                "spec.volumes[{index}] {:?} is mounted nowhere: name it in spec.volumeMounts, or remove it",
                volume.name
            ));
        }
    }
    for (index, mount) in spec.volume_mounts.iter().enumerate() {
        if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
            return invalid(format!("spec.volumeMounts[{index}].name {:?}: spec.volumes has no volume of that name", mount.name));
        }
        if climbs(&mount.mount_path) {
            return invalid(format!("spec.volumeMounts[{index}].mountPath {:?}: write it without ..", mount.mount_path));
        }
    }
    Ok(())
}

fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn needs_port(probe: &Probe) -> bool {
    probe.http_get.as_ref().is_some_and(|get| get.port.is_none()) || probe.tcp_socket.as_ref().is_some_and(|socket| socket.port.is_none())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::service;

    #[test]
    fn a_probe_that_asks_a_port_needs_one_to_ask() {
        let no_port = |field: &str| {
            let message =
                format!("spec.{field}: a Worker without a port has none to ask: name the probe's port, give spec.port, or use exec");
            Err(Refusal { reason: INVALID_SPEC, message })
        };
        let (http, tcp, exec) = (json!({"httpGet": {"path": "/"}}), json!({"tcpSocket": {}}), json!({"exec": {"command": ["x"]}}));
        for (spec, expected) in [
            (json!({"type": "Worker", "readinessProbe": http}), no_port("readinessProbe")),
            (json!({"type": "Worker", "livenessProbe": tcp}), no_port("livenessProbe")),
            (json!({"type": "Worker", "startupProbe": tcp}), no_port("startupProbe")),
            (json!({"type": "Worker", "startupProbe": exec}), Ok(())),
            (json!({"type": "Worker", "port": 80, "readinessProbe": http}), Ok(())),
            (json!({"type": "Worker", "readinessProbe": {"httpGet": {"path": "/", "port": 80}}}), Ok(())),
            (json!({"readinessProbe": http, "livenessProbe": tcp}), Ok(())),
        ] {
            assert_eq!(validate(&service(spec.clone()).spec, BackendKind::Process), expected, "{spec}");
        }
    }

    #[test]
    fn the_process_backend_runs_no_images() {
        let mut spec = service(json!({"image": "web:1"})).spec;
        spec.command = None;
        let refusal = validate(&spec, BackendKind::Process).unwrap_err();
        assert_eq!(refusal.reason, UNSUPPORTED);
        assert!(refusal.message.starts_with("spec.image: "), "{}", refusal.message);
    }

    #[test]
    fn what_only_a_container_has_is_refused_for_processes_and_what_a_container_lacks_for_containers() {
        let process = |spec| validate(&service(spec).spec, BackendKind::Process).unwrap_err();
        for (field, spec) in [
            ("spec.resources: ", json!({"resources": {"limits": {"cpu": 1}}})),
            ("spec.securityContext: ", json!({"securityContext": {}})),
            ("spec.volumes: ", json!({"volumes": [{"name": "a", "emptyDir": {}}]})),
        ] {
            let refusal = process(spec);
            assert!(refusal.reason == UNSUPPORTED && refusal.message.starts_with(field), "{}", refusal.message);
        }
        let refusal = validate(&service(json!({})).spec, BackendKind::Podman).unwrap_err();
        assert!(refusal.reason == UNSUPPORTED && refusal.message.starts_with("spec.image: "), "{}", refusal.message);
    }

    #[test]
    fn a_containers_volumes_probes_and_resources_must_fit_each_other() {
        let data = json!([{"name": "data", "emptyDir": {}}]);
        for (spec, expected) in [
            (json!({"volumes": data, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}), ""),
            (json!({"volumes": data}), "spec.volumes[0] \"data\" is mounted nowhere"),
            (json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}), "spec.volumeMounts[0].name \"x\""),
            (json!({"volumes": data, "volumeMounts": [{"name": "data", "mountPath": "/a/../b"}]}), "spec.volumeMounts[0].mountPath"),
            (json!({"workingDir": "app"}), "spec.workingDir \"app\""),
            (json!({"port": 80, "readinessProbe": {"tcpSocket": {"port": 80}}}), ""),
            (json!({"port": 80, "readinessProbe": {"tcpSocket": {"port": 81}}}), "spec.readinessProbe: port 81"),
            (json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}}), "spec.resources.requests.cpu"),
            (json!({"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "512Mi"}}}), ""),
            (json!({"logs": {"maxFiles": 2}}), "spec.logs: the journal keeps"),
        ] {
            let mut all = json!({"image": "web:1"});
            all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            let found = validate(&service(all).spec, BackendKind::Quadlet).err().map(|refusal| refusal.message).unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{spec}: {found}");
        }
    }
}

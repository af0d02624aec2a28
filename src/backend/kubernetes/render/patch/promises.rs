//! What a patch may not say: what the service has a field for, what the mesh finds pods by, and what would cut a drain short.
//! An error begins with the field: `spec.x: …`.
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Probe};

use super::{
    super::{drain, environment, meta, port},
    Given,
};
use mesh_api::{
    MeshService, labels,
    names::{CONTAINER, PORT_NAME},
};
use mesh_plan::{
    template,
    validate::{DRAIN_VOLUME, TOKEN_VOLUME, own_path},
};

/// Begins the names of labels and annotations that are ours.
const OURS: &str = "mesh-controller.dev/";

type Checked = Result<(), String>;

pub(super) fn check(patch: &PodTemplateSpec, service: &MeshService, given: Given) -> Checked {
    metadata(patch, service)?;
    let Some(pod) = &patch.spec else { return Ok(()) };
    of_pod(pod, service, given.hook)?;
    for (index, container) in pod.containers.iter().enumerate() {
        let field = format!("spec.containers[{index}]");
        if container.name == CONTAINER {
            of_app(&field, container, service, given)?;
        } else {
            of_other(&field, container)?;
        }
    }
    for (index, container) in pod.init_containers.iter().flatten().enumerate() {
        of_other(&format!("spec.initContainers[{index}]"), container)?;
    }
    Ok(())
}

fn metadata(patch: &PodTemplateSpec, service: &MeshService) -> Checked {
    let Some(metadata) = &patch.metadata else { return Ok(()) };
    let named = [
        ("name", metadata.name.is_some()),
        ("namespace", metadata.namespace.is_some()),
        ("generateName", metadata.generate_name.is_some()),
    ];
    if let Some((field, _)) = named.into_iter().find(|(_, given)| *given) {
        return Err(format!("metadata.{field}: the cluster names pods: only labels and annotations can be given"));
    }
    let own = meta::labels(service);
    for (key, value) in metadata.labels.iter().flatten() {
        if own.get(key).is_none_or(|own| own != value) && (own.contains_key(key) || key.starts_with(OURS)) {
            return Err(format!("metadata.labels[{key}]: pods are found by it: leave it out"));
        }
    }
    match metadata.annotations.iter().flatten().find(|(key, _)| key.starts_with(OURS)) {
        Some((key, _)) if key == labels::RESTARTED_AT => {
            Err(format!("metadata.annotations[{key}]: this is how `mesh restart` is carried out: leave it out"))
        }
        Some((key, _)) => Err(format!("metadata.annotations[{key}]: the mesh's own annotations begin so: choose another name")),
        None => Ok(()),
    }
}

fn of_pod(pod: &PodSpec, service: &MeshService, hooked: bool) -> Checked {
    let shortest = drain::shortest_grace(&service.spec);
    if let Some(grace) = pod.termination_grace_period_seconds.filter(|grace| hooked && *grace < shortest) {
        return Err(format!(
            "spec.terminationGracePeriodSeconds: {grace} s end before the drain has (spec.drain.timeout and 2 s more): \
             make it {shortest} or more, leave it out, or lower spec.drain.timeout"
        ));
    }
    for (index, volume) in pod.volumes.iter().flatten().enumerate() {
        let field = format!("spec.volumes[{index}].name");
        if volume.name.is_empty() {
            return Err(format!("{field}: a volume needs a name, by which it is merged"));
        }
        if [DRAIN_VOLUME, TOKEN_VOLUME].contains(&volume.name.as_str()) {
            return Err(format!("{field}: {} is the mesh's own: choose another name", volume.name));
        }
        if service.spec.volumes.iter().any(|own| own.name == volume.name) {
            return Err(format!("{field}: {:?} is in spec.volumes already: choose another name, or change it there", volume.name));
        }
    }
    Ok(())
}

/// A container beside the service's own.
fn of_other(field: &str, container: &Container) -> Checked {
    if container.name.is_empty() {
        return Err(format!("{field}.name: a container needs a name, by which it is merged; the service's own is called {CONTAINER}"));
    }
    if container.name == DRAIN_VOLUME {
        return Err(format!("{field}.name: {DRAIN_VOLUME} is the mesh's own: choose another name"));
    }
    if container.image.as_ref().is_none_or(String::is_empty) {
        return Err(format!(
            "{field}.image: {:?} is a container of its own, so it needs an image; the service's own is called {CONTAINER}",
            container.name
        ));
    }
    Ok(())
}

/// The service's own container.
fn of_app(field: &str, app: &Container, service: &MeshService, given: Given) -> Checked {
    let has_own_field = [
        ("image", app.image.is_some()),
        ("imagePullPolicy", app.image_pull_policy.is_some()),
        ("command", app.command.is_some()),
        ("args", app.args.is_some()),
        ("workingDir", app.working_dir.is_some()),
        ("envFrom", app.env_from.is_some()),
    ];
    if let Some((name, _)) = has_own_field.into_iter().find(|(_, given)| *given) {
        return Err(format!("{field}.{name}: the service has a field for it: give it in spec.{name}"));
    }
    if given.hook && app.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some()) {
        return Err(format!(
            "{field}.lifecycle.preStop: this hook waits for the routers to let the pod go: set spec.drain.timeout to 0s to have one of your own"
        ));
    }
    variables(field, app, service, given.door)?;
    ports(field, app, service)?;
    mounts(field, app, service)?;
    let own = template::revision(service).template;
    for (name, own, given) in [
        ("readinessProbe", own.readiness_probe.is_some(), &app.readiness_probe),
        ("livenessProbe", own.liveness_probe.is_some(), &app.liveness_probe),
        ("startupProbe", own.startup_probe.is_some(), &app.startup_probe),
    ] {
        if own && given.as_ref().is_some_and(asks) {
            return Err(format!("{field}.{name}: spec.{name} (or spec.healthPath) says already what is asked: leave one of them out"));
        }
    }
    Ok(())
}

fn asks(probe: &Probe) -> bool {
    probe.http_get.is_some() || probe.tcp_socket.is_some() || probe.exec.is_some() || probe.grpc.is_some()
}

fn variables(field: &str, app: &Container, service: &MeshService, has_door: bool) -> Checked {
    for (index, var) in app.env.iter().flatten().enumerate() {
        let (field, name) = (format!("{field}.env[{index}].name"), &var.name);
        if environment::is_own(&service.spec, name, has_door) {
            return Err(format!("{field}: {name} is what the mesh tells the program: choose another name"));
        }
        if service.spec.env.iter().any(|own| own.name == *name) {
            return Err(format!("{field}: {name} is in spec.env already: change it there"));
        }
    }
    Ok(())
}

fn ports(field: &str, app: &Container, service: &MeshService) -> Checked {
    let Some(own) = port(&service.spec) else { return Ok(()) };
    for (index, port) in app.ports.iter().flatten().enumerate() {
        let is_own = port.container_port == i32::from(own);
        let is_called_so = port.name.as_deref() == Some(PORT_NAME);
        if is_own && (port.name.is_some() && !is_called_so) {
            return Err(format!("{field}.ports[{index}].name: port {own} is the service's own and called {PORT_NAME}: leave it out"));
        }
        if !is_own && is_called_so {
            return Err(format!("{field}.ports[{index}].name: {PORT_NAME} is what port {own} is called: choose another name"));
        }
        if is_own && port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
            return Err(format!("{field}.ports[{index}].protocol: port {own} is the service's own, and TCP: choose another port"));
        }
    }
    Ok(())
}

fn mounts(field: &str, app: &Container, service: &MeshService) -> Checked {
    for (index, mount) in app.volume_mounts.iter().flatten().enumerate() {
        let field = format!("{field}.volumeMounts[{index}].mountPath");
        if let Some((path, what)) = own_path(&mount.mount_path) {
            return Err(format!("{field}: {path} is where pods have {what}: choose another path"));
        }
        if service.spec.volume_mounts.iter().any(|own| own.mount_path == mount.mount_path) {
            return Err(format!("{field}: {:?} is in spec.volumeMounts already: change it there", mount.mount_path));
        }
    }
    Ok(())
}

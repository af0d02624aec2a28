//! The acknowledged drain: before the program is told to end, the pod's kubelet asks a router whether its requests have ended.
//! Pods under "restricted" may have no `httpGet` hook to another host, and an image need not have a program to ask with: an init container brings one.
use k8s_openapi::api::core::v1::{Container, ExecAction, Lifecycle, LifecycleHandler, PodSpec, VolumeMount};

use super::{DrainHook, container::pull_policy, environment, security, variable, volumes};
use mesh_api::{MeshServiceSpec, names::CONTAINER};
use mesh_plan::{
    container::default_pull,
    template::serves,
    validate::{DRAIN_PATH, DRAIN_VOLUME},
};

/// Over the drain's own time and the program's: for the kubelet to start the hook and to see its end.
const SPARE_SECONDS: i64 = 2;

/// The hook that this service's pods have, if they have one.
pub(super) fn hook<'a>(spec: &MeshServiceSpec, given: Option<&'a DrainHook>) -> Option<&'a DrainHook> {
    given.filter(|_| serves(spec) && !spec.drain.timeout.get().is_zero())
}

/// The shortest time between a pod's deletion and its kill in which the drain can end.
pub(super) fn shortest_grace(spec: &MeshServiceSpec) -> i64 {
    seconds(spec).saturating_add(SPARE_SECONDS)
}

/// The drain's time in whole seconds, rounded up.
fn seconds(spec: &MeshServiceSpec) -> i64 {
    i64::try_from(spec.drain.timeout.get().as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// Gives a pod the hook: the program, where it asks, and the time for it.
pub(super) fn install(pod: &mut PodSpec, app: &mut Container, spec: &MeshServiceSpec, hook: &DrainHook) {
    pod.volumes.get_or_insert_default().push(volumes::memory(DRAIN_VOLUME));
    pod.init_containers.get_or_insert_default().push(installer(&hook.image));
    pod.termination_grace_period_seconds = Some(spec.termination_grace_period_seconds.saturating_add(shortest_grace(spec)));
    app.env.get_or_insert_default().extend([
        variable::plain(environment::DRAIN_ADDRESS, hook.address.to_string()),
        variable::field(environment::POD_UID, "metadata.uid"),
    ]);
    app.volume_mounts.get_or_insert_default().push(VolumeMount { read_only: Some(true), ..volumes::mount(DRAIN_VOLUME, DRAIN_PATH) });
    let command = [format!("{DRAIN_PATH}/mesh-drain"), "wait".to_owned(), "--timeout".to_owned(), seconds(spec).to_string()];
    let handler = LifecycleHandler { exec: Some(ExecAction { command: Some(command.into()) }), ..LifecycleHandler::default() };
    app.lifecycle = Some(Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() });
}

/// The hook that a pod has been given.
pub(super) fn installed(pod: &PodSpec) -> Option<DrainHook> {
    let installer = pod.init_containers.iter().flatten().find(|container| container.name == DRAIN_VOLUME)?;
    let app = pod.containers.iter().find(|container| container.name == CONTAINER)?;
    let address = app.env.iter().flatten().find(|variable| variable.name == environment::DRAIN_ADDRESS)?;
    Some(DrainHook { address: address.value.as_ref()?.parse().ok()?, image: installer.image.clone()? })
}

fn installer(image: &str) -> Container {
    Container {
        name: DRAIN_VOLUME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pull_policy(default_pull(image))),
        command: Some(vec!["/usr/local/bin/mesh-drain".to_owned(), "install".to_owned(), DRAIN_PATH.to_owned()]),
        security_context: Some(security::of_drain()),
        volume_mounts: Some(vec![volumes::mount(DRAIN_VOLUME, DRAIN_PATH)]),
        ..Container::default()
    }
}

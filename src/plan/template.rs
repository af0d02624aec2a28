//! The template of a service: the part of its spec that makes a revision, in its long form.
use kube::ResourceExt;

use mesh_api::{
    MeshService, MeshServiceSpec,
    instance::InstanceTemplate,
    labels, names,
    node::BackendKind,
    probe::{PortNumber, Probe},
    service::{Drain, Logs, Rollout, RolloutType, ServiceType},
};

/// The template, and the name of its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// What is run.
    pub template: InstanceTemplate,
    /// Eight hexadecimal digits made from the template.
    pub name: String,
}

/// The revision that a service asks for now.
pub fn revision(service: &MeshService) -> Revision {
    let template = template(&service.spec, service.annotations().get(labels::RESTARTED_AT).cloned());
    // The type has no map with keys other than strings and no failing Serialize, so this cannot fail.
    let bytes = serde_json::to_vec(&template).unwrap_or_default();
    Revision { name: names::revision(&bytes), template }
}

fn template(spec: &MeshServiceSpec, restarted_at: Option<String>) -> InstanceTemplate {
    // Every field is named: a new one must be put on one of the two sides.
    let MeshServiceSpec {
        image,
        image_pull_policy,
        image_pull_secrets,
        command,
        args,
        working_dir,
        port,
        env,
        env_from,
        health_path,
        readiness_probe,
        liveness_probe,
        startup_probe,
        resources,
        security_context,
        volumes,
        volume_mounts,
        podman,
        termination_grace_period_seconds,
        type_: _,
        replicas: _,
        route: _,
        routes: _,
        strategy: _,
        session_persistence: _,
        timeouts: _,
        retry: _,
        drain: Drain { timeout: _ },
        rollout: Rollout { .. },
        logs: Logs { .. },
        kubernetes: _,
    } = spec;
    InstanceTemplate {
        image: image.clone(),
        image_pull_policy: *image_pull_policy,
        image_pull_secrets: image_pull_secrets.clone(),
        command: command.clone().unwrap_or_default(),
        args: args.clone(),
        working_dir: working_dir.clone(),
        port: *port,
        env: env.clone(),
        env_from: env_from.clone(),
        readiness_probe: readiness_probe.clone().or_else(|| health_path.as_ref().map(|path| Probe::http(&path.0))),
        liveness_probe: liveness_probe.clone(),
        startup_probe: startup_probe.clone(),
        resources: resources.clone(),
        security_context: security_context.clone(),
        volumes: volumes.clone(),
        volume_mounts: volume_mounts.clone(),
        podman: podman.clone(),
        termination_grace_period_seconds: *termination_grace_period_seconds,
        restarted_at,
    }
}

/// Whether the instances of a service are given a port.
pub fn serves(spec: &MeshServiceSpec) -> bool {
    match spec.type_ {
        ServiceType::Frontend | ServiceType::Backend => true,
        ServiceType::Worker => spec.port.is_some(),
    }
}

/// The port of the spec, where it is one of the machine: plain processes have it, one at a time. A container's port is its own.
pub fn fixed_port(spec: &MeshServiceSpec, backend: BackendKind) -> Option<PortNumber> {
    spec.port.filter(|_| spec.replicas <= 1 && !backend.runs_containers())
}

/// The rollout that applies: two instances cannot have one fixed port, so those are recreated.
pub fn rollout_type(spec: &MeshServiceSpec, backend: BackendKind) -> RolloutType {
    if fixed_port(spec, backend).is_some() { RolloutType::Recreate } else { spec.rollout.type_ }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::service;

    fn name(spec: Value) -> String {
        revision(&service(spec)).name
    }

    #[test]
    fn what_the_program_does_not_see_makes_no_new_revision() {
        let plain = name(json!({}));
        for spec in [
            json!({"replicas": 5}),
            json!({"route": "/"}),
            json!({"type": "Worker"}),
            json!({"strategy": "LeastConnections"}),
            json!({"drain": {"timeout": "1s"}}),
            json!({"logs": {"maxSize": "1Mi", "maxFiles": 2}}),
            json!({"rollout": {"type": "Recreate"}}),
        ] {
            assert_eq!(name(spec.clone()), plain, "{spec}");
        }
    }

    #[test]
    fn what_the_program_sees_makes_a_new_revision() {
        let plain = name(json!({}));
        for spec in [
            json!({"command": ["other"]}),
            json!({"args": ["x"]}),
            json!({"env": [{"name": "A", "value": "1"}]}),
            json!({"workingDir": "x"}),
            json!({"port": 80}),
            json!({"healthPath": "/health"}),
            json!({"terminationGracePeriodSeconds": 3}),
        ] {
            assert_ne!(name(spec.clone()), plain, "{spec}");
        }
    }

    #[test]
    fn the_annotation_of_a_restart_makes_a_new_revision_and_the_old_spec_the_old_name() {
        let mut web = service(json!({}));
        let before = revision(&web);
        web.metadata.annotations = Some([(labels::RESTARTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned())].into());
        assert_ne!(revision(&web).name, before.name);
        web.metadata.annotations = None;
        assert_eq!(revision(&web), before);
    }

    #[test]
    fn the_short_form_of_a_probe_is_the_long_one() {
        let long = json!({"readinessProbe": {"httpGet": {"path": "/health"}}});
        assert_eq!(name(json!({"healthPath": "/health"})), name(long));
    }

    #[test]
    fn a_fixed_port_is_for_one_replica_which_is_recreated() {
        for (spec, port, type_) in [
            (json!({"port": 80}), Some(80), RolloutType::Recreate),
            (json!({"port": 80, "replicas": 2}), None, RolloutType::RollingUpdate),
            (json!({"replicas": 1}), None, RolloutType::RollingUpdate),
        ] {
            let spec = service(spec).spec;
            assert_eq!(
                (fixed_port(&spec, BackendKind::Process).map(|port| port.0), rollout_type(&spec, BackendKind::Process)),
                (port, type_)
            );
        }
    }
}

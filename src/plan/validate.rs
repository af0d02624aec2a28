//! What the CRD's schema cannot say: whether a spec makes sense as a whole, and on the backend that is to run it.
use crate::{
    api::{
        MeshServiceSpec,
        conditions::service::{INVALID_SPEC, UNSUPPORTED},
        node::BackendKind,
        probe::Probe,
    },
    plan::template::serves,
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
        BackendKind::Process if spec.command.is_none() => {
            return Err(Refusal {
                reason: UNSUPPORTED,
                message: "spec.image: the process backend runs no images; give spec.command, or use a backend that runs containers"
                    .to_owned(),
            });
        }
        BackendKind::Process => {}
    }
    let probes =
        [("readinessProbe", &spec.readiness_probe), ("livenessProbe", &spec.liveness_probe), ("startupProbe", &spec.startup_probe)];
    for (field, probe) in probes {
        if let Some(probe) = probe
            && needs_port(probe)
            && !serves(spec)
        {
            return Err(Refusal {
                reason: INVALID_SPEC,
                message: format!(
                    "spec.{field}: a Worker without a port has none to ask: name the probe's port, give spec.port, or use exec"
                ),
            });
        }
    }
    Ok(())
}

fn needs_port(probe: &Probe) -> bool {
    probe.http_get.as_ref().is_some_and(|get| get.port.is_none()) || probe.tcp_socket.as_ref().is_some_and(|socket| socket.port.is_none())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::fixture::service;

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
}

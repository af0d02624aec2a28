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

//! The checks that the kubelet makes.
use k8s_openapi::{
    api::core::v1::{ExecAction, HTTPGetAction, HTTPHeader, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use mesh_api::probe::{self, PortNumber};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Readiness,
    /// Liveness and startup: a cluster takes one success only.
    Other,
}

/// A probe as the kubelet makes it; `own` is the container's port.
pub(super) fn probe(probe: &probe::Probe, kind: Kind, own: Option<u16>) -> Probe {
    let port = |port: Option<PortNumber>| IntOrString::Int(i32::from(port.map(|port| port.0).or(own).unwrap_or_default()));
    Probe {
        http_get: probe.http_get.as_ref().map(|get| HTTPGetAction {
            path: Some(get.path.clone()),
            port: port(get.port),
            http_headers: super::some(
                get.http_headers.iter().map(|header| HTTPHeader { name: header.name.clone(), value: header.value.clone() }).collect(),
            ),
            ..HTTPGetAction::default()
        }),
        tcp_socket: probe.tcp_socket.as_ref().map(|socket| TCPSocketAction { host: None, port: port(socket.port) }),
        exec: probe.exec.as_ref().map(|exec| ExecAction { command: Some(exec.command.clone()) }),
        initial_delay_seconds: Some(probe.initial_delay_seconds).filter(|delay| *delay > 0),
        period_seconds: Some(probe.period_seconds),
        timeout_seconds: Some(probe.timeout_seconds),
        success_threshold: Some(if kind == Kind::Readiness { probe.success_threshold } else { 1 }),
        failure_threshold: Some(probe.failure_threshold),
        ..Probe::default()
    }
}

/// Ready when it listens, as on a VM. More often than by default: until then nobody is served.
pub(super) fn listens(port: u16) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { host: None, port: IntOrString::Int(i32::from(port)) }),
        period_seconds: Some(2),
        ..Probe::default()
    }
}

//! Reads the facts from the machine. No judgement here: what cannot be read is told as missing.
pub(super) mod engine;
mod host;
mod ports;

use std::{net::SocketAddr, path::PathBuf};

use super::{Purpose, facts::Facts};
use mesh_api::node::PortRange;

/// What to look at.
#[derive(Debug, Clone)]
pub(super) struct Where {
    pub(super) purpose: Option<Purpose>,
    pub(super) engine_socket: Option<String>,
    /// What for, by which flag, and where.
    pub(super) addresses: [(&'static str, &'static str, SocketAddr); 3],
    pub(super) port_range: PortRange,
    pub(super) state_dir: PathBuf,
}

/// Looks.
pub(super) async fn facts(places: &Where) -> Facts {
    let user = host::user();
    let (engine, leftovers) = engine::engine(places.engine_socket.clone(), &places.state_dir).await;
    Facts {
        purpose: places.purpose,
        engine,
        leftovers,
        cgroups: host::cgroups(user.uid),
        systemd: host::systemd(&user),
        sub_ids: host::sub_ids(&user),
        selinux: host::selinux(),
        ports: places.addresses.into_iter().map(ports::port).collect(),
        range: ports::range(places.port_range),
        generator: host::generator(&user),
        state_dir: host::state_dir(&places.state_dir),
        shim: host::shim(),
        kubectl: host::in_path("kubectl"),
        user,
    }
}

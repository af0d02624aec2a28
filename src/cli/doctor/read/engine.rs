//! Asks the container engine who it is, and what in it controllers have made; and what units they have left.
use std::path::Path;

use crate::doctor::facts::{Engine, EngineKind, Leftovers};
use mesh_backend::{
    engine::{self, Kind, error::Error, socket::Surroundings},
    podman::left,
    quadlet::live::left::Units,
};

/// The id of the controller of a state directory, by which its containers are known.
const CONTROLLER_ID: &str = "controller-id";

/// The engine, and what other controllers than that of `state_dir` have in it and have left to systemd.
pub(super) async fn engine(flag: Option<String>, state_dir: &Path) -> (Engine, Leftovers) {
    let own = own(state_dir);
    let mut leftovers = Units::of_this_user().and_then(|units| units.unowned(&own)).unwrap_or_default();
    match open(flag).await {
        Ok(engine) => {
            let kind = match engine.kind() {
                Kind::Podman => EngineKind::Podman,
                Kind::Docker => EngineKind::Docker,
            };
            let version = Some((engine.version().major, engine.version().minor));
            let made = left::made(&engine, &own).await.unwrap_or_default();
            leftovers.extend(made.into_iter().filter(|made| made.controller != own));
            (Engine::Answers { socket: engine.socket().to_owned(), kind, version }, leftovers)
        }
        Err(error) => (trouble(error), leftovers),
    }
}

pub(in crate::doctor) async fn open(flag: Option<String>) -> Result<engine::Engine, Error> {
    engine::Engine::open(&Surroundings::of_process(flag).find()?).await
}

fn trouble(error: Error) -> Engine {
    match error {
        Error::NoSocket { looked } => Engine::Absent { looked, podman: super::host::in_path("podman").is_some() },
        Error::NotUnix { given } => Engine::NotUnix(given),
        Error::NotPermitted { socket } => Engine::Denied(socket),
        Error::Unreachable { socket, why } => Engine::Silent(socket, why),
        Error::NotAnEngine { socket, why } => Engine::Answers { socket, kind: EngineKind::Other(why), version: None },
        Error::TooOld { socket, version } => {
            Engine::Answers { socket, kind: EngineKind::Podman, version: Some((version.major, version.minor)) }
        }
        error @ (Error::Answer { .. } | Error::Unreadable(_) | Error::Exhausted { .. }) => Engine::Failing(error.to_string()),
    }
}

/// The id of the controller of a state directory; empty if it has none.
pub(in crate::doctor) fn own(state_dir: &Path) -> String {
    std::fs::read_to_string(state_dir.join(CONTROLLER_ID)).unwrap_or_default().trim().to_owned()
}

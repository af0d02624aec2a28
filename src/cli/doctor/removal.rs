//! Removes from systemd and from the container engine what nobody owns, and says what it removed.
use std::{fmt::Display, path::Path};

use super::read::engine;
use crate::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_backend::{
    engine::error::Error,
    podman::left::{self, Made, What},
    quadlet::live::left::Units,
};

/// Removes what controllers have made whose state directories are gone; volumes only where that was asked for.
pub(super) async fn remove_unowned(socket: Option<String>, state_dir: &Path, volumes: bool) -> Result {
    let unreachable = |error: Error| Failure::new(Code::Unreachable, format!("the container engine: {error}"));
    let failed = |error: mesh_backend::Error| Failure::new(Code::Failed, error.to_string());
    let own = engine::own(state_dir);
    let mut refused = Vec::new();

    // What units use is free when they are gone.
    let units = Units::of_this_user().map_err(failed)?;
    let of_systemd = units.unowned(&own).map_err(failed)?;
    for made in &of_systemd {
        refused.extend(remove(made, volumes, units.remove(made)).await?);
    }
    if !of_systemd.is_empty() {
        units.reload().await.map_err(failed)?;
    }

    match engine::open(socket).await {
        Ok(engine) => {
            let mut of_engine = left::made(&engine, &own).await.map_err(unreachable)?;
            of_engine.retain(|made| made.gone);
            for made in &of_engine {
                refused.extend(remove(made, volumes, made.remove(&engine)).await?);
            }
            if of_systemd.is_empty() && of_engine.is_empty() {
                output::print_line("nothing is left of controllers that are gone")?;
            }
        }
        // Units need no socket of an engine.
        Err(error) if !of_systemd.is_empty() => output::print_line(&format!("the container engine was not looked at: {error}"))?,
        Err(error) => return Err(unreachable(error)),
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::new(Code::Failed, refused.join("\n"))) }
}

/// Has one removed, or kept; why it was not removed.
async fn remove<E: Display>(made: &Made, volumes: bool, removal: impl Future<Output = Result<(), E>>) -> Result<Option<String>> {
    if made.what == What::Volume && !volumes {
        output::print_line(&format!("{made} kept (--volumes removes it with all that is in it)"))?;
        return Ok(None);
    }
    match removal.await {
        Ok(()) => output::print_line(&format!("{made} removed")).map(|()| None),
        Err(error) => Ok(Some(format!("{made}: {error}"))),
    }
}

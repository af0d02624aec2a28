//! Removes from the container engine what nobody owns, and says what it removed.
use super::read::engine;
use crate::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_backend::podman::left::{self, What};

/// Removes what controllers have made whose state directories are gone; volumes only where that was asked for.
pub(super) async fn remove_unowned(socket: Option<String>, volumes: bool) -> Result {
    let unreachable = |error: mesh_backend::engine::error::Error| Failure::new(Code::Unreachable, format!("the container engine: {error}"));
    let engine = engine::open(socket).await.map_err(unreachable)?;
    let unowned: Vec<_> = left::made(&engine).await.map_err(unreachable)?.into_iter().filter(|made| made.gone).collect();
    if unowned.is_empty() {
        return output::print_line("nothing is left of controllers that are gone");
    }
    let mut refused = Vec::new();
    for made in &unowned {
        if made.what == What::Volume && !volumes {
            output::print_line(&format!("{made} kept (--volumes removes it with all that is in it)"))?;
            continue;
        }
        match made.remove(&engine).await {
            Ok(()) => output::print_line(&format!("{made} removed"))?,
            Err(error) => refused.push(format!("{made}: {error}")),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::new(Code::Failed, refused.join("\n"))) }
}

//! What a container wrote.
use bollard::{container::LogOutput, query_parameters::LogsOptions};
use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::{Engine, Error};

/// Which part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only what was written at or after this time, in seconds since 1970.
    pub since: Option<i64>,
    /// Go on until it ends.
    pub follow: bool,
}

impl Engine {
    /// Its lines, each begun by the time at which it was written and a space (RFC 3339; Podman gives whole seconds).
    pub fn logs(&self, container: &str, part: Part) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let options = LogsOptions {
            follow: part.follow,
            stdout: true,
            stderr: true,
            since: part.since.and_then(|since| i32::try_from(since).ok()).unwrap_or(0),
            until: 0,
            timestamps: true,
            tail: part.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string()),
        };
        let (engine, docker) = (self.clone(), self.docker().clone());
        docker.logs(container, Some(options)).map(move |line| line.map(LogOutput::into_bytes).map_err(engine.refused()))
    }
}

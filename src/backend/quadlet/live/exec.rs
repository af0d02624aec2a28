//! A command in an instance's container (an `exec` probe): bounded in time and in what is kept of its output.
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::podman;
use crate::backend::{Error, ExecOutput};

/// So much of each stream is kept.
const KEPT: usize = 4096;

/// Runs it; podman is ended when its time is over.
pub(super) async fn exec(container: &str, argv: &[String], limit: Duration) -> Result<ExecOutput, Error> {
    let args: Vec<&str> = ["exec", "--", container].into_iter().chain(argv.iter().map(String::as_str)).collect();
    let mut child = podman::command(&args).spawn().map_err(|error| podman::missing(&error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let run = async {
        tokio::join!(collect(stdout, &mut out), collect(stderr, &mut err));
        child.wait().await
    };
    let ended = tokio::time::timeout(limit, run).await;
    let (code, timed_out) = match ended {
        Ok(status) => (status.map_err(|error| podman::missing(&error))?.code(), false),
        Err(_) => (None, true),
    };
    out.append(&mut err);
    Ok(ExecOutput { code, output: String::from_utf8_lossy(&out).into_owned(), timed_out })
}

/// Reads a stream to its end and keeps the beginning.
async fn collect(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 2048];
    while let Ok(count) = stream.read(&mut chunk).await
        && count > 0
    {
        let room = KEPT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}

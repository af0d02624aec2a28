//! What is kept of a command's output; the same on every backend.
use tokio::io::{AsyncRead, AsyncReadExt};

/// So many bytes of each stream are kept.
pub(super) const KEPT: usize = 4096;

/// Reads a stream to its end and keeps the beginning.
pub(super) async fn collect(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 2048];
    while let Ok(count) = stream.read(&mut chunk).await
        && count > 0
    {
        let room = KEPT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}

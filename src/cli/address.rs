//! An address to listen on, as a flag.
use std::net::SocketAddr;

/// Reads it.
///
/// # Errors
/// It is none; says how one is written.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it is no address: write IP:PORT, for example 127.0.0.1:8080 or [::]:8080 (ports end at 65535)".to_owned())
}

//! to come
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ServeError;

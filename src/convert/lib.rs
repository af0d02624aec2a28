//! From what people have to MeshServices ([`import`]), and from MeshServices to what a cluster takes without us ([`export`]). Texts in, texts out: it
//! talks to no API, and whatever cannot be carried over is said.
pub mod export;
pub mod import;
pub mod lines;
pub mod words;

/// Why nothing can be made of an input.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file was named, and none of the usual ones is here.
    #[error("{0}")]
    NoInput(String),
    /// What is wrong with it: `FILE:LINE: what`.
    #[error("{0}")]
    Invalid(String),
}

/// What reading an input gives.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

//! A value that is never printed: secrets travel through the process inside it.
use std::fmt;

use serde::{Deserialize, Serialize};

/// Shows as `<redacted>` in `Debug`; the value comes out by [`Redacted::reveal`] only, so that a reviewer can look for that word.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted(String);

impl Redacted {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, where it is handed to its user.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

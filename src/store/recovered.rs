//! What the store tells its owner of an outage that is over.
use std::{fmt, time::Duration};

/// An outage that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// How long writes were refused.
    pub lasted: Duration,
    /// What the system said first.
    pub cause: String,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasted.as_secs_f64();
        write!(
            f,
            "the store could not be written for {seconds:.1} s ({}); it is written again, and nothing that was answered is lost",
            self.cause
        )
    }
}

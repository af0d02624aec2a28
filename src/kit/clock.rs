//! Wall time, read in this one place so that pure code gets it as a value.
use jiff::Timestamp;

/// The wall clock's time now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

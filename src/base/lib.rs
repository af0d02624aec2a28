//! What even the smallest program here needs: wall time, values that are never printed, and whose fault an error is. Without a runtime, so that `mesh-shim` stays small.
pub mod clock;
pub mod exhausted;
pub mod redact;

//! What even the smallest program here needs: wall time, values that are never printed, whose fault an error is, and files that are replaced as a whole.
//! Without a runtime, so that `mesh-shim` stays small.
pub mod clock;
pub mod exhausted;
pub mod redact;
pub mod replace;

//! What even the smallest program here needs: wall time, and values that are never printed. Without a runtime, so that `mesh-shim` stays small.
pub mod clock;
pub mod redact;

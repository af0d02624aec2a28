//! What the tree promises: its layout, the import rule, the CRDs, the charts and `deploy/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod advisories;
mod charts;
mod crds;
mod imports;
mod layout;
mod release;

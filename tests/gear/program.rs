//! The programs under test: those that cargo built beside the test that runs.
use std::path::{Path, PathBuf};

/// A program of the workspace's root package; cargo builds all of them before that package's tests.
pub fn program(name: &str) -> PathBuf {
    // target/debug/deps/<test>
    let program = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join(name);
    assert!(program.exists(), "{} is not built: cargo build --bins", program.display());
    program
}

/// A file or folder of the project.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

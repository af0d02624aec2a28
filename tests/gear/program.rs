//! The programs under test: those that cargo built beside the test that runs.
use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A program that stands beside the tests. Cargo builds those of the root package before its tests; the shim, of another package, must not be older
/// than what it is made of.
pub fn program(name: &str) -> PathBuf {
    // target/debug/deps/<test>
    let program = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join(name);
    assert!(program.exists(), "{} is not built: cargo build --bins", program.display());
    if name == "mesh-shim" {
        let made = changed(&program);
        let old = ["src/shim", "src/base"].into_iter().any(|folder| sources(&file(folder)).any(|source| changed(&source) > made));
        assert!(!old, "{} is older than its sources: cargo build", program.display());
    }
    program
}

fn changed(path: &Path) -> SystemTime {
    path.metadata().and_then(|meta| meta.modified()).unwrap()
}

fn sources(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

/// A file or folder of the project.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

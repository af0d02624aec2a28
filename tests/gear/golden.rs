//! Texts that stand in files of the project and are made by the program: a test compares them, `UPDATE_GOLDEN=1` accepts what was made.
use std::path::Path;

/// Compares a text with a file, by its path in the project.
pub fn check(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, made).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "{path} differs from what is made now (UPDATE_GOLDEN=1 accepts):\n{made}");
}

//! Texts that a test compares with a file in `tests/golden/cli`; `UPDATE_GOLDEN=1` accepts what was made.
use std::path::Path;

/// Compares a text with the golden file of that name.
pub(crate) fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cli").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == made, "{} differs (UPDATE_GOLDEN=1 accepts):\n{made}", path.display());
}

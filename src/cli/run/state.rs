//! The state directory of a run. It is marked as such, because a run ends everything in it.
use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    exit::{Code, Failure, Result},
    serve,
    state_dir::{IN_PROJECT, trust},
};

/// Keeps the directory out of the project's version control, and marks it.
const MARK: &str = ".gitignore";

/// Makes the directory, unless it is there already.
pub(super) fn prepare(flag: Option<&Path>, project: &Path) -> Result<PathBuf> {
    let dir = flag.map_or_else(|| project.join(IN_PROJECT), Path::to_owned);
    let failed = |error: std::io::Error| Failure::from(error).context(format!("state directory {}", dir.display()));
    let mark = dir.join(MARK);
    let is_used = || fs::read_dir(&dir).map(|mut entries| entries.next().is_some());
    if !mark.exists() {
        if dir.exists() && is_used().map_err(failed)? {
            let text = "was not made by `mesh run`, which ends everything that its state directory holds: use mesh-controller with it, or choose another --state-dir";
            return Err(Failure::new(Code::Conflict, format!("state directory {} {text}", dir.display())));
        }
        trust::prepare(&dir).map_err(serve::Error::from)?;
        fs::write(&mark, "# Made by `mesh run`; may be removed while nothing runs.\n*\n").map_err(failed)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_its_own_is_used_again_and_that_of_a_daemon_is_refused() {
        let project = tempfile::tempdir().unwrap();
        let dir = prepare(None, project.path()).unwrap();
        assert_eq!(dir, project.path().join(".mesh"));
        fs::write(dir.join("store.redb"), "").unwrap();
        assert_eq!(prepare(None, project.path()).unwrap(), dir);
        let foreign = tempfile::tempdir().unwrap();
        fs::write(foreign.path().join("store.redb"), "").unwrap();
        let refused = prepare(Some(foreign.path()), project.path()).unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
        assert!(!foreign.path().join(MARK).exists());
    }
}

//! Whether a kubeconfig that was found, and not named, may be used.
use std::{io, os::unix::fs::MetadataExt, path::Path};

use crate::{
    exit::{Code, Failure, Result},
    state_dir::owner,
};

/// Refuses one of another user, who could have us run what that one wants, and one that cannot be read.
pub(super) fn check(file: &Path) -> Result {
    is_of(file, rustix::process::geteuid().as_raw())
}

fn is_of(file: &Path, us: u32) -> Result {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let closed = std::fs::File::open(file).is_err_and(|error| denied(&error));
    // Where the file cannot be looked at, its directory says whose it is.
    let owner = [Some(file), file.parent()].into_iter().flatten().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.uid());
    match owner {
        Some(owner) if closed || (owner != us && owner != 0) => {
            let (name, file) = (owner::name(owner), file.display());
            let text = format!(
                "{file} belongs to user {name}, whose controller it is of: run this as that user (sudo -u {name} mesh …), \
                 or name an API that you trust with --kubeconfig"
            );
            Err(Failure::new(Code::Unreachable, text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_that_was_found_and_is_another_users_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        std::fs::write(&file, "").unwrap();
        let us = std::fs::metadata(&file).unwrap().uid();
        is_of(&file, us).unwrap();
        is_of(&dir.path().join("missing"), us).unwrap();
        if us != 0 {
            return;
        }
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        let refused = is_of(&file, 0).unwrap_err();
        assert_eq!(refused.code, Code::Unreachable);
        assert!(refused.text().contains("belongs to user nobody") && refused.text().contains("--kubeconfig"), "{}", refused.text());
    }
}

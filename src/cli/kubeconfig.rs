//! Kubeconfigs, and what is wrong with one in words. Never with what stands in it, which has keys and tokens.
use std::ffi::OsStr;

use kube::config::{Kubeconfig, KubeconfigError};

/// The words; the file is named by who asks.
pub(crate) fn wrong(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        // By its own words it shows the lines around.
        KubeconfigError::Parse(error) => format!("it is no YAML of a kubeconfig: {}", error.without_snippet()),
        error => error.to_string(),
    }
}

/// The files of a list as `$KUBECONFIG` has it, one laid over the other; like kubectl, those that are not there are left out.
///
/// # Errors
/// None is there, or which cannot be read and why.
pub(crate) fn of_list(list: &OsStr) -> Result<Kubeconfig, String> {
    let mut merged: Option<Kubeconfig> = None;
    for file in std::env::split_paths(list).filter(|file| file.exists()) {
        let failed = |error| format!("{}: {}", file.display(), wrong(&error));
        let read = Kubeconfig::read_from(&file).map_err(failed)?;
        merged = Some(match merged {
            Some(before) => before.merge(read).map_err(failed)?,
            None => read,
        });
    }
    merged.ok_or_else(|| "no such file is there".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_broken_kubeconfig_is_not_shown() {
        for text in ["users:\n- client-key-data: SECRET\n  user: {}\n", "client-key-data: SECRET\n bad: [\n"] {
            let told = wrong(&Kubeconfig::from_yaml(text).unwrap_err());
            assert!(told.contains("line ") && !told.contains("SECRET") && !told.contains('\n'), "{told}");
        }
        let missing = wrong(&KubeconfigError::ReadConfig(std::io::ErrorKind::NotFound.into(), "/nope".into()));
        assert_eq!(missing, "entity not found", "who asks names the file");
    }

    #[test]
    fn files_of_a_list_that_are_not_there_are_left_out_and_one_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let list = |names: &[&str]| of_list(&std::env::join_paths(names.iter().map(|name| dir.path().join(name))).unwrap());
        std::fs::write(dir.path().join("a"), "current-context: a\n").unwrap();
        std::fs::write(dir.path().join("bad"), "users: [\n").unwrap();
        for names in [&["a"][..], &["a", "nope"], &["nope", "a"]] {
            assert_eq!(list(names).unwrap().current_context.as_deref(), Some("a"), "{names:?}");
        }
        let bad = list(&["a", "bad"]).unwrap_err();
        assert!(bad.starts_with(&format!("{}: it is no YAML", dir.path().join("bad").display())), "{bad}");
        assert_eq!(list(&["nope"]).unwrap_err(), "no such file is there");
    }
}

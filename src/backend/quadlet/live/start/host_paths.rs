//! Paths of the machine that volumes name: looked at before the start, because systemd's words about them are hard to find.
use std::{fs, path::Path};

use crate::{
    api::container::HostPathType,
    backend::Error,
    plan::container::{Mount, Source},
};

/// Looks at all of them; makes what is to be made.
pub(super) fn check(mounts: &[Mount]) -> Result<(), Error> {
    for mount in mounts {
        if let Source::Host { path, kind } = &mount.source {
            one(Path::new(path), *kind).map_err(|why| Error::HostPath { path: path.clone(), why })?;
        }
    }
    Ok(())
}

fn one(path: &Path, kind: Option<HostPathType>) -> Result<(), String> {
    let shown = path.display();
    match (kind, fs::metadata(path)) {
        (Some(HostPathType::DirectoryOrCreate), Err(_)) => fs::create_dir_all(path).map_err(|error| format!("it cannot be made: {error}")),
        (Some(HostPathType::Directory | HostPathType::DirectoryOrCreate), Ok(found)) if !found.is_dir() => Err("it is no directory".to_owned()),
        (Some(HostPathType::File), Ok(found)) if !found.is_file() => Err("it is no file".to_owned()),
        (_, Ok(_)) => Ok(()),
        (Some(HostPathType::File), Err(error)) => Err(format!("{error}: make the file")),
        (Some(HostPathType::Directory) | None, Err(error)) => {
            Err(format!("{error}: make it (mkdir -p {shown}), or set type: DirectoryOrCreate"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_names_must_be_there_and_be_of_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let (file, missing, new) = (dir.path().join("file"), dir.path().join("missing"), dir.path().join("a/b"));
        fs::write(&file, "").unwrap();
        assert_eq!(one(dir.path(), Some(HostPathType::Directory)), Ok(()));
        assert_eq!(one(&file, Some(HostPathType::File)), Ok(()));
        assert_eq!(one(&file, Some(HostPathType::Directory)), Err("it is no directory".to_owned()));
        assert_eq!(one(dir.path(), Some(HostPathType::File)), Err("it is no file".to_owned()));
        assert!(one(&missing, None).unwrap_err().contains("mkdir -p"));
        assert_eq!(one(&new, Some(HostPathType::DirectoryOrCreate)), Ok(()));
        assert!(new.is_dir());
    }
}

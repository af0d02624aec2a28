//! Paths of the machine are looked at before the engine is: Docker's dialect would make a missing one, as root, without a word.
use std::{fs, io};

use crate::Error;
use mesh_api::container::HostPathType;

/// Whether the path is as it should be; a directory may be made.
pub(crate) async fn check(path: &str, kind: Option<HostPathType>) -> Result<(), Error> {
    let owned = path.to_owned();
    let result = tokio::task::spawn_blocking(move || look(&owned, kind)).await.unwrap_or_else(|gone| Err(gone.to_string()));
    result.map_err(|why| Error::HostPath { path: path.to_owned(), why })
}

fn look(path: &str, kind: Option<HostPathType>) -> Result<(), String> {
    match (fs::metadata(path), kind) {
        (Ok(found), Some(HostPathType::Directory | HostPathType::DirectoryOrCreate)) if !found.is_dir() => {
            Err("it is no directory, as its type says: name one, or leave the type out".to_owned())
        }
        (Ok(found), Some(HostPathType::File)) if !found.is_file() => {
            Err("it is no file, as its type says: name one, or leave the type out".to_owned())
        }
        (Ok(_), _) => Ok(()),
        (Err(error), Some(HostPathType::DirectoryOrCreate)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path).map_err(|error| format!("it cannot be made: {error}"))
        }
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("it does not exist on this machine: make it (mkdir -p {path}), or set type: DirectoryOrCreate"))
        }
        (Err(error), _) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_must_be_what_its_type_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let (dir_path, file) = (dir.path().to_str().unwrap(), file.to_str().unwrap());
        assert_eq!(look(dir_path, Some(HostPathType::Directory)), Ok(()));
        assert_eq!(look(file, None), Ok(()));
        assert!(look(file, Some(HostPathType::Directory)).unwrap_err().contains("no directory"));
        assert!(look(dir_path, Some(HostPathType::File)).unwrap_err().contains("no file"));
        let missing = format!("{dir_path}/a/b");
        assert!(look(&missing, None).unwrap_err().contains(&format!("mkdir -p {missing}")));
        assert_eq!(look(&missing, Some(HostPathType::DirectoryOrCreate)), Ok(()));
        assert!(std::path::Path::new(&missing).is_dir());
    }
}

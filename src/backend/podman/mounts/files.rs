//! Files from `ConfigMap`s and Secrets: written to `<state>/volumes/<uid>/<volume>`, where a container has them mounted.
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{Error, podman::system};
use mesh_plan::files::Content;

const FOLDER: &str = "volumes";

/// Writes one volume's files anew, and gives its directory. All of them are there or none: the directory is made beside and then put in its place.
pub(super) async fn write(state: &Path, uid: &str, volume: &str, files: BTreeMap<String, Content>, mode: u32) -> Result<PathBuf, Error> {
    let plain = [uid, volume].into_iter().chain(files.keys().map(String::as_str)).all(is_plain);
    let (parent, name) = (state.join(FOLDER).join(uid), volume.to_owned());
    let shown = parent.join(&name);
    let result = tokio::task::spawn_blocking(move || if plain { replace(&parent, &name, &files, mode) } else { Err(not_plain()) }).await;
    result.unwrap_or_else(|gone| Err(io::Error::other(gone))).map_err(system("write the files of a volume to", &shown))
}

/// Removes all files of an instance.
pub(super) async fn remove(state: &Path, uid: &str) -> Result<(), Error> {
    let dir = state.join(FOLDER).join(uid);
    let plain = is_plain(uid);
    let shown = dir.clone();
    let result = tokio::task::spawn_blocking(move || if plain { remove_tree(&dir) } else { Err(not_plain()) }).await;
    result.unwrap_or_else(|gone| Err(io::Error::other(gone))).map_err(system("remove", &shown))
}

/// Names come from the API and must not lead out of the directory.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() < 256 && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a uid, a volume or a key is no plain file name")
}

fn replace(parent: &Path, name: &str, files: &BTreeMap<String, Content>, mode: u32) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let (dir, new) = (parent.join(name), parent.join(format!("{name}.new")));
    remove_tree(&new)?;
    DirBuilder::new().mode(0o755).create(&new)?;
    // As said, whatever the umask: the program in the container is another user.
    fs::set_permissions(&new, PermissionsExt::from_mode(0o755))?;
    for (file, content) in files {
        let path = new.join(file);
        let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        written.write_all(&content.0)?;
        written.set_permissions(PermissionsExt::from_mode(mode & 0o777))?;
    }
    remove_tree(&dir)?;
    fs::rename(&new, &dir)?;
    Ok(dir)
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_replaced_as_a_whole_and_have_their_mode() {
        let state = tempfile::tempdir().unwrap();
        let files = |text: &str| BTreeMap::from([(text.to_owned(), Content(text.as_bytes().to_vec()))]);
        write(state.path(), "u", "v", files("a"), 0o440).await.unwrap();
        let dir = write(state.path(), "u", "v", files("b"), 0o440).await.unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(fs::metadata(dir.join("b")).unwrap().permissions().mode() & 0o777, 0o440);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::metadata(dir.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        remove(state.path(), "u").await.unwrap();
        remove(state.path(), "u").await.unwrap();
        assert!(!dir.exists());
    }

    #[tokio::test]
    async fn a_name_that_leads_out_of_the_directory_is_refused() {
        let state = tempfile::tempdir().unwrap();
        for (uid, volume, file) in [("..", "v", "f"), ("u", "../v", "f"), ("u", "v", "../f"), ("u", "v", "a/b"), ("", "v", "f")] {
            let files = BTreeMap::from([(file.to_owned(), Content(Vec::new()))]);
            assert!(write(state.path(), uid, volume, files, 0o644).await.is_err(), "{uid} {volume} {file}");
        }
        assert!(remove(state.path(), "..").await.is_err());
    }
}

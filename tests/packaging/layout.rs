//! What the file tree promises: every test file is compiled, every module says what it is for, `foo.rs` stands beside `foo/`.
use std::path::{Path, PathBuf};

/// All Rust files below a folder of the project: their paths in it, and their texts.
pub(crate) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Whether a file is the root of a crate or of a test program: `src/lib.rs`, `src/kit/lib.rs`, `tests/cli/main.rs`.
fn is_root(path: &Path) -> bool {
    path.components().count() <= 2 && ["lib.rs", "main.rs"].iter().any(|root| path.ends_with(root))
}

/// The file that has the `mod` line of a module's file: the root in its folder, else `foo.rs` for what is in `foo/`.
fn parent(path: &Path, files: &[(PathBuf, String)]) -> PathBuf {
    let folder = path.parent().unwrap();
    let roots = ["lib.rs", "main.rs"].map(|root| folder.join(root));
    roots
        .into_iter()
        .find(|root| is_root(root) && files.iter().any(|(file, _)| file == root))
        .unwrap_or_else(|| folder.with_extension("rs"))
}

#[test]
fn every_file_is_in_the_list_of_its_parent() {
    for folder in ["src", "tests"] {
        let files = sources(folder);
        for (path, _) in files.iter().filter(|(path, _)| !path.starts_with("bin") && !is_root(path)) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let parent = parent(path, &files);
            let text = files.iter().find(|(file, _)| *file == parent).map(|(_, text)| text.as_str()).unwrap_or_default();
            let listed = text.lines().any(|line| line.trim_end_matches(';').rsplit_once("mod ").is_some_and(|(_, module)| module == name));
            assert!(listed, "{folder}/{} is in no mod list (looked in {})", path.display(), parent.display());
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for folder in ["src", "tests", "examples", "benches"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{folder}/{} does not begin with //!", path.display());
            assert!(!path.ends_with("mod.rs"), "{folder}/{}: write foo.rs beside foo/", path.display());
        }
    }
}

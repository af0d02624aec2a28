//! State directories that the programs refuse: what somebody else could have put there would decide what is started, and as whom.
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, lchown, symlink},
    path::Path,
    process::Command,
};

use mesh_gear::{
    machine::there,
    program::program,
    session::{End, mesh, mesh_with, project},
};

/// A user that is not us.
const OTHER: Option<u32> = Some(65534);

fn controller(state: &Path) -> End {
    let mut command = Command::new("timeout");
    command.arg("20").arg(program("mesh-controller")).arg("--state-dir").arg(state).args(["--log-level", "error"]);
    let output = command.args(["--api-listen=127.0.0.1:0", "--router-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    End { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// As a `mesh run` has left it.
fn used(dir: &Path) {
    fs::create_dir_all(dir.join("pki")).unwrap();
    for file in ["pki/token", ".gitignore"] {
        fs::write(dir.join(file), "").unwrap();
        mode(&dir.join(file), 0o600);
    }
    mode(dir, 0o700);
    mode(&dir.join("pki"), 0o700);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is done to a directory, which path in it is refused then, and in which words.
type Case = (&'static str, fn(&Path), &'static str, [&'static str; 2]);

const CASES: [Case; 8] = [
    (
        "it is another's",
        |dir| chown(dir, OTHER, OTHER).unwrap(),
        "",
        ["belongs to user ", "choose another --state-dir, or run this as user "],
    ),
    ("it is another's link to one of ours", link_of_another, "", ["belongs to user ", "choose another --state-dir, or run this as user "]),
    ("its group can write", |dir| mode(dir, 0o770), "", ["can be written by other users (mode 0770)", "close it (chmod go-w)"]),
    ("everybody can write", |dir| mode(dir, 0o757), "", ["can be written by other users (mode 0757)", "close it (chmod go-w)"]),
    ("the keys are another's", |dir| chown(dir.join("pki"), OTHER, OTHER).unwrap(), "pki", ["belongs to user ", "or run this as user "]),
    (
        "a key is another's",
        |dir| chown(dir.join("pki/token"), OTHER, OTHER).unwrap(),
        "pki/token",
        ["belongs to user ", "or run this as user "],
    ),
    (
        "a key can be written",
        |dir| mode(&dir.join("pki/token"), 0o606),
        "pki/token",
        ["can be written by other users (mode 0606)", "chmod go-w"],
    ),
    ("the keys are elsewhere", keys_elsewhere, "pki", ["is a symbolic link", "remove it, or choose another --state-dir"]),
];

fn link_of_another(dir: &Path) {
    let real = dir.with_file_name("real");
    fs::rename(dir, &real).unwrap();
    symlink(&real, dir).unwrap();
    lchown(dir, OTHER, OTHER).unwrap();
}

fn keys_elsewhere(dir: &Path) {
    let real = dir.with_file_name("keys");
    fs::rename(dir.join("pki"), &real).unwrap();
    symlink(&real, dir.join("pki")).unwrap();
}

#[test]
fn a_state_directory_that_is_not_ours_alone_is_refused_by_its_path_with_the_remedy_and_stays_as_it_is() {
    if !there(rustix::process::geteuid().is_root(), "to give files to another user needs root") {
        return;
    }
    for (what, spoil, path, words) in CASES {
        let project = project("{command: [sleep, '60'], type: Worker}");
        let dir = project.path().canonicalize().unwrap().join("kept");
        used(&dir);
        spoil(&dir);
        let (before, path) = (names(&dir), if path.is_empty() { dir.clone() } else { dir.join(path) });
        let run = ["run", "--all", "--router-listen", "127.0.0.1:0", "--state-dir", dir.to_str().unwrap()];
        for (program, End { code, stderr, .. }) in [("mesh-controller", controller(&dir)), ("mesh", mesh(project.path(), &run))] {
            let said = stderr.strip_prefix(&format!("{program}: state directory: {} ", path.display()));
            let right = said.is_some_and(|said| words.iter().all(|words| said.contains(words)));
            assert!(code == 1 && right, "{what}: {program} ended with {code}:\n{stderr}");
            assert_eq!(names(&dir), before, "{what}: {program}");
        }
    }
}

#[test]
fn a_state_directory_of_the_environment_is_no_flag_and_an_empty_one_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let said = |variables: &[(&str, &str)], words: &[&str]| mesh_with(dir.path(), variables, words).stderr;
    let ps = said(&[("MESH_STATE_DIR", "/nope/state")], &["ps"]);
    assert!(ps.contains("--state-dir /nope/state/kubeconfig: No such file"), "{ps}");
    let other = said(&[("MESH_STATE_DIR", "/nope/state")], &["ps", "--kubeconfig", "/nope/kubeconfig"]);
    assert_eq!(other, "mesh: --kubeconfig /nope/kubeconfig: No such file or directory (os error 2)\n");
    let none = said(&[("MESH_STATE_DIR", "")], &["ps"]);
    assert!(none.contains("no API found"), "{none}");
    assert_eq!(mesh_with(dir.path(), &[("MESH_STATE_DIR", ""), ("MESH_NAMESPACE", "")], &["version"]).code, 0);
}

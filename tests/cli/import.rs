//! `mesh import` as people use it: the real binary, and what it makes is taken by a real API, strictly.
use std::path::{Path, PathBuf};

use mesh_gear::{
    controller::Controller,
    session::{End, mesh},
};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The file of a fixture that is named on the command line.
fn main_file(folder: &Path) -> PathBuf {
    let usual = [
        "compose.yaml",
        "compose.yml",
        "docker-compose.yml",
        "Procfile",
        "Procfile.dev",
        "ecosystem.config.js",
        "pm2.json",
        "process.yaml",
        "deployment.yaml",
        "all.yaml",
        "list.yaml",
    ];
    usual.iter().map(|name| folder.join(name)).find(|path| path.is_file()).unwrap()
}

#[tokio::test]
async fn what_is_imported_is_taken_by_the_api() {
    let controller = Controller::start().await;
    let dir = tempfile::tempdir().unwrap();
    let state = controller.state_dir();
    for folder in fixtures() {
        let (input, output) = (main_file(&folder), dir.path().join("made.yaml"));
        let End { code, stderr, .. } = mesh(dir.path(), &["import", input.to_str().unwrap(), "--output", output.to_str().unwrap()]);
        assert_eq!(code, 0, "{}: {stderr}", folder.display());
        assert!(stderr.contains(" service"), "{stderr}");
        // Namespaces are the user's; the controller has only its own.
        let made = std::fs::read_to_string(&output).unwrap().replace(", namespace: finance", "");
        std::fs::write(&output, made).unwrap();
        let words = ["apply", "--dry-run", "-f", output.to_str().unwrap(), "--state-dir", &state];
        let applied = mesh(dir.path(), &words);
        assert_eq!(applied.code, 0, "{}: {}\n{}", folder.display(), applied.stderr, std::fs::read_to_string(&output).unwrap());
    }
}

#[test]
fn the_override_file_beside_a_compose_file_is_read_with_it() {
    for (main, beside) in [("compose.yaml", "compose.override.yaml"), ("docker-compose.yml", "docker-compose.override.yml")] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(main), "services: {web: {image: x:1, environment: {A: one, B: two}}}\n").unwrap();
        std::fs::write(dir.path().join(beside), "services: {web: {image: x:2, environment: {B: three}}}\n").unwrap();
        let made = mesh(dir.path(), &["import"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        assert!(["image: x:2", "value: one", "value: three"].iter().all(|part| made.stdout.contains(part)), "{}", made.stdout);
    }
}

#[test]
fn a_file_is_found_by_its_name_and_one_that_cannot_be_read_ends_with_4() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mesh(dir.path(), &["import"]).code, 2);
    std::fs::write(dir.path().join("Procfile"), "web: node server.js\n").unwrap();
    let made = mesh(dir.path(), &["import"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert!(made.stdout.contains("command: [node, server.js]") && made.stderr == "1 service: web\n", "{} {}", made.stdout, made.stderr);
    std::fs::write(dir.path().join("compose.yaml"), "services: {\n").unwrap();
    let bad = mesh(dir.path(), &["import", "compose.yaml"]);
    assert!(bad.code == 4 && bad.stderr.contains("compose.yaml:"), "{}", bad.stderr);
}

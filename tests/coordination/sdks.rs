//! The SDKs of other languages: their own tests, against a scripted door and against a real agent, and what they are published as.
use std::{path::Path, process::Command};

use mesh_gear::{machine::there, program::file};

use crate::rig::Rig;

/// Runs a command in a folder of the project; it must succeed.
fn run(folder: &str, rig: Option<&Rig>, words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(file(folder))
        .env_remove("NODE_TEST_CONTEXT")
        .env("PYTHONPATH", file("sdk/python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(rig) = rig {
        let [one, other] = &rig.workers()[..] else { panic!("two workers") };
        command
            .env("MESH_AGENT", format!("unix://{}", rig.socket()))
            .env("MESH_TOKEN_FILE", &one.token)
            .env("MESH_TOKEN_FILE_2", &other.token);
    }
    let end = command.output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let said = [end.stdout, end.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(end.status.success(), "{words:?} in {folder}: {}\n{said}", end.status);
    said
}

fn installed(program: &str) -> bool {
    there(Command::new(program).arg("--version").output().is_ok_and(|end| end.status.success()), program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_of_node_holds_its_promises_and_is_packed_whole() {
    if !installed("node") || !installed("npm") {
        return;
    }
    run("sdk/node", None, &["node", "--test", "test/door.test.mjs", "test/package.test.mjs"]);
    let rig = Rig::start(2).await;
    let said = run("sdk/node", Some(&rig), &["node", "--test", "test/agent.test.mjs"]);
    assert!(said.contains("# fail 0") || said.contains("ℹ fail 0"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_of_python_holds_its_promises() {
    if !installed("python3") {
        return;
    }
    run("sdk/python", None, &["python3", "-m", "unittest", "-q", "tests.test_door", "tests.test_async_door"]);
    let rig = Rig::start(2).await;
    run("sdk/python", Some(&rig), &["python3", "-m", "unittest", "-q", "tests.test_agent"]);
}

#[test]
fn that_of_python_is_built_as_it_is_published() {
    let venv = |dir: &Path| Command::new("python3").args(["-m", "venv"]).arg(dir).output().is_ok_and(|end| end.status.success());
    let dir = tempfile::tempdir().unwrap();
    if !there(venv(&dir.path().join("venv")), "python3-venv") {
        return;
    }
    let path = |name: &str| dir.path().join(name).display().to_string();
    run("sdk/python", None, &[&path("venv/bin/pip"), "install", "--quiet", "build", "hatchling"]);
    // Isolation would install hatchling once more.
    run("sdk/python", None, &[&path("venv/bin/python"), "-m", "build", "--no-isolation", "--outdir", &path("dist"), "."]);
    run("sdk/python", None, &[&path("venv/bin/pip"), "install", "--quiet", "--no-index", "--find-links", &path("dist"), "mesh-controller"]);
    let said = run("tests", None, &[&path("venv/bin/python"), "-I", "-c", "import mesh_controller; print(mesh_controller.Mesh)"]);
    assert!(said.contains("mesh_controller"), "{said}");
}

#[test]
fn that_of_rust_is_packed_with_its_readme_and_needs_nothing_of_the_controller() {
    let listed = run(".", None, &["cargo", "package", "--locked", "--allow-dirty", "--list", "--package", "mesh-controller-sdk"]);
    for name in ["Cargo.toml", "README.md", "src/lib.rs", "src/held.rs", "src/wire.rs"] {
        assert!(listed.lines().any(|line| line == name), "{name} in {listed}");
    }
    let tree = run(".", None, &["cargo", "tree", "--locked", "--offline", "--edges", "normal", "--package", "mesh-controller-sdk"]);
    let ours: Vec<_> = tree.lines().filter(|line| line.contains("mesh-") && !line.starts_with("mesh-controller-sdk")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

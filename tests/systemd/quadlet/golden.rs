//! The files of one manifest for each version of Podman, as they stand in tests/golden/quadlet; `UPDATE_GOLDEN=1` accepts what was made.
use std::{collections::BTreeMap, fs, path::Path, process::Command};

use mesh_controller::backend::quadlet::{verify, version::Podman};

const VERSIONS: [&str; 7] = ["4.3", "4.4", "4.6", "4.9", "5.0", "5.4", "5.7"];

fn mesh(dir: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mesh")).args(args).current_dir(dir).env_remove("MESH_STATE_DIR").output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn generate(out: &Path, version: &str, more: &[&str]) -> (bool, String) {
    generate_of("shop.yaml", out, version, more)
}

fn generate_of(manifest: &str, out: &Path, version: &str, more: &[&str]) -> (bool, String) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quadlet");
    let out = out.to_str().unwrap();
    let args = [
        "quadlet",
        "generate",
        "-f",
        manifest,
        "-o",
        out,
        "--podman-version",
        version,
        "--systemd-version",
        "257",
        "--bin-dir",
        "/usr/local/bin",
    ];
    mesh(&golden, &[&args[..], more].concat())
}

/// All files and links below a folder, by path.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            if let Ok(target) = fs::read_link(&path) {
                found.insert(name, format!("-> {}", target.display()));
            } else if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_files_of_each_version_are_those_of_the_golden_folder() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let (ok, said) = generate(dir.path(), version, &["--redis"]);
        assert!(ok, "{version}: {said}");
        check_golden(&format!("{version}.txt"), dir.path());
    }
}

/// Holds the files of a folder against a golden file.
fn check_golden(name: &str, dir: &Path) {
    let files = tree(dir);
    let files = files.iter().map(|(path, text)| format!("==> {path} <==\n{}", text.trim_end()));
    let mut made = files.collect::<Vec<_>>().join("\n") + "\n";
    // A new version of mesh changes every hash.
    let version_line = format!("Made by mesh {}", env!("CARGO_PKG_VERSION"));
    made = made.replace(&version_line, "Made by mesh VERSION");
    let made: String = made
        .lines()
        .map(|line| if line.starts_with("# mesh-hash: ") { "# mesh-hash: HASH\n".to_owned() } else { format!("{line}\n") })
        .collect();
    mesh_gear::golden::check(&format!("tests/golden/quadlet/{name}"), &made);
}

#[test]
fn tasks_become_services_that_end_and_timers() {
    for version in ["4.3", "4.4", "5.4"] {
        let dir = tempfile::tempdir().unwrap();
        let (ok, said) = generate_of("tasks.yaml", dir.path(), version, &["--no-router"]);
        assert!(ok, "{version}: {said}");
        check_golden(&format!("tasks-{version}.txt"), dir.path());
    }
}

#[test]
fn what_systemd_does_otherwise_with_a_task_is_told_by_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let (ok, said) = generate_of("tasks.yaml", dir.path(), "5.4", &["--no-router"]);
    let notes: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("note: default/")).collect();
    let begins = [
        "migrate",
        "api: spec.rollout.before: units know no rollout: start the unit of the task migrate yourself",
        "nightly: spec.activeDeadlineSeconds is held for each try",
        "paused: spec.suspend: there is no timer",
        "ping: spec.http: no unit is made of a request",
        "poll: spec.concurrencyPolicy Replace is not carried over",
        "poll: spec.backoffLimit: a run that failed is not tried again before the next time",
        "poll: spec.startingDeadlineSeconds: systemd knows no deadline",
    ];
    let (none, some) = begins.split_first().unwrap();
    assert!(ok && some.iter().all(|begin| notes.iter().any(|note| note.starts_with(begin))), "{said}");
    assert!(!notes.iter().any(|note| note.starts_with(none)), "{said}");
    let timers: Vec<String> = tree(dir.path()).into_keys().filter(|path| path.rsplit_once('.').unwrap().1 == "timer").collect();
    assert_eq!(timers, ["systemd/mesh-default.nightly.timer", "systemd/mesh-default.poll.timer"]);
}

#[test]
fn what_is_wrong_with_a_task_is_told_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let head = "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshTask\nmetadata:\n  name: nightly\nspec:\n";
    for (spec, expected) in [
        ("  schedule: 61 * * * *\n  template: {image: a}\n", "mesh.yaml:6: MeshTask nightly: spec.schedule: Invalid value: \"61 * * * *\""),
        (
            "  serviceRef: {name: api, command: [x]}\n",
            "mesh.yaml:6: MeshTask nightly: spec.serviceRef.name: there is no MeshService \"api\"",
        ),
        ("  template:\n    image: a\n    args: [\"a\\u0080b\"]\n", "mesh.yaml:8: MeshTask nightly: spec.template.args[0]: it contains"),
    ] {
        fs::write(dir.path().join("mesh.yaml"), format!("{head}{spec}")).unwrap();
        let (ok, said) = mesh(dir.path(), &["quadlet", "generate", "--podman-version", "5.4"]);
        assert!(!ok && said.contains(expected), "{spec}: {said}");
    }
}

#[test]
fn no_probe_is_dropped_without_a_word() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let (ok, said) = generate(dir.path(), version, &[]);
        assert!(ok && said.contains("note: default/web: spec.healthPath is not carried over"), "{version}: {said}");
        let files = tree(dir.path());
        let is_said = |word: &str| files.values().any(|text| text.contains(word));
        assert!(is_said("--check") && is_said("kill"), "{version}: the liveness probe");
        assert!(is_said("--started") != said.contains("spec.startupProbe is not carried over"), "{version}: {said}");
        let waits = is_said("Notify=healthy") || said.contains("counts as started before it passes");
        assert!(waits != said.contains("spec.startupProbe is not carried over"), "{version}: {said}");
    }
}

#[test]
fn what_is_made_has_nothing_that_verify_finds() {
    for (manifest, version) in ["shop.yaml", "tasks.yaml"].iter().flat_map(|manifest| VERSIONS.map(|version| (manifest, version))) {
        let dir = tempfile::tempdir().unwrap();
        assert!(generate_of(manifest, dir.path(), version, &["--redis"]).0);
        let files = tree(dir.path());
        let units = files.iter().filter(|(path, _)| !path.starts_with("data/"));
        let texts = units.map(|(path, text)| {
            let target = text.strip_prefix("-> ").map(|target| format!("{}/{target}", path.rsplit_once('/').unwrap().0));
            (path.clone(), target.map_or_else(|| text.clone(), |target| files[&target].clone()))
        });
        assert_eq!(verify::verify(&texts.collect(), version.parse::<Podman>().unwrap()), [], "{manifest}, {version}");
    }
}

#[test]
fn an_edited_file_is_not_overwritten_and_what_is_no_longer_wanted_goes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(generate(dir.path(), "5.4", &[]).0);
    let before = tree(dir.path());
    let (ok, said) = generate(dir.path(), "5.4", &[]);
    assert!(ok && said.contains(&format!("{} files", before.len())) && !said.contains("created"), "{said}");

    let template = before.keys().find(|path| path.contains("default.api-") && path.ends_with("@.container")).unwrap();
    let path = dir.path().join(template);
    fs::write(&path, format!("{}# mine\n", before[template])).unwrap();
    let (ok, said) = generate(dir.path(), "5.4", &[]);
    assert!(!ok && said.contains("somebody edited it") && said.contains("--force"), "{said}");
    assert!(fs::read_to_string(&path).unwrap().ends_with("# mine\n"));
    let out = dir.path().to_str().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quadlet");
    let same = ["--podman-version", "5.4", "--systemd-version", "257", "--bin-dir", "/usr/local/bin"];
    let (ok, said) = mesh(&golden, &[&["quadlet", "diff", "-f", "shop.yaml", "-o", out][..], &same].concat());
    assert!(!ok && said.contains("-# mine"), "{said}");
    assert!(generate(dir.path(), "5.4", &["--force"]).0);
    assert_eq!(tree(dir.path()), before);

    // Foreign files and users' drop-ins stay; another version's whole files take the place of links.
    let mine = path.with_file_name("mine.container");
    fs::write(&mine, "[Container]\nImage=x\n").unwrap();
    let (ok, said) = generate(dir.path(), "5.0", &[]);
    assert!(ok, "{said}");
    let after = tree(dir.path());
    assert!(!after.contains_key(template) && mine.exists(), "{after:?}");
    assert!(!after.values().any(|text| text.starts_with("->")));
}

#[test]
fn services_with_one_instance_can_share_a_pod() {
    let dir = tempfile::tempdir().unwrap();
    let (ok, said) = generate(dir.path(), "5.0", &["--pods"]);
    assert!(!ok && said.contains("a pod of instances needs Podman 5.3; this is 5.0"), "{said}");
    let (ok, said) = generate(dir.path(), "5.4", &["--pods"]);
    assert!(ok, "{said}");
    let files = tree(dir.path());
    let pod = &files["quadlet/mesh-default/mesh-default-shop.pod"];
    assert!(pod.contains("Network=mesh-default-shop.network\n") && pod.contains("NetworkAlias=web\n") && pod.contains(":8080\n"), "{pod}");
    assert!(!pod.contains("NetworkAlias=api\n"), "it has two instances: {pod}");
    let web = files.iter().find(|(path, _)| path.contains("default.web-") && path.ends_with("@.container")).unwrap().1;
    assert!(web.contains("Pod=mesh-default-shop.pod\nStartWithPod=false\n") && !web.contains("Network"), "{web}");
}

#[test]
fn what_the_api_would_refuse_is_told_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let spec = |more: &str| {
        format!(
            "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata:\n  name: api\nspec:\n  image: localhost/a:1\n{more}"
        )
    };
    for (more, expected) in [
        ("  replcas: 2\n", "mesh.yaml:7: MeshService api: unknown field \"spec.replcas\""),
        ("  replicas: -1\n", "mesh.yaml:7: MeshService api: spec.replicas:"),
        ("  workingDir: app\n", "mesh.yaml:7: MeshService api: spec.workingDir \"app\""),
        ("  env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n", "Secret \"s\""),
        ("  args: [\"a\\u0080b\"]\n", "mesh.yaml:7: MeshService api: spec.args[0]: it contains the character U+0080"),
    ] {
        fs::write(dir.path().join("mesh.yaml"), spec(more)).unwrap();
        let (ok, said) = mesh(dir.path(), &["quadlet", "generate", "--podman-version", "5.4"]);
        assert!(!ok && said.contains(expected), "{more}: {said}");
        assert!(!dir.path().join(".mesh").exists());
    }
}

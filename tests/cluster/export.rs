//! `mesh export --to kubernetes`: the text that stands in tests/golden/kubernetes (`UPDATE_GOLDEN=1` accepts what was made), the same from files and from
//! a running controller, and what a real API server makes of it.
use std::process::{Command, Stdio};

use serde_json::Value;

use super::machine::Cluster;
use mesh_gear::{controller::Controller, golden};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/kubernetes");

struct End {
    code: i32,
    stdout: String,
    stderr: String,
}

fn export(words: &[&str]) -> End {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
    command.args(["export", "--to", "kubernetes"]).args(words).current_dir(GOLDEN).stdin(Stdio::null());
    let output = command.env_remove("MESH_STATE_DIR").env_remove("MESH_NAMESPACE").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    End { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(yaml).unwrap().into_iter().filter(|value| !value.is_null()).collect()
}

#[test]
fn what_is_exported_stands_in_the_golden_file_and_what_is_lost_is_said() {
    let files = ["-f", "services.yaml", "-f", "config.yaml", "-f", "tasks.yaml"];
    let end = export(&files);
    golden::check("tests/golden/kubernetes/export.yaml", &end.stdout);
    golden::check("tests/golden/kubernetes/export.err", &end.stderr);
    assert_eq!(end.code, 7, "a process cannot be exported, the others can");
    assert!(!end.stdout.contains("mesh-controller.dev/") && !end.stdout.contains("mesh-drain"), "nothing of ours is needed");
    assert!(!end.stdout.contains("cG9zdGdyZXM6"), "a secret's value is printed if it is asked for only");
    assert!(export(&[&files[..], &["--with-secrets"]].concat()).stdout.contains("cG9zdGdyZXM6"));
}

#[test]
fn one_that_cannot_be_exported_and_words_that_mean_nothing_have_exit_codes() {
    let only = export(&["-f", "config.yaml", "process"]);
    assert_eq!((only.code, only.stdout.as_str()), (4, ""), "{}", only.stderr);
    assert!(only.stderr.contains("MeshService process: spec.image: it runs as a process of this machine"), "{}", only.stderr);
    let unknown = export(&["-f", "config.yaml", "nobody"]);
    assert_eq!(unknown.code, 1);
    assert_eq!(unknown.stderr, "mesh: there is no MeshService or MeshTask \"nobody\"; here are: process, routed, migrate, ping\n");
    let one = export(&["-f", "services.yaml", "-f", "config.yaml", "plain"]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    let kinds: Vec<Value> = objects(&one.stdout).iter().map(|object| object["kind"].clone()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Deployment", "Service"]);
    let task = export(&["-f", "services.yaml", "-f", "tasks.yaml", "nightly"]);
    let kinds: Vec<Value> = objects(&task.stdout).iter().map(|object| object["kind"].clone()).collect();
    assert_eq!(kinds.last().unwrap(), "CronJob", "{}", task.stderr);
    assert!(kinds.contains(&Value::from("ServiceAccount")), "its service's, as which it runs: {}", task.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_exported_as_what_is_in_files() {
    let controller = Controller::start().await;
    for file in ["services.yaml", "config.yaml", "tasks.yaml"] {
        controller.kubectl(&["apply", "-f", &format!("{GOLDEN}/{file}")]);
    }
    let from_files = export(&["-f", "services.yaml", "-f", "config.yaml", "-f", "tasks.yaml", "--with-secrets"]);
    let from_api = export(&["--state-dir", &controller.state_dir(), "--with-secrets"]);
    assert_eq!(from_api.stdout, from_files.stdout);
    assert_eq!(from_api.code, 7, "{}", from_api.stderr);
}

#[test]
fn a_real_api_server_takes_what_is_exported_and_gives_it_back() {
    let Some(cluster) = Cluster::control_plane() else { return };
    let end = export(&[
        "-f",
        "services.yaml",
        "-f",
        "config.yaml",
        "-f",
        "tasks.yaml",
        "-f",
        "../../../examples/shop-containers/mesh.yaml",
        "--with-secrets",
        "-n",
        "default",
    ]);
    let space = cluster.namespace("export");
    let apply = ["-n", &space.name, "apply", "--server-side", "--warnings-as-errors", "-f", "-"];
    let wanted = objects(&end.stdout);
    let said = cluster.kubectl(&apply, &end.stdout);
    assert_eq!(said.lines().count(), wanted.len(), "{said}");

    let differs = cluster.try_kubectl(&["-n", &space.name, "diff", "--server-side", "--force-conflicts", "-f", "-"], &end.stdout);
    assert!(differs.status.success(), "{}", String::from_utf8_lossy(&differs.stdout));
    let settings = wanted.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let live: Value = serde_json::from_str(&space.kubectl("get configmap settings -o json")).unwrap();
    assert_eq!(live["data"], settings["data"], "no value is read as something else");
    space.until("a pod of an exported Deployment", "get pods -l app.kubernetes.io/name=api -o name", |text| !text.is_empty());
}

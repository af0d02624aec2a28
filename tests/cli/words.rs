//! What `mesh` says is so when it says it, and what is mistyped is answered with what may be meant.
use mesh_gear::session::{Session, mesh, project};

const WORKER: &str = "{command: [sleep, '600'], type: Worker, replicas: 1}";

#[tokio::test]
async fn what_was_scaled_is_applied_again_without_a_conflict_and_a_stopped_instance_has_ended() {
    let dir = project(WORKER);
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("all services are ready").await;
    assert_eq!(mesh(dir.path(), &["scale", "one=2"]).stdout, "one scaled to 2\n");
    assert_eq!(mesh(dir.path(), &["restart", "one"]).code, 0);
    let applied = mesh(dir.path(), &["apply", "-f", "mesh.yaml"]);
    assert_eq!((applied.code, applied.stdout.as_str()), (0, "MeshService one configured\n"), "{}", applied.stderr);

    run.until("1/1").await;
    let ps = || -> Vec<serde_json::Value> { serde_json::from_str(&mesh(dir.path(), &["ps", "--json"]).stdout).unwrap() };
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let row = loop {
        match ps().as_slice() {
            [row] if row["ready"] == true => break row.clone(),
            rows => assert!(tokio::time::Instant::now() < deadline, "{rows:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let id = row["id"].as_str().unwrap();
    let stopped = mesh(dir.path(), &["stop", id]);
    assert!(stopped.code == 0 && stopped.stdout.starts_with(&format!("{id} is drained and ended")), "{}{}", stopped.stdout, stopped.stderr);
    assert!(!std::path::Path::new(&format!("/proc/{}", row["pid"])).exists(), "it said that {id} has ended");

    for (words, code, expected) in [
        (&["ps", "-n", "nosuch"][..], 1, "there is no namespace \"nosuch\"; namespaces here: default"),
        (&["logs", "one", "-n", "defalt"], 1, "there is no namespace \"defalt\"; did you mean \"default\"?"),
        (&["why", "oen"], 1, "no service and no instance is called \"oen\"; did you mean \"one\"?; services here: one"),
        (&["scale", "oen=2"], 1, "no service is called \"oen\"; did you mean \"one\"?"),
        (&["restart", "oen"], 1, "no service is called \"oen\"; did you mean \"one\"?"),
        (&["delete", "oen"], 1, "no service is called \"oen\"; did you mean \"one\"?"),
        (&["delete", "one", "-n", "nosuch"], 1, "there is no namespace \"nosuch\""),
        (&["lgos", "one"], 2, "'logs'"),
    ] {
        let end = mesh(dir.path(), words);
        assert!(end.code == code && end.stderr.contains(expected), "{words:?}: {} {}", end.code, end.stderr);
    }
    std::fs::write(dir.path().join("kind.yaml"), "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshServce\nmetadata: {name: a}\n")
        .unwrap();
    let end = mesh(dir.path(), &["apply", "-f", "kind.yaml"]);
    assert!(end.code == 4 && end.stderr.contains("kind.yaml:1: the API has no kind MeshServce"), "{}", end.stderr);
    assert!(end.stderr.contains("did you mean \"MeshService\"?"), "{}", end.stderr);
    run.interrupt().await;
}

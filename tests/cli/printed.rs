//! What reaches the reader of `mesh`: every line from the first to the last one, and an end when there is no reader.
use mesh_gear::session::{Session, mesh, mesh_to_full_disk, project};

#[tokio::test]
async fn a_run_shows_the_first_lines_and_the_last_words() {
    // More lines than are shown of one that ran before, and words that come only when it is told to end.
    let dir = project(
        "{command: [sh, -c, 'trap \"echo last words; exit 0\" TERM; for n in $(seq 100); do echo line $n; done; while :; do sleep 0.05; done'], type: Worker, replicas: 2}",
    );
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("| line 100").await;
    run.until("all services are ready").await;
    assert_eq!(run.interrupt().await, Some(130), "{}", run.output());
    for words in ["| line 1\n", "| line 100\n", "| last words\n"] {
        assert_eq!(run.output().matches(words).count(), 2, "{words:?} of both instances:\n{}", run.output());
    }
    let place = |words: &str| run.output().rfind(words).unwrap();
    assert!(place("| last words") < place("all instances have ended"));
}

#[tokio::test]
async fn a_run_whose_reader_has_gone_ends_its_instances_and_itself() {
    // It writes nothing after its first line, so nothing but the closed pipe tells.
    let dir = project("{command: [sh, -c, 'echo $$ is up; exec sleep 600'], type: Worker}");
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("is up").await;
    run.until("all services are ready").await;
    let ps: serde_json::Value = serde_json::from_str(&mesh(dir.path(), &["ps", "--json"]).stdout).unwrap();
    let pid = ps[0]["pid"].as_i64().unwrap();
    assert_eq!(run.unread().await, Some(0));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
}

#[tokio::test]
async fn a_long_line_is_whole_in_logs_and_short_in_why() {
    let dir = project("{command: [sh, -c, 'head -c 200000 /dev/zero | tr \"\\0\" x; echo; exit 3'], type: Worker}");
    let mut run = Session::start(&dir, &["run", "--all"]);
    run.until("xxx").await;
    let logs = mesh(dir.path(), &["logs", "one"]).stdout;
    assert!(logs.lines().next().unwrap().ends_with(&"x".repeat(200_000)), "{} bytes", logs.len());
    run.until("CrashLoopBackOff").await;
    let why = mesh(dir.path(), &["why", "one"]).stdout;
    assert!(why.contains("xxx…\n") && why.len() < 16_000, "{} bytes: {why:.3000}", why.len());
    let (code, said) = mesh_to_full_disk(dir.path(), &["logs", "one"]);
    assert!(code == 1 && said.contains("standard output: No space left"), "{code} {said}");
    run.interrupt().await;
}

#[test]
fn what_cannot_be_written_is_a_failure_of_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["version"][..], &["--version"], &["--help"], &["ps", "--help"], &["completion", "bash"], &["doctor"]] {
        let (code, said) = mesh_to_full_disk(dir.path(), words);
        assert!(code == 1 && said.contains("No space left"), "{words:?}: {code} {said}");
    }
}

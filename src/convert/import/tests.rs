//! Whole imports: realistic files, what is made of them, and what is said about it. The fixtures are shared with `tests/cli/import.rs`.
use std::path::{Path, PathBuf};

use super::*;
use mesh_api::MeshService;
use mesh_backend::kubernetes::render::{Surroundings, objects};

fn setting() -> Setting {
    Setting { backend: None, environment: BTreeMap::from([("DOMAIN".to_owned(), "blog.example".to_owned())]), cores: 4, pm2_env: None }
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/import").canonicalize().unwrap();
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Imports the main file of a fixture; its folder is called /project in what is made.
fn run(folder: &Path, setting: &Setting) -> Result<(Outcome, String)> {
    let main = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        !name.starts_with('.')
            && name != "common.yaml"
            && !["env", "ini"].iter().any(|end| path.extension().is_some_and(|extension| extension == *end))
    };
    let file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(main).unwrap();
    let mut inputs = read(&[file], None)?;
    for (_, input) in &mut inputs {
        input.name = input.name.rsplit('/').next().unwrap().to_owned();
    }
    let outcome = import(inputs, setting)?;
    let text = format!("{}\n=== standard error\n{}", outcome.manifest(), outcome.summary());
    let text = text.replace(&folder.display().to_string(), "/project");
    Ok((outcome, text))
}

#[test]
fn realistic_files_become_services_and_what_is_lost_is_said() {
    for folder in fixtures() {
        let (outcome, text) = run(&folder, &setting()).unwrap_or_else(|failure| panic!("{}: {}", folder.display(), failure));
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!outcome.drafts.is_empty(), "{name}");
        assert!(!text.contains("not valid yet"), "{name}: {text}");
        mesh_gear::golden::check(&format!("tests/golden/import/{name}.txt"), &text);
    }
}

#[test]
fn every_service_made_of_containers_can_be_rendered_for_a_cluster() {
    let folders = fixtures();
    for folder in folders.iter().filter(|folder| !folder.to_string_lossy().contains("voting")) {
        let setting = Setting { backend: Some(BackendKind::Kubernetes), ..setting() };
        for draft in run(folder, &setting).unwrap().0.drafts {
            let service: MeshService = serde_json::from_value(draft.object()).unwrap();
            let rendered = objects(&service, &Surroundings::default());
            assert!(rendered.is_ok(), "{} {}: {:?}", folder.display(), draft.name, rendered.err());
        }
    }
}

#[test]
fn every_key_of_the_input_is_carried_over_listed_or_named() {
    for (name, text, what) in [
        (
            "compose.yaml",
            "services: {a: {image: b, expose: [1], zzz: 1}}\nyyy: 2\n",
            ["a: zzz has no counterpart: 1", "yyy has no counterpart"],
        ),
        (
            "ecosystem.json",
            "{\"apps\": [{\"script\": \"a\", \"zzz\": 1}], \"yyy\": 2}",
            ["a: zzz has no counterpart: 1", "yyy has no counterpart"],
        ),
        (
            "d.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, annotations: {zzz: b}}\nspec: {template: {spec: {containers: [{name: a, image: b}]}}, yyy: 1}\n",
            ["metadata.annotations: zzz of the Deployment", "spec.yyy: a Deployment has no such field"],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let outcome = import(read(&[file], None).unwrap(), &setting()).unwrap();
        let summary = outcome.summary();
        assert!(what.iter().all(|what| summary.contains(what)), "{summary}");
    }
}

#[test]
fn what_builds_an_image_is_told_as_a_command_and_the_rest_of_it_one_by_one() {
    let told = |build: &str| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("compose.yaml");
        std::fs::write(&file, format!("name: shop\nservices:\n  web:\n    expose: [80]\n    build:{build}")).unwrap();
        let outcome = import(read(&[file], None).unwrap(), &setting()).unwrap();
        let lost = |note: &draft::Note| note.lost.then(|| format!("{} {}", note.line, note.text));
        outcome.notes.iter().filter_map(lost).collect::<Vec<_>>()
    };
    let command = "build: nothing is built here: podman build -t localhost/shop-web:latest";
    assert_eq!(told(" ./web\n"), [format!("5 {command} ./web")]);
    let build = [
        "",
        "      context: web",
        "      dockerfile: Dev",
        "      target: dev",
        "      args: {A: 'b c'}",
        "      cache_from: [x]",
        "      zzz: 1",
        "      x-own: 2",
        "      ssh:",
        "",
    ];
    let wanted = [
        format!("5 {command} -f web/Dev --target dev --build-arg 'A=b c' web"),
        "10 build.cache_from has no counterpart: [\"x\"]".to_owned(),
        "11 build.zzz has no counterpart: 1".to_owned(),
    ];
    assert_eq!(told(&build.join("\n")), wanted);
    assert_eq!(told("\n      args: [A=1, B]\n"), [format!("5 {command} --build-arg A=1 --build-arg B .")]);
}

#[test]
fn for_plain_processes_what_only_containers_have_is_named_and_what_has_no_command_is_left_out() {
    let folder = fixtures().into_iter().find(|folder| folder.ends_with("compose-extends")).unwrap();
    let (outcome, text) = run(&folder, &Setting { backend: Some(BackendKind::Process), ..setting() }).unwrap();
    let names: Vec<&str> = outcome.drafts.iter().map(|draft| draft.name.as_str()).collect();
    assert_eq!(names, ["web", "jobs-default", "cron"], "{text}");
    assert!(text.contains("base: it has no command: what registry.example/app:2.0.1 runs is not known here"), "{text}");
    assert!(text.contains("base, web, jobs-default, cron: image: a plain process has none"), "{text}");
}

#[test]
fn an_environment_of_pm2_is_chosen_by_name() {
    let folder = fixtures().into_iter().find(|folder| folder.ends_with("pm2-yaml")).unwrap();
    let (outcome, _) = run(&folder, &Setting { pm2_env: Some("production".to_owned()), ..setting() }).unwrap();
    assert_eq!(outcome.drafts[1].spec["env"], serde_json::json!([{"name": "NODE_ENV", "value": "production"}]));
}

#[test]
fn what_cannot_be_read_is_told_by_line_with_exit_code_4() {
    for (name, text, said) in [
        ("compose.yaml", "services:\n  a: [\n", "compose.yaml:"),
        ("compose.yaml", "services:\n  a:\n    image: x${Y\n", "compose.yaml:3: \"x${Y\": a ${ is not closed"),
        ("compose.yaml", "services:\n  a:\n    extends: b\n", "compose.yaml:3: a extends b, which is not in this file"),
        (
            "compose.yaml",
            "services:\n  a:\n    image: ${IMG:?give an image}\n",
            "compose.yaml:3: \"${IMG:?give an image}\": the variable IMG must be set: give an image",
        ),
        ("Procfile", "web: x\nweb: y\n", "Procfile:2: the process web is on line 1 already"),
        ("Procfile", "web: x\n\nnonsense\n", "Procfile:3: a line of a Procfile is NAME: COMMAND"),
        ("ecosystem.config.js", "module.exports = {\n apps: [{\n  name: 'x\n", "ecosystem.config.js:3: a ' is not closed"),
        (
            "d.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replicas: two\n",
            "d.yaml:5: spec.replicas: invalid type: string \"two\"",
        ),
        ("d.yaml", "apiVersion: v1\nkind: List\n---\nmetadata: {}\n", "d.yaml:4: this document has no kind"),
        ("notes.txt", "hello", "notes.txt:1: it does not look like a compose file"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let failure = read(&[file], None).and_then(|inputs| import(inputs, &setting())).unwrap_err();
        assert!(matches!(failure, crate::Error::Invalid(_)), "{name}");
        assert!(failure.to_string().contains(said), "{name}: {failure}");
    }
}

#[test]
fn an_override_file_is_laid_over_the_first_and_its_tags_reset_and_replace() {
    let base = "services:\n  a:\n    image: x:1\n    command: [serve, --quiet]\n    environment: {A: '1', B: '2'}\n    expose: [80]\n  b:\n    image: y\n    environment: {C: '1'}\n";
    let over = "services:\n  a:\n    image: x:2\n    environment: {B: '3', A: !reset null}\n    command: !reset null\n  b:\n    environment: !override {D: '!reset'}\n";
    let dir = tempfile::tempdir().unwrap();
    let files = [("compose.yaml", base), ("compose.override.yaml", over)].map(|(name, text)| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    });
    let outcome = import(read(&files, None).unwrap(), &setting()).unwrap();
    let specs: Vec<_> = outcome.drafts.iter().map(|draft| draft.object()["spec"].clone()).collect();
    assert_eq!(specs[0]["image"], "x:2");
    assert!(specs[0].get("args").is_none() && specs[0].get("command").is_none(), "{}", specs[0]);
    assert_eq!(specs[0]["env"].to_string(), r#"[{"name":"B","value":"3"}]"#);
    assert_eq!(specs[1]["env"].to_string(), r#"[{"name":"D","value":"!reset"}]"#);
}

#[test]
fn a_healthcheck_that_is_rounded_says_so() {
    let (specs, said) =
        made("compose.yaml", "services:\n  a:\n    image: x\n    healthcheck: {test: [CMD, ok], interval: 500ms, timeout: 2s}\n", &[]);
    assert_eq!(specs[0]["readinessProbe"]["periodSeconds"], 1);
    assert!(said.contains("healthcheck.interval \"500ms\" is no whole number of seconds: periodSeconds is 1"), "{said}");
    assert!(!said.contains("healthcheck.timeout"), "{said}");
}

/// What is made of one file, and what is said.
fn made(name: &str, text: &str, beside: &[(&str, &str)]) -> (Vec<serde_json::Value>, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in beside.iter().chain([&(name, text)]) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let outcome = import(read(&[dir.path().join(name)], None).unwrap(), &setting()).unwrap();
    (outcome.drafts.iter().map(|draft| draft.object()["spec"].clone()).collect(), outcome.summary())
}

#[test]
fn a_value_is_the_same_for_the_program_as_in_the_file() {
    use mesh_plan::environment::expand;
    let pm2 = r#"{"apps": [{"name": "a", "script": "a", "env": {"PASS": "p$$w$(X)"}}]}"#;
    for (name, text, env) in [
        ("compose.yaml", "services: {a: {image: b, expose: [1], environment: {PASS: 'p$$$$w$$(X)'}}}\n", None),
        ("compose.yaml", "services: {a: {image: b, expose: [1], env_file: [.e]}}\n", Some((".e", "PASS='p$$w$(X)'\n"))),
        ("Procfile", "a: x\n", Some((".env", "PASS=p$$w$(X)\n"))),
        ("Procfile", "a: PASS='p$$w$(X)' x\n", None),
        ("ecosystem.json", pm2, None),
    ] {
        let (specs, said) = made(name, text, env.as_slice());
        assert_eq!(specs[0]["env"][0]["name"], "PASS", "{name}: {said}");
        assert_eq!(expand(specs[0]["env"][0]["value"].as_str().unwrap(), &[]).0, "p$$w$(X)", "{name} {text}");
    }
}

#[test]
fn scalars_of_compose_are_read_as_compose_reads_them() {
    let (specs, _) = made("compose.yaml", "services: {a: {image: b, expose: [1], environment: {A: on, B: 022, C: yes, D: true}}}\n", &[]);
    let values: Vec<&str> = specs[0]["env"].as_array().unwrap().iter().map(|variable| variable["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["on", "18", "yes", "true"]);
}

#[test]
fn what_compose_says_of_a_service_is_carried_over_or_named() {
    for (service, said) in [
        ("links: [db:database]", "links: db is called database by this service: call it db here"),
        ("tmpfs: ['/run:size=64m,mode=1777']", "tmpfs: the option size=64m of /run has no counterpart"),
        ("healthcheck: {test: [CMD, x], interval: soon}", "healthcheck.interval \"soon\" is no time above zero: 30 stands in its place"),
        ("healthcheck: {test: [CMD, x], retries: 1.5}", "healthcheck.retries \"1.5\" is no whole number above zero"),
        ("ports: [{target: 80, name: web, mode: host}]", "ports: mode of 80 has no counterpart: \"host\""),
        ("ports: [{target: 80, name: web, mode: host}]", "ports: name of 80 has no counterpart: \"web\""),
        ("environment: [{A: b}, C=d]", "environment has no counterpart: [{\"A\":\"b\"}]"),
        ("cap_add: [{A: b}]", "cap_add has no counterpart: [{\"A\":\"b\"}]"),
        ("command: [x, {A: b}]", "command: {\"A\":\"b\"} is no word"),
    ] {
        let (_, summary) = made("compose.yaml", &format!("services:\n  a:\n    image: b\n    expose: [1]\n    {service}\n"), &[]);
        assert!(summary.contains(said), "{service}: {summary}");
    }
    let (_, summary) = made("compose.yaml", "services: {a: {image: b, expose: [1], privileged: false}}\n", &[]);
    assert!(!summary.contains("capabilities"), "{summary}");
}

#[test]
fn a_volume_with_a_name_of_its_own_keeps_it() {
    for volume in ["{external: true, name: shop-data}", "{name: shop-data}", "{external: {name: shop-data}}"] {
        let text = format!("services: {{a: {{image: postgres, volumes: ['data:/data']}}}}\nvolumes: {{data: {volume}}}\n");
        let (specs, summary) = made("compose.yaml", &text, &[]);
        assert_eq!(specs[0]["volumes"][0]["persistentVolumeClaim"]["claimName"], "shop-data", "{volume}: {summary}");
        assert!(summary.contains("podman volume export shop-data | podman volume import mesh-default-shop-data -"), "{volume}: {summary}");
    }
    let (_, summary) =
        made("compose.yaml", "services: {a: {image: postgres, volumes: ['d:/d']}}\nvolumes: {d: {external: true, name: pg_data}}\n", &[]);
    assert!(summary.contains("podman volume export pg_data | podman volume import mesh-default-pg-data -"), "{summary}");
}

#[test]
fn assignments_and_env_before_a_command_of_a_procfile_are_variables_and_a_port_is_told() {
    let (specs, summary) = made("Procfile", "web: exec env X=1 PORT=3000 node a.js\n", &[]);
    assert_eq!(specs[0]["command"], serde_json::json!(["node", "a.js"]));
    assert_eq!(specs[0]["env"], serde_json::json!([{"name": "X", "value": "1"}]));
    assert!(summary.contains("command: PORT=3000: each instance gets a port of its own in $PORT"), "{summary}");
    let (specs, _) = made("Procfile", "worker: env -i ./work\n", &[]);
    assert_eq!(specs[0]["command"], serde_json::json!(["env", "-i", "./work"]));
}

#[test]
fn a_backend_of_an_ingress_that_is_no_service_is_named() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {defaultBackend: {resource: {apiGroup: k.example, kind: Bucket, name: files}}}\n";
    let (_, summary) = made("d.yaml", text, &[]);
    assert!(summary.contains("Ingress i: its backend is the resource Bucket files, not a Service"), "{summary}");
}

#[test]
fn a_misspelt_field_of_a_deployment_is_said_by_its_line_and_carried_nowhere() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, creationTimestamp: null}
spec:
  replcas: 2
  template:
    spec:
      terminationGracePeriodSecnds: 10
      containers:
      - name: shop
        image: shop:1
        imagePullPolcy: Always
        ports: [{containerPort: 8080}]
        livenessProbe: {httpGet: {pth: /, port: 8080}}
        env: [{nam: A, value: b}]
        resources: {limits: {cpu: 1}, limit: {cpu: 1}}
";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("d.yaml"), text).unwrap();
    let outcome = import(read(&[dir.path().join("d.yaml")], None).unwrap(), &setting()).unwrap();
    let (made, said) = (outcome.manifest(), outcome.summary());
    for (line, field) in [
        (5, "spec.replcas"),
        (8, "spec.template.spec.terminationGracePeriodSecnds"),
        (12, "spec.template.spec.containers[0].imagePullPolcy"),
        (14, "spec.template.spec.containers[0].livenessProbe.httpGet.pth"),
        (15, "spec.template.spec.containers[0].env[0].nam"),
        (16, "spec.template.spec.containers[0].resources.limit"),
    ] {
        let wanted = format!("d.yaml:{line}: shop: {field}: a Deployment has no such field");
        assert!(said.contains(&wanted), "{wanted} in {said}");
        let name = field.rsplit('.').next().unwrap();
        assert!(!made.lines().any(|line| line.trim_start().starts_with(&format!("{name}:"))), "{name} in {made}");
    }
    assert!(!said.contains("creationTimestamp"), "{said}");
}

#[test]
fn a_grpc_probe_is_carried_over_for_clusters_and_that_it_is_for_them_only_is_said_by_its_line() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
    spec:
      containers:
      - name: shop
        image: shop:1
        ports: [{containerPort: 8080}]
        readinessProbe: {grpc: {port: 8080}, periodSeconds: 5}
        livenessProbe: {tcpSocket: {port: 8080}}
";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("d.yaml"), text).unwrap();
    let outcome = import(read(&[dir.path().join("d.yaml")], None).unwrap(), &setting()).unwrap();
    let probe = &outcome.drafts[0].spec["kubernetes"]["podTemplate"]["spec"]["containers"][0]["readinessProbe"];
    assert_eq!(*probe, serde_json::json!({"grpc": {"port": 8080}, "periodSeconds": 5}));
    let (made, said) = (outcome.manifest(), outcome.summary());
    let wanted = "readinessProbe, in a cluster only: no probe of a MeshService asks this";
    assert!(said.contains(&format!("d.yaml:11: shop: {wanted}")) && made.contains(wanted), "{said}{made}");
    assert!(!said.contains("livenessProbe"), "{said}");
}

//! What people read, for facts of a VM and of a cluster.
use serde_json::{Value, json};

use super::{
    super::{
        diagnosis::{Facts, Looked, in_order, report},
        events::Told,
    },
    *,
};
use crate::instance::{Exit, Instance, Kind};
use mesh_api::MeshService;

#[expect(clippy::unnecessary_wraps, reason = "where it goes, there may be none")]
fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn service(spec: &Value, conditions: &[(&str, &str, &str, &str)]) -> MeshService {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status, reason, message)| json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:07:00Z"}))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService",
        "metadata": {"name": "web", "namespace": "shop", "generation": 2},
        "spec": spec, "status": {"observedGeneration": 2, "conditions": conditions},
    }))
    .unwrap()
}

fn instance(kind: Kind, id: &str, state: &str) -> Instance {
    let ready = state == "Ready";
    Instance {
        kind,
        namespace: "shop".into(),
        id: id.into(),
        uid: None,
        service: "web".into(),
        is_run: false,
        state: state.into(),
        since: at("2026-01-01T00:06:00Z"),
        ready,
        restarts: 0,
        address: ready.then(|| "10.0.0.7:8080".to_owned()),
        pid: None,
        node: Some("n1".into()),
        created: None,
        trouble: None,
        started: None,
        last_exit: None,
    }
}

fn told(kind: &str, name: &str, reason: &str, message: &str, count: i32) -> Told {
    let (kind, name, reason, message) = (kind.into(), name.into(), reason.into(), message.into());
    Told { kind, name, reason, message, count, last: at("2026-01-01T00:09:30Z"), warning: true, uid: None }
}

fn facts(service: MeshService, looked: Vec<Looked>, events: Vec<Told>) -> Facts {
    Facts { namespace: "shop".into(), name: "web".into(), service: Some(service), looked, events, now: now() }
}

fn check(name: &str, facts: &Facts, only: Option<&str>, wanted: bool) {
    let report = report(facts, only);
    assert_eq!(report.wanted, wanted);
    mesh_gear::golden::check(&format!("tests/golden/cli/{name}"), &render(&report, now(), Paint::OFF));
}

fn crashing() -> Facts {
    let web = service(
        &json!({"image": "registry.example/web:2", "replicas": 3, "route": "/"}),
        &[
            ("Ready", "False", "CrashLoopBackOff", "1 of 3 instances are ready: web-7d9f-b: ended with exit code 1"),
            ("Available", "False", "MinimumReplicasUnavailable", ""),
            ("Progressing", "True", "RollingOut", ""),
        ],
    );
    let mut crashed = instance(Kind::Pod, "web-7d9f-b", "BackOff");
    crashed.restarts = 4;
    crashed.trouble = Some("CrashLoopBackOff: ended with exit code 1; it is started again within 40s".into());
    crashed.last_exit = Some(Exit {
        text: "ended with exit code 1".into(),
        since: None,
        at: at("2026-01-01T00:09:50Z"),
        message: Some("fatal:\nno database".into()),
    });
    let mut slow = instance(Kind::Pod, "web-7d9f-c", "Starting");
    slow.trouble = Some("WaitingForProbe: it runs, and its probe has not passed yet".into());
    let log = vec!["connecting to db".to_owned(), "Error: EROFS: read-only file system, open '/data/x'".to_owned()];
    let looked = vec![
        Looked { instance: crashed, log },
        Looked { instance: slow, log: Vec::new() },
        Looked { instance: instance(Kind::Pod, "web-7d9f-a", "Ready"), log: Vec::new() },
    ];
    let events = vec![
        told(
            "Pod",
            "web-7d9f-c",
            "Unhealthy",
            "Readiness probe failed: Get \"http://10.0.0.9:8080/\": dial tcp 10.0.0.9:8080: connect: connection refused",
            12,
        ),
        told("Pod", "web-7d9f-b", "BackOff", "Back-off restarting failed container app in pod web-7d9f-b", 14),
    ];
    facts(web, looked, events)
}

#[test]
fn a_service_that_crashes_says_how_with_its_last_words_and_the_remedy() {
    check("why-crash.txt", &crashing(), None, false);
}

#[test]
fn the_json_is_what_scripts_rely_on() {
    mesh_gear::golden::check("tests/golden/cli/why.json", &(serde_json::to_string_pretty(&report(&crashing(), None)).unwrap() + "\n"));
}

#[test]
fn an_instance_may_be_asked_for_alone() {
    let mut facts = crashing();
    facts.looked.truncate(1);
    facts.events.retain(|told| told.name == "web-7d9f-b");
    check("why-instance.txt", &facts, Some("web-7d9f-b"), false);
}

#[test]
fn a_healthy_one_is_told_in_a_line_with_where_it_is_reached() {
    let web = service(
        &json!({"command": ["x"], "routes": [{"hostnames": ["shop.example"], "path": "/"}]}),
        &[("Ready", "True", "AllReplicasReady", "")],
    );
    let mut one = instance(Kind::MeshInstance, "web-1f-0", "Ready");
    one.address = Some("127.0.0.1:20000".into());
    check(
        "why-well.txt",
        &facts(web, vec![Looked { instance: one, log: Vec::new() }], vec![told("MeshInstance", "web-1f-0", "Unhealthy", "old", 1)]),
        None,
        true,
    );
}

#[test]
fn what_was_never_observed_and_what_is_off_is_said() {
    let mut new = service(&json!({"command": ["x"]}), &[]);
    check("why-new.txt", &facts(new.clone(), Vec::new(), Vec::new()), None, false);
    new = service(&json!({"command": ["x"], "replicas": 0}), &[("Ready", "True", "ScaledToZero", "")]);
    check("why-zero.txt", &facts(new, Vec::new(), Vec::new()), None, true);
}

#[test]
fn each_known_fault_has_its_remedy() {
    for (trouble, remedy) in [
        ("ErrImagePull: manifest unknown", "the image web:1 cannot be had"),
        ("ImagePullBackOff: pull access denied, repository requires authentication", "the registry of web:1 asks who it is"),
        ("CreateContainerConfigError: container has runAsNonRoot and image will run as root", "set spec.securityContext.runAsUser"),
        ("CreateContainerConfigError: secret \"db\" not found", "`kubectl create secret generic db --from-literal=KEY=VALUE`"),
        (
            "CreateContainerConfigError: spec.env[0] refers to ConfigMap \"cfg\", which does not exist in this namespace",
            "`kubectl create configmap cfg ",
        ),
        ("CreateContainerConfigError: couldn't find key password in Secret shop/db", "Secret db has no key password"),
        ("Unschedulable: 0/3 nodes are available: 3 Insufficient memory.", "lower spec.resources.requests"),
        ("PortTaken: port 80 is taken by another process", "`ss -ltnp` shows by whom"),
        ("CommandNotFound: no program node", "there is no program of that name in the image"),
        ("was killed because it used more memory than its limit (OOMKilled)", "raise spec.resources.limits.memory"),
    ] {
        let mut broken = instance(Kind::Pod, "web-1", "Pending");
        broken.trouble = Some(trouble.to_owned());
        let web = service(&json!({"image": "web:1"}), &[("Ready", "False", "WaitingForReplicas", "")]);
        let remedies = report(&facts(web, vec![Looked { instance: broken, log: Vec::new() }], Vec::new()), None).remedies;
        assert!(remedies.iter().any(|told| told.contains(remedy)), "{trouble}: {remedies:?}");
    }
    let web = service(&json!({"image": "web:1"}), &[("Ready", "False", "WaitingForReplicas", "0 of 1")]);
    let quota = told("ReplicaSet", "web-7d9f", "FailedCreate", "pods \"web-7d9f-x\" is forbidden: exceeded quota: q, requested: pods=1", 9);
    let remedies = report(&facts(web, Vec::new(), vec![quota]), None).remedies;
    assert!(remedies[0].contains("kubectl describe resourcequota"), "{remedies:?}");
    let web = service(&json!({"image": "web:1"}), &[("Ready", "False", "WaitingForReplicas", "0 of 1")]);
    let past = Told { last: at("2025-12-31T23:40:00Z"), ..told("ReplicaSet", "web-7d9f", "FailedCreate", "exceeded quota: q", 9) };
    let report = report(&facts(web, Vec::new(), vec![past]), None);
    assert!(report.remedies.is_empty() && report.events.is_empty(), "what was last said half an hour ago is not what is wrong: {report:?}");
}

#[test]
fn what_is_degraded_is_told_and_is_no_failure() {
    let unhonoured = ("Degraded", "True", "NotHonoured", "spec.logs: the kubelet keeps the output of pods, by its own limits");
    let spec = json!({"image": "web:1"});
    let looked = || vec![Looked { instance: instance(Kind::Pod, "web-7d9f-a", "Ready"), log: Vec::new() }];
    let web = service(&spec, &[("Ready", "True", "AllReplicasReady", ""), unhonoured]);
    check("why-degraded.txt", &facts(web.clone(), looked(), Vec::new()), None, true);
    let mut newer = web.clone();
    newer.metadata.generation = Some(3);
    let told = report(&facts(newer, looked(), Vec::new()), None);
    assert!(!told.wanted && told.conditions.iter().any(|off| off.reason == "SpecNotObserved"), "{:?}", told.conditions);
    let told = report(&facts(service(&spec, &[("Ready", "False", "RollingOut", ""), unhonoured]), looked(), Vec::new()), None);
    assert!(!told.wanted && told.conditions.len() == 2, "{:?}", told.conditions);
    let told = report(&facts(service(&spec, &[("Ready", "True", "", ""), ("Degraded", "False", "", "")]), looked(), Vec::new()), None);
    assert!(told.wanted && told.conditions.is_empty(), "{:?}", told.conditions);
}

#[test]
fn a_program_that_ends_for_no_known_cause_has_a_remedy_too() {
    let mut crashed = instance(Kind::Pod, "web-1", "BackOff");
    crashed.last_exit = Some(Exit { text: "ended with exit code 3".into(), since: None, at: None, message: None });
    let web = service(&json!({"image": "web:1"}), &[("Ready", "False", "CrashLoopBackOff", "")]);
    let looked = |log: &[&str]| vec![Looked { instance: crashed.clone(), log: log.iter().map(|line| (*line).to_owned()).collect() }];
    let remedies = |log: &[&str]| report(&facts(web.clone(), looked(log), Vec::new()), None).remedies;
    let own = "its program ended with exit code 3, and its last lines say why if anything does: `mesh logs web-1` shows all of them; mend it, or what it is told in spec.command, spec.args and spec.env";
    assert_eq!(remedies(&["no database"]), [own]);
    assert!(!remedies(&["listen: EADDRINUSE"]).contains(&own.to_owned()));
}

#[test]
fn those_in_trouble_come_first() {
    let order = in_order(vec![instance(Kind::Pod, "a", "Ready"), instance(Kind::Pod, "b", "BackOff")], now());
    assert_eq!(order.iter().map(|instance| instance.id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

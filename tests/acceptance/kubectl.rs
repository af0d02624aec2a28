//! A stranger's session with kubectl (the one in `MESH_TEST_KUBECTL`): each verb, on a definition of his own, on built-in kinds and on ours.
//! A script is lines of a verb and what it is answered; `@name` is a file of the session, `!` begins a line that must fail.
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use mesh_gear::controller::{Controller, manifest};

struct Session(Controller);

impl Session {
    async fn start() -> Self {
        Self(Controller::start().await)
    }

    /// One with the definition of gizmos, and one gizmo.
    async fn with_gizmo() -> Self {
        let session = Self::start().await;
        session.file("crd", &definition());
        session.file("g1", &gizmo(7));
        session.file("g8", &gizmo(8));
        session.run(&[
            ("apply -f @crd", "gizmos.stranger.example created"),
            ("wait --for=condition=Established crd/gizmos.stranger.example --timeout=10s", "condition met"),
            ("! diff -f @g1", ""),
            ("apply -f @g1", "gizmo.stranger.example/g1 created"),
        ]);
        session
    }

    fn file(&self, name: &str, object: &Value) {
        self.0.write(&format!("{name}.yaml"), object);
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}.yaml", self.0.state_dir().trim_end_matches("/state"))
    }

    fn run(&self, script: &[(&str, &str)]) {
        for (line, expected) in script {
            let (fails, line) = line.strip_prefix("! ").map_or((false, *line), |line| (true, line));
            let said = self.say(line, fails);
            assert!(said.contains(expected), "kubectl {line}\n{expected:?} is not in its answer:\n{said}");
        }
    }

    fn say(&self, line: &str, fails: bool) -> String {
        let words: Vec<String> =
            line.split(' ').map(|word| word.strip_prefix('@').map_or_else(|| word.to_owned(), |file| self.path(file))).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if fails { self.0.kubectl_fails(&words) } else { self.0.kubectl(&words) }
    }

    fn revision(&self, object: &str) -> Value {
        self.0.json(&["get", object])["metadata"]["resourceVersion"].clone()
    }
}

fn definition() -> Value {
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let part = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "qty": {"type": "integer", "default": 1}, "bolts": {"type": "array", "items": {"type": "number"}}}});
    let spec = json!({"type": "object", "required": ["size"], "description": "What the gizmo should be.",
        "x-kubernetes-validations": [{"rule": "self.size != 13", "message": "thirteen is unlucky"}],
        "properties": {
            "size": {"type": "integer", "minimum": 0, "maximum": 100},
            "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
            "replicas": {"type": "integer", "default": 1},
            "port": {"x-kubernetes-int-or-string": true},
            "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": part}}});
    let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gizmos.stranger.example"}, "spec": {
        "group": "stranger.example", "scope": "Namespaced",
        "names": {"kind": "Gizmo", "plural": "gizmos", "singular": "gizmo", "shortNames": ["gz"], "categories": ["toys"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "selectableFields": [{"jsonPath": ".spec.color"}],
            "additionalPrinterColumns": [column("Size", "integer", ".spec.size"), column("Color", "string", ".spec.color"), column("Age", "date", ".metadata.creationTimestamp")],
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}}}}]}})
}

fn gizmo(size: i64) -> Value {
    json!({"apiVersion": "stranger.example/v1", "kind": "Gizmo", "metadata": {"name": "g1", "labels": {"a": "b"}},
        "spec": {"size": size, "port": "http", "matrix": [[1, 2], [3]], "parts": [{"name": "p"}, {"name": "q", "qty": 3}]}})
}

fn map(name: &str, value: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "m"}}, "data": {"a": value}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_ones_own_kind_are_written_with_each_verb() {
    let session = Session::with_gizmo().await;
    session.run(&[("diff -f @g1", ""), ("! diff -f @g8", ""), ("apply -f @g1", "g1"), ("apply -f @g8", "configured")]);
    let before = session.revision("gz/g1");
    session.run(&[("apply -f @g8", "g1"), ("apply -f @g8", "g1")]);
    assert_eq!(session.revision("gz/g1"), before, "applied again, nothing changes");
    session.run(&[
        ("! apply --server-side -f @g1", "conflict with \"kubectl-client-side-apply\""),
        ("apply --server-side --force-conflicts -f @g1", "serverside-applied"),
        ("! apply --server-side --field-manager=other -f @g8", ".spec.size"),
        ("! patch gz g1 -p {\"spec\":{\"size\":9}}", "accepted media types"),
        ("patch gz g1 --type=merge -p {\"spec\":{\"size\":9}}", "patched"),
        ("patch gz g1 --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/size\",\"value\":10}]", "patched"),
        ("! patch gz g1 --type=merge -p {\"spec\":{\"size\":13}}", "thirteen is unlucky"),
        ("! patch gz g1 --type=merge -p {\"spec\":{\"color\":\"pink\"}}", "supported values: \"red\", \"green\""),
        ("patch gz g1 --subresource=status --type=merge -p {\"status\":{\"replicas\":1,\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", "patched"),
        ("wait --for=condition=Ready gz/g1 --timeout=10s", "condition met"),
        ("wait --for=jsonpath={.spec.size}=10 gz/g1 --timeout=10s", "condition met"),
        ("scale gz g1 --replicas=3", "scaled"),
        ("! scale gz g1 --current-replicas=2 --replicas=4", "was 3"),
        ("scale gz g1 --current-replicas=3 --replicas=4", "scaled"),
        ("label gz g1 c=d", "labeled"),
        ("! label gz g1 c=e", "already has a value"),
        ("annotate gz --all note=1", "annotated"),
        ("replace -f @g8", "replaced"),
        ("replace --force -f @g1", "replaced"),
        ("delete gz --all --cascade=foreground", "deleted"),
        ("delete crd gizmos.stranger.example", "deleted"),
        ("! get gz", ""),
        ("! delete crd meshservices.mesh-controller.dev", "Forbidden"),
        ("! delete crd meshnodes.mesh-controller.dev", "to uninstall, end mesh-controller"),
        ("get msvc,mi,meshnodes,meshrouters -A", "mesh-system"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_shown_in_each_form() {
    let session = Session::with_gizmo().await;
    session.run(&[
        ("explain gizmo.spec --recursive", "bolts"),
        ("api-resources --categories=toys", "gizmos"),
        ("api-versions", "stranger.example/v1"),
        ("get gz", "NAME   SIZE   COLOR   AGE"),
        ("get gz g1 --subresource=scale", "NAME   DESIRED   AVAILABLE   AGE"),
        ("get gz,cm,ns -A", "configmap/kube-root-ca.crt"),
        ("get toys -o name", "gizmo.stranger.example/g1"),
        ("get gz --field-selector spec.color=red -l a=b,c!=d --show-labels", "a=b"),
        ("! get gz --field-selector spec.nope=1", "field label not supported"),
        ("get gz -o jsonpath={.items[0].spec.parts[*].qty}", "1 3"),
        ("get gz -o custom-columns=N:.metadata.name,M:.spec.matrix", "[[1 2] [3]]"),
        ("get gz -A --sort-by=.spec.size", "g1"),
        ("get gz g1 -o yaml --show-managed-fields", "manager: kubectl-client-side-apply"),
        ("describe gz g1", "<none>"),
        ("describe crd gizmos.stranger.example", "InitialNamesAccepted"),
        ("describe ns default", "No resource quota."),
        ("describe svc kubernetes", "Port:"),
        ("get nodes,pods -A", ""),
        ("cluster-info", "is running at"),
        ("auth whoami", "mesh-admin"),
        ("auth can-i create gizmos", "yes"),
        ("get --raw /readyz?verbose", "[+]store ok"),
        ("version", "Server Version: v1."),
        ("! create token default", "kubeconfig"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn built_in_kinds_are_made_patched_pruned_and_deleted() {
    let session = Session::start().await;
    session.file("m1", &map("m1", &json!("1")));
    session.file("m2", &map("m2", &json!("2")));
    session.file("list", &json!({"apiVersion": "v1", "kind": "List", "items": [map("l1", &json!("1")), map("l2", &json!("2"))]}));
    session.run(&[
        ("create configmap c --from-literal=x=y", "created"),
        ("create secret generic s --from-literal=x=y", "created"),
        ("create serviceaccount bot", "created"),
        ("create service clusterip cip --tcp=80:8080 --tcp=81:8081", "created"),
        ("create namespace n", "created"),
        ("create configmap c --from-literal=x=y -n n --dry-run=server -o yaml", "uid:"),
        ("create -f @list", "configmap/l2 created"),
        ("patch svc cip -p {\"spec\":{\"ports\":[{\"port\":81,\"name\":\"b\"}]}}", "patched"),
        ("get svc cip -o jsonpath={.spec.ports[*].port}/{.spec.ports[?(@.port==81)].name}", "80 81/b"),
        ("apply -f @m1 -l set=m --prune --prune-allowlist=core/v1/ConfigMap", "m1 created"),
        ("apply -f @m2 -l set=m --prune --prune-allowlist=core/v1/ConfigMap", "m1 pruned"),
        ("apply -f @m2", "unchanged"),
        ("wait --for=create cm/m2 --timeout=5s", "condition met"),
        ("patch cm c --type=merge -p {\"metadata\":{\"finalizers\":[\"test/hold\"]}}", "patched"),
        ("delete cm c --wait=false", "deleted"),
        ("! delete cm c --timeout=1s", "timed out"),
        ("patch cm c --type=merge -p {\"metadata\":{\"finalizers\":null}}", "patched"),
        ("wait --for=delete cm/c --timeout=5s", ""),
        ("delete cm -l set=m", "deleted"),
        ("! delete ns kube-system", "may not be deleted"),
        ("delete ns n", "deleted"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_in_a_file_is_said_and_nothing_else_disturbed() {
    let session = Session::with_gizmo().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = gizmo(1);
        change(&mut object);
        object
    };
    session.file("deep", &with(&|object| object["spec"]["parts"][0]["zz"] = 1.into()));
    session.file("types", &with(&|object| object["spec"]["matrix"] = json!([1])));
    session.file("long", &with(&|object| object["metadata"]["name"] = "n".repeat(300).into()));
    session.file("line", &with(&|object| object["metadata"]["name"] = "a\nb".into()));
    session.file("group", &with(&|object| object["apiVersion"] = "strange.example/v1".into()));
    session.file("twins", &with(&|object| object["spec"]["parts"] = json!([{"name": "p"}, {"name": "p"}])));
    session.file("nokind", &json!({"apiVersion": "v1", "metadata": {"name": "a"}}));
    session.file("huge", &map("huge", &"x".repeat(4 << 20).into()));
    session.file("number", &map("number", &json!(1)));
    session.run(&[
        ("! create -f @deep", "unknown field \"spec.parts[0].zz\""),
        ("! apply -f @types", "spec.matrix[0]"),
        ("! create -f @long", "metadata.name: Invalid value"),
        ("! create -f @line", "metadata.name: Invalid value"),
        ("! apply -f @group", "ensure CRDs are installed first"),
        ("! apply -f @twins", "Duplicate value"),
        ("! apply -f @nokind", "kind not set"),
        ("! create -f @huge", "limit is 3145728"),
        ("! create -f @number", "data.a"),
        ("get gz g1 -o jsonpath={.metadata.generation}", "1"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_taken_if_it_is_valid() {
    let session = Session::with_gizmo().await;
    let edit = |script: &str| {
        let program = std::env::var("MESH_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let mut command = Command::new(program);
        command.args(["edit", "gz", "g1"]).env("KUBECONFIG", format!("{}/kubeconfig", session.0.state_dir())).stdin(Stdio::null());
        let output = command.env("HOME", session.0.state_dir()).env("KUBE_EDITOR", format!("sed -i {script}")).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (taken, said) = edit("s/size:.7/size:\\ 9/");
    assert!(taken && said.contains("edited"), "{said}");
    let (taken, said) = edit("s/size:.9/size:\\ 13/");
    assert!(!taken && said.contains("is invalid"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_the_services_that_run_in_it() {
    let session = Session::start().await;
    session.file("web", &manifest("web", &json!({ "replicas": 2, "route": "/web", "healthPath": "/api/health" })));
    session.run(&[
        ("create ns doomed", "created"),
        ("apply -n doomed -f @web", "created"),
        ("wait -n doomed --for=condition=Ready msvc/web --timeout=60s", "condition met"),
        ("events -n doomed --for msvc/web", "InstancesCreated"),
        ("describe -n doomed mi", "Address:"),
        ("delete ns doomed --timeout=60s", "deleted"),
        ("get mi -A -o name", ""),
    ]);
    assert_eq!(session.0.json(&["get", "mi", "-A"])["items"], json!([]));
}

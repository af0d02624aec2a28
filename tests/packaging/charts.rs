//! What a user installs: the charts, `deploy/` and the roles. The chart is the truth: `deploy/` is rendered from it (UPDATE_GOLDEN=1 writes it), and compared object by object
//! with what helm and kustomize make; the roles are those of the list in the program, and the CRDs those that it prints.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use mesh_controller::{
    api::crds,
    cli::permissions::{AGENT, CONTROLLER, Permission, ROUTER, Scope},
};
use serde_json::{Value, json};

use mesh_gear::machine::{cache, there};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const NAMESPACE: &str = "mesh-system";
/// What the charts say that they need.
const KUBERNETES: &str = "1.31.0";
const MADE: &str = "# Made from charts/mesh-controller: UPDATE_GOLDEN=1 cargo test --test packaging\n";

/// helm or kubectl, if tests/run.sh has built them.
fn tool(name: &str) -> Option<PathBuf> {
    let file = cache().join(name);
    there(file.exists(), &format!("tests/run.sh builds {}", file.display())).then_some(file)
}

fn run(program: &Path, args: &[&str]) -> Output {
    // Nothing of the user's own configuration, and no cluster.
    let mut command = Command::new(program);
    command.args(args).current_dir(TOP).env("KUBECONFIG", "/dev/null").stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// What it prints; it must succeed.
fn said(program: &Path, args: &[&str]) -> String {
    let output = run(program, args);
    assert!(output.status.success(), "{} {args:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn template(helm: &Path, chart: &str, more: &[&str]) -> Vec<Value> {
    let args = [&["template", "mesh", chart, "--namespace", NAMESPACE, "--kube-version", KUBERNETES][..], more].concat();
    documents(&said(helm, &args))
}

fn documents(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    all.into_iter().filter(|document| !document.is_null()).collect()
}

/// Objects by kind and name: an order is no difference.
fn by_name(objects: &[Value]) -> BTreeMap<String, Value> {
    let all: BTreeMap<String, Value> = objects.iter().map(|object| (name(object), object.clone())).collect();
    assert_eq!(all.len(), objects.len(), "two objects of one name");
    all
}

fn name(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

fn same(what: &str, left: &[Value], right: &[Value]) {
    let (left, right) = (by_name(left), by_name(right));
    let names = |all: &BTreeMap<String, Value>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right), "{what}");
    // Whole objects are too long to print.
    for (name, object) in &left {
        let (left, right) = (whole(object), whole(&right[name]));
        assert!(left == right, "{what}: {name} differs");
    }
}

/// The same with `1.0` as `1`: YAML has one kind of number.
fn whole(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |number| json!(number)),
        Value::Array(all) => all.iter().map(whole).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), whole(value))).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// The chart's objects as plain manifests: without its test, and without labels that are about Helm.
fn plain(objects: Vec<Value>) -> Vec<Value> {
    let mut objects: Vec<Value> =
        objects.into_iter().filter(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_null()).collect();
    for object in &mut objects {
        for place in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(place).and_then(Value::as_object_mut) {
                labels.remove("helm.sh/chart");
                labels.remove("app.kubernetes.io/managed-by");
            }
        }
    }
    objects
}

fn namespace() -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE, "labels": {
        "app.kubernetes.io/name": "mesh-controller", "pod-security.kubernetes.io/enforce": "restricted" } } })
}

fn definitions() -> Vec<Value> {
    crds::all().into_iter().map(|crd| serde_json::to_value(crd).unwrap()).collect()
}

/// In which file of `deploy/` an object of the chart stands.
fn place(object: &Value) -> &'static str {
    let is_of = |component: &str| object["metadata"]["name"].as_str().unwrap().contains(component);
    match object["kind"].as_str().unwrap() {
        "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => "rbac/rbac.yaml",
        _ if is_of("router") => "router/router.yaml",
        _ if is_of("agent") => "agent/agent.yaml",
        _ => "controller/controller.yaml",
    }
}

/// `deploy/` as it ought to be: a file's path and text.
fn deploy(chart: &[Value]) -> BTreeMap<String, String> {
    let yaml = |objects: &[Value]| objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect::<Vec<_>>().join("---\n");
    let mut files = BTreeMap::from([("default/namespace.yaml".to_owned(), yaml(&[namespace()]))]);
    for crd in crds::all() {
        files.insert(format!("crds/{}", mesh_controller::cli::crd::file_name(&crd)), mesh_controller::cli::crd::yaml(&crd).unwrap());
    }
    for file in ["rbac/rbac.yaml", "controller/controller.yaml", "router/router.yaml", "agent/agent.yaml"] {
        let objects: Vec<Value> = chart.iter().filter(|object| place(object) == file).cloned().collect();
        files.insert(file.to_owned(), yaml(&objects));
    }
    let all = [vec![namespace()], definitions(), chart.to_vec()].concat();
    files.insert("install.yaml".to_owned(), yaml(&all));
    files.into_iter().map(|(path, text)| (path, format!("{MADE}{text}"))).collect()
}

#[test]
fn deploy_is_what_the_chart_renders_and_kustomize_makes_the_same_of_it() {
    let (Some(helm), Some(kubectl)) = (tool("helm/helm"), tool("kube/kubectl")) else { return };
    let chart = plain(template(&helm, "charts/mesh-controller", &[]));
    for (path, wanted) in deploy(&chart) {
        mesh_gear::golden::check(&format!("deploy/{path}"), &wanted);
    }
    let wanted = [vec![namespace()], definitions(), chart].concat();
    same("deploy/default", &documents(&said(&kubectl, &["kustomize", "deploy/default"])), &wanted);
    let plain_file = std::fs::read_to_string(Path::new(TOP).join("deploy/install.yaml")).unwrap();
    same("deploy/install.yaml", &documents(&plain_file), &wanted);
    // `kubectl apply -f deploy/` takes the files at the top: there is one.
    let top = std::fs::read_dir(Path::new(TOP).join("deploy")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let manifests: Vec<String> = top.filter(|name| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))).collect();
    assert_eq!(manifests, ["install.yaml"]);
}

#[test]
fn the_overlay_for_one_node_has_one_of_each_and_a_port_of_the_node() {
    let Some(kubectl) = tool("kube/kubectl") else { return };
    let objects = by_name(&documents(&said(&kubectl, &["kustomize", "deploy/overlays/single-node"])));
    assert_eq!(objects["Deployment/mesh-controller"]["spec"]["replicas"], 1);
    assert_eq!(objects["Deployment/mesh-router"]["spec"]["replicas"], 1);
    assert_eq!(objects["Deployment/mesh-agent"]["spec"]["replicas"], 1);
    assert_eq!(objects["Service/mesh-router"]["spec"]["type"], "NodePort");
    assert_eq!(objects["Service/mesh-router-drain"]["spec"]["type"], "ClusterIP");
    assert!(objects.keys().all(|name| !name.starts_with("PodDisruptionBudget/")));
}

#[test]
fn the_crd_chart_holds_the_programs_definitions_and_keeps_them() {
    let files = Path::new(TOP).join("charts/mesh-controller-crds/files");
    let mut names = BTreeSet::new();
    for crd in crds::all() {
        let (name, made) = (mesh_controller::cli::crd::file_name(&crd), mesh_controller::cli::crd::yaml(&crd).unwrap());
        mesh_gear::golden::check(&format!("charts/mesh-controller-crds/files/{name}"), &made);
        names.insert(name);
    }
    let there: BTreeSet<String> =
        std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, names);

    let Some(helm) = tool("helm/helm") else { return };
    same("crds", &template(&helm, "charts/mesh-controller-crds", &["--set", "keep=false"]), &definitions());
    let kept = template(&helm, "charts/mesh-controller-crds", &[]);
    assert!(kept.iter().all(|crd| crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"));
}

/// Group, resource, names and verbs.
type Rule = (String, String, Vec<String>, BTreeSet<String>);

/// The rules of a Role or ClusterRole, one permission each.
fn rules(object: &Value) -> BTreeSet<Rule> {
    let words = |value: &Value| value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = object["rules"].as_array().unwrap();
    let rules: BTreeSet<_> = all
        .iter()
        .map(|rule| {
            let (groups, resources) = (words(&rule["apiGroups"]), words(&rule["resources"]));
            assert_eq!((groups.len(), resources.len()), (1, 1), "one resource a rule: {rule}");
            (groups[0].clone(), resources[0].clone(), words(&rule["resourceNames"]), words(&rule["verbs"]).into_iter().collect())
        })
        .collect();
    assert_eq!(rules.len(), all.len(), "a rule stands there twice: {object}");
    rules
}

fn wanted(list: &[Permission], scope: Scope) -> BTreeSet<Rule> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    list.iter()
        .filter(|permission| permission.scope == scope)
        .map(|of| (of.group.to_owned(), of.resource.to_owned(), owned(of.names), owned(of.verbs).into_iter().collect()))
        .collect()
}

#[test]
fn the_roles_grant_what_the_programs_list_says_and_no_more() {
    let Some(helm) = tool("helm/helm") else { return };
    let objects = by_name(&template(&helm, "charts/mesh-controller", &[]));
    for (name, list) in [("mesh-controller", CONTROLLER), ("mesh-router", ROUTER), ("mesh-agent", AGENT)] {
        for (kind, scope) in [("ClusterRole", Scope::Cluster), ("Role", Scope::System)] {
            let wanted = wanted(list, scope);
            let Some(role) = objects.get(&format!("{kind}/{name}")).filter(|_| !wanted.is_empty()) else {
                assert!(wanted.is_empty() && !objects.contains_key(&format!("{kind}Binding/{name}")), "{kind} {name}");
                continue;
            };
            assert_eq!(rules(role), wanted, "{kind} {name}");
            let binding = &objects[&format!("{kind}Binding/{name}")];
            assert_eq!(binding["roleRef"], json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name }));
            assert_eq!(binding["subjects"], json!([{ "kind": "ServiceAccount", "name": name, "namespace": NAMESPACE }]));
        }
    }
    assert!(!serde_json::to_string(&objects).unwrap().contains("\"*\""), "a wildcard");
}

#[test]
fn all_pods_keep_the_restricted_standard_and_have_probes_and_limits() {
    let Some(helm) = tool("helm/helm") else { return };
    for object in template(&helm, "charts/mesh-controller", &[]) {
        let spec = match object["kind"].as_str().unwrap() {
            "Deployment" => &object["spec"]["template"]["spec"],
            "Pod" => &object["spec"],
            _ => continue,
        };
        let what = name(&object);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{what}");
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{what}");
        for container in spec["containers"].as_array().unwrap() {
            let security =
                json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
            assert_eq!(container["securityContext"], security, "{what}");
            if object["kind"] == "Deployment" {
                assert!(["startupProbe", "livenessProbe", "readinessProbe"].iter().all(|probe| container[probe].is_object()), "{what}");
                assert!(container["resources"]["limits"]["memory"].is_string() && container["resources"]["requests"].is_object(), "{what}");
            }
        }
    }
}

#[test]
fn the_charts_are_clean_and_their_values_do_what_they_say() {
    let Some(helm) = tool("helm/helm") else { return };
    for chart in ["charts/mesh-controller", "charts/mesh-controller-crds"] {
        said(&helm, &["lint", "--strict", chart]);
    }
    let with = |more: &[&str]| by_name(&template(&helm, "charts/mesh-controller", more));
    let given = with(&["--set", "rbac.create=false,controller.serviceAccount.create=false,controller.serviceAccount.name=mine"]);
    assert!(given.keys().all(|name| !name.contains("Role") && name != "ServiceAccount/mesh-controller"), "{:?}", given.keys());
    assert_eq!(given["Deployment/mesh-controller"]["spec"]["template"]["spec"]["serviceAccountName"], "mine");

    let alone = with(&["--set", "router.enabled=false,agent.enabled=false,fullnameOverride=other,controller.replicas=1"]);
    let names: Vec<&String> = alone.keys().collect();
    let wanted = ["ClusterRole", "ClusterRoleBinding", "Deployment", "Pod", "Role", "RoleBinding", "Service", "ServiceAccount"];
    assert_eq!(
        names,
        wanted.map(|kind| format!("{kind}/other-{}", if kind == "Pod" { "test" } else { "controller" })).iter().collect::<Vec<_>>()
    );
    let args = serde_json::to_string(&alone["Deployment/other-controller"]["spec"]["template"]["spec"]["containers"][0]["args"]).unwrap();
    assert!(!args.contains("--drain-image"), "no routers, no hook: {args}");
    assert!(!args.contains("--agent-url") && !args.contains("--router-url"), "no agents, no door: {args}");
    let args = |objects: &BTreeMap<String, Value>| {
        objects["Deployment/mesh-controller"]["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
    };
    let other_port = args(&with(&["--set", "router.service.port=8000"]));
    assert!(
        other_port.contains("--agent-url=http://mesh-agent.mesh-system\"") && other_port.contains("mesh-router.mesh-system:8000\""),
        "{other_port}"
    );
    assert!(!args(&with(&["--set", "router.enabled=false"])).contains("--router-url"));

    let digest = format!("sha256:{}", "a".repeat(64));
    let many = with(&[
        "--set",
        &format!(
            "image.repository=r.example/m,image.digest={digest},networkPolicy.enabled=true,router.service.type=LoadBalancer,router.preStopSeconds=0,imagePullSecrets={{pull}},router.cookieKeys={{a,b}},commonLabels.team=web,router.podLabels.color=blue"
        ),
    ]);
    let pod = &many["Deployment/mesh-router"]["spec"]["template"];
    assert_eq!(pod["spec"]["containers"][0]["image"], format!("r.example/m@{digest}"));
    assert_eq!(
        (&pod["spec"]["containers"][0]["lifecycle"], &pod["spec"]["imagePullSecrets"]),
        (&Value::Null, &json!([{ "name": "pull" }]))
    );
    assert_eq!(
        (&pod["metadata"]["labels"]["color"], &many["Role/mesh-router"]["metadata"]["labels"]["team"]),
        (&json!("blue"), &json!("web"))
    );
    assert_eq!(many["Service/mesh-router"]["spec"]["type"], "LoadBalancer");
    assert!(
        many.contains_key("NetworkPolicy/mesh-router")
            && many.contains_key("NetworkPolicy/mesh-agent")
            && many.contains_key("NetworkPolicy/mesh-controller")
    );
    let keys = many["Role/mesh-router"]["rules"].as_array().unwrap().iter().find(|rule| rule["resources"] == json!(["secrets"])).unwrap();
    assert_eq!(keys["resourceNames"], json!(["a", "b"]));
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused_by_its_name() {
    let Some(helm) = tool("helm/helm") else { return };
    for (value, words) in [
        ("replicas=3", &["replicas"][..]),
        ("controller.replica=3", &["controller", "replica"]),
        ("controller.replicas=many", &["controller", "replicas", "integer"]),
        ("image.pullPolicy=Sometimes", &["image", "pullPolicy"]),
        ("image.digest=abc", &["image", "digest"]),
        ("router.service.type=ExternalName", &["router", "service", "type"]),
        ("router.service.port=0", &["router", "service", "port"]),
        ("agent.url=http://x", &["agent", "url"]),
        ("fullnameOverride=Big", &["fullnameOverride"]),
    ] {
        let output = run(&helm, &["template", "mesh", "charts/mesh-controller", "--kube-version", KUBERNETES, "--set", value]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && words.iter().all(|word| text.contains(word)), "{value}: {text}");
    }
    let old = run(&helm, &["template", "mesh", "charts/mesh-controller", "--kube-version", "1.30.9"]);
    assert!(!old.status.success() && String::from_utf8_lossy(&old.stderr).contains("1.31.0"), "{}", String::from_utf8_lossy(&old.stderr));
}

/// Each value has a place in the schema, and each place of the schema a value.
#[test]
fn the_schema_and_the_values_name_the_same_things() {
    fn compare(path: &str, schema: &Value, values: &Value) {
        let Some(properties) = schema["properties"].as_object().filter(|_| schema["additionalProperties"] == false) else { return };
        for (key, inner) in properties.iter().filter(|(key, _)| !matches!(key.as_str(), "global" | "claims")) {
            assert!(values.get(key).is_some(), "values.yaml has no {path}{key}");
            compare(&format!("{path}{key}."), inner, &values[key]);
        }
        for key in values.as_object().unwrap().keys() {
            assert!(properties.contains_key(key), "values.schema.json has no {path}{key}");
        }
    }
    for chart in ["mesh-controller", "mesh-controller-crds"] {
        let read = |file: &str| std::fs::read_to_string(Path::new(TOP).join("charts").join(chart).join(file)).unwrap();
        let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
        let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
        compare("", &schema, &values);
    }
}

#[test]
fn the_charts_and_the_recipe_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for chart in ["charts/mesh-controller", "charts/mesh-controller-crds"] {
        let text = std::fs::read_to_string(Path::new(TOP).join(chart).join("Chart.yaml")).unwrap();
        let chart: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!((chart["version"].as_str(), chart["appVersion"].as_str()), (Some(version), Some(version)));
    }
    let recipe = std::fs::read_to_string(Path::new(TOP).join("deploy/Containerfile")).unwrap();
    for line in ["USER 65532:65532", "/usr/local/bin/mesh-controller", "+crt-static"] {
        assert!(recipe.contains(line), "deploy/Containerfile: {line}");
    }
}

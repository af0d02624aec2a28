//! The pod of a Deployment: the service's own container, and the rest as `spec.kubernetes.podTemplate`.
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{container, routing::Target};
use crate::import::{
    draft::{Book, Draft, inner},
    fields::Fields,
};

/// Values that a cluster fills in, and that pods have without being told.
const DEFAULTS: [(&str, &str); 5] = [
    ("restartPolicy", "\"Always\""),
    ("dnsPolicy", "\"ClusterFirst\""),
    ("schedulerName", "\"default-scheduler\""),
    ("automountServiceAccountToken", "false"),
    ("enableServiceLinks", "false"),
];

/// Takes the pod's spec. `wanted` is the port that a Service leads to.
pub(super) fn pod(mut spec: Fields, name: &str, wanted: Option<&Target>, draft: &mut Draft, book: &mut Book<'_>) {
    let mut containers = spec.list("containers");
    let main = containers.iter().position(|(_, container)| container.get("name").and_then(Value::as_str) == Some(name));
    let leads = |container: &Value| wanted.is_some_and(|wanted| container::port_of(container, wanted).is_some());
    let main = main.or_else(|| containers.iter().position(|(_, container)| leads(container))).unwrap_or(0);
    if containers.is_empty() {
        book.lost(&spec.path("containers"), "the Deployment has no containers");
        return;
    }
    let (path, app) = containers.remove(main);
    if !containers.is_empty() {
        let others: Vec<&str> = containers.iter().filter_map(|(_, container)| container.get("name").and_then(Value::as_str)).collect();
        book.said(
            &path,
            format!(
                "{} is the service's own container; beside it, in a cluster only: {}",
                app.get("name").unwrap_or(&Value::Null),
                others.join(", ")
            ),
        );
    }
    if let Some(seconds) = spec.number("terminationGracePeriodSeconds") {
        draft.set("terminationGracePeriodSeconds", seconds);
    }
    for (_, secret) in spec.list("imagePullSecrets") {
        draft.push("imagePullSecrets", secret);
    }
    let mut sidecars: Vec<Value> = containers.into_iter().map(|(_, container)| container).collect();
    let inits: Vec<Value> = spec.list("initContainers").into_iter().map(|(_, container)| container).collect();
    let shared: BTreeSet<String> = sidecars.iter().chain(&inits).flat_map(mounted).collect();
    let mut fields = Fields::new(path, app);
    let mut extra = container::container(&mut fields, wanted, draft, book);
    volumes(&mut spec, &mut fields, &shared, &mut extra, draft);
    security(&mut spec, draft);
    extra.extend(container::rest(fields, book));
    if !extra.is_empty() {
        extra.insert("name".to_owned(), "app".into());
        sidecars.insert(0, extra.into());
    }
    let template = inner(draft.pod_template(), "spec");
    for (key, list) in [("containers", sidecars), ("initContainers", inits)] {
        if !list.is_empty() {
            template.insert(key.to_owned(), list.into());
        }
    }
    rest(spec, template, book);
    tidy(draft, book);
}

/// The names of the volumes that a container mounts.
fn mounted(container: &Value) -> Vec<String> {
    let mounts = container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten();
    mounts.filter_map(|mount| Some(mount.get("name")?.as_str()?.to_owned())).collect()
}

/// A volume that only the service's container mounts, in a way that a MeshService can say, is the service's; others are the template's.
fn volumes(spec: &mut Fields, container: &mut Fields, shared: &BTreeSet<String>, patch: &mut Map<String, Value>, draft: &mut Draft) {
    let mounts: Vec<Value> = container.list("volumeMounts").into_iter().map(|(_, mount)| mount).collect();
    let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let simple = |mount: &Value| {
        let known = |key: &String| matches!(key.as_str(), "name" | "mountPath" | "readOnly");
        mount.as_object().is_some_and(|map| map.keys().all(known))
    };
    let mut left = Vec::new();
    let (mut own, mut of_template) = (BTreeSet::new(), Vec::new());
    for (_, volume) in spec.list("volumes") {
        let id = name(&volume);
        let mut of_it = mounts.iter().filter(|mount| name(mount) == id).peekable();
        if of_it.peek().is_some() && of_it.all(simple) && !shared.contains(&id) && is_known(&volume) {
            draft.push("volumes", volume);
            own.insert(id);
        } else {
            of_template.push(volume);
        }
    }
    for mount in mounts {
        if own.contains(&name(&mount)) { draft.push("volumeMounts", mount) } else { left.push(mount) }
    }
    if !left.is_empty() {
        patch.insert("volumeMounts".to_owned(), left.into());
    }
    if !of_template.is_empty() {
        inner(draft.pod_template(), "spec").insert("volumes".to_owned(), of_template.into());
    }
}

/// Whether a MeshService's volume can say all of it.
fn is_known(volume: &Value) -> bool {
    let only = |source: &str, keys: &[&str]| {
        volume.get(source).and_then(Value::as_object).is_some_and(|map| map.keys().all(|key| keys.contains(&key.as_str())))
    };
    let items = |source: &str| {
        let items = volume.get(source).and_then(|source| source.get("items")).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.get("path")?.as_str()).all(|path| !path.contains('/'))
    };
    let plain_empty = only("emptyDir", &[]) || volume.pointer("/emptyDir/medium") == Some(&json!("Memory"));
    let host = volume
        .pointer("/hostPath/type")
        .and_then(Value::as_str)
        .is_none_or(|type_| matches!(type_, "Directory" | "DirectoryOrCreate" | "File"));
    (only("configMap", &["name", "items", "optional", "defaultMode"]) && items("configMap"))
        || (only("secret", &["secretName", "items", "optional", "defaultMode"]) && items("secret"))
        || (only("emptyDir", &["medium", "sizeLimit"]) && plain_empty)
        || (only("hostPath", &["path", "type"]) && host)
        || only("persistentVolumeClaim", &["claimName", "readOnly"])
}

/// The pod's own security context: user and group are the service's, the rest is the template's.
fn security(spec: &mut Fields, draft: &mut Draft) {
    let Some(mut security) = spec.inner("securityContext") else { return };
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = security.number(field) {
            draft.inner("securityContext").entry(field.to_owned()).or_insert_with(|| id.into());
        }
    }
    let rest = security.rest();
    if !rest.is_empty() {
        inner(draft.pod_template(), "spec").insert("securityContext".to_owned(), rest.into());
    }
}

fn rest(mut spec: Fields, template: &mut Map<String, Value>, book: &mut Book<'_>) {
    let account = spec.text("serviceAccountName").or_else(|| spec.text("serviceAccount"));
    spec.take("serviceAccount");
    if let Some(account) = account.filter(|account| account != "default") {
        template.insert("serviceAccountName".to_owned(), account.into());
        // It is mounted by default elsewhere, and not here.
        template.insert("automountServiceAccountToken".to_owned(), spec.flag("automountServiceAccountToken").unwrap_or(true).into());
    }
    for (_, key, value) in spec.left() {
        let text = value.to_string();
        if DEFAULTS.iter().any(|(field, default)| *field == key && text == *default) {
            book.moot(format!("spec.template.spec.{key} (as it is anyway)"));
        } else if !value.is_null() && value != json!({}) && value != json!([]) {
            template.insert(key, value);
        }
    }
}

/// Empty mappings say nothing; of what is there people know that only a cluster heeds it.
fn tidy(draft: &mut Draft, book: &mut Book<'_>) {
    let template = draft.pod_template();
    template.retain(|_, value| *value != json!({}));
    let fields: Vec<String> = template.get("spec").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect();
    if template.is_empty() {
        draft.inner("kubernetes").remove("podTemplate");
    }
    if draft.inner("kubernetes").is_empty() {
        draft.spec.remove("kubernetes");
    }
    if !fields.is_empty() {
        book.said("spec.template", format!("in spec.kubernetes.podTemplate, which only a cluster heeds: {}", fields.join(", ")));
    }
}

//! The paths of a document: every verb of every resource, with the parameters that it takes.
use serde_json::{Map, Value, json};

use super::{OpenApiResource, component::References};

const META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1";
const PATCH_TYPES: [&str; 3] = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// What an operation does; Kubernetes' names in `x-kubernetes-action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    List,
    Post,
    DeleteCollection,
    Get,
    Put,
    Patch,
    Delete,
}

impl Action {
    /// The method, and the action's name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::List => ("get", "list"),
            Self::Post => ("post", "post"),
            Self::DeleteCollection => ("delete", "deletecollection"),
            Self::Get => ("get", "get"),
            Self::Put => ("put", "put"),
            Self::Patch => ("patch", "patch"),
            Self::Delete => ("delete", "delete"),
        }
    }

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::List => &[
                "allowWatchBookmarks",
                "continue",
                "fieldSelector",
                "labelSelector",
                "limit",
                "resourceVersion",
                "resourceVersionMatch",
                "sendInitialEvents",
                "timeoutSeconds",
                "watch",
            ],
            Self::Post | Self::Put => &["dryRun", "fieldManager", "fieldValidation"],
            Self::Patch => &["dryRun", "fieldManager", "fieldValidation", "force"],
            Self::Get => &["resourceVersion"],
            Self::Delete => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
            Self::DeleteCollection => {
                &["continue", "dryRun", "fieldSelector", "gracePeriodSeconds", "labelSelector", "limit", "propagationPolicy"]
            }
        }
    }
}

/// The kind that operations of a resource act on.
struct Target<'a> {
    kind: Value,
    name: &'a str,
    group: &'a str,
}

/// The paths of one resource.
pub(super) fn paths(group: &str, version: &str, resource: &OpenApiResource, references: &References) -> Map<String, Value> {
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let all = format!("{root}/{}", resource.plural);
    let collection = if resource.namespaced { format!("{root}/namespaces/{{namespace}}/{}", resource.plural) } else { all.clone() };
    let target = Target { kind: json!({"group": group, "version": version, "kind": resource.kind}), name: &resource.kind, group };
    let object = &references.object;
    let item = |actions: &[Action], target: &Target<'_>, body: &str, names: &[&str]| {
        path_item(actions, target, body, &references.list, resource, names)
    };

    let mut paths = Map::new();
    paths.insert(collection.clone(), item(&[Action::List, Action::Post, Action::DeleteCollection], &target, object, &[]));
    let every = [Action::Get, Action::Put, Action::Patch, Action::Delete];
    paths.insert(format!("{collection}/{{name}}"), item(&every, &target, object, &["name"]));
    if resource.namespaced {
        paths.insert(
            all,
            path_item(&[Action::List], &target, object, &references.list, &OpenApiResource { namespaced: false, ..resource.clone() }, &[]),
        );
    }
    let part = [Action::Get, Action::Put, Action::Patch];
    if resource.has_status {
        paths.insert(format!("{collection}/{{name}}/status"), item(&part, &target, object, &["name"]));
    }
    if resource.has_scale {
        let scale = Target { kind: json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}), ..target };
        paths.insert(format!("{collection}/{{name}}/scale"), item(&part, &scale, &references.scale, &["name"]));
    }
    paths
}

fn path_item(actions: &[Action], target: &Target<'_>, body: &str, list: &str, resource: &OpenApiResource, names: &[&str]) -> Value {
    let mut item: Map<String, Value> =
        actions.iter().map(|action| (action.names().0.to_owned(), operation(*action, target, body, list))).collect();
    let namespace = resource.namespaced.then_some("namespace");
    let in_path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    item.insert("parameters".to_owned(), names.iter().copied().chain(namespace).map(in_path).collect());
    Value::Object(item)
}

fn operation(action: Action, target: &Target<'_>, body: &str, list: &str) -> Value {
    let (_, name) = action.names();
    let media = |schema: &str| json!({"application/json": {"schema": {"$ref": schema}}});
    let answer = match action {
        Action::List => media(list),
        Action::Delete | Action::DeleteCollection => media(&format!("{META}.Status")),
        Action::Post | Action::Get | Action::Put | Action::Patch => media(body),
    };
    let mut operation = json!({
        "description": format!("{name} {}", target.name),
        "parameters": action.parameters().iter().map(|name| parameter(name)).collect::<Value>(),
        "responses": {"200": {"description": "OK", "content": answer}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": name,
        "x-kubernetes-group-version-kind": target.kind,
    });
    let request = match action {
        Action::Post | Action::Put => Some(media(body)),
        Action::Patch => Some(patch_bodies(target.group)),
        Action::Delete | Action::DeleteCollection => Some(media(&format!("{META}.DeleteOptions"))),
        Action::List | Action::Get => None,
    };
    if let (Some(content), Value::Object(operation)) = (request, &mut operation) {
        operation.insert("requestBody".to_owned(), json!({"content": content}));
    }
    operation
}

/// Kinds with Go types, those whose group is Kubernetes' own, take strategic merge patches as well.
fn patch_bodies(group: &str) -> Value {
    let built_in = !group.contains('.') || group.ends_with(".k8s.io");
    let types = PATCH_TYPES.into_iter().chain(built_in.then_some("application/strategic-merge-patch+json"));
    let schema = json!({"schema": {"$ref": format!("{META}.Patch")}});
    types.map(|name| (name.to_owned(), schema.clone())).collect::<Map<_, _>>().into()
}

fn parameter(name: &str) -> Value {
    let (kind, description) = match name {
        "allowWatchBookmarks" => ("boolean", "Whether a watch may send events of type BOOKMARK."),
        "continue" => ("string", "Where the next page of a list begins, as the page before said."),
        "dryRun" => ("string", "With All, everything is done but the storing."),
        "fieldManager" => ("string", "Who makes the change, for metadata.managedFields. Required for an apply patch."),
        "fieldSelector" => ("string", "Only objects with these field values."),
        "fieldValidation" => ("string", "What unknown and duplicate fields lead to: Ignore, Warn or Strict."),
        "force" => ("boolean", "Whether an apply takes over fields that others own."),
        "gracePeriodSeconds" => ("integer", "How long the deletion may take."),
        "labelSelector" => ("string", "Only objects with these labels."),
        "limit" => ("integer", "How many objects a page holds at most."),
        "orphanDependents" => ("boolean", "Deprecated: see propagationPolicy."),
        "propagationPolicy" => ("string", "What becomes of dependents: Orphan, Background or Foreground."),
        "resourceVersion" => ("string", "The revision to read at or to watch from."),
        "resourceVersionMatch" => ("string", "How resourceVersion is meant: Exact or NotOlderThan."),
        "sendInitialEvents" => ("boolean", "Whether a watch begins with what there is."),
        "timeoutSeconds" => ("integer", "When a watch ends at the latest."),
        "watch" => ("boolean", "Whether to go on with the changes instead of ending with the list."),
        _ => ("string", ""),
    };
    json!({"name": name, "in": "query", "description": description, "schema": {"type": kind, "uniqueItems": true}})
}

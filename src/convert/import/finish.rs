//! The last step of every import: what the backend has no use for is taken out, names are made unique, and what was made is checked as an API would.
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::draft::{Draft, Note, Outcome};
use crate::{Error, Result};
use mesh_api::{MeshService, node::BackendKind};
use mesh_apiserver::schema::Schema;
use mesh_backend::kubernetes::render::{Surroundings, objects};
use mesh_plan::validate::validate;

/// What only a container has.
const CONTAINERS: [&str; 8] =
    ["image", "imagePullPolicy", "imagePullSecrets", "resources", "securityContext", "volumes", "volumeMounts", "podman"];

/// Finishes the drafts from `first` on.
pub(super) fn finish(outcome: &mut Outcome, first: usize, backend: BackendKind) -> Result {
    let schema = schema()?;
    let drafts = outcome.drafts.split_off(first);
    for mut draft in drafts {
        unique(&mut draft, outcome);
        let fits = match backend {
            BackendKind::Process => to_process(&mut draft, outcome),
            BackendKind::Podman | BackendKind::Quadlet | BackendKind::Kubernetes => to_container(&mut draft, outcome),
        };
        if !fits {
            continue;
        }
        for what in check(&schema, &draft, backend) {
            note(outcome, &draft, format!("it is not valid yet: {what}"));
        }
        outcome.drafts.push(draft);
    }
    Ok(())
}

fn schema() -> Result<Schema> {
    let crd = serde_json::to_value(MeshService::crd()).unwrap_or_default();
    let open_api = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
    Schema::from_open_api(&open_api).map_err(|errors| Error::Invalid(format!("the definition of MeshService: {errors:?}")))
}

/// Notes about a service stand at the first line that another note about it has.
fn note(outcome: &mut Outcome, draft: &Draft, text: String) {
    let about = outcome.notes.iter().find(|note| note.service.as_deref() == Some(&draft.name));
    let (place, line) = about.map_or((String::new(), 0), |note| (note.place.clone(), note.line));
    outcome.notes.push(Note { place, line, service: Some(draft.name.clone()), lost: true, text });
}

fn unique(draft: &mut Draft, outcome: &mut Outcome) {
    let taken = |name: &str, draft: &Draft| outcome.drafts.iter().any(|other| other.name == name && other.namespace == draft.namespace);
    let (name, mut number) = (draft.name.clone(), 2);
    while taken(&draft.name, draft) {
        draft.name = format!("{name}-{number}");
        number += 1;
    }
    if draft.name != name {
        note(outcome, draft, format!("there are several services {name}: this one is called {}", draft.name));
    }
}

/// A plain process is what its command says. False if it has none.
fn to_process(draft: &mut Draft, outcome: &mut Outcome) -> bool {
    let image = draft.spec.get("image").and_then(Value::as_str).unwrap_or_default().to_owned();
    for field in CONTAINERS {
        if draft.spec.remove(field).is_some() && field != "securityContext" {
            note(outcome, draft, format!("{field}: a plain process has none (--backend podman keeps it)"));
        }
    }
    if !draft.has("command") {
        let Some(args) = draft.spec.remove("args") else {
            let text = format!("it has no command: what {image} runs is not known here, so nothing is made of it (--backend podman)");
            note(outcome, draft, text);
            return false;
        };
        // The arguments of most images begin with a program.
        draft.set("command", args);
        note(outcome, draft, format!("command: these are the arguments that the entrypoint of {image} gets: put the program before them"));
    }
    true
}

fn to_container(draft: &mut Draft, outcome: &mut Outcome) -> bool {
    if !draft.has("image") {
        let image = format!("localhost/{}:latest", draft.name);
        note(outcome, draft, format!("image: there is none yet: podman build -t {image} ."));
        draft.set("image", image);
    }
    let relative = draft.spec.get("workingDir").and_then(Value::as_str).is_some_and(|dir| !dir.starts_with('/'));
    if relative && let Some(dir) = draft.spec.remove("workingDir") {
        note(outcome, draft, format!("workingDir {dir}: a container's is an absolute path in its image"));
    }
    true
}

/// What an API and a controller would say.
fn check(schema: &Schema, draft: &Draft, backend: BackendKind) -> Vec<String> {
    let mut object = draft.object();
    let mut wrong: Vec<String> = schema.unknown_fields(&object).into_iter().map(|field| format!("unknown field {field}")).collect();
    schema.default(&mut object);
    wrong.extend(schema.validate(&object, None).iter().map(ToString::to_string));
    if !wrong.is_empty() {
        return wrong;
    }
    match serde_json::from_value::<MeshService>(object) {
        Ok(service) => {
            let refusal = match backend {
                BackendKind::Kubernetes => objects(&service, &Surroundings::default()).err(),
                BackendKind::Process | BackendKind::Podman | BackendKind::Quadlet => validate(&service.spec, backend).err(),
            };
            refusal.map(|refusal| refusal.message).into_iter().collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// An object of an input without what an API has added to it.
pub(super) fn clean(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations"));
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
            metadata.retain(|_, value| *value != json!({}));
        }
    }
    object
}

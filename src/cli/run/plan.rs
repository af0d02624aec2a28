//! What is to run: the manifests, narrowed to the services and tasks that were asked for, with what those need.
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::Run;
use crate::{
    exit::{Code, Failure, Result},
    manifest::{self, DEFAULT_NAMES, Document},
};
use mesh_kit::meant::did_you_mean;

/// The project directory, absolute.
pub(super) fn project(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().map_err(|error| Failure::from(error).context(format!("--project-dir {}", dir.display())))
}

/// The documents to apply.
pub(super) fn documents(run: &Run, project: &Path) -> Result<Vec<Document>> {
    let files = if run.files.is_empty() { vec![default_file(project)?] } else { run.files.clone() };
    let documents = manifest::read(&files)?;
    let wanted = if run.services.is_empty() && !run.all && run.files.is_empty() { None } else { Some(run.services.as_slice()) };
    let documents = with_replicas(narrow(documents, wanted)?);
    match run.instances {
        Some(instances) => with_instances(documents, instances),
        None => Ok(documents),
    }
}

fn default_file(project: &Path) -> Result<PathBuf> {
    manifest::find_default(project).ok_or_else(|| {
        let names = DEFAULT_NAMES.join(", ");
        Failure::new(Code::Usage, format!("none of {names} is in {}: name a file with -f, or let `mesh init` write one", project.display()))
    })
}

/// The services and tasks of those names (all of them if there are no names) with those that they need, and everything that is neither.
/// `None`: the user has not said which.
fn narrow(documents: Vec<Document>, wanted: Option<&[String]>) -> Result<Vec<Document>> {
    let runs = |document: &Document| document.is_service() || document.is_task();
    let there: Vec<&str> = documents.iter().filter(|document| runs(document)).map(Document::name).collect();
    if there.is_empty() {
        return Err(Failure::new(Code::Invalid, "there is no MeshService and no MeshTask in the manifests: `mesh init` writes an example"));
    }
    let Some(wanted) = wanted else {
        return Err(Failure::new(
            Code::Usage,
            format!("say what to run: `mesh run --all`, or the names of services and tasks ({})", there.join(", ")),
        ));
    };
    if let Some(unknown) = wanted.iter().find(|name| !there.contains(&name.as_str())) {
        let meant = did_you_mean(unknown, there.iter().copied());
        return Err(Failure::new(
            Code::Usage,
            format!("there is no service and no task {unknown:?} in the manifests{meant}; there is {}", there.join(", ")),
        ));
    }
    let mut chosen: BTreeSet<(bool, String)> = documents
        .iter()
        .filter(|document| wanted.is_empty() || wanted.iter().any(|name| name == document.name()))
        .map(|document| (document.is_task(), document.name().to_owned()))
        .collect();
    let is_chosen = |chosen: &BTreeSet<_>, document: &Document| chosen.contains(&(document.is_task(), document.name().to_owned()));
    // A service needs a task, and that a service: no chain is longer than there are documents.
    for _ in 0..documents.len() {
        let needed: Vec<_> = documents.iter().filter(|document| runs(document) && is_chosen(&chosen, document)).flat_map(needs).collect();
        chosen.extend(needed);
    }
    Ok(documents.into_iter().filter(|document| !runs(document) || is_chosen(&chosen, document)).collect())
}

/// What a service or a task cannot do without: whether that is a task, and its name.
fn needs(document: &Document) -> Vec<(bool, String)> {
    let at = |pointer: &str| document.object.data.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
    if document.is_task() {
        at("/spec/serviceRef/name").or_else(|| at("/spec/http/service")).map(|service| (false, service)).into_iter().collect()
    } else {
        at("/spec/rollout/before/task").map(|task| (true, task)).into_iter().collect()
    }
}

/// Says `replicas: 1` where the file leaves it out: what an earlier run that was killed had scaled is not to come back.
fn with_replicas(mut documents: Vec<Document>) -> Vec<Document> {
    for service in documents.iter_mut().filter(|document| document.is_service()) {
        if let Some(spec) = spec(service) {
            spec.entry("replicas").or_insert_with(|| json!(1));
        }
    }
    documents
}

fn spec(service: &mut Document) -> Option<&mut serde_json::Map<String, serde_json::Value>> {
    service.object.data.get_mut("spec").and_then(serde_json::Value::as_object_mut)
}

fn with_instances(mut documents: Vec<Document>, instances: u32) -> Result<Vec<Document>> {
    let mut services = documents.iter_mut().filter(|document| document.is_service());
    let (Some(service), None) = (services.next(), services.next()) else {
        return Err(Failure::new(Code::Usage, "--instances is for one SERVICE; `mesh scale` sets several while they run"));
    };
    if let Some(spec) = spec(service) {
        spec.insert("replicas".to_owned(), json!(instances));
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Vec<Document> {
        let service = |name: &str| {
            format!("apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: {name}}}\nspec: {{command: [x]}}\n")
        };
        let text = ["api", "web"].map(service).join("---\n") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
        manifest::parse("m.yaml", &text).unwrap()
    }

    fn names(wanted: Option<&[&str]>) -> Result<Vec<String>, String> {
        let wanted: Option<Vec<String>> = wanted.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let narrowed = narrow(documents(), wanted.as_deref()).map_err(|failure| failure.text())?;
        Ok(narrowed.iter().map(|document| document.name().to_owned()).collect())
    }

    #[test]
    fn services_are_chosen_by_name_and_the_rest_always_comes_along() {
        assert_eq!(names(Some(&[])).unwrap(), ["api", "web", "c"]);
        assert_eq!(names(Some(&["web"])).unwrap(), ["web", "c"]);
        assert_eq!(names(Some(&["db"])).unwrap_err(), "there is no service and no task \"db\" in the manifests; there is api, web");
        assert_eq!(
            names(Some(&["wep"])).unwrap_err(),
            "there is no service and no task \"wep\" in the manifests; did you mean \"web\"?; there is api, web"
        );
        assert_eq!(names(None).unwrap_err(), "say what to run: `mesh run --all`, or the names of services and tasks (api, web)");
    }

    #[test]
    fn tasks_are_chosen_by_name_or_because_a_service_needs_them_and_bring_the_service_that_they_need() {
        let document = |kind: &str, name: &str, spec: &str| {
            format!("apiVersion: mesh-controller.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
        };
        let all = [
            document("MeshService", "api", "{command: [x], rollout: {before: {task: migrate}}}"),
            document("MeshService", "web", "{command: [x]}"),
            document("MeshTask", "migrate", "{serviceRef: {name: api, command: [x]}}"),
            document("MeshTask", "nightly", "{http: {service: web, path: /}}"),
            document("MeshTask", "backup", "{template: {command: [x]}}"),
        ];
        let chosen = |text: &[String], wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let mut names: Vec<String> = narrow(manifest::parse("m.yaml", &text.join("---\n")).unwrap(), Some(&wanted))
                .unwrap()
                .iter()
                .map(|document| document.name().to_owned())
                .collect();
            names.sort();
            names
        };
        for (wanted, expected) in [
            (&["web"][..], &["web"][..]),
            (&["api"], &["api", "migrate"]),
            (&["migrate"], &["api", "migrate"]),
            (&["nightly"], &["nightly", "web"]),
            (&["backup"], &["backup"]),
            (&["web", "backup"], &["backup", "web"]),
            (&[], &["api", "backup", "migrate", "nightly", "web"]),
        ] {
            assert_eq!(chosen(&all, wanted), expected, "{wanted:?}");
        }
        assert_eq!(chosen(&all[4..], &[]), ["backup"], "a file with tasks only");
    }

    #[test]
    fn instances_are_for_one_service() {
        assert!(with_instances(documents(), 3).is_err());
        let one = with_instances(narrow(documents(), Some(&["api".to_owned()])).unwrap(), 3).unwrap();
        assert_eq!(one[0].object.data.pointer("/spec/replicas"), Some(&json!(3)));
    }
}

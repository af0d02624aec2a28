//! Manifests: YAML or JSON, one or several documents per file, from a file, a directory or standard input. Every error names the file and the line.
pub(crate) mod meant;

use std::{
    collections::{BTreeSet, HashMap},
    io::Read,
    path::{Path, PathBuf},
};

use kube::{
    Resource,
    core::{DynamicObject, GroupVersionKind, Status, response::StatusCause},
};

use super::exit::{Code, Failure, Result};
use mesh_api::{MeshService, MeshTask, duration::PATTERN};
use mesh_convert::lines::Lines;

/// What `mesh run` looks for in the current directory when no file is named.
pub const DEFAULT_NAMES: [&str; 4] = ["mesh.yaml", "mesh.yml", "meshservice.yaml", "mesh"];

/// What standard input is called in messages.
const STDIN: &str = "standard input";

/// One object of a file, and where it stands there.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file, as it was named, or `standard input`.
    pub file: String,
    /// Which line of the file each of its fields stands on.
    pub lines: Lines,
    /// Its kind.
    pub gvk: GroupVersionKind,
    /// The object.
    pub object: DynamicObject,
}

impl Document {
    /// `MeshService api`.
    pub fn title(&self) -> String {
        format!("{} {}", self.gvk.kind, self.name())
    }

    /// Its `metadata.name`; there is always one.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is a `MeshService`.
    pub fn is_service(&self) -> bool {
        self.is::<MeshService>()
    }

    /// Whether it is a `MeshTask`.
    pub fn is_task(&self) -> bool {
        self.is::<MeshTask>()
    }

    /// Whether it is of a kind of ours.
    pub(crate) fn is<K: Resource<DynamicType = ()>>(&self) -> bool {
        self.gvk.group == mesh_api::GROUP && self.gvk.kind == K::kind(&())
    }

    /// `mesh.yaml:12`: where it begins.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.lines.start())
    }

    /// What the API has against it: a line of text per cause, with the line of the file that the cause is about.
    pub fn complaint(&self, status: &Status) -> String {
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        if causes.is_empty() {
            // What the API says before it only repeats the kind.
            let message = status.message.split_once("strict decoding error: ").map_or(status.message.as_str(), |(_, what)| what);
            // Each field that it does not know, or knows twice, has a line of its own.
            let told = sentences(message).into_iter().map(|sentence| {
                let line = self.lines.find_named(sentence).unwrap_or(self.lines.start());
                let unknown = sentence.strip_prefix("unknown field \"").and_then(|rest| rest.strip_suffix('"'));
                let meant = unknown.map(|path| meant::field(&self.gvk, path)).unwrap_or_default();
                format!("{}:{line}: {}: {sentence}{meant}", self.file, self.title())
            });
            return told.collect::<Vec<_>>().join("\n");
        }
        let text = causes.iter().map(|cause| {
            let (field, said) = told(cause);
            let hint = if cause.message.contains(PATTERN) { " (a duration is written as 90s, 5m or 1h30m)" } else { "" };
            format!("{}:{}: {}: {said}{hint}", self.file, self.lines.of(field), self.title())
        });
        // The API may give one cause twice (its schema and its rules found the same).
        text.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("\n")
    }
}

/// The field that a cause is about, and what it says. A rule of the whole object has no field, and a message that begins with one.
fn told(cause: &StatusCause) -> (&str, String) {
    match cause.field.as_str() {
        "" | "<nil>" => {
            let message = cause.message.strip_prefix("Invalid value: ").unwrap_or(&cause.message);
            let message = message.strip_prefix("\"\": ").unwrap_or(message);
            (message.split(' ').next().unwrap_or_default(), message.to_owned())
        }
        field => (field, format!("{field}: {}", cause.message)),
    }
}

/// The parts of what the API says of fields that it does not know; anything else as it is.
fn sentences(message: &str) -> Vec<&str> {
    let begins = |text: &str| ["unknown field \"", "duplicate field \""].iter().any(|begin| text.starts_with(begin));
    let parts: Vec<&str> = message.split(", ").collect();
    if parts.iter().all(|part| begins(part)) { parts } else { vec![message] }
}

/// Reads `-`, a file, or all `*.yaml`, `*.yml` and `*.json` of a directory, in the order of their names. What others refer to comes first.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::new(Code::Invalid, format!("standard input: {error}")))?;
            documents.extend(parse(STDIN, &text)?);
            continue;
        }
        for file in files(path)? {
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            documents.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    if documents.is_empty() {
        let names: Vec<String> =
            paths.iter().map(|path| if path.as_os_str() == "-" { STDIN.to_owned() } else { path.display().to_string() }).collect();
        return Err(Failure::new(Code::Invalid, format!("{}: there is no object in it", names.join(", "))));
    }
    once_each(&documents)?;
    documents.sort_by_key(|document| rank(&document.gvk.kind));
    Ok(documents)
}

/// Of two documents of one file about one object the later one would silently win; a file named later is meant to win.
fn once_each(documents: &[Document]) -> Result {
    let mut seen = HashMap::new();
    for document in documents {
        let id = (&document.file, &document.gvk.group, &document.gvk.kind, &document.object.metadata.namespace, document.name());
        if let Some(first) = seen.insert(id, document) {
            let text = format!(
                "{}: {} is in {} already: take one of them out, or give it another name",
                document.place(),
                document.title(),
                first.place()
            );
            return Err(Failure::new(Code::Invalid, text));
        }
    }
    Ok(())
}

/// The first of [`DEFAULT_NAMES`] that is in `dir`.
pub fn find_default(dir: &Path) -> Option<PathBuf> {
    DEFAULT_NAMES.iter().map(|name| dir.join(name)).find(|path| path.exists())
}

/// Namespaces and definitions before what lives in them, configuration before what reads it.
fn rank(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ConfigMap" | "Secret" | "MeshRouter" => 2,
        // A rollout may wait for a task.
        "MeshTask" => 3,
        _ => 4,
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Invalid, format!("{}: {error}", path.display()))
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let meta = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        let known = file.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json");
        if known && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(Code::Invalid, format!("{}: no .yaml, .yml or .json file in this directory", path.display())));
    }
    files.sort();
    Ok(files)
}

/// The objects of one text.
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>> {
    let invalid = |line: u64, what: String| Failure::new(Code::Invalid, format!("{file}:{line}: {what}"));
    let values: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let what = error.without_snippet().to_string();
        // The line stands before it already.
        invalid(line, in_words(what.split_once(" at line ").map_or(what.as_str(), |(what, _)| what)))
    })?;
    let lines = Lines::of_documents(text).map_err(|(line, what)| invalid(line, what))?;
    let values = values.into_iter().filter(|value| !value.is_null());
    let mut documents = Vec::new();
    for (value, lines) in values.zip(lines) {
        documents.push(document(file, value, lines)?);
    }
    Ok(documents)
}

/// What the reader of YAML says, without the names of its own options.
fn in_words(what: &str) -> String {
    if let Some((key, _)) = what.strip_prefix("duplicate mapping key: ").and_then(|rest| rest.split_once(", set ")) {
        return format!("{key} stands there twice: take one of them out");
    }
    if what.starts_with("budget breached") {
        return "it is too large, or its aliases make it so: split it into several files, or write out what the aliases stand for"
            .to_owned();
    }
    what.to_owned()
}

fn document(file: &str, value: serde_json::Value, lines: Lines) -> Result<Document> {
    let refuse = |field: &str, what: &str| Failure::new(Code::Invalid, format!("{file}:{}: {what}", lines.of(field)));
    let text = |pointer: &str| value.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    if version.is_empty() {
        return Err(refuse("apiVersion", "apiVersion is missing; for a MeshService write apiVersion: mesh-controller.dev/v1alpha1"));
    }
    if kind.is_empty() {
        return Err(refuse("kind", "kind is missing, for example kind: MeshService"));
    }
    if text("/metadata/name").is_empty() {
        return Err(refuse("metadata.name", &format!("metadata.name is missing: give this {kind} a name")));
    }
    let name = text("/metadata/name");
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || "/%".contains(c)) {
        return Err(refuse(
            "metadata.name",
            &format!("metadata.name: {name:?} is no name: no blanks, line breaks, slashes or percent signs"),
        ));
    }
    let ours = format!("{}/{}", mesh_api::GROUP, mesh_api::VERSION);
    if kind.starts_with("Mesh") && version != ours && mesh_api::crds::all().iter().any(|crd| crd.spec.names.kind == kind) {
        return Err(refuse("apiVersion", &format!("apiVersion {version} has no {kind}: write apiVersion: {ours}")));
    }
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let object = serde_json::from_value(value).map_err(|error| refuse("metadata", &format!("{}: {error}", gvk.kind)))?;
    Ok(Document { file: file.to_owned(), lines, gvk, object })
}

#[cfg(test)]
mod tests {
    use kube::core::{
        Status,
        response::{StatusCause, StatusDetails},
    };

    use super::*;

    const TWO: &str = "# services\napiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: api}\nspec:\n  command: [a]\n  replcas: 3\n\
                       ---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata: {}\n";

    fn refusal(text: &str) -> String {
        let failure = parse("m.yaml", text).unwrap_err();
        assert_eq!(failure.code, Code::Invalid);
        failure.text()
    }

    fn because(causes: Vec<StatusCause>) -> Status {
        let (name, group, kind, uid) = Default::default();
        Status { details: Some(StatusDetails { causes, name, group, kind, uid, retry_after_seconds: 0 }), ..Status::default() }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_a_manifest() {
        let twice = refusal("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, name: b}\n");
        assert_eq!(twice, "m.yaml:3: name stands there twice: take one of them out");
        let line = |one, of: Option<char>| {
            let item = of.map_or_else(|| "x".to_owned(), |of| format!("*{of}"));
            format!("{one}: &{one} [{}]\n", vec![item; 9].join(","))
        };
        let aliases: String = ('a'..='h').zip([None].into_iter().chain(('a'..).map(Some))).map(|(one, of)| line(one, of)).collect();
        assert!(refusal(&aliases).contains("it is too large, or its aliases make it so"), "{}", refusal(&aliases));
        for version in ["mesh-controler.dev/v1alpha1", "mesh-controller.dev/v1", "v1"] {
            let text = format!("kind: MeshService\napiVersion: {version}\nmetadata: {{name: a}}\n");
            let told = format!("m.yaml:2: apiVersion {version} has no MeshService: write apiVersion: mesh-controller.dev/v1alpha1");
            assert_eq!(refusal(&text), told);
        }
        let service = &parse("m.yaml", TWO).unwrap()[0];
        let cause = StatusCause { reason: String::new(), message: format!("should match '{PATTERN}'"), field: "spec.command".to_owned() };
        let told = service.complaint(&because(vec![cause]));
        assert!(told.ends_with("(a duration is written as 90s, 5m or 1h30m)"), "{told}");
    }

    #[test]
    fn documents_know_where_they_stand() {
        let documents = parse("m.yaml", TWO).unwrap();
        let places: Vec<_> = documents.iter().map(|document| (document.title(), document.place())).collect();
        assert_eq!(places, [("MeshService api".to_owned(), "m.yaml:2".to_owned()), ("ConfigMap c".to_owned(), "m.yaml:10".to_owned())]);
    }

    #[test]
    fn what_the_api_refuses_is_told_by_file_and_line() {
        let service = &parse("m.yaml", TWO).unwrap()[0];
        let cause =
            |field: &str, message: &str| StatusCause { reason: String::new(), message: message.to_owned(), field: field.to_owned() };
        let status = because(vec![cause("spec.command[0]", "no"), cause("spec.replicas", "absent"), cause("spec.command[0]", "no")]);
        assert_eq!(
            service.complaint(&status),
            "m.yaml:5: MeshService api: spec.replicas: absent\nm.yaml:6: MeshService api: spec.command[0]: no"
        );
        let whole = because(vec![cause("<nil>", "Invalid value: metadata.name may have at most 48 characters")]);
        assert_eq!(service.complaint(&whole), "m.yaml:4: MeshService api: metadata.name may have at most 48 characters");
        let strict = Status { message: "strict decoding error: unknown field \"spec.replcas\"".into(), ..Status::default() };
        assert_eq!(
            service.complaint(&strict),
            "m.yaml:7: MeshService api: unknown field \"spec.replcas\"; did you mean \"spec.replicas\"?"
        );
        let both = Status {
            message: "strict decoding error: unknown field \"spec.replcas\", unknown field \"spec.zzz\"".into(),
            ..Status::default()
        };
        assert_eq!(
            service.complaint(&both),
            "m.yaml:7: MeshService api: unknown field \"spec.replcas\"; did you mean \"spec.replicas\"?\nm.yaml:2: MeshService api: unknown field \"spec.zzz\""
        );
    }

    #[test]
    fn a_file_without_objects_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.yaml");
        std::fs::write(&file, "# nothing yet\n---\n").unwrap();
        assert_eq!(read(std::slice::from_ref(&file)).unwrap_err().text(), format!("{}: there is no object in it", file.display()));
    }

    #[test]
    fn an_object_that_stands_twice_is_refused_with_both_places() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.yaml");
        let of = |namespace: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {namespace}}}\n");
        std::fs::write(&file, [of("one"), of("two")].join("---\n")).unwrap();
        assert_eq!(read(std::slice::from_ref(&file)).unwrap().len(), 2);
        std::fs::write(&file, [of("one"), of("two"), of("one")].join("---\n")).unwrap();
        let told = read(std::slice::from_ref(&file)).unwrap_err().text();
        let path = file.display().to_string();
        assert!(told.starts_with(&format!("{path}:9: ConfigMap a is in {path}:1 already: ")), "{told}");
        let other = dir.path().join("n.yaml");
        std::fs::write(&file, of("one")).unwrap();
        std::fs::write(&other, of("one")).unwrap();
        assert_eq!(read(&[file, other]).unwrap().len(), 2, "the later one wins");
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_line_and_the_remedy() {
        assert_eq!(
            refusal("\nkind: MeshService\n"),
            "m.yaml:2: apiVersion is missing; for a MeshService write apiVersion: mesh-controller.dev/v1alpha1"
        );
        assert_eq!(refusal("apiVersion: v1\nkind: Secret\nmetadata: {}\n"), "m.yaml:3: metadata.name is missing: give this Secret a name");
        assert_eq!(
            refusal("apiVersion: v1\nkind: Secret\nmetadata: {name: \"a\\nb\"}\n"),
            "m.yaml:3: metadata.name: \"a\\nb\" is no name: no blanks, line breaks, slashes or percent signs"
        );
        assert_eq!(refusal("kind: x\n  bad: [").matches("line").count(), 0);
        assert!(refusal("a: 1\nb: [\n").starts_with("m.yaml:"), "{}", refusal("a: 1\nb: [\n"));
        assert!(refusal("a: 1\na: 2\n").starts_with("m.yaml:2: "), "{}", refusal("a: 1\na: 2\n"));
    }
}

//! A service that serves the state directory as files: the key of its API's administrator would be everybody's.
//! Known servers of files are looked at, with the folder that they serve; what another program serves nobody can tell from here.
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use mesh_api::{MeshService, MeshServiceSpec};

use crate::manifest::Document;

/// What is said of each service that serves the state directory.
pub(super) fn warnings(documents: &[Document], project: &Path, state_dir: &Path) -> Vec<String> {
    let services = documents.iter().filter(|document| document.is_service());
    let read = services.filter_map(|document| serde_json::from_value(serde_json::to_value(&document.object).ok()?).ok());
    read.filter_map(|service: MeshService| warning(&service, project, state_dir)).collect()
}

fn warning(service: &MeshService, project: &Path, state_dir: &Path) -> Option<String> {
    let folder = folder(&service.spec, project)?;
    let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let state_dir = state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned());
    state_dir.starts_with(&real).then(|| {
        format!(
            "warning: service {} serves the folder {} with {} in it, where the key of this API lies: let it serve a folder of its own, or give --state-dir one outside",
            service.name_any(),
            folder.display(),
            state_dir.display()
        )
    })
}

/// The folder that a service serves as files, if its program is a known server of files.
pub(crate) fn folder(spec: &MeshServiceSpec, project: &Path) -> Option<PathBuf> {
    let words: Vec<&str> = spec.command.iter().flatten().chain(&spec.args).flat_map(|word| word.split_whitespace()).collect();
    let here = project.join(spec.working_dir.as_deref().unwrap_or_default());
    let named = |program: &str| words.iter().position(|word| word.rsplit('/').next() == Some(program));
    let option = |names: &[&str]| {
        let value = |at: usize, name: &str| {
            let word = words.get(at)?;
            if *word == name { words.get(at + 1).copied() } else { word.strip_prefix(name)?.strip_prefix('=') }
        };
        (0..words.len()).find_map(|at| names.iter().find_map(|name| value(at, name)))
    };
    let first_after = |at: usize| words.iter().skip(at + 1).find(|word| Path::new(&here).join(word).is_dir()).copied();
    let folder = if words.contains(&"http.server") {
        option(&["--directory", "-d"])
    } else if let Some(at) = named("http-server").or_else(|| named("serve")) {
        first_after(at)
    } else if named("php").is_some() && words.contains(&"-S") {
        option(&["-t", "--docroot"])
    } else if named("caddy").is_some() && words.contains(&"file-server") {
        option(&["--root", "-r"])
    } else if named("busybox").is_some() && words.contains(&"httpd") {
        option(&["-h"])
    } else {
        return None;
    };
    Some(folder.map_or_else(|| here.clone(), |folder| here.join(folder)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_that_serves_the_state_directory_is_named_with_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path();
        for folder in ["public", "site", ".mesh"] {
            std::fs::create_dir(project.join(folder)).unwrap();
        }
        let warned = |spec: serde_json::Value| {
            let service =
                json!({"apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": "web"}, "spec": spec});
            warning(&serde_json::from_value(service).unwrap(), project, &project.join(".mesh"))
        };
        for (command, exposed) in [
            (json!(["python3", "-m", "http.server", "$(PORT)"]), true),
            (json!(["python3", "-m", "http.server", "--directory", "public", "$(PORT)"]), false),
            (json!(["python3", "-m", "http.server", "--directory=public"]), false),
            (json!(["/bin/sh", "-c", "exec python3 -m http.server $PORT"]), true),
            (json!(["npx", "serve", "-l", "$(PORT)"]), true),
            (json!(["npx", "http-server", "site", "-p", "$(PORT)"]), false),
            (json!(["php", "-S", "127.0.0.1:$(PORT)"]), true),
            (json!(["php", "-S", "127.0.0.1:$(PORT)", "-t", "public"]), false),
            (json!(["caddy", "file-server", "--listen", ":$(PORT)"]), true),
            (json!(["busybox", "httpd", "-f", "-h", "site"]), false),
            (json!(["node", "server.js"]), false),
        ] {
            assert_eq!(warned(json!({"command": command})).is_some(), exposed, "{command}");
        }
        assert!(warned(json!({"command": ["python3", "-m", "http.server"], "workingDir": "site"})).is_none());
        let text = warned(json!({"command": ["python3", "-m", "http.server"]})).unwrap();
        assert!(text.starts_with(&format!("warning: service web serves the folder {}", project.display())), "{text}");
    }
}

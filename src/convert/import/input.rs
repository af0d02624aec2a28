//! The files to import: their texts, of which kind they are, and on which line what stands.
use std::{
    io::Read,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::Value;

use crate::{Error, Result, lines::Lines};

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Format {
    /// Compose files of Docker or Podman.
    Compose,
    /// Procfiles of Heroku, foreman, overmind.
    Procfile,
    /// Ecosystem files of pm2.
    Pm2,
    /// Deployments, with their Services and Ingresses.
    Kubernetes,
}

/// What is looked for where no file is named.
pub const USUAL: [&str; 10] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "Procfile",
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.json",
    "ecosystem.config.json",
    "pm2.json",
];

/// A file.
#[derive(Debug, Clone)]
pub struct Input {
    /// As it was named.
    pub(super) name: String,
    /// Where it lies: what relative paths in it are relative to.
    pub(super) dir: PathBuf,
    pub(super) text: String,
    /// The lines of each of its documents.
    pub(super) lines: Vec<Lines>,
}

impl Input {
    /// A text, as if it were a file of that name in `dir`.
    pub fn new(name: &str, dir: &Path, text: String) -> Self {
        Self { name: name.to_owned(), dir: dir.to_owned(), text, lines: Vec::new() }
    }

    /// The line of a field of one of its documents.
    pub(super) fn line(&self, document: usize, path: &str) -> u64 {
        self.lines.get(document).map_or(1, |lines| lines.of(path))
    }

    /// Reads it as YAML (or JSON): its documents that are not empty.
    pub(super) fn documents(&mut self) -> Result<Vec<Value>> {
        self.read_documents(serde_saphyr::Options::default())
    }

    /// Reads it with the scalars of compose: `on` is a text, and 022 is octal. To Kubernetes and pm2 `on` is true.
    pub(super) fn documents_of_compose(&mut self) -> Result<Vec<Value>> {
        self.read_documents(serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true })
    }

    fn read_documents(&mut self, options: serde_saphyr::Options) -> Result<Vec<Value>> {
        let values: Vec<Value> = serde_saphyr::from_multiple_with_options(&self.text, options).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let what = error.without_snippet().to_string();
            self.refuse(line, what.split_once(" at line ").map_or(what.as_str(), |(what, _)| what))
        })?;
        self.lines = Lines::of_documents(&self.text).map_err(|(line, what)| self.refuse(line, &what))?;
        Ok(values.into_iter().filter(|value| !value.is_null()).collect())
    }

    /// It cannot be read.
    pub(super) fn refuse(&self, line: u64, what: &str) -> Error {
        Error::Invalid(format!("{}:{line}: {what}", self.name))
    }

    /// The text of a file beside it; none if there is no such file.
    pub(super) fn beside(&self, name: &str) -> Result<Option<String>> {
        match std::fs::read_to_string(self.dir.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&self.dir.join(name), &error)),
        }
    }

    /// A path in it as an absolute one.
    pub(super) fn absolute(&self, path: &str) -> String {
        let path = path.strip_prefix("./").unwrap_or(path);
        let mut out = self.dir.clone();
        for part in Path::new(path).components() {
            match part {
                std::path::Component::ParentDir => drop(out.pop()),
                std::path::Component::CurDir => {}
                part => out.push(part),
            }
        }
        out.display().to_string()
    }
}

/// Reads files and directories (their YAML and JSON), `-`, or what usually lies in the current directory.
///
/// # Errors
/// A file that cannot be read, or whose format cannot be told.
pub fn read(files: &[PathBuf], from: Option<Format>) -> Result<Vec<(Format, Input)>> {
    let mut inputs = Vec::new();
    for file in if files.is_empty() { usual()? } else { files.to_vec() } {
        let mut paths = vec![file.clone()];
        if file.is_dir() {
            let entries = std::fs::read_dir(&file).map_err(|error| unreadable(&file, &error))?;
            paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_manifest(path)).collect();
            paths.sort();
        }
        for path in paths {
            let input = one(&path)?;
            let kind = from.or_else(|| guess(&path, &input.text));
            let kind = kind.ok_or_else(|| {
                let known = "a compose file, a Procfile, an ecosystem file of pm2 or manifests of Kubernetes";
                Error::Invalid(format!("{}:1: it does not look like {known}: say what it is with --from", input.name))
            })?;
            inputs.push((kind, input));
        }
    }
    Ok(inputs)
}

fn one(path: &Path) -> Result<Input> {
    let here = std::env::current_dir().map_err(|error| unreadable(path, &error))?;
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(Path::new("standard input"), &error))?;
        return Ok(Input::new("standard input", &here, text));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let dir = here.join(path.parent().unwrap_or(Path::new("")));
    Ok(Input::new(&path.display().to_string(), &dir.canonicalize().unwrap_or(dir), text))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Invalid(format!("{}: {error}", path.display()))
}

fn is_manifest(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
}

fn usual() -> Result<Vec<PathBuf>> {
    let found = USUAL.iter().map(PathBuf::from).find(|path| path.is_file());
    let nothing = || Error::NoInput(format!("name a file to import: here is none of {}", USUAL.join(", ")));
    found.map(with_override).ok_or_else(nothing)
}

/// A compose file that was not named, with the file of changes that compose lays over it.
fn with_override(path: PathBuf) -> Vec<PathBuf> {
    let name = path.to_string_lossy().into_owned();
    let over = name.rsplit_once('.').filter(|_| name.contains("compose")).map(|(stem, _)| stem.to_owned());
    let over = over.and_then(|stem| {
        ["yaml", "yml"].map(|end| PathBuf::from(format!("{stem}.override.{end}"))).into_iter().find(|path| path.is_file())
    });
    std::iter::once(path).chain(over).collect()
}

/// By its name, else by what stands in it.
fn guess(path: &Path, text: &str) -> Option<Format> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let extension = path.extension().map(|ext| ext.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let has = |key: &str| text.lines().any(|line| line.trim_start_matches(['{', ' ', '"', '-']).replace(['"', '\''], "").starts_with(key));
    match (name.as_str(), extension.as_str()) {
        (name, _) if name.starts_with("procfile") || name.ends_with("procfile") => Some(Format::Procfile),
        (_, "js" | "cjs" | "mjs") => Some(Format::Pm2),
        _ if has("apiVersion:") && has("kind:") => Some(Format::Kubernetes),
        _ if has("apps:") || (name.contains("ecosystem") && has("script:")) => Some(Format::Pm2),
        _ if has("services:") || name.contains("compose") => Some(Format::Compose),
        ("-", _) | (_, "") if text.lines().any(|line| line.starts_with("web:")) => Some(Format::Procfile),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        for (name, text, kind) in [
            ("compose.yaml", "services: {}", Some(Format::Compose)),
            ("x.yml", "services:\n  a: {}", Some(Format::Compose)),
            ("Procfile.dev", "web: x", Some(Format::Procfile)),
            ("ecosystem.config.js", "module.exports = {}", Some(Format::Pm2)),
            ("p.json", "{\"apps\": []}", Some(Format::Pm2)),
            ("d.yaml", "apiVersion: apps/v1\nkind: Deployment", Some(Format::Kubernetes)),
            ("-", "web: node a.js\n", Some(Format::Procfile)),
            ("readme.md", "hello", None),
        ] {
            assert_eq!(guess(Path::new(name), text), kind, "{name}");
        }
    }
}

//! What a project's files say about how it is run. A guess to be looked at, never more.
use std::{fmt, path::Path};

use crate::exit::Result;
use mesh_convert::import::{self, Draft, Format, Input, Outcome, Setting};

/// What the example serves: a folder of its own, because the project's has `.mesh` (with the key of its API) and `.env` in it.
pub(super) const PUBLIC: &str = "public";

/// What the services were guessed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Procfile,
    PackageJson,
    CargoToml,
    /// Nothing says how the project is run.
    Example,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Procfile => "from the Procfile",
            Self::PackageJson => "from package.json",
            Self::CargoToml => "from Cargo.toml",
            Self::Example => "an example: nothing here says how the project is run",
        })
    }
}

/// The services, and what they were guessed from.
pub(super) fn guess(dir: &Path) -> Result<(Outcome, Source)> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    if let Some(text) = read("Procfile") {
        let outcome = import::import(vec![(Format::Procfile, Input::new("Procfile", dir, text))], &Setting::default())?;
        if !outcome.drafts.is_empty() {
            return Ok((outcome, Source::Procfile));
        }
    }
    let (draft, source) = read("package.json")
        .and_then(|text| Some((package_json(&text)?, Source::PackageJson)))
        .or_else(|| Some((cargo_toml(&read("Cargo.toml")?)?, Source::CargoToml)))
        .unwrap_or_else(|| {
            let command = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", PUBLIC, "$(PORT)"];
            (web("web", &command), Source::Example)
        });
    Ok((Outcome::of(draft), source))
}

/// A service that gets the requests.
fn web(name: &str, command: &[&str]) -> Draft {
    let mut draft = Draft::new(name);
    draft.set("type", "Frontend");
    draft.set("command", command);
    draft.set("route", "/");
    draft
}

fn package_json(text: &str) -> Option<Draft> {
    let package: serde_json::Value = serde_json::from_str(text).ok()?;
    let name = package.get("name").and_then(serde_json::Value::as_str).unwrap_or("web");
    let script = ["start", "dev"].into_iter().find(|script| package.pointer(&format!("/scripts/{script}")).is_some())?;
    Some(web(name.rsplit('/').next().unwrap_or(name), &["npm", "run", script]))
}

fn cargo_toml(text: &str) -> Option<Draft> {
    let package = text.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1).take_while(|line| !line.starts_with('['));
    let name = package
        .filter_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='))
        .map(|value| value.trim().trim_matches('"'))
        .next()?;
    Some(web(name, &[&format!("target/release/{name}")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_says_how_it_is_run() {
        assert_eq!(package_json(r#"{"name": "@shop/Web_App", "scripts": {"start": "x"}}"#), Some(web("web-app", &["npm", "run", "start"])));
        assert_eq!(package_json(r#"{"name": "lib"}"#), None);
        assert_eq!(cargo_toml("[package]\nname = \"shop\"\n[dependencies]\nname = \"x\"\n"), Some(web("shop", &["target/release/shop"])));
        assert_eq!(cargo_toml("[workspace]\nmembers = []\n"), None);
    }
}

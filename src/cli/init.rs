//! `mesh init`: a first mesh.yaml, from what the project already says of itself.
mod guess;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;

use self::guess::{Guess, PUBLIC, guess};
use super::{
    exit::{Code, Failure, Result},
    output,
};

/// Write a mesh.yaml for the project in this directory.
#[derive(Debug, Args)]
pub struct Init {
    /// The project.
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

/// Above the services.
const HEAD: &str = "\
# What this project runs. `mesh run --all` starts it here; `kubectl apply -f mesh.yaml` gives it to a mesh-controller.
# Each instance gets its own port in $PORT and must listen there (a Worker gets none).
";

/// Below the first service.
const HINTS: &str = "  # replicas: 3                 # that many instances; the router spreads requests over them
  # healthPath: /health         # an instance gets requests once GET of this path answers 2xx or 3xx
  # strategy: LeastConnections  # or SessionAffinity; RoundRobin if left out
  # env:
  # - {name: LOG, value: info}
  # workingDir: backend         # relative to this project
";

impl Init {
    /// Writes the file, unless there is one.
    pub fn run(self) -> Result {
        let path = self.dir.join("mesh.yaml");
        let (guesses, source) = guess(&self.dir);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(Code::Failed, format!("{} is there already and stays as it is", path.display()))
            }
            _ => Failure::from(error).context(path.display()),
        })?;
        file.write_all(render(&guesses).as_bytes()).map_err(|error| Failure::from(error).context(path.display()))?;
        if guesses.iter().any(|guess| guess.command.iter().any(|word| word == PUBLIC)) {
            page(&self.dir.join(PUBLIC)).map_err(|error| Failure::from(error).context(self.dir.join(PUBLIC).display()))?;
        }
        output::print_line(&format!("wrote {} ({source}); look at its commands, then: mesh run --all", path.display()))
    }
}

/// A page for the example to serve, in a folder that holds nothing else; one that is there stays as it is.
fn page(public: &Path) -> std::io::Result<()> {
    if public.exists() {
        return Ok(());
    }
    std::fs::create_dir(public)?;
    std::fs::write(public.join("index.html"), "<!doctype html>\n<title>mesh</title>\n<p>It runs.</p>\n")
}

/// The file's text.
fn render(guesses: &[Guess]) -> String {
    let mut text = HEAD.to_owned();
    for (index, Guess { name, type_, command, route }) in guesses.iter().enumerate() {
        if index > 0 {
            text.push_str("---\n");
        }
        let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        text.push_str("apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\n");
        text.extend(["metadata:\n  name: ", name, "\nspec:\n  type: ", type_, "\n  command: [", &command.join(", "), "]\n"]);
        if let Some(route) = route {
            text.extend(["  route: ", route, "\n"]);
        }
        if index == 0 {
            text.push_str(HINTS);
        }
    }
    text
}

/// A word as YAML reads it back: in quotes (a JSON string is one of YAML) unless it is plain beyond doubt.
fn quoted(word: &str) -> String {
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let word_of_yaml =
        matches!(word.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n" | ".nan" | ".inf");
    if plain && !word_of_yaml { word.to_owned() } else { serde_json::Value::from(word).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use mesh_api::MeshService;

    #[test]
    fn what_is_written_can_be_read_and_says_what_was_guessed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Procfile"), "# c\nweb: node server.js --port \"$PORT\"\nworker: ./work yes\n").unwrap();
        let (guesses, source) = guess(dir.path());
        let text = render(&guesses);
        super::super::golden::check("init-procfile.yaml", &text);
        assert_eq!(source, "from the Procfile");
        let documents = manifest::parse("mesh.yaml", &text).unwrap();
        let services: Vec<MeshService> =
            documents.iter().map(|document| serde_json::from_value(serde_json::to_value(&document.object).unwrap()).unwrap()).collect();
        assert_eq!(services[0].spec.command.as_deref().unwrap(), ["/bin/sh", "-c", "exec node server.js --port \"$PORT\""]);
        assert_eq!(services[1].spec.command.as_deref().unwrap(), ["./work", "yes"]);
    }

    #[test]
    fn every_hint_is_a_field_once_it_is_no_comment() {
        let text = render(&[Guess::web("web", &["x"])]).replace("\n  # ", "\n  ");
        let spec = manifest::parse("mesh.yaml", &text).unwrap().remove(0).object.data["spec"].clone();
        for field in ["replicas", "healthPath", "strategy", "env", "workingDir"] {
            assert!(spec.get(field).is_some(), "{field} in {text}");
        }
    }

    #[test]
    fn the_example_serves_a_folder_of_its_own_and_not_the_project() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), "SECRET=1\n").unwrap();
        Init { dir: dir.path().to_owned() }.run().unwrap();
        let text = std::fs::read_to_string(dir.path().join("mesh.yaml")).unwrap();
        let spec = manifest::parse("mesh.yaml", &text).unwrap().remove(0).object.data["spec"].clone();
        let service: mesh_api::MeshServiceSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(crate::run::exposed::folder(&service, dir.path()), Some(dir.path().join("public")));
        let served: Vec<_> = std::fs::read_dir(dir.path().join("public")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(served, ["index.html"]);
    }

    #[test]
    fn a_file_that_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mesh.yaml"), "mine").unwrap();
        let failure = Init { dir: dir.path().to_owned() }.run().unwrap_err();
        assert!(failure.text().ends_with("is there already and stays as it is"), "{}", failure.text());
        assert_eq!(std::fs::read_to_string(dir.path().join("mesh.yaml")).unwrap(), "mine");
    }
}

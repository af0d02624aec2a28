//! `mesh init`: a first mesh.yaml, from what the project already says of itself.
mod guess;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;

use self::guess::{PUBLIC, Source, guess};
use super::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_convert::import::{Outcome, USUAL};

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

/// Below the first service, where it does not have the field.
const HINTS: [(&str, &str); 5] = [
    ("replicas", "replicas: 3                 # that many instances; the router spreads requests over them"),
    ("healthPath", "healthPath: /health         # an instance gets requests once GET of this path answers 2xx or 3xx"),
    ("strategy", "strategy: LeastConnections  # or SessionAffinity; RoundRobin if left out"),
    ("env", "env: [{name: LOG, value: info}]"),
    ("workingDir", "workingDir: backend         # relative to this project"),
];

impl Init {
    /// Writes the file, unless there is one.
    pub fn run(self) -> Result {
        let path = self.dir.join("mesh.yaml");
        if path.exists() {
            return Err(Failure::new(Code::Failed, format!("{} is there already and stays as it is", path.display())));
        }
        let (outcome, source) = guess(&self.dir)?;
        if source == Source::Example {
            page(&self.dir.join(PUBLIC)).map_err(|error| Failure::from(error).context(self.dir.join(PUBLIC).display()))?;
        }
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(|error| Failure::from(error).context(path.display()))?;
        file.write_all(render(&outcome).as_bytes()).map_err(|error| Failure::from(error).context(path.display()))?;
        if !outcome.is_whole() {
            output::remark(&outcome.summary());
        }
        output::print_line(&format!("wrote {} ({source}); look at its commands, then: mesh run --all", path.display()))?;
        let read = if source == Source::Procfile { Some("Procfile") } else { None };
        for other in USUAL.into_iter().filter(|name| Some(*name) != read && self.dir.join(name).is_file()) {
            output::remark(&format!("{other} is here too, and was not read: `mesh import {other}` makes MeshServices of it"));
        }
        Ok(())
    }
}

/// A page for the example to serve, in a folder that holds nothing else; one that is there stays as it is.
fn page(public: &Path) -> std::io::Result<()> {
    // A link may lead anywhere, to the project itself too.
    match std::fs::symlink_metadata(public) {
        Ok(found) if found.is_symlink() => {
            Err(std::io::Error::other("it is a symbolic link, and what it leads to would be served: remove it, or change the command"))
        }
        Ok(_) => Ok(()),
        Err(_) => {
            std::fs::create_dir(public)?;
            std::fs::write(public.join("index.html"), "<!doctype html>\n<title>mesh</title>\n<p>It runs.</p>\n")
        }
    }
}

/// The file's text.
fn render(outcome: &Outcome) -> String {
    let text = outcome.manifest();
    let (first, others) = text.find("---\n").map_or((text.as_str(), ""), |end| text.split_at(end));
    let has = |field: &str| outcome.drafts.first().is_some_and(|draft| draft.has(field));
    let hints = HINTS.iter().filter(|(field, _)| !has(field)).map(|(_, hint)| format!("  # {hint}\n"));
    format!("{HEAD}{first}{}{others}", hints.collect::<String>())
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
        let (outcome, source) = guess(dir.path()).unwrap();
        let text = render(&outcome);
        mesh_gear::golden::check("tests/golden/cli/init-procfile.yaml", &text);
        assert_eq!(source, Source::Procfile);
        let documents = manifest::parse("mesh.yaml", &text).unwrap();
        let services: Vec<MeshService> =
            documents.iter().map(|document| serde_json::from_value(serde_json::to_value(&document.object).unwrap()).unwrap()).collect();
        assert_eq!(services[0].spec.command.as_deref().unwrap(), ["node", "server.js", "--port", "$(PORT)"]);
        assert_eq!(services[1].spec.command.as_deref().unwrap(), ["./work", "yes"]);
    }

    #[test]
    fn every_hint_is_a_field_once_it_is_no_comment() {
        let dir = tempfile::tempdir().unwrap();
        let text = render(&guess(dir.path()).unwrap().0).replace("\n  # ", "\n  ");
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
    fn the_example_does_not_serve_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("public")).unwrap();
        let failure = Init { dir: dir.path().to_owned() }.run().unwrap_err();
        assert!(failure.text().contains("public: it is a symbolic link"), "{}", failure.text());
        assert!(!dir.path().join("mesh.yaml").exists());
    }

    #[test]
    fn a_procfile_that_cannot_be_read_is_refused_by_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Procfile"), "web: ./serve\nnonsense\n").unwrap();
        let failure = Init { dir: dir.path().to_owned() }.run().unwrap_err();
        assert_eq!((failure.code, failure.text().as_str()), (Code::Invalid, "Procfile:2: a line of a Procfile is NAME: COMMAND"));
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

//! `mesh import`: compose files, Procfiles, ecosystem files of pm2 and Deployments as MeshServices. Every key of the input is carried over,
//! known to mean nothing here (and listed once as such), or named with its file and line; nothing is dropped without a word.
//! Reads files only and talks to no API.
mod compose;
mod dotenv;
mod draft;
mod fields;
mod finish;
mod input;
mod kubernetes;
mod loosen;
mod pm2;
mod procfile;
mod render;
mod words;
pub(crate) mod yaml;

use std::{collections::BTreeMap, path::PathBuf, thread::available_parallelism};

use clap::{Args, ValueEnum};

pub use self::input::From;
use self::{draft::Outcome, input::Input};
use super::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_api::node::BackendKind;

/// Make MeshServices of compose files, Procfiles, pm2 ecosystem files or Deployments.
#[derive(Debug, Args)]
#[command(after_help = "What cannot be carried over stands as a comment at its service, and with file and line on standard error.\n\
Exit codes: 0 something was made, 4 the input cannot be read, or nothing could be made of it.")]
pub struct Import {
    /// Files, directories of manifests, or - for standard input [default: compose.yaml, Procfile or ecosystem.config.js here].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files are; told by their names and content if left out.
    #[arg(long, value_name = "KIND")]
    from: Option<From>,
    /// Where the MeshServices go.
    #[arg(short, long, value_name = "FILE|-", default_value = "-")]
    output: PathBuf,
    /// What is to run them [default: podman for images, process for others].
    #[arg(long, value_name = "BACKEND")]
    backend: Option<Runner>,
    /// Which env_NAME of an ecosystem file of pm2 is laid over env.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
}

/// What is to run the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runner {
    /// Plain processes.
    Process,
    /// Containers of Podman, Docker, Quadlet or a cluster.
    Podman,
}

/// What an import depends on besides its input.
#[derive(Debug, Clone, Default)]
struct Setting {
    backend: Option<BackendKind>,
    environment: BTreeMap<String, String>,
    cores: usize,
    pm2_env: Option<String>,
}

impl Setting {
    /// Whether what is made of images stays so.
    fn runs_containers(&self) -> bool {
        self.backend != Some(BackendKind::Process)
    }
}

impl Import {
    /// Reads, makes, checks and writes.
    pub fn run(self) -> Result {
        let setting = Setting {
            backend: self.backend.map(|runner| match runner {
                Runner::Process => BackendKind::Process,
                Runner::Podman => BackendKind::Podman,
            }),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            cores: available_parallelism().map_or(1, usize::from),
            pm2_env: self.env,
        };
        let outcome = import(input::read(&self.files, self.from)?, &setting)?;
        let (text, summary) = (render::manifest(&outcome), render::summary(&outcome));
        if outcome.drafts.is_empty() {
            return Err(Failure::new(Code::Invalid, format!("nothing could be made of it\n{summary}")));
        }
        if self.output.as_os_str() == "-" {
            output::print(&text)?;
        } else {
            std::fs::write(&self.output, text).map_err(|error| Failure::from(error).context(self.output.display()))?;
        }
        eprint!("{summary}");
        Ok(())
    }
}

/// What is made of inputs. Files of one kind belong together.
fn import(inputs: Vec<(From, Input)>, setting: &Setting) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut by_kind: BTreeMap<From, Vec<Input>> = BTreeMap::new();
    for (kind, input) in inputs {
        by_kind.entry(kind).or_default().push(input);
    }
    for (kind, inputs) in by_kind {
        let before = outcome.drafts.len();
        match kind {
            From::Compose => compose::import(inputs, setting, &mut outcome)?,
            From::Procfile => procfile::import(&inputs, &mut outcome)?,
            From::Pm2 => pm2::import(inputs, setting, &mut outcome)?,
            From::Kubernetes => kubernetes::import(inputs, &mut outcome)?,
        }
        let backend = setting.backend.unwrap_or(match kind {
            From::Compose => BackendKind::Podman,
            From::Procfile | From::Pm2 => BackendKind::Process,
            From::Kubernetes => BackendKind::Kubernetes,
        });
        finish::finish(&mut outcome, before, backend)?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;

//! `mesh import`: files of other tools as MeshServices. Reads files only and talks to no API.
use std::{path::PathBuf, thread::available_parallelism};

use clap::{Args, ValueEnum};

use super::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_api::node::BackendKind;
use mesh_convert::import::{self, Format, Setting};

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
    from: Option<Format>,
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
        let outcome = import::import(import::read(&self.files, self.from)?, &setting)?;
        let (text, summary) = (outcome.manifest(), outcome.summary());
        if outcome.drafts.is_empty() {
            return Err(Failure::new(Code::Invalid, format!("nothing could be made of it\n{summary}")));
        }
        if self.output.as_os_str() == "-" {
            output::print(&text)?;
        } else {
            std::fs::write(&self.output, text).map_err(|error| Failure::from(error).context(self.output.display()))?;
        }
        output::remark(&summary);
        Ok(())
    }
}

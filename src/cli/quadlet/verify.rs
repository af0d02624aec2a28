//! `mesh quadlet verify`: our own checks of a folder's unit files, then the installed generator's dry run.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use super::generator;
use crate::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_backend::quadlet::{
    generator::installed,
    verify::{self, Level},
    version::Podman,
};

/// Check unit files. Exit code 1 if there are errors.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The folder of the units; one that `generate` made, or any other.
    #[arg(value_name = "DIR", default_value = ".mesh/quadlet")]
    dir: PathBuf,
    /// The Podman that is to run them [default: the installed one, else 5.4].
    #[arg(long, value_name = "VERSION")]
    podman_version: Option<Podman>,
    /// For the systemd of a user.
    #[arg(long)]
    user: bool,
}

impl Verify {
    /// Prints what it finds.
    pub(super) fn run(self) -> Result {
        let podman = self.podman_version.or_else(generator::podman).unwrap_or(super::WITHOUT_PODMAN);
        let mut files = BTreeMap::new();
        // Of a folder that `generate` made, data/ is no unit's: a ConfigMap's file may be called x.container.
        let parts: Vec<PathBuf> = ["quadlet", "systemd"].map(|part| self.dir.join(part)).into_iter().filter(|part| part.is_dir()).collect();
        for dir in if parts.is_empty() { vec![self.dir.clone()] } else { parts } {
            read(&dir, &mut files)?;
        }
        if files.is_empty() {
            return Err(Failure::new(
                Code::Usage,
                format!("{}: there are no unit files; `mesh quadlet generate` makes some", self.dir.display()),
            ));
        }
        let mut findings: Vec<String> = Vec::new();
        let mut errors = 0;
        for finding in verify::verify(&files, podman) {
            errors += usize::from(finding.level == Level::Error);
            findings.push(finding.to_string());
        }
        let asked = self.ask_generator(&files, &mut findings)?;
        errors += asked.unwrap_or(0);
        for finding in &findings {
            output::print_line(finding)?;
        }
        let generator = if asked.is_some() { "and by the installed generator" } else { "no generator is installed here" };
        output::print_line(&format!("{} files checked for Podman {podman}, {generator}: {errors} errors", files.len()))?;
        if errors == 0 { Ok(()) } else { Err(Failure::said(Code::Failed)) }
    }

    /// How many errors the generator finds; none if there is none.
    fn ask_generator(&self, files: &BTreeMap<String, String>, findings: &mut Vec<String>) -> Result<Option<usize>> {
        let Some(generator) = installed(self.user) else { return Ok(None) };
        let below = self.dir.join("quadlet");
        let dir = if below.is_dir() { below } else { self.dir.clone() };
        let dir = dir.canonicalize()?;
        let run = generator::dry_run(&generator, &dir, self.user)?;
        let before = findings.len();
        findings.extend(run.complaints.iter().map(|complaint| format!("error: {} says: {complaint}", generator.display())));
        let names = files.keys().filter(|path| Path::new(path).starts_with(&self.dir)).filter_map(|path| path.rsplit('/').next());
        for (file, service) in names.filter_map(|name| Some((name, service(name)?))) {
            if !run.services.contains(&service) {
                findings.push(format!("error: {file}: {} made no {service} of it", generator.display()));
            }
        }
        Ok(Some(findings.len() - before))
    }
}

/// The service that the generator makes of a file.
fn service(file: &str) -> Option<String> {
    let (stem, suffix) = file.rsplit_once('.')?;
    match suffix {
        "container" => Some(format!("{stem}.service")),
        "network" | "volume" | "image" | "pod" => Some(format!("{stem}-{suffix}.service")),
        _ => None,
    }
}

/// All units and drop-ins below a folder. A link is read as what it points to.
fn read(dir: &Path, files: &mut BTreeMap<String, String>) -> Result {
    let entries = fs::read_dir(dir).map_err(|error| Failure::from(error).context(dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, files)?;
            continue;
        }
        let known = ["container", "network", "volume", "image", "pod", "service", "socket", "timer", "conf"];
        if path.extension().and_then(|suffix| suffix.to_str()).is_some_and(|suffix| known.contains(&suffix)) {
            let bytes = fs::read(&path).map_err(|error| Failure::from(error).context(path.display()))?;
            files.insert(path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(())
}

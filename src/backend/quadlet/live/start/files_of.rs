//! What must be there before systemd is asked to start a unit: the network's name, secrets, mounted files, unit files, and systemd's knowledge of them.
use std::{fs, io, path::Path, time::Duration};

use tokio::process::Command;

use super::Made;
use crate::{
    Error,
    quadlet::{
        generator,
        live::{
            Inner,
            files::{self, Wanted},
            place::Manager,
            podman, shown,
            state::UnitState,
            system,
        },
        render::DataFile,
    },
};
use mesh_api::labels;
use mesh_plan::instance::ContainerLaunch;

/// The generator's dry run takes milliseconds.
const DRY_RUN: Duration = Duration::from_secs(20);

impl Inner {
    /// Brings about all that a unit needs.
    pub(super) async fn prepare(&self, launch: &ContainerLaunch, made: &Made) -> Result<(), Error> {
        free_container(&launch.container.name, &made.unit).await?;
        let changed = {
            let _one = self.writing.lock().await;
            self.free_network(made).await?;
            self.note_inherited(launch).await?;
            self.secrets(&made.secrets).await?;
            data_files(&self.place.host.data, &made.stem, &made.data)
                .map_err(system("write the mounted files below", &self.place.host.data))?;
            files::bring_about(&made.wanted, &self.maker.controller)?
        };
        if changed || self.reloads.is_first() {
            self.reloads.reload(&self.bus).await?;
        }
        Ok(())
    }

    /// A network of that name that is there before its unit is must be ours.
    async fn free_network(&self, made: &Made) -> Result<(), Error> {
        let known = made
            .wanted
            .iter()
            .any(|file| matches!(file, Wanted::Text { path, .. } if path.extension().is_some_and(|e| e == "network") && path.exists()));
        if known {
            return Ok(());
        }
        match podman::network_labels(&made.network).await? {
            Some(labels) if labels.get(labels::CONTROLLER).is_none_or(|id| *id != self.maker.controller) => Err(Error::NameTaken {
                what: "network",
                name: made.network.clone(),
                remedy: format!("give another name in spec.podman.network, or remove it (podman network rm {})", made.network),
            }),
            _ => Ok(()),
        }
    }

    /// What systemd has made of the files. A unit that the generator does not understand is dropped without a word, so it is asked why.
    pub(super) async fn loaded(&self, made: &Made) -> Result<UnitState, Error> {
        let mut state = self.bus.state(&made.unit).await?;
        if matches!(state.load.as_str(), "not-found" | "bad-setting" | "error") {
            // Somebody may have mended a drop-in since.
            self.reloads.reload(&self.bus).await?;
            state = self.bus.state(&made.unit).await?;
        }
        let ours = Path::new(&state.source) == made.paths.own || Path::new(&state.source) == made.paths.template;
        match state.load.as_str() {
            "loaded" if ours => Ok(state),
            "loaded" => Err(Error::NameTaken {
                what: "unit",
                name: made.unit.clone(),
                remedy: format!(
                    "systemd has it from {}: remove that, then run systemctl daemon-reload",
                    if state.source.is_empty() { "elsewhere" } else { &state.source }
                ),
            }),
            "masked" => Err(Error::Refused {
                act: format!("start {}", made.unit),
                why: format!("it is masked: unmask it (systemctl unmask {})", made.unit),
            }),
            _ => {
                let why = self.dry_run(&made.paths.folder).await;
                Err(Error::Refused { act: format!("make unit {} of {}", made.unit, shown(&made.paths.own)), why })
            }
        }
    }

    /// What Quadlet's generator says against the files of a service.
    async fn dry_run(&self, folder: &Path) -> String {
        let user = match self.place.manager {
            Manager::System => false,
            Manager::User => true,
        };
        let Some(program) = generator::of_systemd(user) else {
            let places: Vec<String> = generator::places(user).map(|path| shown(&path)).collect();
            return format!("Quadlet's generator is not there ({}): install Podman as a package of the system", places.join(", "));
        };
        let mut command = Command::from(generator::dry_run(&program, &self.place.units, user));
        let output = match tokio::time::timeout(DRY_RUN, command.kill_on_drop(true).output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => {
                return format!("Quadlet's generator {}: {error}; install Podman as a package of the system", shown(&program));
            }
            Err(_) => return format!("Quadlet's generator {} does not answer", shown(&program)),
        };
        cause(&String::from_utf8_lossy(&output.stderr), folder)
    }
}

/// What says whose the instance is goes into its drop-in; it must not stand in what its revision shares.
pub(super) fn unlabelled(launch: &mut ContainerLaunch) {
    launch.container.labels.remove(labels::UID);
    launch.container.labels.remove(labels::CONTROLLER);
}

/// The words of the generator about a folder's files; all its words if none are.
fn cause(said: &str, folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let told: Vec<&str> = said.lines().filter(|line| !line.contains("Loading source unit file")).collect();
    let about: Vec<&str> = told.iter().copied().filter(|line| line.contains(&name)).collect();
    let lines = if about.is_empty() { told } else { about };
    let text = lines.iter().map(|line| {
        line.trim_start_matches("quadlet-generator").trim_start_matches(|c: char| "[]:".contains(c) || c.is_ascii_digit()).trim()
    });
    let text = text.collect::<Vec<_>>().join("; ");
    let drop_ins = "look at your drop-ins beside it";
    if text.is_empty() {
        format!("Quadlet's generator made no unit of it, and does not say why: {drop_ins}")
    } else {
        format!("Quadlet's generator says: {text}: {drop_ins}")
    }
}

/// Quadlet's units replace a container of their name, so one of somebody else's must be found before.
async fn free_container(name: &str, unit: &str) -> Result<(), Error> {
    match podman::container_labels(name).await? {
        Some(labels) if labels.get(labels::SYSTEMD_UNIT).is_none_or(|of| of != unit) => Err(Error::NameTaken {
            what: "container",
            name: name.to_owned(),
            remedy: format!("remove it (podman rm -f {name}), or give another spec.podman.containerPrefix"),
        }),
        _ => Ok(()),
    }
}

/// Writes what is mounted, and removes what is mounted no more.
fn data_files(data: &Path, stem: &str, files: &[DataFile]) -> io::Result<()> {
    for file in files {
        let path = data.join(&file.path);
        if fs::read(&path).is_ok_and(|there| there == file.content) {
            continue;
        }
        files::write(&path, &file.content, file.mode)?;
    }
    let Ok(mounts) = fs::read_dir(data.join(stem)) else { return Ok(()) };
    for entry in mounts.flatten().filter_map(|mount| fs::read_dir(mount.path()).ok()).flatten().flatten() {
        let path = entry.path();
        if !files.iter().any(|file| data.join(&file.path) == path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_words_about_the_folder_are_the_cause() {
        let said = "quadlet-generator[12]: Loading source unit file /u/mesh-shop.api/x@.container\n\
                    quadlet-generator[12]: converting \"other.container\": no Image\n\
                    quadlet-generator[12]: converting \"x@0.container\": unsupported key 'Memory' in group 'Container' in /u/mesh-shop.api/x@0.container.d/50-local.conf\n";
        let cause = cause(said, Path::new("/u/mesh-shop.api"));
        assert!(cause.contains("unsupported key 'Memory'") && !cause.contains("other.container") && !cause.contains("Loading"), "{cause}");
    }

    #[test]
    fn a_mounted_file_that_is_wanted_no_more_goes() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| DataFile { path: format!("stem/conf/{name}").into(), mode: 0o640, content: name.as_bytes().to_vec() };
        data_files(dir.path(), "stem", &[file("a"), file("b")]).unwrap();
        data_files(dir.path(), "stem", &[file("b")]).unwrap();
        assert!(!dir.path().join("stem/conf/a").exists());
        assert_eq!(fs::read(dir.path().join("stem/conf/b")).unwrap(), b"b");
    }
}

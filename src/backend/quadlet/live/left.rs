//! The units of controllers that are gone, and their removal: as their makers would have done it, and without a controller.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    bus::Bus,
    files::{self, Paths},
    maker::Maker,
    place::Manager,
    podman,
    remove::Removal,
    shown,
    state::Phase,
    system,
};
use crate::{
    Error,
    podman::{
        identity,
        left::{Made, What},
    },
};

/// Between looks at a unit that ends; systemd kills it when its time is up.
const PAUSE: Duration = Duration::from_millis(50);

/// The units of this user's manager of systemd.
#[derive(Debug)]
pub struct Units {
    dir: PathBuf,
    bus: Bus,
}

impl Units {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// A user without a home.
    pub fn of_this_user() -> Result<Self, Error> {
        let manager = Manager::of_this_user();
        Ok(Self { dir: manager.units()?, bus: Bus::new(manager) })
    }

    /// What controllers have made that are gone, in the order in which it can be removed. The controller of `own` is never gone.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn unowned(&self, own: &str) -> Result<Vec<Made>, Error> {
        unowned(&self.dir, own)
    }

    /// Removes one: a unit is ended before, a volume goes with its data. systemd is told by [`Units::reload`].
    ///
    /// # Errors
    /// Something else uses it, somebody has edited its file, or systemd or Podman refuses.
    pub async fn remove(&self, made: &Made) -> Result<(), Error> {
        let removal = Removal { units: &self.dir, controller: &made.controller, bus: &self.bus };
        match made.what {
            What::Unit => self.remove_unit(&removal, &made.name).await,
            What::Network => removal.shared(&self.unused(made, "network")?).await,
            What::Volume => {
                let path = self.unused(made, "volume")?;
                podman::remove("volume", &made.name).await?;
                removal.shared(&path).await
            }
            What::Container | What::Secret => Ok(()),
        }
    }

    async fn remove_unit(&self, removal: &Removal<'_>, unit: &str) -> Result<(), Error> {
        let edited = |file: &str| Error::Refused { act: format!("remove {file}"), why: "it was edited by hand, so it stays".to_owned() };
        let records = files::found(&self.dir, removal.controller).map_err(system("read the units in", &self.dir))?;
        let record = records.into_iter().find(|record| record.unit() == unit).ok_or_else(|| edited(unit))?;
        self.end(unit).await?;
        let (freed, paths) = (removal.instance(&record).await?, Paths::of(&self.dir, &record));
        let left = [Some(paths.drop_in()), Some(paths.own), Some(paths.template).filter(|_| freed.revision)];
        left.into_iter().flatten().find(|path| path.exists()).map_or(Ok(()), |path| Err(edited(&shown(&path))))
    }

    /// Has systemd forget the units whose files are gone.
    ///
    /// # Errors
    /// systemd does not answer.
    pub async fn reload(&self) -> Result<(), Error> {
        self.bus.reload().await
    }

    /// Ends a unit, in the time that it gives its program.
    async fn end(&self, unit: &str) -> Result<(), Error> {
        self.bus.stop(unit).await?;
        loop {
            let state = self.bus.state(unit).await?;
            match state.phase() {
                Phase::Idle | Phase::Ended if !state.waits() => return self.bus.reset_failed(unit).await,
                Phase::Idle | Phase::Ended | Phase::Starting | Phase::Running | Phase::Stopping => sleep(PAUSE).await,
            }
        }
    }

    /// The file of a unit that instances shared, if none does any more.
    fn unused(&self, made: &Made, kind: &str) -> Result<PathBuf, Error> {
        let path = files::shared(&self.dir, &format!("{}.{kind}", made.name));
        let unused = files::unused(&self.dir, &made.controller).map_err(system("read the units in", &self.dir))?;
        if unused.contains(&path) {
            return Ok(path);
        }
        let why = "a unit names it, or its file was edited by hand".to_owned();
        Err(Error::Refused { act: format!("remove {}", shown(&path)), why })
    }
}

fn unowned(units: &Path, own: &str) -> Result<Vec<Made>, Error> {
    let made = files::made(units).map_err(system("read the units in", units))?;
    let gone = made.into_iter().filter_map(|(file, text)| {
        let maker = Maker::of(&text).filter(|maker| maker.controller != own && identity::maker_is_gone(|label| maker.label(label)))?;
        let (what, name) = files::stands_for(&file)?;
        Some(Made { what, name, controller: maker.controller, gone: true })
    });
    let mut gone: Vec<Made> = gone.collect();
    gone.sort();
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::quadlet::header;

    /// Writes the files of one instance, and of what it shares, as a controller of that place does.
    fn write(units: &Path, namespace: &str, controller: &str, place: Option<&str>) {
        let line = place.map(|place| format!("X-MeshStateDir={place}\n")).unwrap_or_default();
        let text = header::add(&format!("[Unit]\nDescription=x\n{line}"), controller, "x");
        let service = format!("mesh-{namespace}.api");
        for file in [
            format!("{service}/{service}-r@.container"),
            format!("{service}/{service}-r@0.container.d/10-mesh.conf"),
            format!("mesh.shared/{namespace}.network"),
            format!("mesh.shared/{namespace}-keep.volume"),
        ] {
            files::write(&units.join(file), text.as_bytes(), 0o644).unwrap();
        }
        files::write(&units.join(format!("{service}/{service}-r@0.container.d/50-local.conf")), b"[Unit]\nDescription=mine\n", 0o644)
            .unwrap();
    }

    #[test]
    fn what_nobody_owns_is_what_a_controller_made_whose_state_directory_here_is_gone() {
        let (dir, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = |name: &str| identity::place(&states.path().join(name)).unwrap();
        fs::create_dir(states.path().join("lives")).unwrap();
        let lives = identity::controller_id(&states.path().join("lives"), None).unwrap();
        write(dir.path(), "lives", &lives, Some(&place("lives")));
        write(dir.path(), "gone", "gone", Some(&place("gone")));
        write(dir.path(), "replaced", "former", Some(&place("lives")));
        write(dir.path(), "elsewhere", "gone", Some("elsewhere:/gone"));
        write(dir.path(), "old", "gone", None);
        let all: Vec<String> = unowned(dir.path(), "").unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "unit mesh-gone.api-r@0.service",
                "unit mesh-replaced.api-r@0.service",
                "network gone",
                "network replaced",
                "volume gone-keep",
                "volume replaced-keep",
            ]
        );
        let others = unowned(dir.path(), "gone").unwrap();
        assert!(others.iter().all(|made| made.controller == "former") && others.len() == 3, "one's own is not: {others:?}");
    }
}

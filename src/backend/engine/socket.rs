//! Where an engine's socket is looked for.
use std::path::{Path, PathBuf};

use super::Error;

/// What of the surroundings says where it may be.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `--engine-socket`.
    pub flag: Option<String>,
    /// `$CONTAINER_HOST`, which Podman's own client heeds.
    pub container_host: Option<String>,
    /// `$DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// This process's user.
    pub uid: u32,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process(flag: Option<String>) -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            flag,
            container_host: var("CONTAINER_HOST"),
            docker_host: var("DOCKER_HOST"),
            runtime_dir: var("XDG_RUNTIME_DIR").map(PathBuf::from),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// The places to look at, the first that is there wins. A place that was named is the only one.
    ///
    /// # Errors
    /// A place that was named and is no Unix socket.
    pub fn places(&self) -> Result<Vec<PathBuf>, Error> {
        if let Some(named) = [&self.flag, &self.container_host, &self.docker_host].into_iter().flatten().next() {
            return path(named).map(|path| vec![path]).ok_or_else(|| Error::NotUnix { given: named.clone() });
        }
        let mut places = Vec::new();
        if self.uid != 0 {
            places.extend(self.runtime_dir.iter().map(|dir| dir.join("podman/podman.sock")));
            places.push(PathBuf::from(format!("/run/user/{}/podman/podman.sock", self.uid)));
        }
        places.extend(["/run/podman/podman.sock", "/var/run/docker.sock"].map(PathBuf::from));
        places.dedup();
        Ok(places)
    }

    /// The first place where something is.
    ///
    /// # Errors
    /// Nothing is at any of them.
    pub fn find(&self) -> Result<PathBuf, Error> {
        let looked = self.places()?;
        looked.iter().find(|place| there(place)).cloned().ok_or(Error::NoSocket { looked })
    }
}

/// A directory that this user may not enter may well hold a socket: opening it will say so.
fn there(place: &Path) -> bool {
    match place.try_exists() {
        Ok(exists) => exists,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

fn path(named: &str) -> Option<PathBuf> {
    let path = named.strip_prefix("unix://").unwrap_or(named);
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_is_the_only_place() {
        let named = |flag: Option<&str>, container: Option<&str>, docker: Option<&str>| Surroundings {
            flag: flag.map(str::to_owned),
            container_host: container.map(str::to_owned),
            docker_host: docker.map(str::to_owned),
            ..Surroundings::default()
        };
        let places = |surroundings: Surroundings| surroundings.places().map(|places| places[0].display().to_string());
        assert_eq!(places(named(Some("/a"), Some("unix:///b"), Some("unix:///c"))).unwrap(), "/a");
        assert_eq!(places(named(None, Some("unix:///b"), Some("unix:///c"))).unwrap(), "/b");
        assert_eq!(places(named(None, None, Some("unix:///c"))).unwrap(), "/c");
        let error = places(named(None, None, Some("tcp://host:2375"))).unwrap_err();
        assert!(error.to_string().starts_with("tcp://host:2375: only a Unix socket"), "{error}");
    }

    #[test]
    fn a_user_has_an_engine_of_their_own_before_that_of_the_machine() {
        let user = Surroundings { runtime_dir: Some("/run/user/1000".into()), uid: 1000, ..Surroundings::default() };
        let shown: Vec<String> = user.places().unwrap().iter().map(|place| place.display().to_string()).collect();
        assert_eq!(shown, ["/run/user/1000/podman/podman.sock", "/run/podman/podman.sock", "/var/run/docker.sock"]);
        assert_eq!(Surroundings::default().places().unwrap().len(), 2);
    }

    #[test]
    fn an_absent_socket_lists_where_it_was_looked_for() {
        let error = Surroundings { flag: Some("/nowhere/x.sock".to_owned()), ..Surroundings::default() }.find().unwrap_err().to_string();
        assert!(error.contains("/nowhere/x.sock") && error.contains("enable --now podman.socket"), "{error}");
    }
}

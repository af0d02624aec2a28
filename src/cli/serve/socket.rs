//! Where the agent's socket is if nobody says it: in the state directory, or where sockets of services are if that has too long a path for one.
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use mesh_agent::MAX_PATH;
use mesh_api::names;

/// Below a folder that nobody else may enter, in one that whoever is the user in a container may: containers have that one mounted.
const SOCKET: &str = "agent/agent.sock";

/// The path.
pub(super) fn of(state_dir: &Path) -> PathBuf {
    let runtime =
        if rustix::process::geteuid().is_root() { Some("/run".into()) } else { std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) };
    let path = chosen(state_dir, runtime.as_deref());
    if let Some(folder) = path.ancestors().nth(2).filter(|folder| *folder != state_dir) {
        // If it cannot be made, the socket cannot, and that is told.
        let _ = DirBuilder::new().mode(0o700).create(folder);
    }
    path
}

fn chosen(state_dir: &Path, runtime: Option<&Path>) -> PathBuf {
    let fits = |path: &PathBuf| path.as_os_str().len() <= MAX_PATH;
    let own = state_dir.join(SOCKET);
    let elsewhere = || {
        // As many as there are state directories.
        let name = format!("mesh-{}", names::revision(state_dir.as_os_str().as_encoded_bytes()));
        runtime.map(|runtime| runtime.join(name).join(SOCKET)).filter(fits)
    };
    if fits(&own) { own } else { elsewhere().unwrap_or(own) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_the_state_directory_unless_its_path_would_be_too_long_there() {
        let long = PathBuf::from(format!("/home/{}/.mesh", "x".repeat(90)));
        let run = Path::new("/run/user/1000");
        assert_eq!(chosen(Path::new("/var/lib/mesh"), Some(run)), Path::new("/var/lib/mesh/agent/agent.sock"));
        let elsewhere = chosen(&long, Some(run));
        assert!(elsewhere.starts_with(run) && elsewhere.ends_with(SOCKET), "{}", elsewhere.display());
        assert_ne!(elsewhere, chosen(&long.join("other"), Some(run)));
        assert_eq!(chosen(&long, None), long.join(SOCKET));
    }
}

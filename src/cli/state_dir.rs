//! Where a controller keeps its state, unless it is told.
use std::path::{Path, PathBuf};

/// `/var/lib/mesh` for root, else `$XDG_STATE_HOME/mesh`, which is `~/.local/state/mesh` unless set.
pub fn default() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from_settings(rustix::process::geteuid().is_root(), var("XDG_STATE_HOME"), var("HOME"))
}

fn from_settings(root: bool, xdg: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    match (root, xdg, home) {
        (true, _, _) => PathBuf::from("/var/lib/mesh"),
        (false, Some(state), _) => state.join("mesh"),
        (false, None, Some(home)) => home.join(".local/state/mesh"),
        // Without a home there is only a place that does not outlive a boot.
        (false, None, None) => PathBuf::from("/tmp/mesh"),
    }
}

/// The state directory that `mesh run` uses in a project.
pub const IN_PROJECT: &str = ".mesh";

/// The kubeconfig in a state directory.
pub fn kubeconfig(state_dir: &Path) -> PathBuf {
    state_dir.join("kubeconfig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_its_own_place_and_others_follow_xdg() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(from_settings(true, path("/x"), path("/root")), Path::new("/var/lib/mesh"));
        assert_eq!(from_settings(false, path("/x"), path("/home/u")), Path::new("/x/mesh"));
        assert_eq!(from_settings(false, None, path("/home/u")), Path::new("/home/u/.local/state/mesh"));
    }
}

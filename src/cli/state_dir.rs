//! Where a controller keeps its state, unless it is told, and whether it may be kept there.
pub(crate) mod owner;
pub mod trust;

use std::path::{Path, PathBuf};

use crate::exit::{Code, Failure, Result};

/// The one that was named, else the default one.
///
/// # Errors
/// None was named, and there is no home for one.
pub(crate) fn or_default(named: Option<PathBuf>) -> Result<PathBuf> {
    named.or_else(default).ok_or_else(|| {
        let text = "there is no place to keep the state, as neither $XDG_STATE_HOME nor $HOME is set to an absolute path: name one with --state-dir";
        Failure::new(Code::Usage, text)
    })
}

/// `/var/lib/mesh` for root, else `$XDG_STATE_HOME/mesh`, which is `~/.local/state/mesh` unless set. Without a home there is none: a place that
/// everybody can make beforehand is no place for it.
pub fn default() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from_settings(rustix::process::geteuid().is_root(), var("XDG_STATE_HOME"), var("HOME"))
}

fn from_settings(root: bool, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/lib/mesh"));
    }
    xdg.map(|state| state.join("mesh")).or_else(|| Some(home?.join(".local/state/mesh")))
}

/// The state directory that `mesh run` uses in a project.
pub const IN_PROJECT: &str = ".mesh";

/// That of the project here or above, if it has a kubeconfig.
pub(crate) fn in_project(current: &Path) -> Option<PathBuf> {
    current.ancestors().map(|dir| dir.join(IN_PROJECT)).find(|dir| is_there(&kubeconfig(dir)))
}

/// One that cannot be looked at is there all the same; reading it will say whose it is.
fn is_there(file: &Path) -> bool {
    std::fs::metadata(file).map_or_else(|error| error.kind() == std::io::ErrorKind::PermissionDenied, |found| found.is_file())
}

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
        assert_eq!(from_settings(true, path("/x"), path("/root")), path("/var/lib/mesh"));
        assert_eq!(from_settings(false, path("/x"), path("/home/u")), path("/x/mesh"));
        assert_eq!(from_settings(false, None, path("/home/u")), path("/home/u/.local/state/mesh"));
        assert_eq!(from_settings(false, None, None), None, "never a place that others can make beforehand");
    }
}

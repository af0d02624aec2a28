//! What nobody may delete in the API of a machine, because everything here stands on it.
use std::path::Path;

use kube::ResourceExt;

use mesh_api::{crds, labels::SYSTEM_NAMESPACE};
use mesh_apiserver::Protected;

/// The system namespace, without which no instance is placed and no drain is acknowledged; and the definitions, with which all their objects
/// would go, and what runs for them.
pub(super) fn protected(state_dir: &Path) -> Vec<Protected> {
    let uninstall = format!(
        "to uninstall, end mesh-controller (`mesh-controller uninstall` if it is a unit of systemd) and remove its state directory ({})",
        state_dir.display()
    );
    let namespace = Protected {
        resource: "namespaces",
        name: SYSTEM_NAMESPACE.to_owned(),
        why: format!("this namespace may not be deleted, mesh-controller works with what is in it; {uninstall}"),
    };
    let definition = |name: String| Protected {
        resource: "customresourcedefinitions.apiextensions.k8s.io",
        why: format!(
            "this definition may not be deleted, it is mesh-controller's own and all its objects would go with it; \
             `kubectl delete {name} --all --all-namespaces` deletes those alone; {uninstall}"
        ),
        name,
    };
    [namespace].into_iter().chain(crds::all().iter().map(ResourceExt::name_any).map(definition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_ours_is_protected_and_says_how_it_is_taken_away() {
        let all = protected(Path::new("/var/lib/mesh"));
        let names: Vec<_> = all.iter().map(|protected| protected.name.as_str()).collect();
        let kinds =
            ["meshservices", "meshinstances", "meshnodes", "meshrouters", "meshtasks"].map(|kind| format!("{kind}.mesh-controller.dev"));
        assert_eq!(names, [&["mesh-system"], kinds.each_ref().map(String::as_str).as_slice()].concat());
        for Protected { name, why, .. } in &all {
            assert!(why.contains("remove its state directory (/var/lib/mesh)"), "{name}: {why}");
        }
        assert!(all[1].why.contains("`kubectl delete meshservices.mesh-controller.dev --all --all-namespaces`"), "{}", all[1].why);
    }
}

//! What a controller left whose state directory was removed: taken up by the next one at its place, or named and removed by `mesh doctor`.
use super::mesh::{Mesh, WEB};
use crate::vm::machine::Vm;

/// Instances with a volume that outlives them, and one that does not.
fn keeper() -> String {
    WEB.replace("replicas: 3", "replicas: 2").replace(
        "  route: /",
        "  route: /\n  volumes: [{name: keep, persistentVolumeClaim: {claimName: keep}}, {name: scratch, emptyDir: {}}]\n  \
         volumeMounts: [{name: keep, mountPath: /keep}, {name: scratch, mountPath: /scratch}]",
    )
}

/// All that is there of a namespace.
fn all(name: &str) -> String {
    format!(
        "{{ podman ps -a --format '{{{{.Names}}}}'; podman network ls --format '{{{{.Name}}}}'; podman volume ls --format '{{{{.Name}}}}'
            podman secret ls --format '{{{{.Name}}}}'; find /etc/containers/systemd -type f -o -type l
            systemctl list-units --all --plain --no-legend 'mesh-*' | awk '{{print $1}}'; }} | grep mesh-{name} || true"
    )
}

#[test]
fn after_its_state_directory_was_removed_a_controller_takes_up_what_it_left_and_says_so() {
    let Some(vm) = Vm::alone() else { return };
    let mesh = Mesh::start(&vm, "heir", 9750);
    mesh.apply(&keeper());
    mesh.ready("web", 2);
    let (unit, container) = mesh.first("web");
    vm.sh(&format!(
        "for name in mesh-heir-keep {container}-scratch; do echo word > $(podman volume inspect -f '{{{{.Mountpoint}}}}' $name)/word; done"
    ));
    let before = mesh.containers();

    mesh.vanish();
    mesh.anew();
    assert_eq!(mesh.containers(), before, "they run on until their service is there again");
    mesh.apply(&keeper());
    mesh.ready("web", 2);
    vm.until("an answer", &format!("curl -fsS {}/ | grep '^web-.* one$'", mesh.router()));
    assert_eq!(mesh.first("web"), (unit, container.clone()), "the names are free again");
    assert_eq!(mesh.containers().lines().count(), 2);
    assert_eq!(
        vm.sh(&format!("podman exec {container} sh -c 'cat /keep/word; ls /scratch'")),
        "word\n",
        "the data of a claim, and no other's"
    );
    let events = "get events -o json | jq -r '.items[]|select(.reason == \"Adopted\")|.message'";
    let told = mesh.kubectl(events);
    assert!(told.contains("volume mesh-heir-keep: left by the controller that this state directory had before it was removed"), "{told}");
    assert_eq!(told.matches("volume mesh-heir-keep").count(), 1, "it is told of once: {told}");

    mesh.kubectl("delete msvc web --wait --timeout 60s");
    assert_eq!(vm.sh(&all("heir")), "mesh-heir-keep\n", "a claim keeps its data");
    vm.sh("podman volume rm mesh-heir-keep");
    mesh.stop();
}

#[test]
fn the_doctor_names_units_that_nobody_owns_and_removes_what_is_ours_of_them() {
    let Some(vm) = Vm::alone() else { return };
    vm.sh("systemctl enable --now podman.socket");
    let (gone, lives) = (Mesh::start(&vm, "gone", 9760), Mesh::start(&vm, "lives", 9770));
    gone.apply(&keeper());
    lives.apply(WEB);
    gone.ready("web", 2);
    lives.ready("web", 3);
    let (first, _) = gone.first("web");
    let second = first.replace("@0", "@1");
    let own = format!("/etc/containers/systemd/mesh-gone.web/{}.container.d/50-local.conf", first.trim_end_matches(".service"));
    vm.write(&own, "[Container]\nEnvironment=LOCAL=yes\n");
    let foreign = "/etc/containers/systemd/mesh-gone.web/mine.container";
    vm.write(foreign, "[Container]\nImage=localhost/mesh-test:1\nNetwork=none\n");
    let doctor = |flags: &str| vm.sh(&format!("mesh doctor {flags}"));
    assert!(!vm.sh("mesh doctor || true").contains("left behind"), "their makers live");

    vm.sh("mv /var/lib/mesh-gone /var/lib/mesh-moved");
    assert!(!vm.sh("mesh doctor || true").contains("left behind"), "it runs, though its directory was moved");
    gone.kill();
    let found = vm.sh("mesh doctor --backend quadlet || true");
    let all_of_it = format!("unit {first}, unit {second}, network mesh-gone, volume mesh-gone-keep");
    assert!(found.contains(&all_of_it) && found.contains("fix: mesh doctor --remove-unowned (with --volumes"), "{found}");

    // Another controller is told whose the network is.
    lives.kubectl("patch msvc web --type merge -p '{\"spec\":{\"podman\":{\"network\":\"mesh-gone\"}}}'");
    let told = "get mi -o json | jq -r '.items[].status.conditions[]?.message' | grep -F 'mesh doctor --remove-unowned' | grep -F -- '--state-dir /var/lib/mesh-gone'";
    vm.until("whose it is", &format!("kubectl --kubeconfig /var/lib/mesh-lives/kubeconfig -n lives {told}"));
    lives.kubectl("patch msvc web --type json -p '[{\"op\":\"remove\",\"path\":\"/spec/podman\"}]'");
    lives.ready("web", 3);

    let kept = "volume mesh-gone-keep kept (--volumes removes it with all that is in it)\n";
    assert_eq!(doctor("--remove-unowned"), format!("unit {first} removed\nunit {second} removed\nnetwork mesh-gone removed\n{kept}"));
    let volume = "/etc/containers/systemd/mesh.shared/mesh-gone-keep.volume";
    let left = vm.sh(&all("gone"));
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    let mut expected = vec![own.as_str(), foreign, volume, "mesh-gone-keep", "mesh-gone-keep-volume.service"];
    expected.sort_unstable();
    assert_eq!(left, expected, "what is not ours stays, and the data");
    assert_eq!(doctor("--remove-unowned --volumes"), "volume mesh-gone-keep removed\n");
    assert_eq!(doctor("--remove-unowned"), "nothing is left of controllers that are gone\n");
    lives.ready("web", 3);
    vm.sh(&format!("rm -r $(dirname {foreign}); systemctl daemon-reload"));
    lives.kubectl("delete msvc web --wait --timeout 60s");
    lives.stop();
    vm.sh("rm -r /var/lib/mesh-moved");
}

//! What cannot be done is said, with the thing and the remedy; the rest goes on.
use super::mesh::{Mesh, WEB};
use crate::vm::machine::Vm;

/// A service of one instance, and what the instance says after a while.
fn bad(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: {name}}}\nspec: {{type: Worker, {spec}}}\n---\n"
    )
}

#[test]
fn what_stands_in_the_way_is_named_with_the_remedy_and_the_rest_goes_on() {
    let Some(vm) = Vm::shared() else { return };
    let mesh = Mesh::start(&vm, "bad", 9740);
    let image = "image: 'localhost/mesh-test:1'";
    vm.sh("podman network create bad-foreign");
    let services = [
        ("command", format!("{image}, command: [nope]"), "first word must be a program in the image"),
        ("unreachable", "image: '127.0.0.1:1/nope:1'".to_owned(), "127.0.0.1:1/nope:1"),
        ("never", "image: 'localhost/nope:1', imagePullPolicy: Never".to_owned(), "podman pull localhost/nope:1"),
        ("network", format!("{image}, podman: {{network: bad-foreign}}"), "podman network rm bad-foreign"),
        (
            "path",
            format!("{image}, volumes: [{{name: a, hostPath: {{path: /nope}}}}], volumeMounts: [{{name: a, mountPath: /a}}]"),
            "mkdir -p /nope",
        ),
        ("ends", format!("{image}, command: [sh, -c, 'exit 3']"), "exit code 3"),
    ];
    let yaml: String = services.iter().map(|(name, spec, _)| bad(name, spec)).collect();
    mesh.apply(&(yaml + WEB));
    mesh.ready("web", 3);
    for (name, _, expected) in services {
        let events = format!(
            "get events,mi -o json | jq -r '.items[]|(.message, .note, .regarding.name, .status.conditions[0].message) // empty' | grep -F -- {expected:?}"
        );
        mesh.until(&format!("what is wrong with {name}"), &format!("kubectl --kubeconfig /var/lib/mesh-bad/kubeconfig -n bad {events}"));
    }

    // A container of somebody else has the name: Quadlet itself would replace it.
    let taken = "web-x";
    mesh.kubectl("scale msvc web --replicas 1");
    mesh.ready("web", 1);
    let (_, container) = mesh.first("web");
    let second = container.strip_suffix('0').unwrap().to_owned() + "1";
    vm.sh(&format!("podman create -q --name {second} localhost/mesh-test:1 {taken}"));
    mesh.kubectl("scale msvc web --replicas 2");
    mesh.until("the foreign container to be named", &message("bad", &format!("container {second} is there already")));
    vm.sh(&format!("podman rm {second}"));
    mesh.ready("web", 2);

    // A unit that was edited by hand stays as it is.
    let (unit, _) = mesh.first("web");
    let template = vm.sh("ls /etc/containers/systemd/mesh-bad.web/*@.container").trim().to_owned();
    vm.sh(&format!("echo 'Environment=HAND=1' >> {template}; systemctl stop {unit}"));
    mesh.until("the edit to be named", &message("bad", "edited by hand"));
    vm.sh(&format!("grep -q HAND=1 {template}; sed -i '$d' {template}"));
    mesh.ready("web", 2);

    // A drop-in that Quadlet does not understand makes it drop the unit without a word.
    let local = "/etc/containers/systemd/mesh-bad.web/mesh-bad.web-.container.d/50-local.conf";
    vm.write(local, "[Container]\nMemory=1\n");
    mesh.kubectl("patch msvc web --type merge -p '{\"spec\":{\"env\":[{\"name\":\"WORD\",\"value\":\"two\"}]}}'");
    mesh.until("the generator's words", &message("bad", "unsupported key"));
    vm.sh(&format!("rm -r $(dirname {local})"));
    mesh.until("the rollout", &mesh.rolled_out("web", 2));

    mesh.kubectl("delete msvc --all --wait --timeout 60s");
    vm.sh("podman network rm bad-foreign");
    assert_eq!(vm.sh("find /etc/containers/systemd -path '*bad*' -type f"), "");
    mesh.stop();
}

/// Whether an instance says so.
fn message(name: &str, words: &str) -> String {
    format!(
        "kubectl --kubeconfig /var/lib/mesh-{name}/kubeconfig -n {name} get mi -o json | jq -r '.items[].status.conditions[]?.message' | grep -F {words:?}"
    )
}

#[test]
fn without_a_bus_it_says_what_it_needs() {
    let Some(vm) = Vm::shared() else { return };
    let root = vm.run("unshare -m bash -c 'umount -l /run; mesh-controller --backend quadlet --state-dir /root/no-bus'");
    let said = String::from_utf8_lossy(&root.stderr).into_owned();
    assert!(!root.status.success() && said.contains("/run/dbus/system_bus_socket") && said.contains("needs systemd"), "{said}");
    let bob = vm.run("runuser -u bob -- env -u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS HOME=/home/bob XDG_RUNTIME_DIR=/nowhere mesh-controller --backend quadlet --state-dir /home/bob/no-bus");
    let said = String::from_utf8_lossy(&bob.stderr).into_owned();
    assert!(!bob.status.success() && said.contains("/nowhere/bus") && said.contains("enable-linger"), "{said}");
}

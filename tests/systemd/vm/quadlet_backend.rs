//! `mesh-controller --backend quadlet` under a real systemd and Podman: healing, adoption, a reboot, rollouts under load, and what is refused.
mod coordination;
mod left;
mod mesh;
mod refusals;
mod task;

use super::machine::Vm;
use mesh::{Mesh, WEB};

/// The systemd units that are ours, whatever their state; those of networks too.
const UNITS: &str = "systemctl list-units 'mesh-*' --all --plain --no-legend | awk '{print $1, $3, $4}'";

#[test]
fn instances_are_units_that_are_healed_adopted_and_gone_at_the_end() {
    let Some(mut vm) = Vm::alone() else { return };
    let mesh = Mesh::start(&vm, "life", 9700);
    mesh.apply(WEB);
    mesh.ready("web", 3);
    vm.until("an answer", &format!("curl -fsS {}/ | grep '^web-.* one$'", mesh.router()));
    let (unit, container) = mesh.first("web");
    assert!(unit.starts_with("mesh-life.web-") && unit.ends_with("@0.service"), "{unit}");

    for (what, blow) in [
        ("systemctl stop by hand", format!("systemctl stop {unit}")),
        ("podman rm -f", format!("podman rm -f {container}")),
        ("podman stop", format!("podman stop {container}")),
        ("kill -9 of the program", format!("kill -9 $(podman inspect -f '{{{{.State.Pid}}}}' {container})")),
        ("kill -9 of conmon", format!("kill -9 $(systemctl show -P MainPID {unit})")),
    ] {
        let before = mesh.restarts(&container);
        vm.sh(&blow);
        mesh.until(&format!("a restart after {what}"), &format!("[ $({}) -gt {before} ]", mesh.restarts_command(&container)));
        mesh.ready("web", 3);
        assert_eq!(mesh.containers().lines().count(), 3, "after {what}");
    }

    let before = mesh.containers();
    mesh.kill();
    mesh.restart();
    mesh.ready("web", 3);
    assert_eq!(mesh.containers(), before, "adopted as they were");

    // The user's own lines hold for all revisions, and nobody touches them.
    let local = "/etc/containers/systemd/mesh-life.web/mesh-life.web-.container.d/50-local.conf";
    vm.write(local, "[Container]\nEnvironment=LOCAL=yes\n");
    mesh.kubectl("patch msvc web --type merge -p '{\"spec\":{\"env\":[{\"name\":\"WORD\",\"value\":\"two\"}]}}'");
    mesh.until("the new revision", &mesh.rolled_out("web", 3));
    mesh.ready("web", 3);
    let (unit, container) = mesh.first("web");
    assert!(vm.sh(&format!("podman exec {container} env")).contains("LOCAL=yes"), "the drop-in holds for {unit}");

    mesh.kubectl("scale msvc web --replicas 1");
    mesh.until(
        "one unit",
        &format!(
            "[ $({UNITS} | grep -c 'mesh-life.web-') = 1 ] && [ $(ls /etc/containers/systemd/mesh-life.web/*@*.container | wc -l) = 2 ]"
        ),
    );

    let revived = {
        let before = vm.sh("podman ps --no-trunc -q | sort");
        vm.reboot();
        vm.until(
            "the units without a controller",
            &format!("systemctl is-active {unit} && podman ps --format '{{{{.Names}}}}' | grep {container}"),
        );
        assert_ne!(vm.sh("podman ps --no-trunc -q | sort"), before);
        vm.sh("podman ps --no-trunc -q | sort")
    };
    let mesh = Mesh::again(&vm, "life", 9700);
    mesh.ready("web", 1);
    assert_eq!(vm.sh("podman ps --no-trunc -q | sort"), revived, "adopted after the boot");
    vm.until("an answer after the boot", &format!("curl -fsS {}/ | grep ' two$'", mesh.router()));

    mesh.kubectl("delete msvc web --wait --timeout 60s");
    assert_eq!(vm.sh(&format!("{UNITS} | grep mesh-life || true")), "");
    assert_eq!(vm.sh("find /etc/containers/systemd -path '*life*' -type f"), format!("{local}\n"), "what is not ours stays");
    assert_eq!(vm.sh("podman ps -aq --filter label=mesh-controller.dev/namespace=life; podman network ls -q | grep life || true; find /var/lib/mesh-life/quadlet -type f"), "");
    mesh.stop();
}

#[test]
fn rollouts_and_scaling_under_load_lose_no_request() {
    let Some(vm) = Vm::shared() else { return };
    let mesh = Mesh::start(&vm, "load", 9710);
    mesh.apply(&WEB.replace("route: /", "route: /\n  strategy: SessionAffinity"));
    mesh.ready("web", 3);
    let load = mesh.load();
    let mut round = 0;
    while load.count() < 20_000 || round < 2 {
        round += 1;
        mesh.kubectl(&format!("patch msvc web --type merge -p '{{\"spec\":{{\"env\":[{{\"name\":\"WORD\",\"value\":\"w{round}\"}}]}}}}'"));
        mesh.until("a new revision", &mesh.rolled_out("web", 3));
        mesh.kubectl("scale msvc web --replicas 1");
        mesh.ready("web", 1);
        mesh.kubectl("scale msvc web --replicas 3");
        mesh.ready("web", 3);
    }
    let (count, failed) = load.end();
    assert!(failed.is_empty() && count >= 20_000, "{} of {count} requests failed: {failed:?}", failed.len());
    mesh.kubectl("delete msvc web --wait --timeout 60s");
    mesh.stop();
}

#[test]
fn secrets_files_volumes_logs_and_probes_reach_the_container_and_nobody_else() {
    let Some(vm) = Vm::shared() else { return };
    let mesh = Mesh::start(&vm, "full", 9720);
    mesh.apply(include_str!("quadlet_backend/full.yaml"));
    mesh.ready("full", 1);
    let log = vm.until("its words", &mesh.mesh("logs full | grep uid="));
    assert!(log.contains("hush one two hush2 uid=1000"), "{log}");
    let (unit, container) = mesh.first("full");
    let seen = vm.sh(&format!("podman inspect {container}; cat /etc/containers/systemd/mesh-full.full/*.container /etc/containers/systemd/mesh-full.full/*/*.conf; systemctl cat {unit}; tr '\\0' ' ' < /proc/$(systemctl show -P MainPID {unit})/cmdline"));
    assert!(!seen.contains("hush"), "{seen}");
    // The agent's door, for whoever is the user in the container.
    let token = vm.sh(&format!("podman exec {container} sh -c 'test -S /run/mesh/agent/agent.sock && cat /run/mesh/token/token'"));
    assert!(token.starts_with("mesh1.") && !seen.contains(token.trim()), "{token}");
    let folder = "{{range .Mounts}}{{if eq .Destination \"/run/mesh/agent\"}}{{.Source}}{{end}}{{end}}";
    let socket = format!("$(podman inspect --format '{folder}' {container})/agent.sock");
    let myself = vm.sh(&format!("curl -fsS --unix-socket {socket} -H 'Authorization: Bearer {}' http://agent/v1/self", token.trim()));
    assert!(myself.contains("\"namespace\":\"full\"") && myself.contains("\"service\":\"full\""), "{myself}");
    mesh.kubectl("patch secret s -p '{\"stringData\":{\"tok\":\"loud\"}}'");
    vm.sh(&format!("systemctl stop {unit}"));
    vm.until("the new value", &mesh.mesh("logs full | grep loud"));
    assert!(vm.sh(&mesh.mesh("logs full --timestamps --tail 1")).contains('Z'));
    mesh.kubectl("delete msvc full --wait --timeout 60s");
    let left = vm.sh("podman secret ls --format '{{.Name}}' | grep mesh-full || true; podman volume ls -q | grep mesh-full");
    assert_eq!(left, "mesh-full-keep\n", "a claim keeps its data");
    vm.sh("podman volume rm mesh-full-keep");
    mesh.stop();
}

#[test]
fn a_user_without_root_has_units_of_his_own() {
    let Some(vm) = Vm::alone() else { return };
    vm.sh("loginctl enable-linger bob");
    vm.until("bob's manager", "test -d /run/user/1000/systemd && runuser -u bob -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user is-system-running | grep -E 'running|degraded'");
    mesh::image(&vm);
    vm.sh("cp /root/mesh-image.tar /home/bob/ && chown bob /home/bob/mesh-image.tar");
    vm.as_bob("podman import -q /home/bob/mesh-image.tar localhost/mesh-test:1");
    vm.write("/home/bob/web.yaml", WEB);
    let flags = "--backend quadlet --api-listen 127.0.0.1:9731 --router-listen 127.0.0.1:9732 --admin-listen 127.0.0.1:9733 --port-range 26300-26399";
    vm.as_bob(&format!("systemd-run --user -q --unit=mesh-bob mesh-controller {flags}"));
    let as_bob = "runuser -u bob -- env HOME=/home/bob XDG_RUNTIME_DIR=/run/user/1000";
    vm.until("bob's API", "curl -fsS http://127.0.0.1:9733/readyz");
    vm.as_bob("mesh apply -f /home/bob/web.yaml");
    let ready =
        "[ $(mesh ps --json | jq '[.[]|select(.state==\"Ready\")]|length') = 3 ] || { mesh ps; journalctl --user -n 30 -o cat; false; }\n";
    vm.write("/home/bob/ready.sh", ready);
    vm.until("bob's instances", &format!("{as_bob} bash /home/bob/ready.sh"));
    vm.until("an answer", "curl -fsS http://127.0.0.1:9732/ | grep '^web-'");
    assert_eq!(vm.as_bob("ls ~/.config/containers/systemd/mesh-default.web/*@?.container | wc -l").trim(), "3");
    vm.as_bob("mesh delete -f /home/bob/web.yaml; systemctl --user stop mesh-bob");
    assert_eq!(vm.as_bob("find ~/.config/containers/systemd -type f; podman ps -aq"), "");
}

//! `mesh-controller install`: units under a real systemd, of the system and of a user, over restarts, edits by hand and a reboot.
use super::{machine::Vm, sockets::clients};

/// Each file that `--dry-run` prints: its path, and its text.
fn files(printed: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in printed.lines() {
        match line.strip_prefix("# /") {
            Some(path) => files.push((format!("/{path}"), String::new())),
            None => files.last_mut().unwrap().1.extend([line, "\n"]),
        }
    }
    files
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_of_each_backend() {
    let Some(vm) = Vm::shared() else { return };
    for (n, backend) in ["process", "podman", "quadlet"].iter().enumerate() {
        let printed = vm.sh(&format!(
            "cd /root; mesh-controller install --dry-run --backend {backend} --state-dir 'st ate $HOME 7%' --project-dir \"it's\" --router-listen '[::]:80' --log-level debug"
        ));
        let mut names = Vec::new();
        for (path, text) in files(&printed) {
            let path = path.replace("/etc/systemd/system", &format!("/root/verify-{n}"));
            vm.write(&path, &text);
            names.push(path);
        }
        assert_eq!(names.len(), 2);
        assert_eq!(vm.sh(&format!("systemd-analyze verify --man=no {} 2>&1", names.join(" "))), "", "{backend}");
    }
}

const SERVICE: &str = "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: web}\n\
    spec: {command: [sh, -c, 'echo ok > index.html; exec busybox httpd -f -p 127.0.0.1:$PORT'], workingDir: /var/lib/web, route: /, replicas: 2}\n";

#[test]
fn installed_it_runs_from_boot_on_and_instances_outlive_its_restarts() {
    let Some(mut vm) = Vm::alone() else { return };
    vm.write("/root/web.yaml", SERVICE);
    vm.sh("mkdir -p /var/lib/web");
    let install = "mesh-controller install --backend process --state-dir '/var/lib/mesh 5%' --router-listen 127.0.0.1:8180 --api-listen 127.0.0.1:8143 --admin-listen 127.0.0.1:8164";
    let said = vm.sh(install);
    assert!(said.contains("http://127.0.0.1:8180/") && said.contains("/var/lib/mesh 5%"), "{said}");
    let mesh = "mesh --state-dir '/var/lib/mesh 5%'";
    vm.sh(&format!("{mesh} apply -f /root/web.yaml"));
    vm.until(
        "both instances",
        &format!("[ $({mesh} ps --json | jq '[.[]|select(.state==\"Ready\")]|length') = 2 ] || {{ {mesh} ps --json; false; }}"),
    );
    vm.until("the route", "curl -fsS http://127.0.0.1:8180/");

    let pids = format!("{mesh} ps --json | jq -c 'map(.pid)'");
    let before = vm.sh(&pids);
    let seen = clients(
        &vm,
        "http://127.0.0.1:8180/",
        "for i in 1 2; do systemctl restart mesh-controller; curl -fsS http://127.0.0.1:8180/?[1-99]; done",
    );
    assert!(seen.failed == 0 && seen.requests > 4, "{} of {} requests failed:\n{}", seen.failed, seen.requests, seen.errors);
    assert_eq!(vm.sh(&pids), before, "the instances went on");
    assert_eq!(vm.sh("systemctl show -p NRestarts -p ActiveState mesh-controller"), "NRestarts=0\nActiveState=active\n");

    vm.sh("echo 'Nice=5' >> /etc/systemd/system/mesh-controller.service");
    let refused = vm.run(install);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(6) && text.contains("edited by hand") && text.contains("--force"), "{}: {text}", refused.status);
    vm.sh(&format!("{install} --force; ! grep Nice /etc/systemd/system/mesh-controller.service"));

    vm.reboot();
    vm.until("the route after the boot", "curl -fsS http://127.0.0.1:8180/");
    vm.sh(&format!("{mesh} delete -f /root/web.yaml"));
    let said = vm.sh("mesh-controller uninstall");
    assert!(said.contains("removed mesh-controller.socket and mesh-controller.service"), "{said}");
    vm.sh("! systemctl cat mesh-controller.service mesh-controller.socket 2> /dev/null; [ -d '/var/lib/mesh 5%' ]; ! curl -sS http://127.0.0.1:8180/ 2> /dev/null");
    assert!(vm.sh("mesh-controller uninstall").starts_with("nothing to do: "));
}

#[test]
fn with_containers_it_starts_in_its_sandbox() {
    let Some(vm) = Vm::alone() else { return };
    vm.sh("systemctl start podman.socket");
    for backend in ["podman", "quadlet"] {
        let flags = format!(
            "--backend {backend} --state-dir /var/lib/mesh-{backend} --router-listen 127.0.0.1:8480 --api-listen 127.0.0.1:8443 --admin-listen 127.0.0.1:8464"
        );
        vm.sh(&format!("mesh-controller install {flags}; systemctl is-active mesh-controller; curl -fsS http://127.0.0.1:8464/readyz"));
        let nodes = vm.sh(&format!("mesh --state-dir /var/lib/mesh-{backend} ps; systemctl show -P StatusText mesh-controller"));
        assert!(nodes.contains("router 127.0.0.1:8480"), "{nodes}");
        vm.sh("mesh-controller uninstall");
    }
}

#[test]
fn a_user_installs_it_without_root() {
    let Some(vm) = Vm::alone() else { return };
    vm.sh("loginctl enable-linger bob");
    vm.until("bob's manager", "test -d /run/user/1000/systemd && runuser -u bob -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user is-system-running | grep -E 'running|degraded'");
    let flags = "--backend process --router-listen 127.0.0.1:8280 --api-listen 127.0.0.1:8243 --admin-listen 127.0.0.1:8264";
    let said = vm.as_bob(&format!("mesh-controller install --user {flags}"));
    assert!(said.contains("systemctl --user stop mesh-controller.socket"), "{said}");
    vm.as_bob("mesh ps && curl -sS -o /dev/null http://127.0.0.1:8280/ && systemctl --user is-enabled mesh-controller.socket mesh-controller.service");
    vm.as_bob(
        "mesh-controller uninstall --user && test -d ~/.local/state/mesh && ! test -e ~/.config/systemd/user/mesh-controller.service",
    );
}

#[test]
fn what_cannot_be_installed_is_said_with_the_remedy() {
    let Some(vm) = Vm::alone() else { return };
    // Another test may have failed with it installed.
    vm.sh("mesh-controller uninstall --force");
    for (script, said) in [
        ("unshare -m bash -c 'umount -l /run && mesh-controller install'", "systemd does not run here"),
        ("runuser -u bob -- mesh-controller install", "use sudo, or --user"),
        ("runuser -u bob -- env -u XDG_RUNTIME_DIR HOME=/home/bob mesh-controller install --user", "log in as the user"),
        (
            "runuser -u bob -- env HOME=/home/bob mesh-controller install --user --router-listen 0.0.0.0:80",
            "net.ipv4.ip_unprivileged_port_start=80",
        ),
        ("mesh-controller install --router-listen 0.0.0.0:0", "a port of its own"),
        ("mesh-controller install --port-range 7", "no port range"),
        ("mesh-controller install --backend kubernetes", "a Deployment"),
    ] {
        let output = vm.run(script);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{script}: {}, not {said}:\n{text}", output.status);
    }
    let said = vm.sh("rm -rf /etc/systemd/system/mesh-controller.socket; mkdir -p /etc/systemd/system; echo '[Socket]' > /etc/systemd/system/mesh-controller.socket; \
        mesh-controller install 2>&1 || true; rm /etc/systemd/system/mesh-controller.socket; test ! -e /etc/systemd/system/mesh-controller.service");
    assert!(said.contains("mesh-controller.socket was not written by"), "{said}");
}

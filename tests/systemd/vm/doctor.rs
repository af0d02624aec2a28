//! `mesh doctor` on a real machine: what it finds, and that the commands it says do mend it.
use serde_json::Value;

use super::machine::Vm;

/// One finding of a report in JSON.
fn finding(report: &str, check: &str) -> (String, String) {
    let report: Value = serde_json::from_str(report).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {report:#}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (format!("{}: {}", text("level"), text("message")), text("fix"))
}

const DOCTOR: &str = "mesh doctor --router-listen 127.0.0.1:8380 --api-listen 127.0.0.1:8343 --admin-listen 127.0.0.1:8364 --json";

#[test]
fn what_the_doctor_says_mends_what_it_found() {
    let Some(vm) = Vm::alone() else { return };
    vm.sh("systemctl disable --now podman.socket podman.service; loginctl disable-linger bob; rm -f /run/podman/podman.sock");
    let broken = vm.run(&format!("{DOCTOR} --backend podman"));
    let (found, fix) = finding(&String::from_utf8_lossy(&broken.stdout), "engine");
    assert_eq!((broken.status.code(), fix.as_str()), (Some(1), "systemctl enable --now podman.socket"), "{found}");
    vm.sh(&fix);
    let report = vm.sh(&format!("{DOCTOR} --backend podman"));
    assert!(finding(&report, "engine").0.starts_with("ok: Podman 5."), "{report}");
    for check in [
        "cgroups",
        "systemd",
        "selinux",
        "state directory",
        "mesh-shim",
        "kubectl",
        "instances' ports",
        "API port",
        "router port",
        "admin port",
    ] {
        let (found, fix) = finding(&report, check);
        assert!(found.starts_with("ok: "), "{check}: {found}, fix: {fix}");
    }
    let quadlet = vm.sh(&format!("{DOCTOR} --backend quadlet"));
    assert!(finding(&quadlet, "quadlet").0.starts_with("ok: Podman 5."), "{quadlet}");

    // The user without root: the machine's engine is not theirs.
    let as_bob = |command: &str| format!("runuser -u bob -- env HOME=/home/bob XDG_RUNTIME_DIR=/run/user/1000 {command} || true");
    let report = vm.sh(&as_bob(DOCTOR));
    let (found, fix) = finding(&report, "lingering");
    assert_eq!((found.starts_with("warning: it is off"), fix.as_str()), (true, "sudo loginctl enable-linger bob"), "{found}");
    vm.sh(fix.trim_start_matches("sudo "));
    vm.until(
        "bob's manager",
        "runuser -u bob -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user is-system-running | grep -E 'running|degraded'",
    );
    let report = vm.sh(&as_bob(DOCTOR));
    let (found, fix) = finding(&report, "engine");
    assert!(
        found.contains("/run/podman/podman.sock may not be opened by bob")
            && fix.starts_with("systemctl --user enable --now podman.socket"),
        "{found}: {fix}"
    );
    vm.as_bob("systemctl --user enable --now podman.socket");
    let report = vm.sh(&as_bob(DOCTOR));
    assert!(finding(&report, "engine").0.contains("/run/user/1000/podman/podman.sock"), "{report}");
    for check in ["lingering", "subordinate ids", "newuidmap", "systemd"] {
        assert!(finding(&report, check).0.starts_with("ok: "), "{check}: {report}");
    }
    vm.as_bob("systemctl --user disable --now podman.socket");
}

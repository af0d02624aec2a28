//! The machine itself: what other tests build on.
use super::machine::Vm;

#[test]
fn the_machine_has_systemd_podman_its_generator_and_the_programs() {
    let Some(vm) = Vm::shared() else { return };
    let said = vm.sh("systemctl --version | head -n 1; podman --version; mesh version; test -x /usr/lib/systemd/system-generators/podman-system-generator");
    assert!(said.contains("systemd 25") && said.contains("podman version 5.") && said.contains("mesh "), "{said}");
    let failed = vm.run("echo out; echo err >&2; exit 7");
    assert_eq!((failed.status.code(), failed.stdout.as_slice(), failed.stderr.as_slice()), (Some(7), &b"out\n"[..], &b"err\n"[..]));
    vm.sh("loginctl enable-linger bob");
    vm.until(
        "bob's manager",
        "runuser -u bob -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user is-system-running | grep -E 'running|degraded'",
    );
    assert_eq!(vm.as_bob("id -un; echo \"it's $XDG_RUNTIME_DIR\""), "bob\nit's /run/user/1000\n");
}

#[test]
fn the_machine_boots_again_with_what_was_written() {
    let Some(mut vm) = Vm::alone() else { return };
    let boot = "cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestampMonotonic";
    let before = vm.sh(boot);
    vm.write("/var/lib/kept", "kept\n");
    vm.reboot();
    assert_eq!(vm.sh("cat /var/lib/kept"), "kept\n");
    assert_ne!(vm.sh(boot), before);
}

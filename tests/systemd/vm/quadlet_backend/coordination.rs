//! `examples/coordination` in containers, under Podman and as Quadlet units: the holder is killed, and stopped, and its late write is refused; the task reports.
use std::sync::Once;

use super::{super::machine::Vm, mesh::Mesh};

/// An image of that name without a registry: the machine's own Python.
const IMAGE: &str = "mkdir -p /root/coordination-image/{usr/bin,usr/lib,app,tmp}; cd /root/coordination-image
    cp -a /usr/bin/python3* usr/bin/; cp -a /usr/lib/python3* usr/lib/; ln -s usr/bin bin; ln -s usr/lib lib; ln -s usr/lib64 lib64
    for file in $(ldd usr/bin/python3 /usr/lib/python3*/lib-dynload/*.so | grep -o '/[^ ]*' | grep -v ':$' | sort -u); do install -D $file usr$file; done
    cp -a /root/coordination-app/. app/
    tar -c . | podman import -q --change 'ENV PYTHONPATH=/app/sdk' --change 'ENV PYTHONUNBUFFERED=1' --change 'ENV HOST=0.0.0.0' --change 'ENV PATH=/bin' \
        --change 'WORKDIR /app' --change 'USER 65532:65532' - localhost/coordination:1";

static IMAGE_MADE: Once = Once::new();

fn image(vm: &Vm) {
    let files = ["ledger.py", "worker.py", "report.py"].map(|name| (format!("examples/coordination/python/{name}"), name.to_owned()));
    let sdk = std::fs::read_dir(mesh_gear::program::file("sdk/python/src/mesh_controller")).unwrap();
    let sdk = sdk.filter_map(|entry| entry.unwrap().file_name().into_string().ok()).filter(|name| name != "__pycache__");
    let sdk = sdk.map(|name| (format!("sdk/python/src/mesh_controller/{name}"), format!("sdk/mesh_controller/{name}")));
    for (from, to) in files.into_iter().chain(sdk) {
        let text = std::fs::read_to_string(mesh_gear::program::file(&from)).unwrap();
        vm.write(&format!("/root/coordination-app/{to}"), &text);
    }
    vm.write("/root/coordination.sh", IMAGE);
    vm.sh("bash -e /root/coordination.sh");
}

fn plays(backend: &'static str, port: u16) {
    let Some(vm) = Vm::shared() else { return };
    IMAGE_MADE.call_once(|| image(&vm));
    if backend == "podman" {
        vm.sh("systemctl start podman.socket");
    }
    let name = format!("coord-{backend}");
    let mesh = Mesh::start_on(&vm, &name, port, backend);
    mesh.apply(&std::fs::read_to_string(mesh_gear::program::file("examples/coordination/containers/mesh.yaml")).unwrap());
    mesh.ready("ledger", 1);
    mesh.ready("worker", 3);
    let ledger = format!("curl -fsS {}/ledger", mesh.router());
    let written_by_another_than = |name: &str| {
        let script = format!("{ledger} | jq -er --arg not '{name}' '.writer | select(. != null and . != $not)'");
        mesh.until(&format!("a writer other than {name:?}"), &script).trim().to_owned()
    };
    let signal = |signal: &str, instance: &str| vm.sh(&format!("podman kill -s {signal} mesh-{name}-{instance}"));
    let first = written_by_another_than("");
    let leases = mesh.kubectl("get leases -l mesh-controller.dev/lock -o name");
    assert_eq!(leases.lines().collect::<Vec<_>>(), ["lease.coordination.k8s.io/lock-ledger", "lease.coordination.k8s.io/workers"]);

    signal("KILL", &first);
    let second = written_by_another_than(&first);

    signal("STOP", &second);
    let third = written_by_another_than(&second);
    signal("CONT", &second);
    mesh.until("the late write to be refused", &format!("{ledger} | jq -e '.refused > 0'"));

    let said = vm.sh(&mesh.mesh("task run nightly --wait"));
    assert!(said.starts_with("report (asked for): ") && said.contains("the last by worker-"), "{said}, and {third} wrote");
    mesh.kubectl("delete msvc,mt --all");
    mesh.until("their end", &format!("! podman ps -a --format '{{{{.Names}}}}' | grep '^mesh-{name}-'"));
    mesh.stop();
}

#[test]
fn the_example_of_locks_plays_as_quadlet_units() {
    plays("quadlet", 9850);
}

#[test]
fn the_example_of_locks_plays_in_containers_of_podman() {
    plays("podman", 9860);
}

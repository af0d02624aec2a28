#!/bin/bash
# Runs the tests of tests/podman inside the VM, on its own Podman (5.4 with systemd): in-vm.sh VM_SH ROOT [FILTER]
# The VM is started already; the suite's binary and images are copied into it, because it has neither a compiler nor Python.
set -euo pipefail
vm=$(realpath "${1:?usage: in-vm.sh VM_SH ROOT [FILTER]}") root=$(realpath "${2:?give the VM root}") filter=${3:-}
cd "$(dirname "$0")/../.."
binary=$(cargo test --locked --test podman --no-run --message-format=json 2> /dev/null | jq -r 'select(.target.name == "podman" and .executable) | .executable')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests/images/busybox.sh "$work/busybox"
mkdir -p "$root/root/suite"
tests/images/image.py "$work/busybox" localhost/mesh-test:1 "$root/root/suite/mesh-test-1.tar"
IMAGE_ARCH=s390x tests/images/image.py "$work/busybox" localhost/mesh-test-s390x:1 "$root/root/suite/mesh-test-s390x-1.tar"
cp "$binary" "$root/root/suite/podman"
mesh=$(dirname "$(dirname "$binary")")/mesh
cp "$mesh" "$root/root/suite/mesh"
"$vm" sh "$root" systemctl start podman.socket
# The suite looks for `mesh` where it was built. Made by the VM itself, whose /tmp is not that of its root.
"$vm" sh "$root" mkdir -p "$(dirname "$mesh")"
"$vm" sh "$root" ln -sf /root/suite/mesh "$mesh"
# The engine is the VM's own, and no test may end it: those that kill an engine are left out by themselves.
"$vm" sh "$root" env MESH_TEST_ENGINE_SOCKET=/run/podman/podman.sock MESH_TEST_IMAGES=/root/suite \
  /root/suite/podman "$filter" --skip registry::an_image --skip main_path --test-threads 2

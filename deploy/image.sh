#!/bin/bash
# Makes the image of deploy/Containerfile without network, registry or container engine, as an archive for `podman load`, `docker load`, `ctr images import`:
#   deploy/image.sh OUT.tar [NAME:TAG[,NAME:TAG]]
# from the programs in $BIN_DIR (target/release if that is not set), with the shared libraries of this machine. It needs rustc, strip, ldd and python3.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: deploy/image.sh OUT.tar [NAME:TAG[,NAME:TAG]]}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml" | head -1)
names=${2:-localhost/mesh-controller:$version}
bins=${BIN_DIR:-$top/target/release}
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{etc,tmp,usr/local/bin}

for program in mesh-controller mesh; do
  strip -o "$root/usr/local/bin/$program" "$bins/$program"
  # What the loader needs, under the names that it looks for.
  ldd "$bins/$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
done
# Copied into the pods of every service, whatever their image has: static.
rustc --edition 2024 -C opt-level=s -C strip=symbols -C panic=abort -C target-feature=+crt-static -o "$root/usr/local/bin/mesh-drain" "$top/src/bin/mesh-drain.rs"

printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > "$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
# Names of Services are asked of the cluster's DNS.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
for library in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
  file=$(ldconfig -p | sed -n "s|.*$library .*=> ||p" | head -1)
  [ -z "$file" ] || { mkdir -p "$root$(dirname "$file")"; cp -L "$file" "$root$file"; }
done
chmod 0555 "$root"/usr/local/bin/*; chmod 1777 "$root/tmp"
IMAGE_USER=65532:65532 "$top/tests/images/image.py" "$root" "$names" "$out" /usr/local/bin/mesh-controller

#!/bin/bash
# Makes what a release has, from programs that are built already: a tarball, and a Debian package where dpkg-deb is.
#   deploy/package.sh OUT_DIR
# The programs are those in $BIN_DIR (target/release if that is not set).
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: deploy/package.sh OUT_DIR}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml" | head -n 1)
bins=${BIN_DIR:-$top/target/release}
programs=(mesh mesh-controller mesh-shim)
for program in "${programs[@]}"; do
  [ -x "$bins/$program" ] || { echo "$bins/$program is not there: cargo build --release --bins, or set BIN_DIR" >&2; exit 1; }
done
mkdir -p "$out"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
umask 022

# The tree as a package installs it; mesh-shim must lie beside the programs that start it.
usr=$work/root/usr
doc=$usr/share/doc/mesh-controller
completions=("$usr/share/bash-completion/completions" "$usr/share/zsh/site-functions" "$usr/share/fish/vendor_completions.d")
install -d "$usr/bin" "$doc" "$usr/share/mesh-controller" "${completions[@]}"
for program in "${programs[@]}"; do strip -o "$usr/bin/$program" "$bins/$program"; done
ln -s mesh "$usr/bin/kubectl-mesh"
install -m 0644 "$top/README.md" "$top/CHANGELOG.md" "$doc/"
install -m 0644 "$top/LICENSE" "$doc/copyright"
cp -r "$top/crds" "$usr/share/mesh-controller/crds"
"$bins/mesh" completion bash > "${completions[0]}/mesh"
"$bins/mesh" completion zsh > "${completions[1]}/_mesh"
"$bins/mesh" completion fish > "${completions[2]}/mesh.fish"

name=mesh-controller-$version-linux-$(uname -m)
mkdir "$work/$name"
cp -r "$usr/bin" "$usr/share" "$work/$name/"
tar -C "$work" --owner=0 --group=0 --sort=name -czf "$out/$name.tar.gz" "$name"
echo "$out/$name.tar.gz"

if ! command -v dpkg-deb > /dev/null; then echo "no Debian package: dpkg-deb is not there" >&2; exit 0; fi
mkdir "$work/root/DEBIAN"
# The newest version of glibc that a program asks for is what the package needs.
libc=$(objdump -T "${programs[@]/#/$bins/}" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
cat > "$work/root/DEBIAN/control" <<EOF
Package: mesh-controller
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: mesh-controller maintainers <maintainers@mesh-controller.dev>
Section: admin
Priority: optional
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1
Suggests: podman
Installed-Size: $(du -sk "$usr" | cut -f1)
Description: declarative services on one machine, with replicas and a router
 One YAML file says which services a machine runs, how many instances of each,
 and which requests they get. Processes, Podman containers or systemd units;
 kubectl works; rollouts lose no request. "mesh-controller install" makes it a
 service of systemd.
EOF
deb=$out/mesh-controller_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group --build "$work/root" "$deb" > /dev/null
echo "$deb"

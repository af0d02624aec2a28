#!/bin/bash
# Makes a root file system of busybox: what the tests' containers run. usage: busybox.sh ROOTFS
set -euo pipefail
root=${1:?usage: busybox.sh ROOTFS}
mkdir -p "$root"/{bin,data,dev,etc,proc,run,sys,tmp,var/tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"; done
chmod 1777 "$root/tmp" "$root/var/tmp"
printf 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n' > "$root/etc/passwd"
echo 'no program' > "$root/bin/not-executable"

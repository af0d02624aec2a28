#!/bin/bash
# Makes the images that tests run in a cluster, as one archive each: workloads.sh shop|busybox OUT.tar, with the built programs in $BIN_DIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
case ${1:-} in
  shop)
    "$here/program.sh" "$root" "${BIN_DIR:?}/examples/shop"
    strip "$root/bin/shop"
    IMAGE_USER=65532:65532 IMAGE_ENV=HOST=0.0.0.0 "$here/image.py" "$root" localhost/shop:1 "$2" /bin/shop ;;
  busybox)
    "$here/busybox.sh" "$root"
    "$here/image.py" "$root" localhost/busybox:test "$2" /bin/sh ;;
  *) echo "usage: workloads.sh shop|busybox OUT.tar" >&2; exit 2 ;;
esac

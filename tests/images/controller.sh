#!/bin/bash
# Makes the product's image from the built programs in $BIN_DIR: controller.sh OUT.tar. It has the name that deploy/ uses, and one for tests.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
name=$(sed -n 's/^ *image: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$top/deploy/install.yaml" | sort -u | grep mesh-controller)
exec "$top/deploy/image.sh" "${1:?usage: controller.sh OUT.tar}" "$name,localhost/mesh-controller:test"

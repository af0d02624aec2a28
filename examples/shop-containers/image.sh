#!/bin/sh
# Builds localhost/shop:1 from ../shop: a static program in an image of its own. Needs Rust, a C compiler, and podman (or docker, by ENGINE=docker).
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}/static
triple=$(rustc -vV | sed -n 's/^host: //p')
# With the target named, the flag is for the program only, not for what runs during the build.
cargo rustc --release --example shop --target "$triple" --target-dir "$target" -- -C target-feature=+crt-static
"${ENGINE:-podman}" build -t localhost/shop:1 -f Containerfile "$target/$triple/release/examples"

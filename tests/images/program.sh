#!/bin/sh
# Makes the root of an image from a program of this machine and the shared libraries that it needs.
#   program.sh ROOT PROGRAM      the program is /bin/<its name> there
set -eu
root=$1 program=$2
mkdir -p "$root/bin" "$root/tmp" "$root/run" "$root/var/tmp"
cp -L "$program" "$root/bin/"
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

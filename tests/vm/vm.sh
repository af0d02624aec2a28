#!/usr/bin/env bash
# Builds and boots a throw-away Debian with systemd, Podman and Quadlet. README.md beside this file says how and why.
set -euo pipefail

recipe=2 # Another number builds every root anew: raise it when build() changes.
default_root=${MESH_TEST_VM:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/meshtest/vm}

usage() {
  cat <<USAGE
usage: vm.sh build [ROOT]             make the root with all its packages (default: $default_root)
       vm.sh session [ROOT]           build if need be, boot a copy, print the copy's path; ends with standard input, and the copy with it
       vm.sh start ROOT               boot in the background; returns when systemd is up
       vm.sh sh ROOT COMMAND [ARG...] run a command inside; its output and exit status
       vm.sh stop ROOT                power off (then start again is a reboot)
       vm.sh kill ROOT                pull the plug
USAGE
}

fail() { echo "vm.sh: $*" >&2; exit 1; }

say() { echo "vm.sh: $*" >&2; }

# What the host needs; from Debian's packages where something is missing.
tools() {
  [ "$(id -u)" = 0 ] || fail "this needs root: debootstrap and systemd-nspawn do"
  local need=() pair
  for pair in debootstrap:debootstrap systemd-nspawn:systemd-container pgrep:procps nsenter:util-linux flock:util-linux; do
    command -v "${pair%%:*}" > /dev/null || need+=("${pair#*:}")
  done
  [ ${#need[@]} -gt 0 ] || return 0
  command -v apt-get > /dev/null || fail "missing: ${need[*]}; install them"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${need[@]}"; } > /dev/null \
    || fail "apt-get install ${need[*]} failed"
}

build() {
  local root=${1:-$default_root}
  if is_built "$root"; then return; fi
  tools
  mkdir -p "$(dirname "$root")"
  (
    flock 9 # One builds; others wait for it.
    if is_built "$root"; then exit; fi
    say "building $root (about a minute)"
    [ -e "$root/etc/debian_version" ] || { rm -rf "$root.new"; debootstrap --variant=minbase trixie "$root.new" > "$root.log" 2>&1; mv "$root.new" "$root"; }
    packages "$root" >> "$root.log" 2>&1
    settings "$root" >> "$root.log" 2>&1
    echo "$recipe" > "$root/etc/meshtest-recipe"
  ) 9> "$root.lock" || fail "building $root failed; $root.log says why"
}

is_built() { [ "$(cat "$1/etc/meshtest-recipe" 2> /dev/null)" = "$recipe" ]; }

packages() {
  # shellcheck disable=SC2016
  chroot "$1" /bin/sh -ec 'apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" && apt-get clean' sh \
    systemd systemd-sysv libpam-systemd dbus dbus-user-session podman crun catatonit netavark aardvark-dns passt uidmap \
    iproute2 nftables procps curl jq busybox-static python3
}

settings() {
  local root=$1
  mkdir -p "$root/etc/containers/systemd"
  cat > "$root/etc/containers/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
keyring = false
pids_limit = 0
CONF
  echo 'c! /dev/net/tun 0666 root root - 10:200' > "$root/etc/tmpfiles.d/tun.conf"
  # Somebody who is not root, with subordinate ids.
  chroot "$root" /bin/sh -ec 'id bob > /dev/null 2>&1 || useradd --create-home --uid 1000 --shell /bin/bash bob; grep -q ^bob: /etc/subuid'
}

# Whether the process in ROOT.pid is that root's nspawn.
is_up() { local pid; pid=$(cat "$1.pid" 2> /dev/null) && tr '\0' ' ' 2> /dev/null < "/proc/$pid/cmdline" | grep -qF -- "-D $1 "; }

leader() { pgrep -P "$(cat "$1.pid")"; }

inside() {
  local root=$1 leader; shift
  leader=$(leader "$root") || return 1
  nsenter -t "$leader" -m -u -i -n -p -- "$@"
}

# Boots in the background and returns when systemd has finished starting.
start() {
  local root=$1 deadline=$((SECONDS + 60))
  if is_up "$root"; then fail "$root is up already"; fi
  # shellcheck disable=SC2016
  SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 setsid unshare -m bash -ec '
    echo $$ > "$0.pid"
    umount -l /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    mkdir "/sys/fs/cgroup/vm$$"
    echo $$ > "/sys/fs/cgroup/vm$$/cgroup.procs"
    exec systemd-nspawn -q -b -D "$0" --capability=all --private-network \
      --system-call-filter="@keyring bpf" --register=no --keep-unit' "$root" > "$root.log" 2>&1 < /dev/null 9>&- &
  while [ $SECONDS -lt $deadline ]; do
    case "$(inside "$root" systemctl is-system-running 2> /dev/null)" in running | degraded) return 0 ;; esac
    sleep 0.1
  done
  fail "the machine did not start; its console is in $root.log"
}

# Runs a command inside, as a unit of its own (logind refuses callers from outside its cgroup tree).
sh() {
  local root=$1; shift
  inside "$root" systemd-run -q --pipe --wait --collect -E HOME=/root "$@"
}

stop() {
  local root=$1 deadline=$((SECONDS + 60))
  inside "$root" systemctl --no-block poweroff
  while is_up "$root"; do
    [ $SECONDS -lt $deadline ] || fail "$root does not power off; vm.sh kill $root pulls the plug"
    sleep 0.1
  done
  uncgroup "$root"
}

plug() {
  local root=$1 leader
  if is_up "$root"; then
    # With its first process all others inside end.
    if leader=$(leader "$root"); then kill -KILL "$leader" || true; fi
    for _ in $(seq 50); do is_up "$root" || return 0; sleep 0.1; done
    kill -KILL "$(cat "$root.pid")" || true
  fi
}

session() {
  local base=${1:-$default_root} root
  build "$base"
  tools
  sweep "$base"
  root=$base.run-$$
  # shellcheck disable=SC2064
  trap "discard '${root//\'/\'\\\'\'}'" EXIT
  cp -a --reflink=auto "$base" "$root"
  start "$root"
  echo "$root"
  # Whoever holds the other end has gone then.
  cat > /dev/null
}

# Copies whose session was killed.
sweep() {
  local copy
  for copy in "$1".run-*/; do
    copy=${copy%/}
    if [ -d "$copy" ] && [ ! -d "/proc/${copy##*-}" ]; then discard "$copy"; fi
  done
}

# The machine's cgroups, which are seen only where a pure cgroup2 tree is mounted.
uncgroup() {
  # shellcheck disable=SC2016
  unshare -m bash -c 'umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; find "/sys/fs/cgroup/vm$0" -depth -type d -exec rmdir {} +' \
    "$(cat "$1.pid")" 2> /dev/null || true
}

discard() {
  plug "$1"
  if [ -e "$1.pid" ]; then uncgroup "$1"; fi
  rm -rf "$1" "$1.pid" "$1.log" "$(dirname "$1")/.#$(basename "$1").lck"
}

verb=${1:-}
[ $# -eq 0 ] || shift
case "$verb" in
  build | session) [ $# -le 1 ] || { usage >&2; exit 2; } ;;
  start | stop | kill) [ $# -eq 1 ] || { usage >&2; exit 2; } ;;
  sh) [ $# -ge 2 ] || { usage >&2; exit 2; } ;;
  *) usage >&2; exit 2 ;;
esac
[ "$verb" != kill ] || verb=plug
"$verb" "$@"

#!/usr/bin/env bash
# A Podman of the tests' own on this machine: its API on a socket in DIR, its storage that of root. Needs root.
#
#   engine.sh start DIR          starts it; the socket is DIR/podman.sock
#   engine.sh podman DIR ARG…    podman's command line in the same place
#   engine.sh stop DIR           ends the service (containers of tests are theirs to remove)
#
# Everything runs in one mount namespace that outlives the service, because Podman keeps network namespaces as mounts. On a machine whose control
# groups are a hybrid of v1 and v2, crun refuses to work; there the namespace is without the v2 part. The limits are those that a container
# without CAP_SYS_RESOURCE may still set.
set -euo pipefail

alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null; }

anchor() { # DIR
  alive "$1/anchor.pid" && return
  mkdir -p "$1"
  printf '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n' > "$1/containers.conf"
  # shellcheck disable=SC2016 # expanded in there
  setsid unshare -m bash -c 'if mountpoint -q /sys/fs/cgroup/unified; then umount -l /sys/fs/cgroup/unified; fi; echo $$ > "$0"; exec sleep infinity' \
    "$1/anchor.pid" < /dev/null > /dev/null 2>&1 &
  wait_for "the mount namespace" alive "$1/anchor.pid"
}

inside() { # DIR COMMAND…
  local dir=$1; shift
  CONTAINERS_CONF=$dir/containers.conf nsenter -t "$(cat "$dir/anchor.pid")" -m --wd="$PWD" -- "$@"
}

answers() { curl -fsS -o /dev/null --unix-socket "$1" http://d/_ping 2> /dev/null; }

wait_for() { # WHAT COMMAND…
  local what=$1 end=$((SECONDS + 30)); shift
  until "$@"; do
    if [ $SECONDS -gt $end ]; then echo "engine.sh: waited in vain for $what" >&2; return 1; fi
    sleep 0.05
  done
}

start() { # DIR
  anchor "$1"
  # shellcheck disable=SC2016 # expanded in there
  inside "$1" setsid sh -c 'echo $$ > "$0/service.pid"; exec podman system service --time=0 "unix://$0/podman.sock"' "$1" < /dev/null > "$1/service.log" 2>&1 &
  wait_for "the engine's socket" answers "$1/podman.sock" || { cat "$1/service.log" >&2; return 1; }
}

stop() { # DIR
  local name
  for name in service anchor; do
    if alive "$1/$name.pid"; then kill -9 "$(cat "$1/$name.pid")"; fi
    rm -f "$1/$name.pid"
  done
}

case "${1:-}" in
  start) start "$(realpath -m "$2")" ;;
  stop) stop "$(realpath -m "$2")" ;;
  podman) dir=$(realpath -m "$2"); shift 2; inside "$dir" podman "$@" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

#!/bin/bash
# A Podman of the tests' own: its own storage, its own sockets, in a mount namespace of its own; nothing of the machine's Podman but its networks.
#   engine.sh start DIR [PID]      the namespace and the service at DIR/engine.sock; all of it ends when process PID does
#   engine.sh service DIR NAME     one more service, at DIR/NAME.sock; prints its process id
#   engine.sh podman DIR ARGS...   the command line on it
#   engine.sh stop DIR             ends and removes everything
# Why the namespace: crun refuses a hybrid cgroup tree, and network namespaces are mounts that must outlive the service.
set -euo pipefail
command=${1:?usage: engine.sh start|service|podman|stop DIR} dir=${2:?give a directory}
export CONTAINERS_CONF=$dir/containers.conf

inside() { # the global options go with every call
  exec nsenter -t "$(cat "$dir/anchor")" -m -- podman --root "$dir/root" --runroot "$dir/run" --tmpdir "$dir/tmp" \
    --network-config-dir /etc/containers/networks "$@"
}

wait_for() { # FILE
  local tries
  for tries in $(seq 200); do [ -S "$1" ] && return; sleep 0.05; done
  echo "no socket $1 within ten seconds: $(tail -n 5 "$dir"/*.log)" >&2; return 1
}

case $command in
  start)
    mkdir -p "$dir"
    printf '[containers]\ndefault_ulimits = ["nofile=20000:20000","nproc=32768:32768"]\n' > "$dir/containers.conf"
    setsid unshare -m bash -c 'mountpoint -q /sys/fs/cgroup/unified && umount -l /sys/fs/cgroup/unified; echo $$ > "$0/anchor.new"; mv "$0/anchor.new" "$0/anchor"; exec sleep infinity' \
      "$dir" < /dev/null > "$dir/anchor.log" 2>&1 &
    for _ in $(seq 200); do [ -f "$dir/anchor" ] && break; sleep 0.05; done
    [ -f "$dir/anchor" ] || { echo "no mount namespace: $(cat "$dir/anchor.log")" >&2; exit 1; }
    "$0" service "$dir" engine > /dev/null
    if [ -n "${3:-}" ]; then
      setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$0" stop "$2"' "$(realpath "$0")" "$3" "$dir" < /dev/null > /dev/null 2>&1 &
    fi
    ;;
  service)
    name=${3:?give a name}
    rm -f "$dir/$name.sock"
    setsid "$0" podman "$dir" system service --time=0 "unix://$dir/$name.sock" < /dev/null > "$dir/$name.log" 2>&1 &
    echo $! | tee "$dir/$name.pid"
    wait_for "$dir/$name.sock"
    ;;
  podman) shift 2; inside "$@" ;;
  stop)
    [ -f "$dir/anchor" ] || exit 0
    "$0" podman "$dir" rm -fa -t 0 > /dev/null 2>&1 || true
    # Networks are the machine's: only those that tests have made go.
    "$0" podman "$dir" network ls --format '{{.Name}}' 2> /dev/null | grep "^mt$(cat "$dir/owner" 2> /dev/null || echo none)-" | { while read -r network; do
      "$0" podman "$dir" network rm -f "$network" > /dev/null 2>&1 || true
    done; } || true
    for file in "$dir"/*.pid "$dir/anchor"; do [ ! -f "$file" ] || kill "$(cat "$file")" 2> /dev/null || true; done
    rm -rf "$dir"
    ;;
  *) echo "unknown command $command" >&2; exit 2 ;;
esac

#!/bin/bash
# A real one-node Kubernetes on this machine: etcd, kube-apiserver, controller-manager, scheduler, and with --node a kubelet on containerd that runs
# real pods and a kube-proxy, so that Services answer and pods reach the API by its Service. All of it is one binary, built from its Go modules in cluster/.
#
#   cluster.sh build                  # into $KUBEBUILDER_ASSETS, or ~/.cache/meshtest/kube; five minutes the first time, seconds later
#   cluster.sh tools                  # what a node needs, from Debian's packages
#   cluster.sh up DIR [--node] [--no-controllers]    # 3 s, with a node 8 s; prints `export KUBECONFIG=… PATH=…` for eval
#   cluster.sh session [--node] [--no-controllers]   # up in a folder of its own, prints its name; ends with standard input, and the cluster with it
#   cluster.sh stop|start DIR COMPONENT              # one of etcd, apiserver, controller-manager, scheduler
#   cluster.sh compact DIR                           # etcd forgets all revisions but the current one
#   cluster.sh load DIR IMAGE.tar                    # an image archive into the node
#   cluster.sh down DIR                              # pods, containers, processes gone
#
# Not there: DNS in the cluster, a registry (use imagePullPolicy: Never or IfNotPresent), load balancers. One node on a machine at a time: kube-proxy's
# table has one name; a second `up --node` waits for the first to go.
#
# Why each odd setting: the machine may have no CAP_SYS_RESOURCE (oomScoreAdj: 0, restrict_oom_score_adj), a hybrid cgroup tree (failCgroupV1: false,
# containerd and kubelet in a mount namespace without the cgroup2 mount), and no registry (the sandbox image is a static binary of our own).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
assets=${KUBEBUILDER_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/meshtest/kube}
components="etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl"
# The node's bridge and its pods' addresses; the API listens on the bridge, so that pods reach it.
bridge=meshtest0 gateway=10.244.77.1 pods=10.244.77.0/24 services=10.96.0.0/16
node_lock=/run/meshtest-node

usage() { sed -n 's/^#   cluster.sh/usage: cluster.sh/p' "$0" >&2; exit 2; }
log() { echo "cluster: $*" >&2; }

build() {
  mkdir -p "$assets"
  local v; v=$(cd "$here/cluster" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  local b=k8s.io/component-base/version c=k8s.io/client-go/pkg/version
  local flags="-s -w" p
  for p in $b $c; do flags+=" -X $p.gitVersion=$v -X $p.gitMajor=1 -X $p.gitMinor=$(echo "$v" | cut -d. -f2)"; done
  (cd "$here/cluster" && go build -trimpath -ldflags="$flags" -o "$assets/kube" .)
  for c in $components; do ln -sf kube "$assets/$c"; done
  log "built $v in $assets"
}

cert() { # DIR NAME SUBJECT SAN
  local d=$1/pki
  openssl req -newkey rsa:2048 -nodes -keyout "$d/$2.key" -out "$d/$2.csr" -subj "$3" 2>/dev/null
  openssl x509 -req -in "$d/$2.csr" -CA "$d/ca.crt" -CAkey "$d/ca.key" -CAcreateserial -days 365 -out "$d/$2.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth' "$4") 2>/dev/null
}

free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }

# What the components are started with again after a stop.
settings() { # DIR
  cat > "$1/settings" <<SH
api_address=$api_address api_port=$(free_port) etcd_port=$(free_port) etcd_peer_port=$(free_port)
SH
}

start() { # DIR COMPONENT
  local dir=$1; . "$dir/settings"
  local etcd=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$etcd_peer_port
  case $2 in
    etcd)
      spawn "$dir" etcd "$assets/etcd" --data-dir "$dir/etcd" --unsafe-no-fsync --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" ;;
    apiserver)
      spawn "$dir" apiserver "$assets/kube-apiserver" --etcd-servers="$etcd" --secure-port="$api_port" --bind-address="$api_address" --advertise-address="$api_address" \
        --tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" --client-ca-file="$dir/pki/ca.crt" \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$dir/pki/sa.key" \
        --service-account-signing-key-file="$dir/pki/sa.key" --service-cluster-ip-range="$services" \
        --audit-policy-file="$dir/audit.yaml" --audit-log-path="$dir/audit.log" --audit-log-batch-max-wait=100ms \
        --authorization-mode=Node,RBAC --allow-privileged=true --kubelet-preferred-address-types=InternalIP \
        --kubelet-client-certificate="$dir/pki/admin.crt" --kubelet-client-key="$dir/pki/admin.key"
      local i
      for i in $(seq 240); do "$assets/kubectl" --kubeconfig "$dir/kubeconfig" get --raw /readyz > /dev/null 2>&1 && return; sleep 0.25; done
      log "the API server is not ready"; tail -n 5 "$dir/apiserver.log" >&2; exit 1 ;;
    controller-manager)
      spawn "$dir" controller-manager "$assets/kube-controller-manager" --kubeconfig="$dir/kubeconfig" --service-account-private-key-file="$dir/pki/sa.key" \
        --root-ca-file="$dir/pki/ca.crt" --secure-port=0 --leader-elect=false ;;
    scheduler) spawn "$dir" scheduler "$assets/kube-scheduler" --kubeconfig="$dir/kubeconfig" --secure-port=0 --leader-elect=false ;;
    *) usage ;;
  esac
}

spawn() { # DIR NAME COMMAND...
  local dir=$1 name=$2; shift 2
  setsid "$@" >> "$dir/$name.log" 2>&1 < /dev/null &
  echo $! > "$dir/$name.pid"
}

up() { # DIR OPTIONS...
  local dir=$1 node= controllers=yes option; shift
  for option; do case $option in --node) node=yes ;; --no-controllers) controllers= ;; *) usage ;; esac; done
  [ -x "$assets/kube-proxy" ] || build
  mkdir -p "$dir/pki"; dir=$(cd "$dir" && pwd)
  if [ -e "$dir/apiserver.pid" ]; then log "$dir already holds a cluster"; exit 1; fi
  local api_address=127.0.0.1
  if [ -n "$node" ]; then take_node "$dir"; api_address=$gateway; fi
  settings "$dir"; . "$dir/settings"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/pki/ca.key" -out "$dir/pki/ca.crt" -days 365 -subj /CN=meshtest-ca 2>/dev/null
  cert "$dir" apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$gateway,IP:10.96.0.1"
  cert "$dir" admin /O=system:masters/CN=admin DNS:admin
  openssl genrsa -out "$dir/pki/sa.key" 2048 2>/dev/null
  cat > "$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: meshtest, cluster: {server: "https://$api_address:$api_port", certificate-authority: $dir/pki/ca.crt}}]
users: [{name: admin, user: {client-certificate: $dir/pki/admin.crt, client-key: $dir/pki/admin.key}}]
contexts: [{name: meshtest, context: {cluster: meshtest, user: admin}}]
current-context: meshtest
YAML
  # Who asked what and when: a line of JSON per request, but for the node's own.
  cat > "$dir/audit.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:nodes"]}
- {level: None, nonResourceURLs: ["*"]}
- {level: Metadata}
YAML
  export KUBECONFIG=$dir/kubeconfig
  start "$dir" etcd
  start "$dir" apiserver
  if [ -n "$controllers" ]; then start "$dir" controller-manager; start "$dir" scheduler; fi
  if [ -n "$node" ]; then node_up "$dir"; fi
  log "ready"
}

# The machine's one node is ours, as soon as the one before is gone; its bridge is there for the API to listen on.
take_node() { # DIR
  local i
  for i in $(seq 1200); do
    if (set -o noclobber; echo "$1 $$" > "$node_lock") 2> /dev/null; then
      ip link add "$bridge" type bridge 2> /dev/null || true
      ip addr replace "$gateway/24" dev "$bridge"; ip link set "$bridge" up
      return
    fi
    local holder; holder=$(cut -d' ' -f1 "$node_lock" 2> /dev/null || true)
    # Its cluster died without a word.
    if [ -n "$holder" ] && [ "$i" -gt 20 ] && ! lives "$holder/apiserver.pid"; then rm -f "$node_lock"; fi
    [ $((i % 60)) != 0 ] || log "waiting for the node of $holder to go"
    sleep 0.5
  done
  log "the machine's node is taken: $(cat "$node_lock")"; exit 1
}

lives() { [ -e "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null; }

session() {
  # Not local: the trap runs when this function has returned.
  dir=$(mktemp -d /tmp/meshkube.XXXXXX); session=$dir
  trap 'down "$session" > /dev/null 2>&1; rm -rf "$session"' EXIT
  up "$dir" "$@"
  echo "$dir"
  cat > /dev/null
}

compact() { # DIR
  . "$1/settings"
  local etcd=http://127.0.0.1:$etcd_port revision
  revision=$(curl -fsS "$etcd/v3/kv/range" -d '{"key":"AA==","limit":1}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["header"]["revision"])')
  curl -fsS "$etcd/v3/kv/compaction" -d "{\"revision\":\"$revision\",\"physical\":true}" > /dev/null
  log "compacted at revision $revision"
}

pause_image() { # a sandbox image of our own: one static binary that waits
  local d; d=$(mktemp -d); mkdir "$d/root"
  printf '%s\n' '#include <signal.h>' '#include <stdlib.h>' '#include <sys/wait.h>' '#include <unistd.h>' \
    'static void quit(int s){exit(0);} static void reap(int s){while(waitpid(-1,0,WNOHANG)>0);}' \
    'int main(void){signal(SIGINT,quit);signal(SIGTERM,quit);signal(SIGCHLD,reap);for(;;)pause();}' | gcc -w -static -Os -x c -o "$d/root/pause" -
  "$here/../images/image.py" "$d/root" localhost/pause:meshtest "$d/pause.tar" /pause
  mv "$d/pause.tar" "$1"; rm -r "$d"
}

tools() { # what a node is made of, from Debian
  command -v containerd > /dev/null && command -v runc > /dev/null && command -v nft > /dev/null && [ -x /usr/lib/cni/bridge ] && command -v cc > /dev/null && return
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends containerd containernetworking-plugins runc nftables iproute2 openssl gcc libc6-dev; } > /dev/null
}

node_up() {
  local dir=$1 n=$1/node; mkdir -p "$n/run" "$n/cni"
  tools
  cat > "$n/containerd.toml" <<TOML
version = 2
root = "$n/containerd"
state = "$n/run/containerd"
oom_score = 0
[grpc]
  address = "$n/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:meshtest"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$n/cni"
TOML
  # Addresses are remembered with the cluster: those of a cluster that was killed would never be given back.
  sed "s|BRIDGE|$bridge|; s|PODS|$pods|; s|IPAM|$n/ipam|" > "$n/cni/10-bridge.conflist" <<'JSON'
{"cniVersion":"1.0.0","name":"meshtest","plugins":[
 {"type":"bridge","bridge":"BRIDGE","isGateway":true,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"IPAM","ranges":[[{"subnet":"PODS"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
JSON
  cat > "$n/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
oomScoreAdj: 0
port: $(free_port)
healthzPort: 0
containerRuntimeEndpoint: unix://$n/run/containerd.sock
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $dir/pki/ca.crt}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
resolvConf: ""
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
maxPods: 200
imageGCHighThresholdPercent: 100
YAML
  # No CAP_SYS_RESOURCE and a hybrid cgroup tree here: a mount namespace of the node's own without cgroup2 makes it plain v1.
  setsid unshare -m sh -c 'umount -l /sys/fs/cgroup/unified 2>/dev/null; echo $$ > "$1/containerd.pid"; exec containerd -c "$1/containerd.toml" > "$1/containerd.log" 2>&1' sh "$n" < /dev/null &
  local i; for i in $(seq 100); do [ -S "$n/run/containerd.sock" ] && break; sleep 0.1; done
  pause_image "$n/pause.tar"; load "$dir" "$n/pause.tar"
  # The same mount namespace for the kubelet: what it mounts (secrets, tokens, memory) is for containerd to see.
  setsid nsenter --mount="/proc/$(cat "$n/containerd.pid")/ns/mnt" sh -c 'echo $$ > "$1/kubelet.pid"; exec "$2" --config "$1/kubelet.yaml" --kubeconfig "$3" --hostname-override node1 --root-dir "$1/kubelet" > "$1/kubelet.log" 2>&1' \
    sh "$n" "$assets/kubelet" "$dir/kubeconfig" < /dev/null &
  for i in $(seq 120); do "$assets/kubectl" get node node1 2>/dev/null | grep -q ' Ready' && break; sleep 0.5; done
  "$assets/kubectl" get node node1 | grep -q ' Ready' || { log "the node is not Ready"; tail -n 5 "$n/kubelet.log" >&2; exit 1; }
  cat > "$n/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $dir/kubeconfig}
clusterCIDR: $pods
hostnameOverride: node1
healthzBindAddress: ""
metricsBindAddress: ""
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {masqueradeAll: true, syncPeriod: 30s, minSyncPeriod: 100ms}
YAML
  ip route replace "$services" dev "$bridge"
  spawn "$dir" proxy "$assets/kube-proxy" --config "$n/proxy.yaml"
}

load() { ctr -a "$1/node/run/containerd.sock" -n k8s.io images import "$2" >&2; }

stop() { # PIDFILE: the process that we started, by its id
  [ -e "$1" ] || return 0
  local p; p=$(cat "$1"); kill "$p" 2>/dev/null || true
  local i; for i in $(seq 50); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$p" 2>/dev/null || true; rm -f "$1"
}

down() {
  local dir; dir=$(cd "$1" && pwd); local n=$dir/node
  if [ -e "$n/kubelet.pid" ]; then
    KUBECONFIG=$dir/kubeconfig "$assets/kubectl" delete pods -A --all --grace-period=0 --force > /dev/null 2>&1 || true
    stop "$n/kubelet.pid"
    local c ctr="ctr -a $n/run/containerd.sock -n k8s.io"
    for c in $($ctr tasks ls -q 2>/dev/null); do $ctr tasks rm -f "$c" > /dev/null 2>&1 || true; done
    for c in $($ctr containers ls -q 2>/dev/null); do $ctr containers rm "$c" > /dev/null 2>&1 || true; done
    sleep 1; stop "$n/containerd.pid"
    awk -v d="$dir/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null || true
  fi
  for c in proxy scheduler controller-manager apiserver etcd; do stop "$dir/$c.pid"; done
  if [ "$(cut -d' ' -f1 "$node_lock" 2> /dev/null)" = "$dir" ]; then
    nft delete table ip kube-proxy 2> /dev/null || true; nft delete table ip6 kube-proxy 2> /dev/null || true
    ip link delete "$bridge" 2> /dev/null || true
    rm -f "$node_lock"
  fi
  log "down; $dir may be removed"
}

case ${1:-} in
  build) build ;;
  tools) tools ;;
  up) [ $# -ge 2 ] || usage; shift; up "$@"; echo "export KUBECONFIG=$KUBECONFIG PATH=$assets:\$PATH" ;;
  session) shift; session "$@" ;;
  start) [ $# -eq 3 ] || usage; start "$2" "$3" ;;
  stop) [ $# -eq 3 ] || usage; stop "$2/$3.pid" ;;
  compact) [ $# -eq 2 ] || usage; compact "$2" ;;
  load) [ $# -eq 3 ] || usage; load "$2" "$3" ;;
  down) [ $# -eq 2 ] || usage; down "$2" ;;
  *) usage ;;
esac

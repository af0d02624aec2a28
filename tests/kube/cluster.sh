#!/bin/bash
# A real one-node Kubernetes on this machine: etcd, kube-apiserver, controller-manager, scheduler,
# and with --node a kubelet on containerd that runs real pods. See README.md beside this file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
assets=${KUBEBUILDER_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/meshtest/kube}
components="etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl"

usage() { echo "usage: cluster.sh build | up DIR [--node] | load DIR IMAGE.tar | down DIR" >&2; exit 2; }
log() { echo "cluster: $*" >&2; }
started() { echo "$2" > "$1"; }

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

up() {
  local dir=$1 node=${2:-}
  [ -x "$assets/kube-apiserver" ] || build
  mkdir -p "$dir/pki"; dir=$(cd "$dir" && pwd)
  if [ -e "$dir/apiserver.pid" ]; then log "$dir already holds a cluster"; exit 1; fi
  local api; api=$(free_port); local ec; ec=$(free_port); local ep; ep=$(free_port)
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/pki/ca.key" -out "$dir/pki/ca.crt" -days 365 -subj /CN=meshtest-ca 2>/dev/null
  cert "$dir" apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.0.0.1"
  cert "$dir" admin /O=system:masters/CN=admin DNS:admin
  openssl genrsa -out "$dir/pki/sa.key" 2048 2>/dev/null
  cat > "$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: meshtest, cluster: {server: "https://127.0.0.1:$api", certificate-authority: $dir/pki/ca.crt}}]
users: [{name: admin, user: {client-certificate: $dir/pki/admin.crt, client-key: $dir/pki/admin.key}}]
contexts: [{name: meshtest, context: {cluster: meshtest, user: admin}}]
current-context: meshtest
YAML
  setsid "$assets/etcd" --data-dir "$dir/etcd" --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$ec" \
    --advertise-client-urls "http://127.0.0.1:$ec" --listen-peer-urls "http://127.0.0.1:$ep" \
    --initial-advertise-peer-urls "http://127.0.0.1:$ep" --initial-cluster "default=http://127.0.0.1:$ep" \
    > "$dir/etcd.log" 2>&1 < /dev/null & started "$dir/etcd.pid" $!
  setsid "$assets/kube-apiserver" --etcd-servers="http://127.0.0.1:$ec" --secure-port="$api" --bind-address=127.0.0.1 \
    --tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" --client-ca-file="$dir/pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$dir/pki/sa.key" \
    --service-account-signing-key-file="$dir/pki/sa.key" --service-cluster-ip-range=10.0.0.0/16 \
    --authorization-mode=Node,RBAC --allow-privileged=true --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$dir/pki/admin.crt" --kubelet-client-key="$dir/pki/admin.key" \
    > "$dir/apiserver.log" 2>&1 < /dev/null & started "$dir/apiserver.pid" $!
  local i; export KUBECONFIG=$dir/kubeconfig
  for i in $(seq 240); do "$assets/kubectl" get --raw /readyz > /dev/null 2>&1 && break; sleep 0.25; done
  "$assets/kubectl" get --raw /readyz > /dev/null || { tail -5 "$dir/apiserver.log" >&2; exit 1; }
  setsid "$assets/kube-controller-manager" --kubeconfig="$KUBECONFIG" --service-account-private-key-file="$dir/pki/sa.key" \
    --root-ca-file="$dir/pki/ca.crt" --secure-port=0 --leader-elect=false > "$dir/controller-manager.log" 2>&1 < /dev/null & started "$dir/controller-manager.pid" $!
  setsid "$assets/kube-scheduler" --kubeconfig="$KUBECONFIG" --secure-port=0 --leader-elect=false > "$dir/scheduler.log" 2>&1 < /dev/null & started "$dir/scheduler.pid" $!
  if [ "$node" = --node ]; then node_up "$dir"; fi
  log "ready"; echo "export KUBECONFIG=$KUBECONFIG PATH=$assets:\$PATH"
}

pause_image() { # a sandbox image of our own: one static binary that waits
  local d; d=$(mktemp -d); mkdir "$d/root"
  printf '%s\n' '#include <signal.h>' '#include <stdlib.h>' '#include <sys/wait.h>' '#include <unistd.h>' \
    'static void quit(int s){exit(0);} static void reap(int s){while(waitpid(-1,0,WNOHANG)>0);}' \
    'int main(void){signal(SIGINT,quit);signal(SIGTERM,quit);signal(SIGCHLD,reap);for(;;)pause();}' | gcc -w -static -Os -x c -o "$d/root/pause" -
  "$here/../images/image.py" "$d/root" localhost/pause:meshtest "$d/pause.tar" /pause
  mv "$d/pause.tar" "$1"; rm -r "$d"
}

node_up() {
  local dir=$1 n=$1/node; mkdir -p "$n/run" "$n/cni"
  command -v containerd > /dev/null || apt-get install -y -qq containerd containernetworking-plugins runc > "$n/apt.log" 2>&1
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
  cat > "$n/cni/10-bridge.conflist" <<'JSON'
{"cniVersion":"1.0.0","name":"meshtest","plugins":[
 {"type":"bridge","bridge":"meshtest0","isGateway":true,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.77.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
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
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
YAML
  # No CAP_SYS_RESOURCE and a hybrid cgroup tree here: a mount namespace of the node's own without cgroup2 makes it plain v1.
  setsid unshare -m sh -c 'umount -l /sys/fs/cgroup/unified 2>/dev/null; echo $$ > "$1/containerd.pid"; exec containerd -c "$1/containerd.toml" > "$1/containerd.log" 2>&1' sh "$n" < /dev/null &
  local i; for i in $(seq 100); do [ -S "$n/run/containerd.sock" ] && break; sleep 0.1; done
  pause_image "$n/pause.tar"; load "$dir" "$n/pause.tar"
  setsid unshare -m sh -c 'umount -l /sys/fs/cgroup/unified 2>/dev/null; echo $$ > "$1/kubelet.pid"; exec "$2" --config "$1/kubelet.yaml" --kubeconfig "$3" --hostname-override node1 --root-dir "$1/kubelet" > "$1/kubelet.log" 2>&1' \
    sh "$n" "$assets/kubelet" "$dir/kubeconfig" < /dev/null &
  for i in $(seq 120); do "$assets/kubectl" get node node1 2>/dev/null | grep -q ' Ready' && return; sleep 0.5; done
  log "the node is not Ready"; tail -5 "$n/kubelet.log" >&2; exit 1
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
  for c in scheduler controller-manager apiserver etcd; do stop "$dir/$c.pid"; done
  log "down; $dir may be removed"
}

case ${1:-} in
  build) build ;;
  up) [ $# -ge 2 ] || usage; up "$2" "${3:-}" ;;
  load) [ $# -eq 3 ] || usage; load "$2" "$3" ;;
  down) [ $# -eq 2 ] || usage; down "$2" ;;
  *) usage ;;
esac

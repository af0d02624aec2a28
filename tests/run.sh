#!/bin/bash
# Installs what the tests need and runs them all: the second command of the README. On a fresh Debian or Ubuntu, as root, nothing is missing
# afterwards. Without root it says what is missing and goes on without it; MESH_TEST_REQUIRE=all (the default where CI=true) fails instead.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${CI:-}" = true ]; then : "${MESH_TEST_REQUIRE:=all}"; fi
export MESH_TEST_REQUIRE=${MESH_TEST_REQUIRE:-}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/meshtest
missing=()

step() { # TITLE COMMAND...: runs it, and says how long it took
  local title=$1 begin=$SECONDS; shift
  echo "==> $title"
  if ! "$@"; then echo "==> FAILED: $title ($((SECONDS - begin)) s)" >&2; exit 1; fi
  echo "==> done: $title ($((SECONDS - begin)) s)"
}

lacks() { # WHAT REMEDY
  if [ "$MESH_TEST_REQUIRE" = all ]; then echo "missing: $1; $2" >&2; exit 1; fi
  echo "==> MISSING: $1, so tests with it are left out; $2"
  missing+=("$1")
}

# Debian packages: a C compiler (for aws-lc), python3 (which tests run as instances, and which makes images), Podman with what it recommends,
# busybox (what runs in containers) and a registry, Redis, a clock that tests can set, and what the SDKs are tested and packed with.
packages() {
  local pair need=()
  for pair in cc:build-essential python3:python3 curl:curl podman:podman busybox:busybox-static docker-registry:docker-registry jq:jq redis-server:redis-server node:nodejs npm:npm faketime:faketime; do
    command -v "${pair%%:*}" > /dev/null || need+=("${pair#*:}")
  done
  python3 -c "import ensurepip, venv" 2> /dev/null || need+=(python3-venv)
  [ ${#need[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${need[@]}" ca-certificates > /dev/null; then return 0; fi
  fi
  lacks "${need[*]}" "apt-get install ${need[*]}"
}

rust() {
  if ! command -v cargo > /dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
  if ! command -v cargo > /dev/null; then echo "cargo is missing: install Rust with rustup (https://rustup.rs), then run this again" >&2; return 1; fi
  cargo --version
  cargo fmt --version > /dev/null 2>&1 && cargo clippy --version > /dev/null 2>&1 && return
  command -v rustup > /dev/null && rustup component add rustfmt clippy && return
  lacks "rustfmt and clippy" "rustup component add rustfmt clippy"
}

# A real Kubernetes in one binary, kubectl 1.35 included, and helm: from their Go modules, once.
cluster() {
  local assets=${KUBEBUILDER_ASSETS:-$cache/kube}
  mkdir -p "$cache/kubectl"
  if [ ! -x "$assets/kube-proxy" ]; then
    go_there || { lacks "Kubernetes" "its build needs Go 1.21 or later (https://go.dev/dl)"; return 0; }
    echo "building Kubernetes (about five minutes the first time)"
    GOTOOLCHAIN=auto tests/kube/cluster.sh build || { lacks "Kubernetes" "its build failed, see above"; return 0; }
  fi
  ln -sf "$assets/kubectl" "$cache/kubectl/kubectl-1.35"
  if [ "$(id -u)" = 0 ]; then tests/kube/cluster.sh tools || lacks "a node" "containerd, runc and the CNI plugins could not be installed"; fi
}

helm() {
  [ ! -x "$cache/helm/helm" ] || return 0
  go_there || { lacks "helm" "its build needs Go 1.21 or later (https://go.dev/dl)"; return 0; }
  echo "building helm"
  # In the module of Kubernetes and with the same flags: most of it has been compiled there.
  (cd tests/kube/cluster && GOTOOLCHAIN=auto go build -trimpath -ldflags="-s -w" -o "$cache/helm/helm" helm.sh/helm/v3/cmd/helm) \
    || lacks "helm" "its build failed, see above"
}

# The older kubectl that the API is tested with. One that is installed is used; else it is built from its Go module, once.
kubectls() {
  local version file=$cache/kubectl/kubectl-1.32
  if [ ! -x "$file" ]; then kubectl_found 1.32 "$file" || kubectl_built 1.32 "$file" || return 0; fi
  for version in 1.32 1.35; do
    file=$cache/kubectl/kubectl-$version
    [ ! -x "$file" ] || echo "$("$file" version --client -o json | python3 -c 'import json,sys; print("kubectl", json.load(sys.stdin)["clientVersion"]["gitVersion"])') in $file"
  done
}

kubectl_found() { # VERSION FILE
  local candidate; candidate=$(command -v kubectl || true)
  if [ -n "$candidate" ] && "$candidate" version --client 2> /dev/null | grep -q "v$1\."; then ln -sf "$candidate" "$2"; else return 1; fi
}

kubectl_built() { # VERSION FILE
  go_there || { lacks "kubectl $1" "install it, or Go 1.21 or later, which builds it (https://go.dev/dl)"; return 1; }
  echo "building kubectl $1 (about two minutes the first time)"
  local patch; patch=$(sed -n 's|.*k8s.io/kubectl v0\.||p' tests/kube/kubectl/go.mod | head -n 1)
  local v=k8s.io/component-base/version flags
  flags="-s -w -X $v.gitVersion=v1.$patch -X $v.gitMajor=1 -X $v.gitMinor=${patch%%.*}"
  # A toolchain that is older than the modules want fetches the one they name.
  (cd tests/kube/kubectl && GOTOOLCHAIN=auto go build -trimpath -ldflags="$flags" -o "$2" .) || { lacks "kubectl $1" "its build failed, see above"; return 1; }
}

go_there() {
  command -v go > /dev/null && return
  [ ! -x /usr/local/go/bin/go ] || { PATH=/usr/local/go/bin:$PATH; return; }
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get install -y -qq --no-install-recommends golang-go > /dev/null && go version
}

# The Debian with systemd and Podman that tests/systemd/vm boots.
vm() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then lacks "the VM" "its tests need root and Debian's apt-get"; return 0; fi
  tests/vm/vm.sh build || lacks "the VM" "its build failed, see above"
}

# The tests of the podman backend once more, on the Podman of the VM (5.4, with systemd).
podman_in_vm() {
  local root session
  if [ "$(id -u)" != 0 ]; then lacks "Podman 5.4" "its tests need root"; return 0; fi
  coproc SESSION { tests/vm/vm.sh session; }
  session=$SESSION_PID
  read -r root <&"${SESSION[0]}"
  tests/podman/in-vm.sh tests/vm/vm.sh "$root" || return 1
  # The end of its input ends the session, and its VM.
  eval "exec ${SESSION[1]}>&-"
  wait "$session" 2> /dev/null || true
}

# One HTTP stack and one TLS provider; licences and sources with cargo-deny where it is installed (it takes minutes to build).
dependencies() {
  if command -v cargo-deny > /dev/null; then cargo deny --log-level error check licenses bans sources; return; fi
  echo "cargo-deny is not installed: only the bans are checked, from the lock file"
  local crate bad=0
  for crate in ring openssl native-tls serde_yaml reqwest axum actix-web; do
    if grep -q "^name = \"$crate\"$" Cargo.lock && cargo tree --locked --target all -e normal,build -i "$crate" 2> /dev/null | grep -q "^$crate v"; then
      echo "banned: $crate (deny.toml says why)" >&2; bad=1
    fi
  done
  for crate in http hyper rustls h2 kube tokio; do
    if [ "$(grep -c "^name = \"$crate\"$" Cargo.lock)" -gt 1 ]; then echo "two versions of $crate in Cargo.lock" >&2; bad=1; fi
  done
  return $bad
}

step "packages" packages
step "Rust" rust
PATH=$HOME/.cargo/bin:$PATH
step "Kubernetes" cluster
step "helm" helm
step "kubectl 1.32 and 1.35" kubectls
step "VM" vm
step "format" cargo fmt --check
step "dependencies" dependencies
step "clippy" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
if [ -x "$cache/kubectl/kubectl-1.35" ] && [ -x "$cache/kubectl/kubectl-1.32" ]; then
  export MESH_TEST_KUBECTL=$cache/kubectl/kubectl-1.35
  step "tests, with kubectl 1.35" cargo test --locked --workspace
  MESH_TEST_KUBECTL=$cache/kubectl/kubectl-1.32
  step "the main path again, with kubectl 1.32" cargo test --locked --test acceptance -- kubectl
  step "the podman backend on Podman 5.4" podman_in_vm
else
  step "tests without kubectl" cargo test --locked --workspace -- --skip kubectl
fi
if [ ${#missing[@]} -gt 0 ]; then echo "==> passed, but not tested for lack of: ${missing[*]}"; else echo "==> all passed in $SECONDS s"; fi

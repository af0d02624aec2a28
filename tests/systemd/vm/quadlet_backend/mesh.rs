//! A controller of the machine's own, with ports and a state directory that no other test has; and a load on its router.
use std::path::PathBuf;

use crate::vm::machine::Vm;

/// Three instances that say who they are.
pub(super) const WEB: &str = "apiVersion: mesh-controller.dev/v1alpha1
kind: MeshService
metadata: {name: web}
spec:
  image: localhost/mesh-test:1
  command: [sh, -c, \"echo $MESH_INSTANCE $WORD > /tmp/index.html; trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp & wait\"]
  replicas: 3
  port: 8080
  route: /
  env: [{name: WORD, value: one}]
";

/// Sessions on kept connections, until the file is there; then how many requests there were, and what failed.
const LOAD: &str = r#"
import http.client, os, sys, threading
port, folder = int(sys.argv[1]), sys.argv[2]
lock, count, failed = threading.Lock(), 0, []
def session():
    global count
    connection, cookie = None, None
    while not os.path.exists(folder + "/stop"):
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/", headers={"cookie": cookie} if cookie else {})
            answer = connection.getresponse()
            body = answer.read()
            cookie = (answer.getheader("set-cookie") or cookie or "").split(";")[0] or None
            problem = None if answer.status == 200 and body.startswith(b"web-") else f"{answer.status} {body[:200]}"
        except Exception as error:
            problem, connection = repr(error), None
        with lock:
            count += 1
            if problem: failed.append(problem)
            if count % 200 == 0:
                with open(folder + "/count.new", "w") as file: file.write(str(count))
                os.replace(folder + "/count.new", folder + "/count")
threads = [threading.Thread(target=session) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with open(folder + "/failed", "w") as file: file.write("\n".join(failed))
with open(folder + "/end.new", "w") as file: file.write(str(count))
os.replace(folder + "/end.new", folder + "/end")
"#;

/// Makes the image, once.
pub(super) fn image(vm: &Vm) {
    vm.sh("exec 9> /root/mesh-image.lock; flock 9
        podman image exists localhost/mesh-test:1 && [ -e /root/mesh-image.tar ] && exit
        mkdir -p /root/mesh-image/bin /root/mesh-image/tmp && cp /bin/busybox /root/mesh-image/bin/
        for name in sh httpd sleep cat id env ls; do ln -sf busybox /root/mesh-image/bin/$name; done
        tar -C /root/mesh-image -cf /root/mesh-image.tar . && podman import -q /root/mesh-image.tar localhost/mesh-test:1");
}

fn kubectl() -> PathBuf {
    let program = std::env::var("MESH_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(&program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is not in PATH: tests/run.sh brings one"))
}

/// A controller.
pub(super) struct Mesh<'a> {
    vm: &'a Vm,
    name: String,
    port: u16,
    backend: &'static str,
}

impl<'a> Mesh<'a> {
    /// Starts one; `port` is the first of ten that are its own.
    pub(super) fn start(vm: &'a Vm, name: &str, port: u16) -> Self {
        Self::start_on(vm, name, port, "quadlet")
    }

    /// Starts one with this backend.
    pub(super) fn start_on(vm: &'a Vm, name: &str, port: u16, backend: &'static str) -> Self {
        static ONCE: std::sync::Once = std::sync::Once::new();
        image(vm);
        ONCE.call_once(|| vm.copy(kubectl().to_str().unwrap(), "/usr/local/bin/kubectl"));
        let mesh = Self { vm, name: name.to_owned(), port, backend };
        mesh.anew();
        mesh
    }

    /// Starts it with nothing remembered.
    pub(super) fn anew(&self) {
        self.restart();
        self.kubectl_anywhere(&format!("create namespace {}", self.name));
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        let unit = self.unit();
        self.vm.sh(&format!("systemctl kill -s KILL {unit}; while systemctl is-active -q {unit}; do sleep 0.05; done"));
    }

    /// Kills it and removes its state directory; what it has started runs on.
    pub(super) fn vanish(&self) {
        self.kill();
        self.vm.sh(&format!("rm -r /var/lib/mesh-{}", self.name));
    }

    /// Starts one over the state that is there.
    pub(super) fn again(vm: &'a Vm, name: &str, port: u16) -> Self {
        let mesh = Self { vm, name: name.to_owned(), port, backend: "quadlet" };
        mesh.restart();
        mesh
    }

    /// Starts it again after its end.
    pub(super) fn restart(&self) {
        let Self { port, name, backend, .. } = self;
        let instances = 20_000 + (port - 9_000) * 10;
        self.vm.sh(&format!(
            "systemctl reset-failed {unit} 2> /dev/null || true; systemd-run -q --unit={unit} mesh-controller --backend {backend} --state-dir /var/lib/mesh-{name} \
             --node-name {name} --api-listen 127.0.0.1:{port} --router-listen 127.0.0.1:{router} --admin-listen 127.0.0.1:{admin} --port-range {instances}-{last}",
            unit = self.unit(),
            router = port + 1,
            admin = port + 2,
            last = instances + 99
        ));
        self.vm.until("the controller", &format!("curl -fsS http://127.0.0.1:{}/readyz", port + 2));
    }

    pub(super) fn unit(&self) -> String {
        format!("mc-{}.service", self.name)
    }

    pub(super) fn stop(&self) {
        self.vm.sh(&format!("systemctl stop {}", self.unit()));
    }

    pub(super) fn router(&self) -> String {
        format!("http://127.0.0.1:{}", self.port + 1)
    }

    fn command(&self, args: &str) -> String {
        format!("kubectl --kubeconfig /var/lib/mesh-{}/kubeconfig {args}", self.name)
    }

    fn kubectl_anywhere(&self, args: &str) -> String {
        self.vm.sh(&self.command(args))
    }

    /// kubectl in the controller's namespace, which has its name.
    pub(super) fn kubectl(&self, args: &str) -> String {
        self.kubectl_anywhere(&format!("-n {} {args}", self.name))
    }

    /// The command line of `mesh` for it.
    pub(super) fn mesh(&self, args: &str) -> String {
        format!("mesh --state-dir /var/lib/mesh-{name} -n {name} {args}", name = self.name)
    }

    pub(super) fn apply(&self, yaml: &str) {
        let file = format!("/root/{}.yaml", self.name);
        self.vm.write(&file, yaml);
        self.kubectl(&format!("apply -f {file}"));
    }

    pub(super) fn until(&self, what: &str, script: &str) -> String {
        let show = self.command(&format!("-n {} get msvc,mi -o wide", self.name));
        self.vm.until(what, &format!("{{ {script}; }} || {{ {show}; false; }}"))
    }

    fn count(&self, service: &str, field: &str) -> String {
        format!("$({})", self.command(&format!("-n {} get msvc {service} -o jsonpath='{{.status.{field}}}'", self.name)))
    }

    /// Waits until so many are ready, and there are no others.
    pub(super) fn ready(&self, service: &str, count: u32) {
        let instances = self.command(&format!("-n {} get mi --no-headers", self.name));
        let script =
            format!("[ {} = {count} ] && [ $({instances} | grep -c '^{service}-') = {count} ]", self.count(service, "readyReplicas"));
        self.until(&format!("{count} of {service}"), &script);
    }

    /// The test whether a rollout is over.
    pub(super) fn rolled_out(&self, service: &str, count: u32) -> String {
        let (updated, ready) = (self.count(service, "updatedReplicas"), self.count(service, "readyReplicas"));
        let (all, seen) = (self.count(service, "replicas"), self.count(service, "observedGeneration"));
        let generation = self.command(&format!("-n {} get msvc {service} -o jsonpath='{{.metadata.generation}}'", self.name));
        format!("[ {updated} = {count} ] && [ {ready} = {count} ] && [ {all} = {count} ] && [ {seen} = $({generation}) ]")
    }

    /// The unit and the container of the first instance.
    pub(super) fn first(&self, service: &str) -> (String, String) {
        let folder = format!("/etc/containers/systemd/mesh-{}.{service}", self.name);
        let unit = self.vm.sh(&format!("basename {folder}/*@0.container .container")).trim().to_owned() + ".service";
        let container =
            self.vm.sh(&format!("podman ps -a --filter label=PODMAN_SYSTEMD_UNIT={unit} --format '{{{{.Names}}}}'")).trim().to_owned();
        (unit, container)
    }

    /// All containers, with their ids.
    pub(super) fn containers(&self) -> String {
        self.vm.sh(&format!(
            "podman ps -a --no-trunc --filter label=mesh-controller.dev/namespace={} --format '{{{{.ID}}}} {{{{.Names}}}}' | sort",
            self.name
        ))
    }

    pub(super) fn restarts_command(&self, container: &str) -> String {
        let instance = container.strip_prefix(&format!("mesh-{}-", self.name)).unwrap();
        self.command(&format!("-n {} get mi {instance} -o jsonpath='{{.status.restartCount}}'", self.name))
    }

    pub(super) fn restarts(&self, container: &str) -> u32 {
        self.vm.sh(&self.restarts_command(container)).parse().unwrap()
    }

    /// Begins a load on the router.
    pub(super) fn load(&self) -> Load<'_> {
        let folder = format!("/root/load-{}", self.name);
        self.vm.write(&format!("{folder}/load.py"), LOAD);
        self.vm.write(&format!("{folder}/count"), "0");
        self.vm.sh(&format!("systemd-run -q --unit=load-{} python3 {folder}/load.py {} {folder}", self.name, self.port + 1));
        Load { vm: self.vm, folder }
    }
}

/// A load that goes on.
pub(super) struct Load<'a> {
    vm: &'a Vm,
    folder: String,
}

impl Load<'_> {
    /// How many requests there were so far.
    pub(super) fn count(&self) -> u64 {
        self.vm.sh(&format!("cat {}/count", self.folder)).parse().unwrap()
    }

    /// Ends it: how many requests there were, and what became of those that failed.
    pub(super) fn end(self) -> (u64, Vec<String>) {
        self.vm.write(&format!("{}/stop", self.folder), "");
        let count = self.vm.until("the end of the load", &format!("cat {}/end", self.folder)).parse().unwrap();
        let failed = self.vm.sh(&format!("cat {}/failed", self.folder));
        (count, failed.lines().map(ToOwned::to_owned).collect())
    }
}

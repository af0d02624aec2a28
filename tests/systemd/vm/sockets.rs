//! The router behind a real socket unit: port 80 without root, the clients' addresses, restarts, reloads.
use super::machine::Vm;

/// Says who asks it, and its name.
const INSTANCE: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{sys.argv[2]} for {self.headers['x-forwarded-for']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

fn objects(ports: &[u16]) -> String {
    let mut text =
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: web}\nspec: {command: [x], route: /}\n".to_owned();
    for port in ports {
        let _ = std::fmt::Write::write_fmt(
            &mut text,
            format_args!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-{port}, labels: {{kubernetes.io/service-name: web}}}}\n\
             addressType: IPv4\nports: [{{port: {port}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n"
            ),
        );
    }
    text
}

const SOCKET: &str = "[Socket]\nListenStream=192.0.2.1:80\nListenStream=127.0.0.1:80\n";
const SERVICE: &str = "[Service]\nType=notify\nUser=bob\n\
    ExecStart=/usr/local/bin/mesh-controller router --from /etc/mesh-edge --admin-listen 127.0.0.1:9580\nExecReload=kill -HUP $MAINPID\n";

/// What two clients saw during a script; each request is a connection of its own.
pub(super) struct Seen {
    pub(super) requests: u32,
    pub(super) failed: u32,
    /// What curl said of those that failed.
    pub(super) errors: String,
}

pub(super) fn clients(vm: &Vm, url: &str, script: &str) -> Seen {
    let said = vm.sh(&format!(
        "f() {{ n=0; bad=0; while [ ! -e $1 ]; do n=$((n+1)); curl -fsS -m 10 -o /dev/null -w '%header{{x-mesh-error}}' {url} >> $1.errors 2>&1 || bad=$((bad+1)); done; echo $n $bad; }}; \
         stop=/root/stop.$$; f $stop & f $stop & ({script}) > /dev/null; touch $stop; wait; cat $stop.errors; rm -f $stop $stop.errors"
    ));
    let mut seen = Seen { requests: 0, failed: 0, errors: String::new() };
    for line in said.lines() {
        match line.split_once(' ').and_then(|(n, bad)| Some((n.parse::<u32>().ok()?, bad.parse::<u32>().ok()?))) {
            Some((requests, failed)) => (seen.requests, seen.failed) = (seen.requests + requests, seen.failed + failed),
            None => seen.errors.extend([line, "\n"]),
        }
    }
    seen
}

#[test]
fn the_router_has_port_80_without_root_keeps_addresses_and_restarts_lose_no_request() {
    let Some(vm) = Vm::shared() else { return };
    vm.write("/opt/instance.py", INSTANCE);
    vm.write("/etc/mesh-edge/router.yaml", &objects(&[9581]));
    vm.write("/etc/systemd/system/mesh-edge.socket", SOCKET);
    vm.write("/etc/systemd/system/mesh-edge.service", SERVICE);
    vm.sh("ip address add 192.0.2.1/24 dev lo; ip address add 192.0.2.7/24 dev lo");
    for (name, port) in [("a", 9581), ("b", 9582)] {
        vm.sh(&format!("systemd-run -q --unit=mesh-edge-{name} python3 /opt/instance.py {port} {name}"));
    }
    vm.until("the instances", "curl -fsS 127.0.0.1:9581 127.0.0.1:9582");

    // Nothing runs yet: the first connection starts it, and waits.
    vm.sh("systemctl daemon-reload && systemctl start mesh-edge.socket && ! systemctl is-active -q mesh-edge.service");
    assert_eq!(vm.sh("curl -fsS --interface 192.0.2.7 http://192.0.2.1/"), "a for 192.0.2.7");
    assert_eq!(vm.sh("curl -fsS http://127.0.0.1/"), "a for 127.0.0.1", "both addresses of the socket unit");
    assert_eq!(vm.sh("ps -o user= -p $(systemctl show -P MainPID mesh-edge)").trim(), "bob");
    let status = vm.sh("systemctl show -P StatusText mesh-edge");
    assert!(status.contains("router 192.0.2.1:80") && status.contains("127.0.0.1:9580"), "{status}");

    let restarts = "for i in 1 2 3; do systemctl restart mesh-edge.service; curl -fsS http://127.0.0.1/?[1-9]; done; \
        systemctl kill -s KILL mesh-edge.service; curl -fsS --retry 9 --retry-all-errors http://127.0.0.1/";
    let seen = clients(&vm, "http://127.0.0.1/", restarts);
    // A request that is under way at the kill is lost with its process: one of each of the two clients at most.
    assert!(seen.failed <= 2 && seen.requests > 20, "{} of {} requests failed:\n{}", seen.failed, seen.requests, seen.errors);

    vm.write("/etc/mesh-edge/router.yaml", &objects(&[9582]));
    vm.sh("systemctl reload mesh-edge.service");
    vm.until("the other instance to answer", "curl -fsS http://127.0.0.1/ | grep '^b for'");
    vm.write("/etc/mesh-edge/router.yaml", "kind: [");
    vm.sh("systemctl reload mesh-edge.service");
    vm.until("the status to say what is wrong", "systemctl show -P StatusText mesh-edge | grep 'not taken: /etc/mesh-edge/router.yaml:1'");
    assert_eq!(vm.sh("curl -fsS http://127.0.0.1/"), "b for 127.0.0.1");
    vm.sh("systemctl stop mesh-edge.socket mesh-edge.service mesh-edge-a mesh-edge-b; [ $(systemctl show -P Result mesh-edge) = success ]");
}

#[test]
fn a_socket_that_the_router_cannot_use_is_named_with_the_remedy() {
    let Some(vm) = Vm::shared() else { return };
    vm.write("/etc/systemd/system/mesh-bad.socket", "[Socket]\nListenStream=/run/mesh-bad.sock\nFileDescriptorName=web\n");
    vm.write(
        "/etc/systemd/system/mesh-bad.service",
        "[Service]\nType=notify\nExecStart=/usr/local/bin/mesh-controller router --from /etc/none\n",
    );
    vm.sh("systemctl daemon-reload; systemctl start mesh-bad.socket; ! systemctl start mesh-bad.service; systemctl stop mesh-bad.socket");
    let said = vm.until("its words", "journalctl -o cat -u mesh-bad.service | grep 'mesh-controller: the socket'");
    assert!(
        said.contains("the socket web that systemd passed (file descriptor 3)") && said.contains("ListenStream=ADDRESS:PORT"),
        "{said}"
    );
}

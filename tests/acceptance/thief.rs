//! A program that takes the port of an instance, beside the real controller and its router.
use std::net::TcpListener;

use serde_json::json;

use mesh_gear::{
    controller::{Controller, kill, until},
    load,
};

/// Lets its port go at SIGUSR1, and listens again at SIGUSR2.
const PROGRAM: &str = r#"
import http.server, os, signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
while True:
    server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ok)
    threading.Thread(target=server.serve_forever).start()
    signal.sigwait({signal.SIGUSR1}); server.shutdown(); server.server_close()
    signal.sigwait({signal.SIGUSR2})
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_an_instances_port_gets_neither_a_request_nor_a_probe() {
    let controller = Controller::start().await;
    let probe = json!({ "httpGet": { "path": "/" }, "periodSeconds": 1 });
    controller.apply("web", &json!({ "command": ["python3", "-c", PROGRAM], "route": "/", "readinessProbe": probe })).await;
    let status = async || load::get(controller.router, "/").await.unwrap().0;
    until("the router to learn of it", async || (status().await == 200).then_some(())).await;
    let instance = controller.json(&["get", "mi"])["items"][0].clone();
    let (pid, address) = (instance["status"]["pid"].as_i64().unwrap(), instance["status"]["address"].as_str().unwrap());

    kill(pid, "-USR1");
    let thief = until("the port", async || TcpListener::bind(address).ok()).await;
    thief.set_nonblocking(true).unwrap();
    let told = || controller.each("mi", "/status/conditions/0/message")[0].as_str().unwrap().to_owned();
    until("it to be told", async || told().contains(&format!("pid {}", std::process::id())).then_some(())).await;
    let none = r#"mesh_router_endpoints{state="ready"} 0"#;
    until("the router to learn of it", async || controller.admin("/metrics").await.1.contains(none).then_some(())).await;
    for _ in 0..20 {
        assert_eq!(status().await, 503);
    }
    assert_eq!(thief.accept().map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock), "it was asked");

    drop(thief);
    kill(pid, "-USR2");
    until("the instance to be asked again", async || (status().await == 200).then_some(())).await;
}

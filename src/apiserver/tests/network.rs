//! The server over TLS on a real socket: who is let in, and the real kubectl.
use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};

use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::{credentials::Credentials, https::Limits};
use mesh_kit::clock;
use mesh_store as store;

/// A server on a directory and a port of its own.
struct Network {
    dir: TempDir,
    kubeconfig: PathBuf,
    credentials: Credentials,
    supervisor: Supervisor,
}

async fn network() -> Network {
    network_within(Limits::under(u64::MAX)).await
}

async fn network_within(limits: Limits) -> Network {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (shutdown, supervisor) = Shutdown::new();
    let state = dir.path().join("state");
    let store = Store::open(&state, &store::Options::default()).unwrap();
    let credentials = Credentials::load_or_create(&state, listener.local_addr().unwrap(), clock::now()).unwrap();
    let kubeconfig = credentials.write_kubeconfig(&state).unwrap();
    let options = Options { ca_certificate: credentials.ca_certificate().to_owned(), ..Options::default() };
    let server = ApiServer::start(store, options, &shutdown).await.unwrap();
    shutdown.spawn("apiserver", server.run_within(limits, listener, credentials.clone(), shutdown.clone()));
    Network { dir, kubeconfig, credentials, supervisor }
}

impl Network {
    /// A client of the kubeconfig, with its user replaced by another one, or by none.
    async fn client(&self, user: Option<&str>) -> Client {
        let mut text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        if let Some(user) = user {
            let (start, end) = (text.find("    client-certificate-data").unwrap(), text.find("contexts:").unwrap());
            text.replace_range(start..end, user);
        }
        let kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    async fn kubectl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        use tokio::io::AsyncWriteExt;
        let mut command = tokio::process::Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.dir.path())
            .env("KUBE_EDITOR", "sed -i s/size:.*/size:\\ 42/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl is installed");
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = tokio::time::timeout(Duration::from_mins(1), child.wait_with_output()).await.expect("kubectl ends").unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), text)
    }

    /// Runs kubectl, which must succeed and say this.
    async fn does(&self, arguments: &str, input: &str, says: &str) {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let (ok, text) = self.kubectl(&arguments, input).await;
        assert!(ok && text.contains(says), "kubectl {arguments:?} said {text:?}, not {says:?}");
    }

    /// Runs kubectl, which must fail and say this.
    async fn refuses(&self, arguments: &str, input: &str, says: &str) {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let (ok, text) = self.kubectl(&arguments, input).await;
        assert!(!ok && text.contains(says), "kubectl {arguments:?} said {text:?}, not {says:?}");
    }
}

async fn list(client: &Client) -> Result<usize, u16> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.list(&ListParams::default()).await.map(|list| list.items.len()).map_err(|error| code(&error))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_or_the_token_lets_in_and_nothing_else() {
    let network = network().await;
    assert_eq!(list(&network.client(None).await).await, Ok(1));
    let token = format!("    token: {}\n", network.credentials.token.reveal());
    assert_eq!(list(&network.client(Some(&token)).await).await, Ok(1));
    assert_eq!(list(&network.client(Some("    token: wrong\n")).await).await, Err(401));
    assert_eq!(list(&network.client(Some("    username: a\n    password: b\n")).await).await, Err(401));
    let client = network.client(None).await;
    for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let request = http::Request::get("/api/v1/namespaces").header(name, value).body(kube::client::Body::empty()).unwrap();
        let refused = client.send(request).await.unwrap();
        assert_eq!(refused.status(), 403, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_open_watches_and_frees_the_port_and_the_directory() {
    let network = network().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(network.client(None).await);
    let mut events = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
    assert!(network.supervisor.finish(Duration::from_secs(10)).await);
    assert!(tokio::time::timeout(Duration::from_secs(10), async { while let Ok(Some(_)) = events.try_next().await {} }).await.is_ok());
    TcpListener::bind(network.credentials.address).await.unwrap();
}

type Tls = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

impl Network {
    async fn tcp(&self) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(self.credentials.address).await.unwrap()
    }

    /// A connection of one who shows no certificate.
    async fn stranger(&self) -> Tls {
        use rustls_pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.credentials.ca_certificate().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect("127.0.0.1".try_into().unwrap(), self.tcp().await).await.unwrap()
    }

    fn asks(&self, token: &str) -> String {
        format!("GET /version HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n", self.credentials.address)
    }
}

/// Reads until the server closes, which it must.
async fn closed(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    use tokio::io::AsyncReadExt;
    let mut read = Vec::new();
    // A close without TLS's own end is one too.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut read)).await.expect("the server closes");
    String::from_utf8_lossy(&read).into_owned()
}

fn short() -> Limits {
    let quick = Duration::from_millis(200);
    Limits { handshake: quick, stranger: quick, known: quick, ..Limits::under(u64::MAX) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_is_closed_at_every_stage() {
    use tokio::io::AsyncWriteExt;
    let network = network_within(short()).await;
    closed(network.tcp().await).await;
    closed(network.stranger().await).await;
    let heads = ["GET /version HTT".to_owned(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned()];
    for head in heads {
        let mut stream = network.stranger().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        closed(stream).await;
    }
    for (token, code) in [("wrong", "401"), (network.credentials.token.reveal(), "200")] {
        let mut stream = network.stranger().await;
        stream.write_all(network.asks(token).as_bytes()).await.unwrap();
        let said = closed(stream).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {code}")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_stranger_gives_way_and_who_is_known_stays() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let network = network_within(Limits { connections: 8, strangers: 3, ..Limits::under(u64::MAX) }).await;
    let mut known = network.stranger().await;
    let ask = network.asks(network.credentials.token.reveal());
    known.write_all(ask.as_bytes()).await.unwrap();
    assert!(known.read(&mut [0; 4096]).await.unwrap() > 0);
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(network.stranger().await);
    }
    let last = strangers.split_off(17);
    for stranger in strangers {
        closed(stranger).await;
    }
    assert_eq!(list(&network.client(None).await).await, Ok(1));
    known.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    known.read_exact(&mut answer).await.unwrap();
    drop(last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_not_idle() {
    let network = network_within(short()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(network.client(None).await);
    let mut events = maps.watch(&WatchParams::default().timeout(2), "0").await.unwrap().boxed();
    assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
    let started = tokio::time::Instant::now();
    while let Some(event) = events.try_next().await.unwrap() {
        assert!(matches!(event, WatchEvent::Bookmark(_)), "{event:?}");
    }
    assert!(started.elapsed() > Duration::from_secs(1), "it ends at its own time");
}

const WIDGET: &str =
    "apiVersion: judge.example/v1\nkind: Widget\nmetadata: {name: w, labels: {a: b}}\nspec: {size: 3, colour: red, replicas: 1}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_creates_reads_changes_and_deletes() {
    let network = network().await;
    network.does("create configmap c --from-literal=a=b", "", "configmap/c created").await;
    network.does("create secret generic s --from-literal=p=q", "", "secret/s created").await;
    network.does("create namespace other", "", "namespace/other created").await;
    network.does("get ns", "", "kube-system").await;
    network.does("apply -f -", &widget_definition().to_string(), "created").await;
    network.does("apply -f -", WIDGET, "widget.judge.example/w created").await;
    network.does("apply -f -", WIDGET, "unchanged").await;
    network.does("get wd -o wide -l a=b --field-selector spec.colour=red", "", "w ").await;
    network.refuses("diff -f -", &WIDGET.replace("size: 3", "size: 4"), "+  size: 4").await;
    network.does("apply -f -", &WIDGET.replace("size: 3", "size: 4"), "configured").await;
    network.refuses("apply --server-side -f -", WIDGET, "conflict with \"kubectl-client-side-apply\"").await;
    network.does("apply --server-side --force-conflicts -f -", WIDGET, "serverside-applied").await;
    network.does("patch wd w --type merge -p {\"spec\":{\"size\":11}}", "", "patched").await;
    network
        .refuses("patch wd w --type json -p [{\"op\":\"test\",\"path\":\"/spec/size\",\"value\":1}]", "", "due to an error in our request")
        .await;
    network.does("edit wd w", "", "edited").await;
    network.does("get wd w -o jsonpath={.spec.size}", "", "42").await;
    network.does("label wd w x=y", "", "labeled").await;
    network.does("annotate wd w n=m", "", "annotated").await;
    network.does("scale wd w --replicas=4", "", "scaled").await;
    network.does("scale wd w --current-replicas=4 --replicas=3", "", "scaled").await;
    network.does("wait --for=jsonpath={.spec.replicas}=3 wd/w --timeout=10s", "", "condition met").await;
    network.does("explain wd.spec.size", "", "FIELD: size <integer>").await;
    network.does("describe wd w", "", "Events:").await;
    network.does("api-resources --categories=all", "", "services").await;
    network.does("auth whoami", "", "mesh-admin").await;
    network.does("auth can-i delete widgets", "", "yes").await;
    network.does("patch cm c -p {\"data\":{\"z\":\"1\",\"a\":null}}", "", "patched").await;
    network.does("get cm c -o jsonpath={.data}", "", "{\"z\":\"1\"}").await;
    network.does("delete wd w", "", "deleted").await;
    network.does("delete ns other", "", "deleted").await;
    network.does("get --raw /readyz", "", "ok").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_says_what_is_wrong_with_bad_input() {
    let network = network().await;
    network.does("apply -f -", &widget_definition().to_string(), "created").await;
    network.refuses("apply -f -", &WIDGET.replace("size: 3", "zz: 3"), "unknown field \"spec.zz\"").await;
    network.refuses("apply -f -", &WIDGET.replace("size: 3", "size: 300"), "spec.size in body should be less than or equal to 100").await;
    network.refuses("apply -f -", &WIDGET.replace("name: w", &format!("name: {}", "n".repeat(300))), "metadata.name: Invalid value").await;
    network.refuses("apply -f -", &WIDGET.replace("name: w", "name: \"a\\nb\""), "metadata.name: Invalid value").await;
    network.refuses("get nothings", "", "the server doesn't have a resource type \"nothings\"").await;
    network.refuses("create deployment d --image=i", "", "the server could not find the requested resource").await;
}

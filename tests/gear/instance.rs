//! Instances: small HTTP servers that say who they are and what they got.
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// A running instance; ends when dropped.
pub struct Instance {
    pub name: String,
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    /// Each permit lets one `/slow` request answer.
    pub slow: Arc<Semaphore>,
    _tasks: JoinSet<()>,
}

pub async fn instance(name: &str) -> Instance {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, name.to_owned(), requests.clone(), slow.clone()));
    Instance { name: name.to_owned(), address, requests, slow, _tasks: tasks }
}

impl Instance {
    pub fn served(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// An instance that does with each connection what the test says; `dead` ends all of it, as a crash does.
pub async fn raw<F>(name: &str, dead: CancellationToken, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Instance
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = dead.cancelled() => return,
                accepted = listener.accept() => drop(connections.spawn(serve(accepted.unwrap().0))),
            }
        }
    });
    let (requests, slow) = (Arc::default(), Arc::new(Semaphore::new(0)));
    Instance { name: name.to_owned(), address, requests, slow, _tasks: tasks }
}

/// The next head on a connection; none at its end.
pub async fn head(io: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(io.read_u8().await.ok()?);
    }
    Some(String::from_utf8(text).unwrap())
}

async fn accept(listener: TcpListener, name: String, requests: Arc<AtomicUsize>, slow: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let (io, _) = listener.accept().await.unwrap();
        let (name, requests, slow) = (name.clone(), requests.clone(), slow.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (name, requests, slow) = (name.clone(), requests.clone(), slow.clone());
                async move {
                    requests.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(answer(&name, &slow, request).await)
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).with_upgrades().await;
        });
    }
}

async fn answer(name: &str, slow: &Semaphore, request: Request<Incoming>) -> Response<BoxBody<Bytes, hyper::Error>> {
    match request.uri().path() {
        "/echo" => Response::new(request.into_body().boxed()),
        "/slow" => {
            slow.acquire().await.unwrap().forget();
            text(name)
        }
        "/headers" => text(&said(request.headers())),
        "/path" => text(&request.uri().to_string()),
        "/never" => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            text("never")
        }
        _ => text(name),
    }
}

fn said(headers: &HeaderMap) -> String {
    let mut lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn text(text: &str) -> Response<BoxBody<Bytes, hyper::Error>> {
    Response::new(Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed())
}

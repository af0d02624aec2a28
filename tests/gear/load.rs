//! Requests through the router: one, a session with its cookie, and a constant load that counts what fails.
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn connect(address: SocketAddr, tasks: &mut JoinSet<()>) -> Result<SendRequest<Empty<Bytes>>, Error> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tasks.spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn request(method: Method, path: &str, cookie: Option<&str>) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "test");
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.body(Empty::new()).unwrap()
}

/// One request on a connection of its own: its status and body.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), Error> {
    let mut tasks = JoinSet::new();
    let mut sender = connect(address, &mut tasks).await?;
    read(sender.send_request(request(Method::GET, path, None)).await?).await
}

async fn read(response: Response<Incoming>) -> Result<(u16, String), Error> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Which instance an answer of the shop's backend is of.
pub fn instance(body: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    answer["instance"].as_str().unwrap().to_owned()
}

/// A client that keeps its cookie.
pub struct Session {
    address: SocketAddr,
    cookie: Option<String>,
}

impl Session {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, cookie: None }
    }

    /// The instance that answered; the answer must be a good one.
    pub async fn get(&mut self, path: &str) -> String {
        let mut tasks = JoinSet::new();
        let mut sender = connect(self.address, &mut tasks).await.unwrap();
        let response = sender.send_request(request(Method::GET, path, self.cookie.as_deref())).await.unwrap();
        if let Some(cookie) = response.headers().get("set-cookie") {
            self.cookie = Some(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        let (status, body) = read(response).await.unwrap();
        assert_eq!(status, 200, "{body}");
        instance(&body)
    }
}

/// A constant load on kept connections.
pub struct Load {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
}

pub struct Report {
    pub answered: u64,
    pub failures: Vec<String>,
}

impl Report {
    pub fn expect_no_failures(&self) {
        let first: Vec<_> = self.failures.iter().take(5).collect();
        assert!(self.failures.is_empty(), "{} of {} requests failed: {first:#?}", self.failures.len(), self.answered);
    }
}

impl Load {
    pub fn start(address: SocketAddr, path: &'static str, connections: usize) -> Self {
        Self::of(&Method::GET, address, path, connections)
    }

    /// Requests that the router may not ask again once an instance may have begun to work on them.
    pub fn of_posts(address: SocketAddr, path: &'static str, connections: usize) -> Self {
        Self::of(&Method::POST, address, path, connections)
    }

    fn of(method: &Method, address: SocketAddr, path: &'static str, connections: usize) -> Self {
        let mut load = Self { tasks: JoinSet::new(), stop: Arc::default(), answered: Arc::default(), failures: Arc::default() };
        for _ in 0..connections {
            let (stop, answered, failures, method) = (load.stop.clone(), load.answered.clone(), load.failures.clone(), method.clone());
            load.tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = ask(&method, address, path, &stop, &answered, &failures).await {
                        failures.lock().unwrap().push(error.to_string());
                    }
                }
            });
        }
        load
    }

    /// Waits for so many more answers.
    pub async fn requests(&self, more: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        crate::controller::until("more answers", async || (self.answered.load(Ordering::Relaxed) >= goal).then_some(())).await;
    }

    pub async fn stop(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        let failures = self.failures.lock().unwrap().clone();
        Report { answered: self.answered.load(Ordering::Relaxed), failures }
    }
}

/// Asks again and again on one connection, until the connection or the test ends.
async fn ask(
    method: &Method,
    address: SocketAddr,
    path: &str,
    stop: &AtomicBool,
    answered: &AtomicU64,
    failures: &Mutex<Vec<String>>,
) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    let mut sender = connect(address, &mut tasks).await?;
    while !stop.load(Ordering::Relaxed) {
        // The router may close a kept connection between two requests; then a new one is opened.
        if sender.ready().await.is_err() {
            return Ok(());
        }
        let (status, body) = read(sender.send_request(request(method.clone(), path, None)).await?).await?;
        answered.fetch_add(1, Ordering::Relaxed);
        if status != 200 {
            failures.lock().unwrap().push(format!("{status}: {body}"));
        }
        // A steady load, not a flood: two cores carry the whole test.
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

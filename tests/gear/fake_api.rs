//! A fake API server, no more than a router needs: lists, watches that a test can push into, and a record of what was written.
use std::{
    collections::HashMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The revision of a list before anything has happened: above all that objects of a test have.
const FIRST_LIST: usize = 1_000_000;

/// The objects by the path of their list, the open watches, and what was written.
#[derive(Default)]
struct Inner {
    objects: HashMap<String, Vec<Value>>,
    watches: HashMap<String, Vec<mpsc::UnboundedSender<String>>>,
    /// What happened, in order; a list says how much of it is in it, and the watch that follows begins there.
    log: Vec<(String, String)>,
    written: Vec<Written>,
    /// Answers nothing but errors.
    away: bool,
    /// Lists that are refused with 403, and how often they were asked for.
    refused: HashMap<String, usize>,
}

/// A write.
#[derive(Debug, Clone)]
pub struct Written {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Value,
}

#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<Inner>>);

impl FakeApi {
    pub fn client(&self) -> Client {
        let this = self.clone();
        Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let this = this.clone();
                async move { Ok::<_, Infallible>(this.answer(request).await) }.boxed()
            }),
            "default",
        )
    }

    /// Puts an object into a list, and tells the watches.
    pub fn put(&self, list: &str, object: impl serde::Serialize) {
        let object = serde_json::to_value(object).unwrap();
        let mut inner = self.0.lock().unwrap();
        let objects = inner.objects.entry(list.to_owned()).or_default();
        let known = objects.iter_mut().find(|other| other["metadata"]["name"] == object["metadata"]["name"]);
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        match known {
            Some(known) => *known = object.clone(),
            None => objects.push(object.clone()),
        }
        let line = format!("{}\n", json!({ "type": kind, "object": object }));
        for watch in inner.watches.entry(list.to_owned()).or_default() {
            let _ = watch.send(line.clone());
        }
        inner.log.push((list.to_owned(), line));
    }

    /// Ends all watches; while it is away it answers 500 only.
    pub fn away(&self, away: bool) {
        let mut inner = self.0.lock().unwrap();
        inner.away = away;
        inner.watches.clear();
    }

    /// Refuses a list and its watches from now on.
    pub fn refuse(&self, list: &str) {
        self.0.lock().unwrap().refused.insert(list.to_owned(), 0);
    }

    /// Refuses it no more; how often it was asked for.
    pub fn allow(&self, list: &str) -> usize {
        self.0.lock().unwrap().refused.remove(list).unwrap()
    }

    /// Takes an object out of a list.
    pub fn remove(&self, list: &str, name: &str) {
        let mut inner = self.0.lock().unwrap();
        inner.objects.get_mut(list).unwrap().retain(|object| object["metadata"]["name"] != name);
    }

    /// Serves it on a socket, for programs; the path of a kubeconfig for it. Ends when the tasks are dropped.
    pub async fn serve(&self, dir: &Path) -> (PathBuf, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = self.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (io, _) = listener.accept().await.unwrap();
                let this = this.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let this = this.clone();
                    async move { Ok::<_, Infallible>(this.answer(request).await) }
                });
                connections.spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(io), service).await) });
            }
        });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{ "name": "fake", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "fake", "user": {} }],
            "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "fake" } }],
        });
        let path = dir.join("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        (path, tasks)
    }

    pub fn written(&self) -> Vec<Written> {
        self.0.lock().unwrap().written.clone()
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: http_body::Body<Data: Send, Error: std::fmt::Debug>,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        let mut inner = self.0.lock().unwrap();
        if inner.away {
            return failure(500, "away");
        }
        if let Some(count) = inner.refused.get_mut(&path) {
            *count += 1;
            return failure(403, "forbidden: no rule for that");
        }
        if parts.method != Method::GET {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            inner.written.push(Written { method: parts.method.clone(), path: path.clone(), query, body: body.clone() });
            inner.keep_lease(&parts.method, &path, &body);
            let body = if parts.method == Method::DELETE {
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })
            } else {
                instance(body)
            };
            return Response::new(full(serde_json::to_vec(&body).unwrap()));
        }
        if query.contains("watch=true") {
            let (sender, receiver) = mpsc::unbounded_channel();
            inner.missed(&path, &query).for_each(|line| drop(sender.send(line.clone())));
            inner.watches.entry(path).or_default().push(sender);
            let lines = UnboundedReceiverStream::new(receiver).map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
            return Response::new(Reply::new(StreamBody::new(lines)));
        }
        if let Some((list, name)) = path.rsplit_once('/')
            && let Some(objects) = inner.objects.get(list)
        {
            let found = objects.iter().find(|object| object["metadata"]["name"] == name);
            return found.map_or_else(|| failure(404, "there is none"), |object| Response::new(full(serde_json::to_vec(object).unwrap())));
        }
        let items = inner.objects.get(&path).cloned().unwrap_or_default();
        Response::new(full(
            serde_json::to_vec(&json!({
                "kind": "List", "apiVersion": "v1", "items": items,
                "metadata": { "resourceVersion": (FIRST_LIST + inner.log.len()).to_string() },
            }))
            .unwrap(),
        ))
    }
}

impl Inner {
    /// What happened after the list that a watch goes on from; nothing if it goes on from an object, whose revision the test made up.
    fn missed(&self, path: &str, query: &str) -> impl Iterator<Item = &String> {
        let revision = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")?.parse::<usize>().ok());
        let seen = revision.and_then(|revision| revision.checked_sub(FIRST_LIST)).unwrap_or(self.log.len());
        self.log.iter().skip(seen).filter(move |(list, _)| list == path).map(|(_, line)| line)
    }

    /// Of what routers write, only Leases are read again.
    fn keep_lease(&mut self, method: &Method, path: &str, body: &Value) {
        let Some((list, name)) = path.rsplit_once('/').filter(|(list, _)| list.ends_with("/leases")) else { return };
        let leases = self.objects.entry(list.to_owned()).or_default();
        leases.retain(|lease| lease["metadata"]["name"] != name);
        if method != Method::DELETE {
            leases.push(body.clone());
        }
    }
}

type Reply = UnsyncBoxBody<Bytes, Infallible>;

fn full(bytes: Vec<u8>) -> Reply {
    Reply::new(Full::from(bytes))
}

fn failure(code: u16, message: &str) -> Response<Reply> {
    let reason = if code == 404 { "NotFound" } else { "Fake" };
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message });
    Response::builder().status(code).body(full(serde_json::to_vec(&body).unwrap())).unwrap()
}

/// What an apply of a status answers: the object with the parts that its type asks for.
fn instance(mut applied: Value) -> Value {
    if applied["kind"] == "MeshInstance" {
        applied["spec"] = json!({
            "service": "web", "revision": "r", "ordinal": 0, "nodeName": "n", "serves": true, "drainTimeout": "30s",
            "logs": { "maxSize": "50Mi", "maxFiles": 5 }, "template": { "terminationGracePeriodSeconds": 30 },
        });
    }
    applied
}

//! A fake API server, no more than a router needs: lists, watches that a test can push into, and a record of what was written.
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The objects by the path of their list, the open watches, and what was written.
#[derive(Default)]
struct Inner {
    objects: HashMap<String, Vec<Value>>,
    watches: HashMap<String, Vec<mpsc::UnboundedSender<String>>>,
    written: Vec<Written>,
    /// Answers nothing but errors.
    away: bool,
}

/// A write.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<Inner>>);

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
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
    pub(crate) fn put(&self, list: &str, object: impl serde::Serialize) {
        let object = serde_json::to_value(object).unwrap();
        let mut inner = self.0.lock().unwrap();
        let objects = inner.objects.entry(list.to_owned()).or_default();
        let known = objects.iter_mut().find(|other| other["metadata"]["name"] == object["metadata"]["name"]);
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        match known {
            Some(known) => *known = object.clone(),
            None => objects.push(object.clone()),
        }
        for watch in inner.watches.entry(list.to_owned()).or_default() {
            let _ = watch.send(format!("{}\n", json!({ "type": kind, "object": object })));
        }
    }

    /// Ends all watches; while it is away it answers 500 only.
    pub(crate) fn away(&self, away: bool) {
        let mut inner = self.0.lock().unwrap();
        inner.away = away;
        inner.watches.clear();
    }

    pub(crate) fn written(&self) -> Vec<Written> {
        self.0.lock().unwrap().written.clone()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        let mut inner = self.0.lock().unwrap();
        if inner.away {
            return failure(500);
        }
        if parts.method != Method::GET {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            inner.written.push(Written { method: parts.method.clone(), path, query, body: body.clone() });
            let body = if parts.method == Method::DELETE {
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })
            } else {
                instance(body)
            };
            return Response::new(full(serde_json::to_vec(&body).unwrap()));
        }
        if query.contains("watch=true") {
            let (sender, receiver) = mpsc::unbounded_channel();
            inner.watches.entry(path).or_default().push(sender);
            let lines = UnboundedReceiverStream::new(receiver).map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
            return Response::new(Reply::new(StreamBody::new(lines)));
        }
        let items = inner.objects.get(&path).cloned().unwrap_or_default();
        Response::new(full(
            serde_json::to_vec(&json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": items }))
                .unwrap(),
        ))
    }
}

type Reply = UnsyncBoxBody<Bytes, Infallible>;

fn full(bytes: Vec<u8>) -> Reply {
    Reply::new(Full::from(bytes))
}

fn failure(code: u16) -> Response<Reply> {
    let body =
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "InternalError", "message": "away" });
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

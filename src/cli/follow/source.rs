//! The log of one instance at the API: `GET …/meshinstances/NAME/log`, or that of its container in a pod.
use futures::{AsyncBufRead, StreamExt, future::ready, stream::BoxStream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Resource};

use super::lines::{Line, lines};
use crate::{
    exit::Result,
    instance::{Instance, Kind, api},
};
use mesh_api::{MeshInstance, names::CONTAINER};

/// Which part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// The last so many lines.
    pub tail: Option<u64>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Of a pod: the run before the present one.
    pub previous: bool,
}

impl Part {
    /// Everything that is kept.
    pub fn all() -> Self {
        Self::default()
    }

    /// What was written after a line of that time.
    pub fn after(at: Timestamp) -> Self {
        Self { since: Some(at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at)), ..Self::default() }
    }
}

/// The log of one instance.
#[derive(Clone)]
pub struct Source {
    client: Client,
    kind: Kind,
    namespace: String,
    id: String,
    uid: Option<String>,
}

impl Source {
    /// That of an instance.
    pub fn new(client: &Client, instance: &Instance) -> Self {
        let Instance { kind, namespace, id, uid, .. } = instance.clone();
        Self { client: client.clone(), kind, namespace, id, uid }
    }

    /// The instance.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Opens it; none if the instance is gone. A container that has not begun yet has no lines.
    pub async fn open(&self, part: &Part, follow: bool) -> Result<Option<BoxStream<'static, Line>>> {
        if !self.is_there().await? {
            return Ok(None);
        }
        let request = http::Request::get(self.uri(part, follow)).body(Vec::new()).map_err(anyhow::Error::from)?;
        match self.client.request_stream(request).await {
            Ok(reader) => Ok(Some(boxed(reader, part.since))),
            // "container "app" in pod "x" is waiting to start: …", "previous terminated container …"; 404 is the kubelet's, which may hear of
            // a pod later than we do: "pod "x" does not exist".
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) && self.kind == Kind::Pod => {
                Ok(Some(Box::pin(futures::stream::empty())))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it is there still: it may have been deleted, and another one of its name made.
    pub async fn is_there(&self) -> Result<bool> {
        let namespace = Some(self.namespace.as_str());
        let uid = match self.kind {
            Kind::MeshInstance => api::<MeshInstance>(&self.client, namespace).get_opt(&self.id).await?.map(|object| object.metadata.uid),
            Kind::Pod => api::<Pod>(&self.client, namespace).get_opt(&self.id).await?.map(|object| object.metadata.uid),
        };
        Ok(uid.is_some_and(|uid| uid == self.uid))
    }

    /// Times are always asked for: they order the lines of several instances, and tell where to go on.
    fn uri(&self, part: &Part, follow: bool) -> String {
        let tail = part.tail.map(|tail| format!("&tailLines={tail}")).unwrap_or_default();
        let since = part.since.map(|since| format!("&sinceTime={since}")).unwrap_or_default();
        let namespace = Some(self.namespace.as_str());
        let (url, container) = match self.kind {
            Kind::MeshInstance => (MeshInstance::url_path(&(), namespace), String::new()),
            Kind::Pod => {
                let previous = if part.previous { "&previous=true" } else { "" };
                (Pod::url_path(&(), namespace), format!("&container={CONTAINER}{previous}"))
            }
        };
        format!("{url}/{}/log?timestamps=true&follow={follow}{tail}{since}{container}", self.id)
    }
}

/// What the kubelet writes, without a time, in the place of a log that it has thrown away.
const THROWN_AWAY: &[u8] = b"unable to retrieve container logs for ";

/// A cluster cuts `sinceTime` to whole seconds: what is older is left out here.
fn boxed(reader: impl AsyncBufRead + Send + 'static, since: Option<Timestamp>) -> BoxStream<'static, Line> {
    let mut known = since.is_none();
    let new = lines(reader).filter(move |line| {
        known = line.at.map_or(known, |at| since.is_none_or(|since| at >= since));
        ready(known && (line.at.is_some() || !line.text.starts_with(THROWN_AWAY)))
    });
    // Who has seen the end may look again.
    Box::pin(new.fuse())
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use serde_json::json;

    use super::*;

    /// A source of pod `web-1`, at an API that has the pod of uid 1 and answers to a request for its log with this code.
    fn of_pod(uid: &str, log: u16) -> Source {
        let answer = move |request: http::Request<kube::client::Body>| {
            let (code, body) = match request.uri().path() {
                "/api/v1/namespaces/shop/pods/web-1" => (200, json!({"metadata": {"name": "web-1", "uid": "1"}})),
                _ => (log, json!({"kind": "Status", "status": "Failure", "code": log, "message": "pod \"web-1\" does not exist"})),
            };
            ready(http::Response::builder().status(code).body(kube::client::Body::from(body.to_string().into_bytes())))
        };
        let client = Client::new(tower::service_fn(answer), "shop");
        Source { client, kind: Kind::Pod, namespace: "shop".into(), id: "web-1".into(), uid: Some(uid.into()) }
    }

    #[tokio::test]
    async fn a_pod_of_which_its_kubelet_has_not_heard_has_written_nothing_yet_and_is_not_gone() {
        for code in [400, 404] {
            let mut lines = of_pod("1", code).open(&Part::all(), true).await.unwrap().unwrap();
            assert!(lines.next().await.is_none());
        }
        assert!(of_pod("1", 500).open(&Part::all(), true).await.is_err());
        assert!(of_pod("2", 200).open(&Part::all(), true).await.unwrap().is_none(), "another pod of its name");
    }

    #[tokio::test]
    async fn the_kubelets_own_words_are_no_line_of_a_log() {
        let mut lines = boxed(Cursor::new(b"unable to retrieve container logs for containerd://456b".to_vec()), None);
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn what_is_older_is_left_out_and_the_end_may_be_seen_twice() {
        let text = b"2026-01-01T00:00:00.1Z old\n2026-01-01T00:00:00.5Z new\n".to_vec();
        let mut lines = boxed(Cursor::new(text), Some("2026-01-01T00:00:00.5Z".parse().unwrap()));
        assert_eq!(lines.next().await.unwrap().text, b"new");
        assert!(lines.next().await.is_none() && lines.next().await.is_none());
    }
}

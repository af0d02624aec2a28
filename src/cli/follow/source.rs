//! The log of one instance at the API: `GET …/meshinstances/NAME/log`, or that of its container in a pod.
use futures::{
    AsyncBufRead, StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;
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
    /// So many lines of the time `since` were read already.
    pub read: usize,
}

impl Part {
    /// Everything that is kept.
    pub fn all() -> Self {
        Self::default()
    }

    /// What is left of it once a line was read. Lines that were written at once have one time, so those of the last time are counted.
    #[must_use]
    pub fn past(&self, line: &Line) -> Self {
        match line.at {
            // It belongs to the line before it.
            None => self.clone(),
            Some(at) if self.read > 0 && self.since == Some(at) => Self { read: self.read + 1, ..*self },
            Some(at) => Self { since: Some(at), read: 1, ..Self::default() },
        }
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
            Ok(reader) => Ok(Some(boxed(reader, part, self.kind))),
            // "container "app" in pod "x" is waiting to start: …", "previous terminated container …"; 404 is the kubelet's, which may hear of
            // a pod later than we do: "pod "x" does not exist".
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) && self.kind == Kind::Pod => {
                Ok(Some(Box::pin(stream::empty())))
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

/// What is said where the line that was read last is not there any more.
const GONE: &[u8] = b"mesh: lines may be missing here: the log was cut meanwhile, and what was read last is not in it any more";

/// A cluster cuts `sinceTime` to whole seconds: what is older is left out here, and what was read already of the time itself.
fn boxed(reader: impl AsyncBufRead + Send + 'static, part: &Part, kind: Kind) -> BoxStream<'static, Line> {
    let (since, mut again) = (part.since, part.read);
    let mut wanted = since.is_none();
    let new = lines(reader).flat_map(move |line| {
        let mut gone = false;
        wanted = match line.at {
            None => wanted,
            Some(at) if again > 0 && since == Some(at) => {
                again -= 1;
                false
            }
            Some(at) => since.is_none_or(|since| at >= since),
        };
        if wanted && line.at.is_some() {
            // The next run of a container has a log of its own.
            gone = std::mem::take(&mut again) > 0 && kind == Kind::MeshInstance;
        }
        let gone = gone.then(|| Line { at: None, text: GONE.to_vec() });
        let is_line = wanted && (line.at.is_some() || !line.text.starts_with(THROWN_AWAY));
        stream::iter(gone.into_iter().chain(is_line.then_some(line)))
    });
    // Who has seen the end may look again.
    Box::pin(new.fuse())
}

#[cfg(test)]
mod tests {
    use futures::{future::ready, io::Cursor};
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
        let mut lines = boxed(Cursor::new(b"unable to retrieve container logs for containerd://456b".to_vec()), &Part::all(), Kind::Pod);
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn what_is_older_is_left_out_and_the_end_may_be_seen_twice() {
        let text = b"2026-01-01T00:00:00.1Z old\n2026-01-01T00:00:00.5Z new\n".to_vec();
        let since = Part { since: Some("2026-01-01T00:00:00.5Z".parse().unwrap()), ..Part::all() };
        let mut lines = boxed(Cursor::new(text), &since, Kind::Pod);
        assert_eq!(lines.next().await.unwrap().text, b"new");
        assert!(lines.next().await.is_none() && lines.next().await.is_none());
    }

    /// The texts of what is left of a log for one that has read so many lines of it.
    async fn left(log: &str, read: usize, of: &str) -> Vec<String> {
        let all = |log: &str, part: &Part| boxed(Cursor::new(log.to_owned().into_bytes()), part, Kind::MeshInstance);
        let part = all(log, &Part::all()).take(read).fold(Part::all(), async |part, line| part.past(&line)).await;
        all(of, &part).map(|line| String::from_utf8(line.text).unwrap()).collect().await
    }

    #[tokio::test]
    async fn wherever_a_stream_breaks_each_line_is_read_once_though_many_were_written_at_one_time() {
        let log =
            "2026-01-01T00:00:01Z a\n2026-01-01T00:00:01Z a\n2026-01-01T00:00:02Z b\n2026-01-01T00:00:02Z c\n2026-01-01T00:00:03Z d\n";
        for read in 0..=5 {
            assert_eq!(left(log, read, log).await, ["a", "a", "b", "c", "d"][read..], "{read}");
        }
    }

    #[tokio::test]
    async fn where_the_line_that_was_read_last_is_gone_from_the_log_this_is_said() {
        let told = String::from_utf8(GONE.to_vec()).unwrap();
        let (before, after) = ("2026-01-01T00:00:01Z a\n2026-01-01T00:00:02Z b\n", "2026-01-01T00:00:09Z y\n2026-01-01T00:00:09Z z\n");
        assert_eq!(left(before, 2, after).await, [told.as_str(), "y", "z"]);
    }
}

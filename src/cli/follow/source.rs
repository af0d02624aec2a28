//! The log of one instance at the API: `GET …/meshinstances/NAME/log`.
use futures::{AsyncBufRead, stream::BoxStream};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, Resource, ResourceExt};

use super::lines::{Line, lines};
use crate::{api::MeshInstance, cli::exit::Result};

/// Which part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// The last so many lines.
    pub tail: Option<u64>,
    /// From this time on.
    pub since: Option<Timestamp>,
}

impl Part {
    /// Everything that is kept.
    pub fn all() -> Self {
        Self::default()
    }

    /// What was written after a line of that time.
    pub fn after(at: Timestamp) -> Self {
        Self { tail: None, since: Some(at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at)) }
    }
}

/// The log of one instance.
#[derive(Clone)]
pub struct Source {
    client: Client,
    instances: Api<MeshInstance>,
    id: String,
    uid: Option<String>,
    url: String,
}

impl Source {
    /// That of an instance.
    pub fn new(instances: &Api<MeshInstance>, instance: &MeshInstance) -> Self {
        let (id, namespace) = (instance.name_any(), instance.namespace());
        let url = format!("{}/{id}/log", MeshInstance::url_path(&(), namespace.as_deref()));
        let client = instances.clone().into_client();
        let instances = Api::namespaced(client.clone(), &namespace.unwrap_or_default());
        Self { client, instances, id, uid: instance.uid(), url }
    }

    /// The instance.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Opens it; none if the instance is gone.
    pub async fn open(&self, part: &Part, follow: bool) -> Result<Option<BoxStream<'static, Line>>> {
        if self.instances.get_opt(&self.id).await?.is_none_or(|instance| instance.uid() != self.uid) {
            return Ok(None);
        }
        let request = http::Request::get(self.uri(part, follow)).body(Vec::new()).map_err(anyhow::Error::from)?;
        match self.client.request_stream(request).await {
            Ok(reader) => Ok(Some(boxed(reader))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Times are always asked for: they order the lines of several instances, and tell where to go on.
    fn uri(&self, part: &Part, follow: bool) -> String {
        let tail = part.tail.map(|tail| format!("&tailLines={tail}")).unwrap_or_default();
        let since = part.since.map(|since| format!("&sinceTime={since}")).unwrap_or_default();
        format!("{}?timestamps=true&follow={follow}{tail}{since}", self.url)
    }
}

fn boxed(reader: impl AsyncBufRead + Send + 'static) -> BoxStream<'static, Line> {
    Box::pin(lines(reader))
}

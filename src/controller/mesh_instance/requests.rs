//! Runs that are a request to a service: made here, in the place of a program. Nothing of them outlives the controller; what one that was cut off
//! came to is not known, so it counts as a try.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use http_body_util::Full;
use hyper::{Request, header};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt, api::ListParams, runtime::reflector::ObjectRef};
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, UnboundedSender},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use mesh_api::{
    MeshInstance,
    conditions::{instance::READY, is_true},
    http::HttpTask,
    labels,
};
use mesh_kit::{ask::ask_for_beginning, clock};
use mesh_plan::instance::{Exit, ExitHow, Observed, PortOwner, Running};

/// So much of an answer is kept.
pub(super) const KEPT: usize = 1024;

/// All of the agent.
pub(super) struct Requests {
    client: Client,
    by_uid: Arc<Mutex<HashMap<String, Entry>>>,
    /// Owns the tasks: they end with the agent.
    tasks: Mutex<JoinSet<()>>,
    changed: UnboundedSender<ObjectRef<MeshInstance>>,
}

struct Entry {
    attempt: u32,
    since: Timestamp,
    task: AbortHandle,
    /// How it ended, and the beginning of the answer or why there was none.
    end: Option<(Timestamp, ExitHow, String)>,
}

impl Requests {
    /// None yet; and the stream of those that have ended.
    pub(super) fn new(client: Client) -> (Self, impl Stream<Item = ObjectRef<MeshInstance>> + Send + 'static) {
        let (changed, stream) = mpsc::unbounded_channel();
        (Self { client, by_uid: Arc::default(), tasks: Mutex::default(), changed }, UnboundedReceiverStream::new(stream))
    }

    /// What is known of a run's request.
    pub(super) fn observe(&self, uid: &str) -> Observed {
        let by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Entry { attempt, since, end, .. }) = by_uid.get(uid) else { return Observed::Absent };
        let (attempt, since) = (*attempt, *since);
        match end {
            Some((at, how, _)) => Observed::Exited(Exit { attempt, since, at: *at, how: how.clone() }),
            None => Observed::Running(Running {
                attempt,
                pid: std::process::id(),
                since,
                stopping: false,
                address: None,
                port_owner: PortOwner::NoPort,
                image: None,
            }),
        }
    }

    /// The beginning of the answer to the last try, or why there was none.
    pub(super) fn words(&self, uid: &str) -> Option<String> {
        let by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        by_uid.get(uid).and_then(|entry| entry.end.as_ref()).map(|(_, _, words)| words.clone())
    }

    /// Makes the request, unless this very try was made already.
    pub(super) fn start(&self, run: &MeshInstance, http: HttpTask, attempt: u32) {
        let uid = run.uid().unwrap_or_default();
        let mut by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        if by_uid.get(&uid).is_some_and(|entry| entry.attempt >= attempt) {
            return;
        }
        let (object, client, namespace) = (ObjectRef::from_obj(run), self.client.clone(), run.namespace().unwrap_or_default());
        let (entries, changed, of) = (Arc::clone(&self.by_uid), self.changed.clone(), uid.clone());
        let work = async move {
            let (how, words) = match timeout(http.timeout.get(), request(&client, &namespace, &http)).await {
                Ok(Ok((200..=299, words))) => (ExitHow::Code(0), words),
                Ok(Ok((status, words))) => (ExitHow::Code(status.into()), words),
                Ok(Err(why)) => (ExitHow::Unknown, why),
                Err(_) => (ExitHow::Unknown, format!("no answer within {:?}", http.timeout.get())),
            };
            end(&entries, &of, attempt, how, words);
            // The agent is gone only when the process ends.
            let _ = changed.send(object);
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let task = tasks.spawn(work);
        by_uid.insert(uid, Entry { attempt, since: clock::now(), task, end: None });
    }

    /// Gives a request up.
    pub(super) fn stop(&self, uid: &str) {
        let attempt = {
            let by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = by_uid.get(uid) else { return };
            entry.task.abort();
            entry.attempt
        };
        end(&self.by_uid, uid, attempt, ExitHow::Unknown, "given up".to_owned());
    }

    /// The run is gone.
    pub(super) fn forget(&self, uid: &str) {
        if let Some(entry) = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner).remove(uid) {
            entry.task.abort();
        }
    }
}

fn end(entries: &Mutex<HashMap<String, Entry>>, uid: &str, attempt: u32, how: ExitHow, words: String) {
    let mut by_uid = entries.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = by_uid.get_mut(uid).filter(|entry| entry.attempt == attempt && entry.end.is_none()) {
        entry.end = Some((clock::now(), how, words));
    }
}

/// Asks an instance of the service that is ready: the status, and the beginning of the body.
async fn request(client: &Client, namespace: &str, http: &HttpTask) -> Result<(u16, String), String> {
    let instances: Api<MeshInstance> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().labels(&format!("{}={}", labels::SERVICE, http.service));
    let found = instances.list(&own).await.map_err(|error| format!("list the instances of {}: {error}", http.service))?;
    let serves = |instance: &&MeshInstance| {
        let ready = instance.status.as_ref().is_some_and(|status| is_true(&status.conditions, READY));
        ready && instance.metadata.deletion_timestamp.is_none()
    };
    let addresses: Vec<String> =
        found.items.iter().filter(serves).filter_map(|instance| instance.status.as_ref()?.address.clone()).collect();
    let index = usize::try_from(rand::random::<u32>()).unwrap_or(0).checked_rem(addresses.len()).unwrap_or(0);
    let address = addresses.get(index).ok_or_else(|| format!("no instance of {} is ready", http.service))?;
    let mut request = Request::builder()
        .method(http.method.as_str())
        .uri(&http.path.0)
        .header(header::HOST, address)
        .header(header::USER_AGENT, concat!("mesh-task/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for field in &http.headers {
        request = request.header(&field.name, &field.value);
    }
    let body = Full::new(Bytes::from(http.body.clone().unwrap_or_default()));
    let request = request.body(body).map_err(|error| error.to_string())?;
    let stream = timeout(Duration::from_secs(5), TcpStream::connect(address)).await;
    let stream = stream
        .map_err(|_| format!("connect to {address}: no answer"))
        .and_then(|connected| connected.map_err(|error| format!("connect to {address}: {error}")))?;
    let (status, body) = ask_for_beginning(stream, request, KEPT).await.map_err(|error| format!("{address}: {error}"))?;
    Ok((status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

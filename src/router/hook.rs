//! Acknowledged drain for pods, whose end a cluster decides: before the kubelet tells a pod to end, the pod's hook asks any router
//! `GET /drain/NAMESPACE/POD?uid=UID`, and the answer comes when every live router has let the pod go: it sends it nothing new, and what it had has ended.
//! A router asks the others the same with `&peer=true`, which each answers for itself. A pod that is not being deleted (its container is restarted)
//! is answered at once. Work ends when whoever asks has gone. Called by the admin listener; nothing here polls what can be waited for.
mod ask;
mod metrics;
mod own;
mod peers;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{ask::Ask, metrics::HookMetrics};
use super::{RouterOptions, table::RouteTable};
use mesh_kit::{backoff::Backoff, metrics::Metrics, watch::refused::remedy};

/// More at a time are told to come again.
const MOST: i64 = 20_000;
/// An API that does not answer for so long is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff { base: Duration::from_millis(250), max: Duration::from_secs(5) };

/// What a router and its hooks share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hooks(Arc<Inner>);

struct Inner {
    client: Client,
    namespace: String,
    /// The router that it is.
    name: String,
    tables: Arc<watch::Sender<Arc<RouteTable>>>,
    /// The router has ended: it sends nothing to anybody.
    let_go: CancellationToken,
    /// Its lease is given back: nobody asks it any more.
    ended: CancellationToken,
    metrics: HookMetrics,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200: the pod may end. 4xx: nobody will ever say so. 503: ask again.
    pub status: StatusCode,
    /// What it is about.
    pub body: Value,
}

impl Hooks {
    /// For the router of these options; once per process.
    pub fn new(client: Client, options: &RouterOptions, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            client,
            namespace: options.namespace.clone(),
            name: options.name.clone(),
            tables: Arc::default(),
            let_go: CancellationToken::new(),
            ended: CancellationToken::new(),
            metrics: HookMetrics::register(metrics),
        }))
    }

    /// Where the router's tables are published.
    pub(super) fn tables(&self) -> Arc<watch::Sender<Arc<RouteTable>>> {
        self.0.tables.clone()
    }

    /// The router sends nothing to anybody any more.
    pub(super) fn let_all_go(&self) {
        self.0.let_go.cancel();
    }

    /// No other router asks this one any more.
    pub(super) fn end(&self) {
        self.0.ended.cancel();
    }

    /// Waits until no other router asks this one any more.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// The answer to a request for this path, when there is one; none if the path is not a hook's.
    pub async fn answer(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        let ask = match Ask::parse(path, query)? {
            Ok(ask) => ask,
            Err(error) => return Some(Answer { status: StatusCode::BAD_REQUEST, body: json!({ "error": error }) }),
        };
        if self.0.metrics.waiting() >= MOST {
            return Some(Answer { status: StatusCode::SERVICE_UNAVAILABLE, body: json!({ "error": "too many hooks wait: ask again" }) });
        }
        let waiting = self.0.metrics.begin(ask.peer);
        let body = if ask.peer { self.own(&ask).await } else { self.all(&ask).await };
        waiting.answered();
        Some(Answer { status: StatusCode::OK, body })
    }

    /// This router's part.
    async fn own(&self, ask: &Ask) -> Value {
        let seen = tokio::select! {
            biased;
            seen = own::let_go(&ask.uid, self.0.tables.subscribe()) => seen,
            () = self.0.let_go.cancelled() => own::Seen::Ended,
        };
        json!({ "router": self.0.name, "seen": seen.word() })
    }

    /// Every router's part, if the pod is ending.
    async fn all(&self, ask: &Ask) -> Value {
        let begun = Instant::now();
        let own = self.own(ask);
        tokio::pin!(own);
        // The table may know it ended before the API answers.
        let early = tokio::select! {
            state = self.pod(ask) => match state {
                PodState::Ending => None,
                PodState::Not(why) => return json!({ "ending": false, "why": why }),
            },
            own = &mut own => Some(own),
        };
        let own = async {
            match early {
                Some(own) => own,
                None => own.await,
            }
        };
        let (own, others) = tokio::join!(own, peers::others(&self.0, ask));
        let seconds = begun.elapsed().as_secs_f64();
        tracing::info!(namespace = ask.namespace, pod = ask.pod, uid = ask.uid, ?others, seconds, "every router has let the pod go");
        json!({ "ending": true, "own": own, "others": others, "seconds": (seconds * 1000.0).round() / 1000.0 })
    }

    /// What the API says of the pod, once it answers.
    async fn pod(&self, ask: &Ask) -> PodState {
        let pods: Api<Pod> = Api::namespaced(self.0.client.clone(), &ask.namespace);
        let mut row = 1;
        loop {
            let error = match timeout(PATIENCE, pods.get_metadata_opt(&ask.pod)).await {
                Ok(Ok(None)) => return PodState::Not("there is no such pod"),
                Ok(Ok(Some(pod))) if pod.metadata.uid.as_deref() != Some(&ask.uid) => {
                    return PodState::Not("there is another pod of that name");
                }
                Ok(Ok(Some(pod))) if pod.metadata.deletion_timestamp.is_none() => return PodState::Not("the pod is not being deleted"),
                Ok(Ok(Some(_))) => return PodState::Ending,
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            self.0.refused(error.as_ref(), "get", "pods", Some(&ask.namespace));
            row += 1;
            tokio::time::sleep(RETRY.delay(row, rand::random())).await;
        }
    }
}

/// What the API says of a pod.
enum PodState {
    /// It is being deleted.
    Ending,
    /// It is not, and why.
    Not(&'static str),
}

impl Inner {
    /// Says why the API did not answer; what a person must mend, once for each verb.
    fn refused(&self, error: Option<&kube::Error>, verb: &'static str, resource: &'static str, namespace: Option<&str>) {
        let status = if let Some(kube::Error::Api(status)) = error { Some(status) } else { None };
        match (error, status.and_then(|status| remedy(status, verb, resource, namespace))) {
            (_, Some(remedy)) => {
                if self.metrics.first_refusal(resource) {
                    tracing::warn!(verb, resource, "router: a pod's hook waits: {remedy}");
                }
            }
            (Some(error), None) => tracing::debug!(verb, resource, %error, "router: a pod's hook waits for the API"),
            (None, None) => tracing::debug!(verb, resource, "router: a pod's hook waits for an API that does not answer"),
        }
    }
}

//! Which pods of MeshServices, and of runs of MeshTasks, run in a cluster: one watch, from which the sessions learn of each run that begins or ends.
//!
//! A run is one start of the service's own container; its number is how often the container was restarted before. What the kubelet has not told yet is not known here.
use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    api::core::v1::{ContainerState, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};
use tokio::{sync::watch, time::timeout};

use crate::{
    review::PodName,
    session::{Session, Sessions, Standing},
    token::Caller,
};
use mesh_api::{labels, names::CONTAINER};

/// The pods. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pods {
    sessions: Sessions,
    /// By uid: the service that a pod is of, or in whose place it runs.
    services: Arc<Mutex<HashMap<String, String>>>,
    read: watch::Receiver<bool>,
}

/// What a pod says of its runs.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// This one goes on.
    Runs(u32),
    /// This one has ended.
    Ended(u32),
    /// Whatever ran has ended.
    Stopped,
    /// There was none yet.
    Nothing,
}

/// The pods of a cluster, and the task that follows them; `sessions` learns which runs live.
pub fn follow(client: Client, sessions: Sessions) -> (Pods, impl Future<Output = Result<(), Infallible>> + Send + 'static) {
    let (done, read) = watch::channel(false);
    let pods = Pods { sessions, services: Arc::default(), read };
    let follower = Follower { pods: pods.clone(), listed: HashSet::new(), done };
    (pods, follower.run(client))
}

impl Pods {
    /// Waits until all pods were read; true if that has come about in time.
    pub async fn ready(&self, patience: Duration) -> bool {
        let mut read = self.read.clone();
        timeout(patience, read.wait_for(|read| *read)).await.is_ok_and(|read| read.is_ok())
    }

    /// The run of a pod, once there is one that lives. It may have been restarted a moment ago.
    pub async fn caller(&self, pod: &PodName) -> Caller {
        let mut changes = self.sessions.changes();
        loop {
            if let (Some((session, Standing::Lives)), Some(service)) = (self.sessions.newest(&pod.uid), self.service(&pod.uid)) {
                return Caller { namespace: pod.namespace.clone(), service, session };
            }
            if changes.changed().await.is_err() {
                // Never: the sender is among what is waited with.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether a pod is known: as one of a `MeshService` or a `MeshTask`.
    pub fn has(&self, pod: &PodName) -> bool {
        self.service(&pod.uid).is_some()
    }

    fn service(&self, uid: &str) -> Option<String> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }
}

/// The task.
struct Follower {
    pods: Pods,
    /// Of the list that is being read, by uid.
    listed: HashSet<String>,
    done: watch::Sender<bool>,
}

impl Follower {
    async fn run(mut self, client: Client) -> Result<(), Infallible> {
        let config = watcher::Config::default().labels(&format!("{}={}", labels::APP_MANAGED_BY, labels::MANAGER));
        let mut events = mesh_kit::watch::events(Api::<Pod>::all(client), config, "agent", |pod| {
            pod.spec = None;
            pod.metadata.managed_fields = None;
        });
        while let Some(event) = events.next().await {
            self.see(event);
        }
        Ok(())
    }

    fn see(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.note(&pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let services = self.pods.services.lock().unwrap_or_else(PoisonError::into_inner);
                let gone: Vec<String> = services.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                drop(services);
                for uid in gone {
                    self.forget(&uid);
                }
                self.done.send_replace(true);
            }
            Event::Apply(pod) => self.note(&pod),
            Event::Delete(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    self.forget(uid);
                }
            }
        }
    }

    fn note(&self, pod: &Pod) {
        let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else { return };
        let Some(service) = service(pod) else { return };
        self.pods.services.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.clone(), service.to_owned());
        let session = |attempt| Session { instance: name.clone(), uid: uid.clone(), attempt };
        match seen(pod) {
            Seen::Runs(attempt) => self.pods.sessions.lives(session(attempt)),
            Seen::Ended(attempt) => self.pods.sessions.ended(session(attempt)),
            Seen::Stopped => self.pods.sessions.stopped(uid),
            Seen::Nothing => {}
        }
    }

    fn forget(&self, uid: &str) {
        self.pods.services.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.pods.sessions.gone(uid);
    }
}

/// The service that a pod is of, or in whose place it runs: where a run of a task has none, the task.
fn service(pod: &Pod) -> Option<&str> {
    let ObjectMeta { labels, annotations, .. } = &pod.metadata;
    let of_run = annotations.as_ref().and_then(|annotations| annotations.get(labels::SERVICE));
    labels.as_ref().and_then(|labels| labels.get(labels::SERVICE)).or(of_run).map(String::as_str)
}

fn seen(pod: &Pod) -> Seen {
    let Some(status) = &pod.status else { return Seen::Nothing };
    if status.phase.as_deref().is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase)) {
        return Seen::Stopped;
    }
    let Some(own) = status.container_statuses.iter().flatten().find(|own| own.name == CONTAINER) else { return Seen::Nothing };
    let attempt = u32::try_from(own.restart_count).unwrap_or_default();
    match &own.state {
        Some(ContainerState { running: Some(_), .. }) => Seen::Runs(attempt),
        Some(ContainerState { terminated: Some(_), .. }) => Seen::Ended(attempt),
        // It waits for its next start, whose number may stand there already.
        _ if own.last_state.as_ref().is_some_and(|last| last.terminated.is_some()) => Seen::Stopped,
        _ => Seen::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, status: &Value) -> Pod {
        let metadata = json!({ "name": format!("web-{uid}"), "namespace": "shop", "uid": uid, "labels": { labels::SERVICE: "web" } });
        serde_json::from_value(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status })).unwrap()
    }

    #[test]
    fn a_pod_is_of_its_service_or_in_the_place_of_one_and_no_other_is_known() {
        let of = |metadata: Value| service(&serde_json::from_value(json!({ "metadata": metadata })).unwrap()).map(str::to_owned);
        let named = json!({ labels::SERVICE: "web" });
        assert_eq!(of(json!({ "labels": named })).as_deref(), Some("web"));
        assert_eq!(of(json!({ "labels": { labels::TASK: "nightly" }, "annotations": named })).as_deref(), Some("web"));
        assert_eq!(of(json!({ "labels": { labels::APP_MANAGED_BY: labels::MANAGER } })), None);
    }

    fn app(restarts: u32, state: &Value, last: &Value) -> Value {
        let beside = json!({ "name": "beside", "restartCount": 9, "state": { "running": {} }, "ready": true, "image": "", "imageID": "" });
        let own = json!({ "name": "app", "restartCount": restarts, "state": state, "lastState": last, "ready": true, "image": "", "imageID": "" });
        json!({ "phase": "Running", "containerStatuses": [beside, own] })
    }

    #[test]
    fn a_run_is_a_start_of_the_services_own_container() {
        let (runs, over, waits) = (json!({ "running": {} }), json!({ "terminated": { "exitCode": 1 } }), json!({ "waiting": {} }));
        for (status, wanted) in [
            (json!({}), Seen::Nothing),
            (json!({ "phase": "Pending" }), Seen::Nothing),
            (app(0, &waits, &json!({})), Seen::Nothing),
            (app(0, &runs, &json!({})), Seen::Runs(0)),
            (app(3, &runs, &over), Seen::Runs(3)),
            (app(3, &over, &json!({})), Seen::Ended(3)),
            (app(4, &waits, &over), Seen::Stopped),
            (json!({ "phase": "Failed", "reason": "Evicted" }), Seen::Stopped),
        ] {
            assert_eq!(seen(&pod("u", &status)), wanted, "{status}");
        }
    }

    #[test]
    fn what_a_pod_held_ends_with_its_run_and_with_the_pod_also_where_the_watch_missed_that() {
        let runs = json!({ "running": {} });
        let (pods, sessions) = (|uid: &str, restarts| pod(uid, &app(restarts, &runs, &json!({}))), Sessions::default());
        let (done, read) = watch::channel(false);
        let known = Pods { sessions: sessions.clone(), services: Arc::default(), read };
        let mut follower = Follower { pods: known.clone(), listed: HashSet::new(), done };
        let session = |uid: &str, attempt| Session { instance: format!("web-{uid}"), uid: uid.to_owned(), attempt };
        for event in [Event::Init, Event::InitApply(pods("a", 0)), Event::InitApply(pods("b", 2)), Event::InitDone] {
            follower.see(event);
        }
        assert!(*known.read.borrow());
        let told = |of: [Session; 2]| {
            let news = sessions.take_news();
            of.map(|session| news.of(&session))
        };
        let (lives, ended) = (Some(Standing::Lives), Some(Standing::Ended));
        assert_eq!(told([session("a", 0), session("b", 2)]), [lives, lives]);
        follower.see(Event::Apply(pods("a", 1)));
        assert_eq!(told([session("a", 0), session("a", 1)]), [ended, lives]);
        for event in [Event::Init, Event::InitApply(pods("a", 1)), Event::InitDone] {
            follower.see(event);
        }
        assert_eq!(told([session("a", 1), session("b", 2)]), [None, ended]);
        follower.see(Event::Delete(pods("a", 1)));
        assert_eq!(told([session("a", 1), session("b", 2)]), [ended, None]);
        assert_eq!(known.service("a"), None);
    }
}

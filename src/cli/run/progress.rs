//! What a run says while it runs: what is not ready yet and why, the addresses once all is, and what changes later.
use std::{collections::BTreeMap, net::SocketAddr};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};

use crate::{exit::Result, manifest::Document, printer::Printer, serve::Serving, target::Connection};
use mesh_api::{MeshService, conditions};
use mesh_plan::routes;

/// Reports until it is dropped.
pub(super) async fn progress(connection: &Connection, serving: &Serving, documents: &[Document], printer: &Printer) -> Result {
    let chosen = |is: fn(&Document) -> bool| documents.iter().filter(|document| is(document)).map(Document::name).collect::<Vec<_>>();
    let (names, tasks) = (chosen(Document::is_service), chosen(Document::is_task));
    printer.say(format!("starting {} (Ctrl-C ends all)", if names.is_empty() { &tasks } else { &names }.join(", "))).await;
    printer.say(format!("export KUBECONFIG={}", serving.kubeconfig.display())).await;
    let mut board = Board::new(names.len(), serving.router);
    if let (Some(task), []) = (tasks.first(), names.as_slice()) {
        printer.say(format!("there are tasks only: `mesh task run {task} --wait` runs one now, `mesh task ls` lists them")).await;
        board.announced = true;
    }
    let services: Api<MeshService> = Api::all(connection.client.clone());
    let events = watcher(services, watcher::Config::default()).default_backoff();
    pin_mut!(events);
    let mut ready = serving.ready.clone();
    while let Some(event) = events.next().await {
        let lines = match event {
            Ok(watcher::Event::InitApply(service) | watcher::Event::Apply(service)) => board.take(&service),
            Ok(watcher::Event::Delete(service)) => board.gone(&service),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => Vec::new(),
            Err(error) => vec![format!("the services cannot be watched: {error}; trying again")],
        };
        for line in lines {
            printer.say(line).await;
        }
        if board.may_announce() {
            // The router has read the endpoints, so what is printed can be opened. It is gone only when all ends.
            let _ = ready.wait_for(|ready| *ready).await;
            for line in board.announce() {
                printer.say(line).await;
            }
        }
    }
    Ok(())
}

/// What has been said of each service.
#[derive(Debug)]
struct Board {
    expected: usize,
    router: SocketAddr,
    services: BTreeMap<(String, String), Entry>,
    announced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    ready: bool,
    count: String,
    why: String,
    urls: Vec<String>,
}

impl Board {
    fn new(expected: usize, router: SocketAddr) -> Self {
        Self { expected, router, services: BTreeMap::new(), announced: false }
    }

    /// Takes a service as it is now; what is to be said about it.
    fn take(&mut self, service: &MeshService) -> Vec<String> {
        let now = entry(service, self.router);
        let before = self.services.insert(key(service), now.clone());
        let said = before.as_ref().is_some_and(|before| (&before.why, &before.count, before.ready) == (&now.why, &now.count, now.ready));
        // Before all are ready the sum of them says what became ready; later each speaks for itself.
        let quiet = now.ready && (!self.announced || before.is_some_and(|before| before.ready));
        if said || quiet || now.why.is_empty() { Vec::new() } else { vec![format!("{} {}: {}", service.name_any(), now.count, now.why)] }
    }

    fn gone(&mut self, service: &MeshService) -> Vec<String> {
        self.services.remove(&key(service));
        vec![format!("{} is deleted", service.name_any())]
    }

    fn may_announce(&self) -> bool {
        !self.announced && self.services.len() >= self.expected && self.services.values().all(|entry| entry.ready)
    }

    /// The addresses; said once.
    fn announce(&mut self) -> Vec<String> {
        self.announced = true;
        let width = self.services.keys().map(|(_, name)| name.len()).max().unwrap_or_default();
        let line = |((_, name), entry): (&(String, String), &Entry)| {
            format!("  {name:<width$}  {}  {}", entry.count, entry.urls.join("  ")).trim_end().to_owned()
        };
        std::iter::once("all services are ready".to_owned()).chain(self.services.iter().map(line)).collect()
    }
}

fn key(service: &MeshService) -> (String, String) {
    (service.namespace().unwrap_or_default(), service.name_any())
}

fn entry(service: &MeshService, router: SocketAddr) -> Entry {
    let status = service.status.clone().unwrap_or_default();
    let current = status.observed_generation.is_some() && status.observed_generation == service.metadata.generation;
    let condition = status.conditions.iter().find(|c| c.type_ == conditions::service::READY);
    let why = condition.map(|c| if c.message.is_empty() { c.reason.clone() } else { format!("{}: {}", c.reason, c.message) });
    let claims = routes::claims(&service.spec);
    Entry {
        ready: current && conditions::is_true(&status.conditions, conditions::service::READY),
        count: status.ready.unwrap_or_else(|| format!("{}/{}", status.ready_replicas, service.spec.replicas)),
        why: why.unwrap_or_default(),
        urls: claims.iter().map(|claim| url(claim, router)).collect(),
    }
}

/// Where a claim is reached from this machine.
fn url(claim: &routes::Claim, router: SocketAddr) -> String {
    let path = if claim.prefix.is_empty() { "/" } else { &claim.prefix };
    match &claim.hostname {
        Some(hostname) => format!("http://{hostname}:{}{path}", router.port()),
        None if router.ip().is_unspecified() => format!("http://localhost:{}{path}", router.port()),
        None => format!("http://{router}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, route: Option<&str>, ready: &str, status: &str, reason: &str, message: &str) -> MeshService {
        serde_json::from_value(json!({
            "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService",
            "metadata": {"name": name, "namespace": "default", "generation": 1},
            "spec": {"command": ["x"], "route": route},
            "status": {"observedGeneration": 1, "ready": ready, "conditions": [
                {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_run_says_why_it_waits_then_the_addresses_then_what_changes() {
        let mut board = Board::new(2, "127.0.0.1:8080".parse().unwrap());
        let waiting = service("api", Some("/api"), "0/1", "False", "WaitingForReplicas", "api-1f-0 waits for its probe");
        assert_eq!(board.take(&waiting), ["api 0/1: WaitingForReplicas: api-1f-0 waits for its probe"]);
        assert_eq!(board.take(&waiting), [""; 0]);
        let ready = service("api", Some("/api"), "1/1", "True", "AllReplicasReady", "");
        assert_eq!(board.take(&ready), [""; 0]);
        assert!(!board.may_announce(), "the worker is not there yet");
        assert_eq!(board.take(&service("worker", None, "1/1", "True", "AllReplicasReady", "")), [""; 0]);
        assert!(board.may_announce());
        assert_eq!(board.announce(), ["all services are ready", "  api     1/1  http://127.0.0.1:8080/api", "  worker  1/1"]);
        assert!(!board.may_announce());
        assert_eq!(board.take(&service("api", Some("/api"), "0/1", "False", "CrashLoopBackOff", "")), ["api 0/1: CrashLoopBackOff"]);
        assert_eq!(board.take(&ready), ["api 1/1: AllReplicasReady"]);
        assert_eq!(board.gone(&ready), ["api is deleted"]);
    }

    #[test]
    fn addresses_can_be_opened_on_this_machine() {
        let claim =
            |hostname: Option<&str>, prefix: &str| routes::Claim { hostname: hostname.map(str::to_owned), prefix: prefix.to_owned() };
        assert_eq!(url(&claim(None, ""), "0.0.0.0:80".parse().unwrap()), "http://localhost:80/");
        assert_eq!(url(&claim(None, "/api"), "[::1]:8080".parse().unwrap()), "http://[::1]:8080/api");
        assert_eq!(url(&claim(Some("shop.example"), ""), "127.0.0.1:8080".parse().unwrap()), "http://shop.example:8080/");
    }
}

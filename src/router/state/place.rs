//! Where this router is: what it was told, and the zone of its own Node, which is read once.
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt};

use crate::{
    kit::{backoff::Backoff, watch::refused::remedy},
    router::table::build::near::Here,
};

/// The label that says the zone (Kubernetes' own).
const ZONE: &str = "topology.kubernetes.io/zone";
const RETRY: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(30) };

/// What it was told, if nothing is left to be found out: the zone, or no node to ask about.
pub(super) fn told(zone: Option<&str>, node: Option<&str>) -> Here {
    Here { zone: zone.map(str::to_owned), node: node.map(str::to_owned) }
}

/// Finds the zone of the node, however long that takes; does not end where there is nothing to find.
pub(super) async fn find(client: Client, told: Here) -> Here {
    let (Some(node), None) = (&told.node, &told.zone) else { return std::future::pending().await };
    let nodes: Api<Node> = Api::all(client);
    let mut warned = false;
    let mut row = 1;
    loop {
        match nodes.get(node).await {
            Ok(found) => {
                let zone = found.labels().get(ZONE).cloned();
                tracing::info!(node, zone, "router: requests stay near where slices say so");
                return Here { zone, ..told };
            }
            Err(error) => {
                let hint = if let kube::Error::Api(status) = &error { remedy(status, "get", "nodes", None) } else { None };
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(node, %error, "router: its zone is not known: {}", hint.as_deref().unwrap_or("it tries again"));
                }
            }
        }
        row += 1;
        tokio::time::sleep(RETRY.delay(row, rand::random())).await;
    }
}

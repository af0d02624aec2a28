//! The other routers' part: whoever holds a Lease is asked, until it has answered or its Lease has run out.
use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::Empty;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt, api::ListParams};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Inner, PATIENCE, RETRY, ask::Ask};
use mesh_api::labels::{DRAIN_ADDRESS, ROUTER_LEASE};
use mesh_kit::{ask, clock};
use mesh_plan::leases::holder;

/// A router that cannot be reached is asked again after this, while its Lease lives.
const AGAIN: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(2);

/// Another router that lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Peer {
    name: String,
    address: SocketAddr,
}

/// Waits for all others, those that begin meanwhile too; who they were.
pub(super) async fn others(this: &Inner, ask: &Ask) -> BTreeSet<String> {
    let mut done = BTreeSet::new();
    loop {
        let live = live(this).await;
        let waiting = live.into_iter().filter(|peer| peer.name != this.name && !done.contains(&peer.name));
        let asked: Vec<_> = waiting.map(|peer| of_peer(this, ask, peer)).collect();
        if asked.is_empty() {
            return done;
        }
        done.extend(futures::future::join_all(asked).await);
    }
}

/// Waits for one router: its name when it has let the pod go, or is gone itself.
async fn of_peer(this: &Inner, ask: &Ask, peer: Peer) -> String {
    loop {
        match get(peer.address, &ask.to_peer()).await {
            Ok(status) if status != StatusCode::SERVICE_UNAVAILABLE => {
                if status != StatusCode::OK {
                    tracing::warn!(router = peer.name, address = %peer.address, status = status.as_u16(), "router: another one does not know of hooks");
                }
                return peer.name;
            }
            Ok(status) => tracing::debug!(router = peer.name, status = status.as_u16(), "router: another one is asked again"),
            Err(error) => tracing::debug!(router = peer.name, address = %peer.address, %error, "router: another one cannot be reached"),
        }
        sleep(AGAIN).await;
        if !live(this).await.contains(&peer) {
            return peer.name;
        }
    }
}

/// The routers that live and can be asked.
async fn live(this: &Inner) -> Vec<Peer> {
    let leases: Api<Lease> = Api::namespaced(this.client.clone(), &this.namespace);
    let params = ListParams::default().labels(ROUTER_LEASE);
    let mut row = 1;
    loop {
        let error = match timeout(PATIENCE, leases.list(&params)).await {
            Ok(Ok(found)) => return found.iter().filter_map(|lease| peer(lease, clock::now())).collect(),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        this.refused(error.as_ref(), "list", "leases.coordination.k8s.io", Some(&this.namespace));
        row += 1;
        sleep(RETRY.delay(row, rand::random())).await;
    }
}

fn peer(lease: &Lease, now: jiff::Timestamp) -> Option<Peer> {
    let name = holder(lease, now)?.to_owned();
    let address = lease.annotations().get(DRAIN_ADDRESS)?.parse().ok()?;
    Some(Peer { name, address })
}

/// Asks, and waits for the head of the answer; the connection ends with the future.
async fn get(address: SocketAddr, path: &str) -> io::Result<StatusCode> {
    let io = timeout(CONNECT, TcpStream::connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    // A machine that has gone does not say so.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(5)).with_retries(2);
    SockRef::from(&io).set_tcp_keepalive(&keepalive)?;
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    ask::ask(io, request, 0).await.map(|(status, _)| status)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn who_lives_and_says_where_is_asked() {
        let lease = |annotations: serde_json::Value, renewed: &str| -> Lease {
            serde_json::from_value(json!({
                "metadata": { "name": "router-r2", "annotations": annotations },
                "spec": { "holderIdentity": "r2", "leaseDurationSeconds": 15, "renewTime": renewed },
            }))
            .unwrap()
        };
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        let (fresh, stale) = ("2026-01-01T00:00:00.000000Z", "2025-12-31T23:59:50.000000Z");
        for (annotations, renewed, address) in [
            (json!({ DRAIN_ADDRESS: "10.0.0.2:9464" }), fresh, Some("10.0.0.2:9464")),
            (json!({ DRAIN_ADDRESS: "[fd00::2]:9464" }), fresh, Some("[fd00::2]:9464")),
            (json!({ DRAIN_ADDRESS: "10.0.0.2:9464" }), stale, None),
            (json!({ DRAIN_ADDRESS: "mesh-router" }), fresh, None),
            (json!({}), fresh, None),
        ] {
            let found = peer(&lease(annotations.clone(), renewed), now).map(|peer| peer.address.to_string());
            assert_eq!(found.as_deref(), address, "{annotations} {renewed}");
        }
    }
}

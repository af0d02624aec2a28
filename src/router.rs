//! HTTP and WebSocket to ready endpoints; acknowledged drain.
//!
//! ```text
//!  API ──watch──► state ──build──► RouteTable ──publish──► proxy ◄── every worker, per request
//!                                      │                     │
//!                                      ▼                     ├─ worker: a thread, its connections (conn, gate), its pool
//!                                    drain ──status──► API   ├─ exchange: match, pick (balance, affinity), forward, answer
//!                                    lease ──renew───► API   └─ upgrade: tunnels
//! ```
//! Owns the way of a request from the client's socket to an instance's and back. Reads `MeshService`, `EndpointSlice`, `MeshRouter` and its Secret; writes its own
//! entry of `MeshInstance.status.routers` and its Lease; never touches anything else. The pure parts: table, balance, affinity, gate, forward, answer, settings.
pub mod affinity;
pub mod answer;
pub mod balance;
pub mod conn;
pub mod drain;
pub mod endpoint;
pub mod exchange;
pub mod forward;
pub mod gate;
pub mod lease;
pub mod listener;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod settings;
pub mod state;
pub mod table;
pub mod upgrade;
pub mod worker;

use std::{net::TcpListener, pin::pin, sync::Arc, time::Duration};

use kube::Client;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::kit::{metrics::Metrics, shutdown::Shutdown};

/// How long clients wait at most, at the start, for the router to know where requests go; after it they are told that it does not (503).
const HOLD: Duration = Duration::from_secs(5);

/// What a router process is told at its start.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// Who it is: the holder of its Lease, and `name` in `MeshInstance.status.routers`. A DNS label, unique among the routers of one API.
    pub name: String,
    /// The `MeshRouter` in `mesh-system` whose settings it takes; built-in ones are used while there is none.
    pub router: String,
    /// How long requests may take to end at shutdown, before they are cut.
    pub grace: Duration,
}

/// What stops a router.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A worker failed.
    #[error(transparent)]
    Serve(#[from] proxy::Error),
}

/// Runs a router until shutdown: one worker per listener (see [`listener::open`]). `ready` becomes true once it has seen all services and endpoints;
/// until then connections wait in the sockets' queues, for [`HOLD`] at most.
///
/// # Errors
/// A worker that could not start, or died.
pub async fn run(
    options: RouterOptions,
    client: Client,
    listeners: Vec<TcpListener>,
    metrics: Metrics,
    shutdown: Shutdown,
    ready: watch::Sender<bool>,
) -> Result<(), Error> {
    let metrics = metrics::RouterMetrics::register(&metrics);
    let proxy = proxy::Proxy::new(metrics.clone());
    let (tables, seen) = watch::channel(Arc::default());
    let quiet = Arc::new(Notify::new());
    let lease = lease::RouterLease::new(client.clone(), &options.name, &options.router);
    let stop = CancellationToken::new();
    let (mut first_table, end) = (ready.subscribe(), stop.clone());
    let mut serve = pin!(async {
        tokio::select! {
            // Ready, or the sender is gone: either way there is nothing more to wait for.
            _ = first_table.wait_for(|ready| *ready) => {}
            () = tokio::time::sleep(HOLD) => {}
            () = end.cancelled() => {}
        }
        proxy.serve(listeners, end, options.grace).await
    });
    let mut background = pin!(async {
        // First the lease, then the first table: no instance gets a request of a router that agents do not know of.
        lease.take().await;
        let follow = state::follow(client.clone(), options.router.clone(), proxy.clone(), tables, quiet.clone(), ready);
        tokio::join!(follow, drain::report(client.clone(), &options.name, seen, quiet.clone(), metrics), lease.renew());
    });
    let end = loop {
        tokio::select! {
            end = &mut serve => break end,
            () = &mut background => {}
            () = shutdown.triggered(), if !stop.is_cancelled() => stop.cancel(),
        }
    };
    lease.release().await;
    Ok(end?)
}

//! HTTP and WebSocket to ready endpoints; acknowledged drain.
//!
//! ```text
//!  API ──watch──► state ──build──► RouteTable ──publish──► proxy ◄── every worker, per request
//!                                      │                     │
//!                                      ▼                     ├─ serve: a thread per listener, with its connections (conn, gate) and its worker (pool)
//!                                    drain ──status──► API   ├─ exchange: match, pick (balance, affinity), forward, answer
//!                                    lease ──renew───► API   └─ upgrade: tunnels
//!                                    hook  ◄── pods that are to end, other routers
//! ```
//! Owns the way of a request from the client's socket to an instance's and back. Reads `MeshService`, `EndpointSlice`, `MeshRouter` and its Secret, and in a
//! cluster its Node, the other routers' Leases, and a Pod whose hook asks; writes its own entry of `MeshInstance.status.routers` and its Lease; never touches
//! anything else. The pure parts: table, balance, affinity, gate, forward, answer, settings, refused.
pub mod affinity;
pub mod answer;
pub mod balance;
pub mod conn;
pub mod drain;
pub mod endpoint;
pub mod exchange;
pub mod forward;
pub mod gate;
pub mod health;
pub mod hook;
pub mod lease;
pub mod listener;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod serve;
pub mod settings;
pub mod state;
pub mod table;
pub mod upgrade;
pub mod worker;

use std::{
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use kube::Client;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use mesh_kit::{metrics::Metrics, shutdown::Shutdown};

/// How long clients wait at most, at the start, for the router to know where requests go; after it they are told that it does not (503).
const HOLD: Duration = Duration::from_secs(5);

/// What a router process is told at its start.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// Who it is: the holder of its Lease, and `name` in `MeshInstance.status.routers`. A DNS label, unique among the routers of one API.
    pub name: String,
    /// Where its Lease, its `MeshRouter` and its Secret are: `mesh-system` on a VM, in a cluster the namespace that it runs in.
    pub namespace: String,
    /// The `MeshRouter` whose settings it takes; built-in ones are used while there is none.
    pub router: String,
    /// The zone that it is in, if it was told; else that of its node.
    pub zone: Option<String>,
    /// The node that it is on.
    pub node: Option<String>,
    /// Where other routers ask it about pods that are to end (see [`hook`]).
    pub drain_address: Option<SocketAddr>,
    /// How long requests may take to end at shutdown, before they are cut.
    pub grace: Duration,
    /// Where it says what troubles it.
    pub health: health::Health,
}

/// What stops a router.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A worker failed.
    #[error(transparent)]
    Serve(#[from] serve::Error),
}

/// Runs a router until shutdown: one worker per listener (see [`listener::open`]). `ready` becomes true once it has seen all services and endpoints;
/// until then connections wait in the sockets' queues, for [`HOLD`] at most. `hooks` are for a cluster, whose pods ask whether they may end.
///
/// # Errors
/// A worker that could not start, or died.
pub fn run(
    options: RouterOptions,
    client: Client,
    listeners: Vec<TcpListener>,
    metrics: Metrics,
    shutdown: Shutdown,
    ready: watch::Sender<bool>,
    hooks: Option<hook::Hooks>,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let (options, hooks) = (&options, hooks.as_ref());
        let metrics = metrics::RouterMetrics::register(&metrics, options.health.clone());
        let tables = hooks.map_or_else(Arc::default, hook::Hooks::tables);
        let proxy = proxy::Proxy::new(metrics.clone());
        let quiet = Arc::new(Notify::new());
        let lease = lease::RouterLease::new(client.clone(), options);
        let stop = CancellationToken::new();
        let (mut first_table, end) = (ready.subscribe(), stop.clone());
        let mut serve = pin!(async {
            tokio::select! {
                // Ready, or the sender is gone: either way there is nothing more to wait for.
                _ = first_table.wait_for(|ready| *ready) => {}
                () = tokio::time::sleep(HOLD) => {}
                () = end.cancelled() => {}
            }
            serve::serve(&proxy, listeners, end, options.grace).await
        });
        let leased = CancellationToken::new();
        let mut background = pin!(async {
            // First the lease, then the first table: no instance gets a request of a router that agents do not know of.
            let lease = async {
                lease.take().await;
                leased.cancel();
                lease.renew().await;
            };
            let follow = state::follow(client.clone(), options, leased.clone(), proxy.clone(), &tables, quiet.clone(), ready);
            let report = drain::report(client.clone(), &options.name, tables.subscribe(), quiet.clone(), metrics);
            tokio::join!(follow, report, lease);
        });
        let end = loop {
            tokio::select! {
                end = &mut serve => break end,
                () = &mut background => {}
                () = shutdown.triggered(), if !stop.is_cancelled() => stop.cancel(),
            }
        };
        // It sends nothing to anybody any more: whoever waits for that is told before the lease is gone.
        hooks.inspect(|hooks| hooks.let_all_go());
        lease.release().await;
        hooks.inspect(|hooks| hooks.end());
        Ok(end?)
    })
}

//! The shop's API: says which instance answered, echoes over a WebSocket, and can be slow on purpose.
mod echo;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use crate::server::{Ending, response};

/// The longest that /api/slow waits.
const SLOWEST: u64 = 60_000;

static ORDERS: AtomicU64 = AtomicU64::new(0);

pub(crate) async fn answer(request: Request<Incoming>, ending: Ending) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/api" | "/api/" => me(),
        "/api/health" => response(200, "text/plain", "ok\n"),
        "/api/slow" => slow(request.uri().query().unwrap_or_default()).await,
        "/api/echo" => echo::upgrade(request, ending),
        _ => response(404, "text/plain", "no such path\n"),
    }
}

/// Which instance this is.
fn me() -> Response<Full<Bytes>> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let body = json!({
        "service": variable("MESH_SERVICE"),
        "instance": variable("MESH_INSTANCE"),
        "revision": variable("MESH_REVISION"),
        "greeting": variable("GREETING"),
        "pid": std::process::id(),
        "orders": ORDERS.fetch_add(1, Ordering::Relaxed) + 1,
    });
    response(200, "application/json", format!("{body}\n"))
}

/// `?ms=250`: answers after so long, also if SIGTERM comes meanwhile.
async fn slow(query: &str) -> Response<Full<Bytes>> {
    let ms = query.split('&').find_map(|pair| pair.strip_prefix("ms=")).unwrap_or("1000").parse::<u64>();
    let Ok(ms) = ms.map(|ms| ms.min(SLOWEST)) else { return response(400, "text/plain", "ms is a number of milliseconds\n") };
    tokio::time::sleep(Duration::from_millis(ms)).await;
    response(200, "text/plain", format!("waited {ms} ms\n"))
}

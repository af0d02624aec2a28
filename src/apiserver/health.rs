//! `/livez`, `/readyz`, `/healthz`: whether the server answers, and whether it takes writes.
use http::{Response, StatusCode};

use crate::{
    body::{self, Body},
    request::Request,
    state::State,
};

pub(crate) fn answer(server: &State, request: &Request, path: &str) -> Response<Body> {
    let (endpoint, one) = path.split_once('/').unwrap_or((path, ""));
    // Alive is who answers; ready is who can also write.
    let failure = if endpoint == "livez" { None } else { server.store.failure() };
    let checks = [("ping", None), ("store", failure)];
    let chosen: Vec<_> = checks.iter().filter(|(name, _)| one.is_empty() || one == *name).collect();
    if chosen.is_empty() {
        return body::text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let ok = chosen.iter().all(|(_, failure)| failure.is_none());
    let code = if ok { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    if ok && !request.query.flag("verbose") {
        return body::text(code, "ok");
    }
    let mut text = String::new();
    for (name, failure) in chosen {
        text += &failure.as_ref().map_or_else(|| format!("[+]{name} ok\n"), |why| format!("[-]{name} failed: {why}\n"));
    }
    body::text(code, format!("{text}{endpoint} check {}\n", if ok { "passed" } else { "failed" }))
}

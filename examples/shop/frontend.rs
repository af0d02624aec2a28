//! What people see: one page, which asks the backend.
use std::future::{Ready, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::server::{Ending, response};

const PAGE: &str = include_str!("page.html");

#[expect(clippy::needless_pass_by_value, reason = "the server gives the request away")]
pub(crate) fn answer(request: Request<Incoming>, _ending: Ending) -> Ready<Response<Full<Bytes>>> {
    ready(match request.uri().path() {
        "/" => response(200, "text/html; charset=utf-8", PAGE),
        "/health" => response(200, "text/plain", "ok\n"),
        _ => response(404, "text/plain", "no such page\n"),
    })
}

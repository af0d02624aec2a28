//! `GET …/meshinstances/NAME/log`: the output of an instance, as text, as it is written.
use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::Call;
use crate::{
    body::{self, Body},
    object,
    status::ApiError,
};
use mesh_backend::LogQuery;
use mesh_kit::clock;
use mesh_plan::instance::InstanceKey;

pub(super) fn log(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, resource, namespace, name, .. } = call;
    let entry = server.store.get(&resource.key(namespace, name)).ok_or_else(|| ApiError::not_found(resource, name))?;
    let Some(backend) = &server.options.logs else {
        return Err(ApiError::not_implemented(
            "this server runs no instances, so it has no logs: ask the mesh-controller of the instance's node",
        ));
    };
    let uid = object::uid(&resource.view(&entry)).to_owned();
    let key = InstanceKey { namespace: (*namespace).to_owned(), name: (*name).to_owned(), uid };
    let closing = server.closing.clone().cancelled_owned();
    let lines = backend.logs(&key, query(call, clock::now())?).take_until(closing).map(|chunk| {
        // The head is sent by the time a backend fails; the reader is told in the text.
        chunk.unwrap_or_else(|error| Bytes::from(format!("mesh-controller: the log cannot be read: {error}\n")))
    });
    Ok(body::response(StatusCode::OK, "text/plain", body::stream(lines)))
}

fn query(call: &Call<'_>, now: Timestamp) -> Result<LogQuery, ApiError> {
    let query = &call.request.query;
    let since_seconds = query.number("sinceSeconds")?.and_then(|seconds| i64::try_from(seconds).ok());
    let since = since_seconds.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    let since_time = query
        .get("sinceTime")
        .map(|time| time.parse::<Timestamp>().map_err(|error| ApiError::bad_request(format!("sinceTime: {error}"))))
        .transpose()?;
    Ok(LogQuery {
        tail_lines: query.number("tailLines")?,
        since: since.or(since_time),
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
    })
}

//! `GET …/meshinstances/NAME/log`: the output of an instance, as text, as it is written.
use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::call::Call;
use crate::{
    body::{self, Body},
    object,
    query::Query,
    status::ApiError,
};
use mesh_backend::LogQuery;
use mesh_kit::clock;
use mesh_plan::instance::InstanceKey;

pub(super) fn log(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, resource, namespace, name, .. } = call;
    let entry = server.store.get(&resource.key(namespace, name)).ok_or_else(|| ApiError::not_found(resource.group_resource(), name))?;
    let Some(backend) = &server.options.logs else {
        return Err(ApiError::not_implemented(
            "this server runs no instances, so it has no logs: ask the mesh-controller of the instance's node",
        ));
    };
    let uid = object::uid(&resource.view(&entry)).to_owned();
    let key = InstanceKey { namespace: (*namespace).to_owned(), name: (*name).to_owned(), uid };
    let closing = server.closing.clone().cancelled_owned();
    let lines = backend.logs(&key, wanted(&call.request.query, clock::now())?).take_until(closing).map(|chunk| {
        // The head is sent by the time a backend fails; the reader is told in the text.
        chunk.unwrap_or_else(|error| Bytes::from(format!("mesh-controller: the log cannot be read: {error}\n")))
    });
    Ok(body::response(StatusCode::OK, "text/plain", body::stream(lines)))
}

fn wanted(query: &Query, now: Timestamp) -> Result<LogQuery, ApiError> {
    // Nothing was written before 1970, and it is the earliest that every backend can name.
    let ago =
        |seconds| now.checked_sub(SignedDuration::from_secs(seconds)).map_or(Timestamp::UNIX_EPOCH, |then| then.max(Timestamp::UNIX_EPOCH));
    let since = query.number("sinceSeconds")?.and_then(|seconds| i64::try_from(seconds).ok()).map(ago);
    let since_time = query
        .get("sinceTime")
        .map(|time| time.parse::<Timestamp>().map_err(|error| ApiError::bad_request(format!("sinceTime: {error}"))))
        .transpose()?;
    Ok(LogQuery {
        // No log has more lines, and it is the most that every backend can count.
        tail_lines: query.number("tailLines")?.map(|lines| lines.min(i32::MAX.unsigned_abs().into())),
        since: since.or(since_time),
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_numbers_mean_all_of_the_log() {
        let query = Query::parse("sinceSeconds=9223372036854775807&tailLines=9223372036854775807");
        let wanted = wanted(&query, clock::now()).unwrap();
        assert_eq!((wanted.since, wanted.tail_lines), (Some(Timestamp::UNIX_EPOCH), Some(2_147_483_647)));
    }
}

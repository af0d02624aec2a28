//! GET of one object.
use http::{Response, StatusCode};

use super::{call::Call, form};
use crate::{body::Body, status::ApiError};

pub(super) fn get(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, request, resource, namespace, name, .. } = call;
    let form = request.form()?;
    if let Some(asked) = request.query.revision()? {
        call.at_least(asked, server.store.revision())?;
    }
    let entry = server.store.get(&resource.key(namespace, name)).ok_or_else(|| ApiError::not_found(resource.group_resource(), name))?;
    Ok(form::entry(call, form, StatusCode::OK, &entry))
}

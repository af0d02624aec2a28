//! The reviews: posted, answered, never stored. Whoever is let in may do everything, and is told so.
use http::{Response, StatusCode};
use serde_json::json;

use super::call::Call;
use crate::{
    body::{self, Body},
    object,
    status::ApiError,
};

pub(super) fn answer(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut review = call.request.decode(&call.resource.kind)?.value;
    call.resource.name_kind(&mut review);
    let user = &call.request.user;
    let status = match call.resource.kind.as_str() {
        "SelfSubjectAccessReview" => json!({"allowed": true, "reason": "every client that is let in may do everything"}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "SelfSubjectReview" => json!({"userInfo": {"username": user.name, "groups": user.groups}}),
        other => return Err(ApiError::not_implemented(format!("{other} is not answered"))),
    };
    let review_map = object::map(&mut review);
    object::map_at(review_map, "metadata");
    review_map.insert("status".to_owned(), status);
    Ok(body::json(StatusCode::CREATED, &review))
}

//! GET of a collection: selectors, pages that all show the first page's revision, and what `resourceVersion` asks for.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Response;
use serde::{Deserialize, Serialize};

use super::{
    call::Call,
    form::{self, ListMeta},
};
use crate::{
    body::Body,
    query::Query,
    schema::{FieldError, Reason},
    selectors::Selector,
    status::ApiError,
};
use mesh_store::{Key, Listing};

/// Where the next page begins. Opaque to clients; the shape is Kubernetes' own.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: u64,
    start: String,
}

impl Token {
    fn after(key: &Key, revision: u64) -> String {
        let token = Self { v: "meta.k8s.io/v1".to_owned(), rv: revision, start: format!("{}/{}\0", key.namespace, key.name) };
        // A struct of strings and a number always serializes.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| bad(&error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))
    }

    /// The key of the last object of the page before, as namespace and name.
    fn last(&self) -> Result<(&str, &str), ApiError> {
        let parts = self.start.strip_suffix('\0').and_then(|start| start.split_once('/'));
        parts.ok_or_else(|| ApiError::bad_request("continue key is not valid: no start"))
    }
}

pub(super) fn list(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { request, resource, .. } = call;
    let form = request.form()?;
    let selector = Selector::parse(&request.query, resource)?;
    let limit = request.query.number("limit")?.filter(|limit| *limit > 0);
    let (listing, token) = read(call)?;
    let mut entries = listing.entries;
    if let Some(token) = &token {
        let last = token.last()?;
        entries.retain(|entry| (&*entry.key.namespace, &*entry.key.name) > last);
    }
    entries.retain(|entry| selector.matches(entry));
    let mut meta = ListMeta { revision: listing.revision, ..ListMeta::default() };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    if entries.len() > limit {
        let rest = entries.split_off(limit);
        // Kubernetes does not count what a selector would have to be asked for.
        meta.remaining = (selector == Selector::default()).then_some(rest.len());
        meta.next = entries.last().map(|entry| Token::after(&entry.key, listing.revision));
    }
    Ok(form::list(call, form, &entries, &meta))
}

fn read(call: &Call<'_>) -> Result<(Listing, Option<Token>), ApiError> {
    let Call { server, request, resource, namespace, .. } = call;
    let namespace = (!namespace.is_empty()).then_some(*namespace);
    let (query, current) = (&request.query, server.store.revision());
    let revision = query.revision()?;
    let exact = check_match(query, revision)?;
    if let Some(token) = query.get("continue") {
        let token = Token::parse(token)?;
        if revision.is_some_and(|revision| revision != 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        // A token of a store that was since replaced by an older one is as good as expired.
        let listing = server.store.list_at(&resource.storage, namespace, token.rv).map_err(|_| ApiError::continue_expired())?;
        return if token.rv > current { Err(ApiError::continue_expired()) } else { Ok((listing, Some(token))) };
    }
    if let Some(asked) = revision {
        call.at_least(asked, current)?;
    }
    match revision {
        Some(asked) if exact => Ok((server.store.list_at(&resource.storage, namespace, asked).map_err(ApiError::gone)?, None)),
        _ => Ok((server.store.list(&resource.storage, namespace), None)),
    }
}

/// Whether exactly the given revision is wanted.
fn check_match(query: &Query, revision: Option<u64>) -> Result<bool, ApiError> {
    let Some(wanted) = query.get("resourceVersionMatch") else { return Ok(false) };
    let forbid = |why: &str| Err(invalid(Reason::Forbidden, format!("Forbidden: {why}")));
    if revision.is_none() {
        return forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if query.get("continue").is_some() {
        return forbid("resourceVersionMatch is forbidden when continue is provided");
    }
    match wanted {
        "NotOlderThan" => Ok(false),
        "Exact" if revision == Some(0) => forbid("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""),
        "Exact" => Ok(true),
        other => {
            let message = format!("Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\"");
            Err(invalid(Reason::NotSupported, message))
        }
    }
}

fn invalid(reason: Reason, message: String) -> ApiError {
    let error = FieldError { reason, message, field: "resourceVersionMatch".to_owned() };
    ApiError::invalid_kind("ListOptions", "meta.k8s.io", "", &[error])
}

//! `/openapi/v3`: the index, and a document for each group and version, cached for ever under its hash.
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    body::{self, Body},
    openapi::{self, OpenApiResource},
    registry::{CRDS, Registry, Resource, hex},
    request::Request,
    schema,
    state::State,
    status::ApiError,
};
use mesh_store::Key;

/// As far ahead as an HTTP date should be: a year, said once and for all.
const A_YEAR: HeaderValue = HeaderValue::from_static("public, immutable, max-age=31536000");

/// An OpenAPI v2 document as protobuf: swagger (1) `2.0`, info (2) with title (1) and version (2), no paths (8), no definitions (9).
const SWAGGER: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0fmesh-controller\x12\x02v0\x42\x00\x4a\x00";

/// `/openapi/v2`: a document that describes nothing. kubectl asks for it where version 3 knows no answer (`kind: List`, a group that is not
/// served) and would report a missing document in place of what is wrong; what it does not find there it leaves to the server.
pub(crate) fn swagger(request: &Request) -> Response<Body> {
    if request.header(header::ACCEPT).is_some_and(|accept| accept.contains("proto-openapi.spec.v2")) {
        let media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        return body::response(StatusCode::OK, media, body::full(SWAGGER));
    }
    let info = json!({"title": "mesh-controller", "version": "v0"});
    body::json(StatusCode::OK, &json!({"swagger": "2.0", "info": info, "paths": {}, "definitions": {}}))
}

fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The hash of a document: of what it is made from, so that it needs not be made to be named.
fn hash(registry: &Registry, group: &str, version: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    for resource in registry.of_group_version(group, version) {
        hash.update(format!("{} {} {:?}\n", resource.plural, resource.revision, resource.definition));
    }
    hex(&hash.finalize())
}

pub(crate) fn index(server: &State, request: &Request) -> Response<Body> {
    let registry = server.registry();
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let (place, hash) = (place(group, version), hash(&registry, group, version));
            let url = format!("/openapi/v3/{place}?hash={hash}");
            paths.insert(place, json!({"serverRelativeURL": url}));
        }
    }
    let etag = format!("\"{}\"", registry.hash());
    if request.header(header::IF_NONE_MATCH) == Some(etag.as_str()) {
        return with_etag(body::response(StatusCode::NOT_MODIFIED, "application/json", body::full("")), &etag);
    }
    with_etag(body::json(StatusCode::OK, &json!({"paths": paths})), &etag)
}

fn with_etag(mut response: Response<Body>, etag: &str) -> Response<Body> {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

pub(crate) fn document(server: &State, request: &Request, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let registry = server.registry();
    let resources = registry.of_group_version(group, version);
    if resources.is_empty() {
        return Ok(body::text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let hash = hash(&registry, group, version);
    let asked = request.query.get("hash");
    if let Some(asked) = asked
        && asked != hash
    {
        let location = format!("/openapi/v3/{}?hash={hash}", place(group, version));
        let mut response = body::text(StatusCode::MOVED_PERMANENTLY, "");
        let location = HeaderValue::from_str(&location).map_err(|error| ApiError::internal(error.to_string()))?;
        response.headers_mut().insert(header::LOCATION, location);
        return Ok(response);
    }
    let etag = format!("\"{hash}\"");
    let mut response = if request.header(header::IF_NONE_MATCH) == Some(etag.as_str()) {
        body::response(StatusCode::NOT_MODIFIED, "application/json", body::full(""))
    } else {
        let all: Vec<_> = resources.into_iter().filter_map(|resource| describe(server, resource)).collect();
        body::json(StatusCode::OK, &openapi::document(group, version, &all))
    };
    if asked.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, A_YEAR);
    }
    Ok(with_etag(response, &etag))
}

fn describe(server: &State, resource: &Resource) -> Option<OpenApiResource> {
    Some(OpenApiResource {
        kind: resource.kind.clone(),
        plural: resource.plural.clone(),
        namespaced: resource.namespaced,
        schema: open_api(server, resource)?,
        has_status: resource.has_status,
        has_scale: resource.scale.is_some(),
    })
}

/// The schema as it was written: of a definition's, read from the store, since only this needs it.
fn open_api(server: &State, resource: &Resource) -> Option<Value> {
    let Some(definition) = &resource.definition else {
        return schema::builtin_open_api(&resource.group, &resource.version, &resource.kind);
    };
    let definition = server.store.get(&Key::new(CRDS, "", definition.as_str()))?.value();
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let version = versions.iter().find(|version| version.get("name").and_then(Value::as_str) == Some(&resource.version))?;
    version.pointer("/schema/openAPIV3Schema").cloned()
}

//! Objects and lists in the form that was asked for.
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, Part};
use crate::{
    accept::Form,
    body::{self, Body},
    query::Query,
    registry::Resource,
    table::Columns,
};
use mesh_kit::clock;
use mesh_store::Entry;

/// `metadata` of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct ListMeta {
    pub(super) revision: u64,
    pub(super) next: Option<String>,
    pub(super) remaining: Option<usize>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = Map::new();
        meta.insert("resourceVersion".to_owned(), self.revision.to_string().into());
        if let Some(next) = &self.next {
            meta.insert("continue".to_owned(), next.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            meta.insert("remainingItemCount".to_owned(), remaining.into());
        }
        Value::Object(meta)
    }
}

/// How much of the object a Table's row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub(super) fn parse(query: &Query) -> Self {
        match query.get("includeObject") {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// One object.
pub(super) fn one(call: &Call<'_>, form: Form, code: StatusCode, object: &Value) -> Response<Body> {
    let include = Include::parse(&call.request.query);
    match form {
        Form::Object => body::json(code, object),
        Form::Yaml => yaml(code, object),
        Form::Metadata => body::json(code, &partial(object)),
        Form::Table { version } => {
            let meta = ListMeta { revision: revision_of(object), ..ListMeta::default() };
            let columns = if call.part == Part::Scale { &Columns::scale() } else { &call.resource.columns };
            body::json(code, &table(columns, version, &meta, &[object], include, true))
        }
    }
}

/// One stored object; as its bytes where that will do.
pub(super) fn entry(call: &Call<'_>, form: Form, code: StatusCode, entry: &Entry) -> Response<Body> {
    match form {
        Form::Object => body::json_bytes(code, object_bytes(call.resource, entry)),
        Form::Yaml | Form::Metadata | Form::Table { .. } => one(call, form, code, &call.resource.view(entry)),
    }
}

/// A list.
pub(super) fn list(call: &Call<'_>, form: Form, entries: &[Arc<Entry>], meta: &ListMeta) -> Response<Body> {
    let resource = call.resource;
    let views = || entries.iter().map(|entry| resource.view(entry)).collect::<Vec<_>>();
    match form {
        Form::Object => body::json_bytes(StatusCode::OK, list_bytes(resource, entries, meta)),
        Form::Yaml => {
            let list =
                json!({"apiVersion": resource.api_version(), "kind": resource.list_kind, "metadata": meta.to_value(), "items": views()});
            yaml(StatusCode::OK, &list)
        }
        Form::Metadata => {
            let items: Vec<_> = views().iter().map(partial).collect();
            let list =
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": meta.to_value(), "items": items});
            body::json(StatusCode::OK, &list)
        }
        Form::Table { version } => {
            let views = views();
            let objects: Vec<_> = views.iter().collect();
            body::json(StatusCode::OK, &table(&resource.columns, version, meta, &objects, Include::parse(&call.request.query), true))
        }
    }
}

fn yaml(code: StatusCode, value: &Value) -> Response<Body> {
    match serde_saphyr::to_string(value) {
        Ok(text) => body::response(code, "application/yaml", body::full(text)),
        // JSON is YAML.
        Err(_) => body::json(code, value),
    }
}

fn revision_of(object: &Value) -> u64 {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// An object as JSON.
pub(super) fn object_bytes(resource: &Resource, entry: &Entry) -> Bytes {
    if !resource.is_verbatim(entry) {
        return Bytes::from(resource.view(entry).to_string());
    }
    let mut bytes = BytesMut::with_capacity(entry.json.len() + 96);
    put_verbatim(&mut bytes, &resource.prefix(), entry);
    bytes.freeze()
}

fn put_verbatim(bytes: &mut BytesMut, prefix: &str, entry: &Entry) {
    bytes.put_slice(prefix.as_bytes());
    bytes.put_slice(entry.json.get(1..).unwrap_or_default());
}

fn list_bytes(resource: &Resource, entries: &[Arc<Entry>], meta: &ListMeta) -> Bytes {
    let size: usize = entries.iter().map(|entry| entry.json.len() + 96).sum();
    let mut bytes = BytesMut::with_capacity(size + 256);
    let (kind, version, meta) = (&resource.list_kind, resource.api_version(), meta.to_value());
    bytes.put_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{meta},\"items\":[").as_bytes());
    let prefix = resource.prefix();
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            bytes.put_u8(b',');
        }
        if !resource.is_verbatim(entry) {
            bytes.put_slice(resource.view(entry).to_string().as_bytes());
        } else if resource.is_custom() {
            put_verbatim(&mut bytes, &prefix, entry);
        } else {
            // Items of built-in lists carry no kind: what is stored, as it is.
            bytes.put_slice(&entry.json);
        }
    }
    bytes.put_slice(b"]}");
    bytes.freeze()
}

/// The metadata of an object, as an object of its own.
pub(super) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata").cloned().unwrap_or_default()})
}

/// A Table of objects; the columns' definitions are left out of all but the first event of a watch.
pub(super) fn table(columns: &Columns, version: &str, meta: &ListMeta, objects: &[&Value], include: Include, headers: bool) -> Value {
    let now = clock::now();
    let rows: Vec<_> = objects.iter().map(|object| row(columns, version, object, include, now)).collect();
    let definitions = if headers { columns.definitions() } else { Value::Null };
    json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta.to_value(), "columnDefinitions": definitions, "rows": rows})
}

fn row(columns: &Columns, version: &str, object: &Value, include: Include, now: Timestamp) -> Value {
    let cells = columns.row(object, now);
    match include {
        Include::None => json!({"cells": cells}),
        Include::Object => json!({"cells": cells, "object": object}),
        Include::Metadata => {
            let mut metadata = partial(object);
            if let Some(field) = metadata.get_mut("apiVersion") {
                *field = format!("meta.k8s.io/{version}").into();
            }
            json!({"cells": cells, "object": metadata})
        }
    }
}

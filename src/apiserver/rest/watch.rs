//! GET with `watch`: a stream of lines, from a revision on or from what exists, until the time is up, the client goes or the server ends.
use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    call::Call,
    form::{self, Include, ListMeta},
};
use crate::{
    accept::Form,
    body::{self, Body},
    metrics::OpenWatch,
    query::Query,
    registry::Resource,
    schema::{FieldError, Reason},
    selectors::Selector,
    state::State,
    status::ApiError,
};
use mesh_store::{Entry, Event, Expired, Watcher};

/// How often an idle watcher that wants bookmarks is told how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// The annotation of the bookmark that ends the initial events.
/// A watch that asks for more than that (a year) gets that: clocks and timers end somewhere.
const LONGEST: u64 = 365 * 24 * 3600;
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

pub(super) fn watch(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, request, resource, namespace, name, .. } = call;
    let query = &request.query;
    let form = request.form()?;
    let mut selector = Selector::parse(query, resource)?;
    if !name.is_empty() {
        selector = selector.with_name(name);
    }
    let start = Start::parse(query)?;
    let timeout = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or_else(|| rand::rng().random_range(1800..3600));
    let (listing, after) = match start {
        Start::Existing { .. } => {
            let listing = server.store.list(&resource.storage, (!namespace.is_empty()).then_some(*namespace));
            let revision = listing.revision;
            (listing.entries, revision)
        }
        Start::Now => (Vec::new(), server.store.revision()),
        Start::After(revision) => (Vec::new(), revision),
    };
    if let Start::Existing { at_least, .. } = start {
        call.at_least(at_least, after)?;
    }
    let mut feed = Feed {
        watcher: server.store.watch(after),
        shape: Shape { resource: Arc::clone(resource), form, include: Include::parse(query), headers: true },
        selector,
        namespace: (*namespace).to_owned(),
        bookmarks: query.flag("allowWatchBookmarks"),
        told: after,
        deadline: Instant::now() + Duration::from_secs(timeout.min(LONGEST)),
        server: Arc::clone(server),
        ended: false,
        _open: server.metrics.watch_opened(),
    };
    let first = feed.initial(&listing, matches!(start, Start::Existing { marked: true, .. }));
    let lines = futures::stream::unfold((feed, Some(first)), |(mut feed, first)| async move {
        let lines = match first {
            // Sent even if empty: the answer's head must not wait for the first event.
            Some(first) => first,
            None => feed.next().await?,
        };
        Some((lines, (feed, None)))
    });
    Ok(body::response(StatusCode::OK, "application/json", body::stream(lines)))
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With what exists, as ADDED; `marked`: and with a bookmark that says where that ends.
    Existing { marked: bool, at_least: u64 },
    /// With what happens from now on.
    Now,
    /// With what happened after a revision.
    After(u64),
}

impl Start {
    fn parse(query: &Query) -> Result<Self, ApiError> {
        let revision = query.revision()?.filter(|revision| *revision > 0);
        let initial = query.get("sendInitialEvents").is_some().then(|| query.flag("sendInitialEvents"));
        let matching = query.get("resourceVersionMatch");
        let forbid = |field: &str, why: &str| {
            let error = FieldError { reason: Reason::Forbidden, message: format!("Forbidden: {why}"), field: field.to_owned() };
            Err(ApiError::invalid_kind("ListOptions", "meta.k8s.io", "", &[error]))
        };
        match (initial, matching) {
            (Some(_), Some("NotOlderThan")) | (None, None) => {}
            (Some(_), _) => {
                return forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            }
            (None, Some(_)) => {
                return forbid("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
            }
        }
        Ok(match (initial, revision) {
            (Some(true), at_least) => Self::Existing { marked: true, at_least: at_least.unwrap_or(0) },
            (Some(false), None) => Self::Now,
            (None, None) => Self::Existing { marked: false, at_least: 0 },
            (Some(false) | None, Some(revision)) => Self::After(revision),
        })
    }
}

/// How the objects of events look.
#[derive(Debug)]
struct Shape {
    resource: Arc<Resource>,
    form: Form,
    include: Include,
    /// The next Table still carries its columns.
    headers: bool,
}

impl Shape {
    fn object(&mut self, entry: &Entry) -> Bytes {
        match self.form {
            Form::Object | Form::Yaml => form::object_bytes(&self.resource, entry),
            Form::Metadata => form::partial(&self.resource.view(entry)).to_string().into(),
            Form::Table { version } => {
                let meta = ListMeta { revision: entry.revision, ..ListMeta::default() };
                let headers = std::mem::take(&mut self.headers);
                form::table(&self.resource.columns, version, &meta, &[&self.resource.view(entry)], self.include, headers).to_string().into()
            }
        }
    }

    fn bookmark(&mut self, revision: u64, end: bool) -> Bytes {
        let mut object = json!({"metadata": {"resourceVersion": revision.to_string()}});
        if end {
            object = json!({"metadata": {"resourceVersion": revision.to_string(), "annotations": {INITIAL_EVENTS_END: "true"}}});
        }
        match self.form {
            Form::Metadata => object = form::partial(&object),
            Form::Table { version } => {
                let meta = ListMeta { revision, ..ListMeta::default() };
                let headers = std::mem::take(&mut self.headers);
                let mut table = form::table(&self.resource.columns, version, &meta, &[], self.include, headers);
                crate::object::copy_field(&object, &mut table, "metadata");
                object = table;
            }
            Form::Object | Form::Yaml => self.resource.name_kind(&mut object),
        }
        object.to_string().into()
    }
}

/// One watch.
struct Feed {
    server: Arc<State>,
    watcher: Watcher,
    shape: Shape,
    selector: Selector,
    namespace: String,
    bookmarks: bool,
    /// The revision that the client knows of.
    told: u64,
    deadline: Instant,
    ended: bool,
    _open: OpenWatch,
}

impl Feed {
    fn initial(&mut self, existing: &[Arc<Entry>], marked: bool) -> Bytes {
        let mut lines = BytesMut::new();
        for entry in existing.iter().filter(|entry| self.selector.matches(entry)) {
            put_line(&mut lines, "ADDED", &self.shape.object(entry));
        }
        if marked && self.bookmarks {
            put_line(&mut lines, "BOOKMARK", &self.shape.bookmark(self.told, true));
        }
        lines.freeze()
    }

    /// The next lines; none when the watch has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let storage = Arc::clone(&self.shape.resource.storage);
        // Subscribed first, so that no change falls between the two.
        let mut registry = self.server.registry_changes();
        self.adopt_resource()?;
        let mut bookmark = Instant::now() + BOOKMARK_EVERY;
        loop {
            tokio::select! {
                events = self.watcher.next(&storage) => match events {
                    Ok(events) => {
                        let lines = self.lines(&events);
                        if !lines.is_empty() {
                            return Some(lines);
                        }
                    }
                    Err(expired) => return Some(self.expired(expired)),
                },
                () = sleep_until(bookmark.min(self.deadline)) => {
                    self.ended = Instant::now() >= self.deadline;
                    bookmark = Instant::now() + BOOKMARK_EVERY;
                    match self.bookmark() {
                        Some(line) => return Some(line),
                        None if self.ended => return None,
                        None => {}
                    }
                }
                _ = registry.changed() => self.adopt_resource()?,
                () = self.server.closing.cancelled() => {
                    self.ended = true;
                    return self.bookmark();
                }
            }
        }
    }

    /// Takes the resource as it is now; none if it is no longer served.
    fn adopt_resource(&mut self) -> Option<()> {
        let Resource { group, version, plural, .. } = &*self.shape.resource;
        let resource = Arc::clone(self.server.registry().find(group, version, plural)?);
        self.shape.resource = resource;
        Some(())
    }

    fn lines(&mut self, events: &[Event]) -> Bytes {
        let mut lines = BytesMut::new();
        for event in events {
            if !self.namespace.is_empty() && *event.object.key.namespace != *self.namespace {
                continue;
            }
            let before = event.before.as_ref().filter(|before| self.selector.matches(before));
            let after = !event.deleted && self.selector.matches(&event.object);
            let (kind, object) = match (before, after) {
                (Some(_), true) => ("MODIFIED", self.shape.object(&event.object)),
                (None, true) => ("ADDED", self.shape.object(&event.object)),
                (Some(_), false) if event.deleted => ("DELETED", self.shape.object(&event.object)),
                // It left the selector: what the client had, at the revision of its leaving.
                (Some(before), false) => ("DELETED", self.left(before, event.revision())),
                (None, false) => continue,
            };
            put_line(&mut lines, kind, &object);
            self.told = event.revision();
        }
        lines.freeze()
    }

    fn left(&mut self, before: &Entry, revision: u64) -> Bytes {
        let mut value = before.value();
        crate::object::metadata(&mut value).insert("resourceVersion".to_owned(), revision.to_string().into());
        let json = Bytes::from(value.to_string());
        self.shape.object(&Entry { key: before.key.clone(), revision, json, labels: before.labels.clone() })
    }

    fn bookmark(&mut self) -> Option<Bytes> {
        let cursor = self.watcher.cursor();
        if !self.bookmarks || cursor <= self.told {
            return None;
        }
        self.told = cursor;
        let mut lines = BytesMut::new();
        put_line(&mut lines, "BOOKMARK", &self.shape.bookmark(cursor, false));
        Some(lines.freeze())
    }

    fn expired(&mut self, expired: Expired) -> Bytes {
        self.ended = true;
        let mut lines = BytesMut::new();
        let status: Value = ApiError::gone(expired).to_value();
        put_line(&mut lines, "ERROR", status.to_string().as_bytes());
        lines.freeze()
    }
}

fn put_line(lines: &mut BytesMut, kind: &str, object: &[u8]) {
    lines.put_slice(b"{\"type\":\"");
    lines.put_slice(kind.as_bytes());
    lines.put_slice(b"\",\"object\":");
    lines.put_slice(object);
    lines.put_slice(b"}\n");
}

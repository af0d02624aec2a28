//! DELETE of an object or of a collection: at once, or in two steps while finalizers hold it.
use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{call::Call, form};
use crate::{
    body::{self, Body},
    object,
    registry::{Behaviour, Resource},
    selectors::Selector,
    state::State,
    status::ApiError,
    strategy,
};
use mesh_kit::clock;
use mesh_store::{Change, Entry, Write, WriteError};

/// What becomes of what an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// It goes after its owner.
    Background,
    /// It goes before its owner.
    Foreground,
    /// It stays, without owner.
    Orphan,
}

impl Propagation {
    fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "Background" => Ok(Self::Background),
            "Foreground" => Ok(Self::Foreground),
            "Orphan" => Ok(Self::Orphan),
            other => Err(ApiError::bad_request(format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
            ))),
        }
    }

    /// The finalizer by which the garbage collector learns of the wish.
    pub(crate) fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::Background => None,
            Self::Foreground => Some("foregroundDeletion"),
            Self::Orphan => Some("orphan"),
        }
    }
}

/// `DeleteOptions`, from the body and the query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) dry_run: bool,
}

impl Deletion {
    fn parse(call: &Call<'_>) -> Result<Self, ApiError> {
        let request = call.request;
        // The body has no kind in it, and may be missing.
        let body = if request.body.is_empty() { json!({}) } else { request.decode("DeleteOptions")?.value };
        let policy = object::text(&body, "/propagationPolicy").or_else(|| request.query.get("propagationPolicy"));
        let mut propagation = policy.map(Propagation::parse).transpose()?;
        if propagation.is_none()
            && (body.get("orphanDependents") == Some(&json!(true)) || request.query.get("orphanDependents") == Some("true"))
        {
            propagation = Some(Propagation::Orphan);
        }
        let dry = match body.pointer("/dryRun/0").and_then(Value::as_str) {
            Some("All") => true,
            Some(_) => return Err(ApiError::bad_request("DeleteOptions: dryRun: Unsupported value: supported values: \"All\"")),
            None => request.query.dry_run("DeleteOptions")?,
        };
        Ok(Self {
            propagation,
            uid: object::text(&body, "/preconditions/uid").map(str::to_owned),
            revision: object::text(&body, "/preconditions/resourceVersion").map(str::to_owned),
            dry_run: dry,
        })
    }

    fn check(&self, resource: &Resource, entry: &Entry, object: &Value) -> Result<(), ApiError> {
        let name = &entry.key.name;
        if let Some(meant) = &self.uid
            && meant != object::uid(object)
        {
            let have = object::uid(object);
            return Err(ApiError::precondition(
                resource.group_resource(),
                name,
                &format!("Precondition failed: UID in precondition: {meant}, UID in object meta: {have}"),
            ));
        }
        if let Some(meant) = &self.revision
            && *meant != entry.revision.to_string()
        {
            let have = entry.revision;
            let why = format!("Precondition failed: ResourceVersion in precondition: {meant}, ResourceVersion in object meta: {have}");
            return Err(ApiError::precondition(resource.group_resource(), name, &why));
        }
        Ok(())
    }
}

/// What became of the object.
#[derive(Debug)]
pub(crate) enum Removed {
    /// It is gone; its last state.
    Gone(Value),
    /// It is dying and waits for its finalizers.
    Dying(Value),
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, resource, namespace, name, .. } = call;
    let form = call.request.form()?;
    let deletion = Deletion::parse(call)?;
    match remove(server, resource, namespace, name, &deletion).await? {
        Removed::Dying(object) => Ok(form::one(call, form, StatusCode::OK, &object)),
        Removed::Gone(object) => {
            let mut details = json!({"name": name, "kind": resource.plural, "uid": object::uid(&object)});
            if !resource.group.is_empty() {
                object::map(&mut details).insert("group".to_owned(), resource.group.as_str().into());
            }
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
            Ok(body::json(StatusCode::OK, &status))
        }
    }
}

pub(super) async fn delete_collection(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, request, resource, namespace, .. } = call;
    if resource.behaviour == Behaviour::Namespace {
        return Err(ApiError::method_not_allowed());
    }
    let form = request.form()?;
    let selector = Selector::parse(&request.query, resource)?;
    let deletion = Deletion::parse(call)?;
    let listing = server.store.list(&resource.storage, (!namespace.is_empty()).then_some(*namespace));
    let chosen: Vec<Arc<Entry>> = listing.entries.into_iter().filter(|entry| selector.matches(entry)).collect();
    // One that may not go is said before others have gone.
    for entry in &chosen {
        strategy::check_deletion(server, resource, &entry.key.name)?;
    }
    for entry in &chosen {
        match remove(server, resource, &entry.key.namespace, &entry.key.name, &deletion).await {
            Err(error) if error.code() != StatusCode::NOT_FOUND => return Err(error),
            _ => {}
        }
    }
    let meta = form::ListMeta { revision: listing.revision, ..form::ListMeta::default() };
    Ok(form::list(call, form, &chosen, &meta))
}

/// Deletes an object, or marks it as dying if something holds it. Again whenever it moved meanwhile.
pub(crate) async fn remove(
    server: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
    deletion: &Deletion,
) -> Result<Removed, ApiError> {
    strategy::check_deletion(server, resource, name)?;
    let key = resource.key(namespace, name);
    loop {
        let entry = server.store.get(&key).ok_or_else(|| ApiError::not_found(resource.group_resource(), name))?;
        let old = resource.view(&entry);
        deletion.check(resource, &entry, &old)?;
        let mut new = old.clone();
        strategy::on_delete(resource, &mut new);
        wish(&mut new, deletion.propagation);
        let held = object::is_held(&new);
        if held && !object::is_dying(&old) {
            object::mark_dying(&mut new, clock::now());
        }
        if deletion.dry_run || (held && new == old) {
            return Ok(if held { Removed::Dying(new) } else { Removed::Gone(new) });
        }
        let value = resource.unview(new);
        let expected = entry.revision;
        let change = if held { Change::Update { expected, value } } else { Change::Delete { expected, last: value } };
        match server.commit(resource, Write { key: key.clone(), change, guard: None }).await {
            Ok(written) => {
                let object = resource.view(&written.entry);
                return Ok(if held { Removed::Dying(object) } else { Removed::Gone(object) });
            }
            // A precondition that named the revision fails now; without one the latest state decides.
            Err(WriteError::Conflict(_)) => {}
            Err(error) => return Err(ApiError::from_write(error, resource.group_resource(), name)),
        }
    }
}

/// Writes the wish for what is owned into the finalizers; a later wish replaces an earlier one.
fn wish(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let wishes = [Propagation::Foreground, Propagation::Orphan].map(Propagation::finalizer);
    let mut finalizers: Vec<String> =
        object::finalizers(object).into_iter().filter(|finalizer| !wishes.contains(&Some(finalizer))).map(str::to_owned).collect();
    finalizers.extend(propagation.finalizer().map(str::to_owned));
    object::set_finalizers(object, finalizers);
}

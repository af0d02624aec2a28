//! What create, update and patch share: the order check → prune → default → strategy → validate → admit → commit.
use jiff::Timestamp;
use serde_json::Value;

use super::call::{Call, Part};
use crate::{
    admission::AdmissionRequest,
    decode::Decoded,
    managed_fields, object,
    query::FieldValidation,
    registry::{Behaviour, Resource},
    schema::{FieldError, Reason},
    state::State,
    status::ApiError,
    strategy,
};
use mesh_kit::clock;
use mesh_store::{Change, Entry, Write, WriteError, Written};

/// How often a change is computed anew because somebody else was faster. Each time somebody made progress, so this is not reached in peace.
const ATTEMPTS: u32 = 50;

/// The options of a write, and what its answer warns of.
#[derive(Debug)]
pub(super) struct Intent {
    pub(super) dry_run: bool,
    pub(super) validation: FieldValidation,
    pub(super) manager: String,
    pub(super) now: Timestamp,
    pub(super) warnings: Vec<String>,
}

impl Intent {
    /// From the query; `options` is the name of the verb's options object.
    pub(super) fn parse(call: &Call<'_>, options: &str) -> Result<Self, ApiError> {
        let query = &call.request.query;
        let (dry_run, validation) = (query.dry_run(options)?, query.field_validation(options)?);
        if query.get("fieldManager").is_some_and(|manager| manager.chars().count() > 128) {
            let message = "Too long: may not be more than 128 bytes".to_owned();
            return Err(ApiError::invalid_kind(
                options,
                "meta.k8s.io",
                "",
                &[FieldError { reason: Reason::TooLong, message, field: "fieldManager".to_owned() }],
            ));
        }
        Ok(Self { dry_run, validation, manager: call.request.field_manager(), now: clock::now(), warnings: Vec::new() })
    }

    /// Refuses, or warns of, what is unknown or stands twice.
    pub(super) fn check_fields(&mut self, resource: &Resource, object: &Value, duplicates: &[String]) -> Result<(), ApiError> {
        if self.validation == FieldValidation::Ignore {
            return Ok(());
        }
        let unknown = resource.schema.as_ref().map(|schema| schema.unknown_fields(object)).unwrap_or_default();
        let duplicates = duplicates.iter().map(|path| format!("duplicate field \"{path}\""));
        let found: Vec<_> = duplicates.chain(unknown.iter().map(|path| format!("unknown field \"{path}\""))).collect();
        if found.is_empty() {
            return Ok(());
        }
        if self.validation == FieldValidation::Strict {
            let Resource { kind, version, .. } = resource;
            let all = found.join(", ");
            return Err(ApiError::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {all}"
            )));
        }
        self.warnings = found;
        Ok(())
    }

    /// What is being deleted takes changes, and none of them outlives it: who writes one hardly means that.
    fn warn_of_end(&mut self, resource: &Resource, old: &Value) {
        let (name, since) = (object::name(old), object::text(old, "/metadata/deletionTimestamp").unwrap_or_default());
        let (kind, plural) = (&resource.kind, resource.group_resource().qualified());
        let warning = format!(
            "{kind} {name} is being deleted since {since}, and this change goes with it: apply it again once it is gone (kubectl wait --for=delete {plural}/{name})"
        );
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Who records the fields that a write sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Recorded here, as an Update by the intent's manager.
    Record,
    /// Recorded already, by apply.
    Applied,
}

/// Checks that a body is of the resource, in the namespace and of the name of the path, and fills those in.
pub(super) fn check_identity(call: &Call<'_>, decoded: &mut Decoded) -> Result<(), ApiError> {
    let Call { resource, namespace, name, .. } = call;
    let object = &mut decoded.value;
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it is no object",
            resource.kind
        )));
    }
    let (version, kind) = (object::text(object, "/apiVersion"), object::text(object, "/kind"));
    if let Some(version) = version
        && version != resource.api_version()
    {
        let expected = resource.api_version();
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if let Some(kind) = kind
        && kind != resource.kind
    {
        let expected = &resource.kind;
        return Err(ApiError::bad_request(format!("the kind in the data ({kind}) does not match the expected kind ({expected})")));
    }
    if resource.is_custom() && (version.is_none() || kind.is_none()) {
        let missing = if kind.is_none() { "Kind" } else { "apiVersion" };
        return Err(ApiError::bad_request(format!("Object '{missing}' is missing in the object of type {}", resource.kind)));
    }
    let (sent_namespace, sent_name) = (object::namespace(object), object::name(object));
    if !sent_namespace.is_empty() && sent_namespace != *namespace {
        return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    if !name.is_empty() && !sent_name.is_empty() && sent_name != *name {
        return Err(ApiError::bad_request(format!("the name of the object ({sent_name}) does not match the name on the URL ({name})")));
    }
    resource.name_kind(object);
    let metadata = object::metadata(object);
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), (*namespace).into());
    }
    if !name.is_empty() {
        metadata.insert("name".to_owned(), (*name).into());
    }
    Ok(())
}

/// Brings a new object into the world; answers it as stored (or as it would be).
pub(super) async fn insert(call: &Call<'_>, mut object: Value, intent: &Intent, ownership: Ownership) -> Result<Value, ApiError> {
    let Call { server, resource, namespace, .. } = call;
    if resource.terminating {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::forbidden_object(resource.group_resource(), object::name(&object), why));
    }
    prepare_new(call, &mut object, intent, ownership).await?;
    let name = object::name(&object).to_owned();
    loop {
        let guard = strategy::namespace_guard(server, resource, namespace, &name)?;
        if intent.dry_run {
            return match server.store.get(&resource.key(namespace, &name)) {
                Some(_) => Err(ApiError::already_exists(resource.group_resource(), &name)),
                None => Ok(object),
            };
        }
        let change = Change::Create(resource.unview(object.clone()));
        match server.commit(resource, Write { key: resource.key(namespace, &name), change, guard }).await {
            Ok(written) => return Ok(resource.view(&written.entry)),
            // The namespace changed: look at it again.
            Err(WriteError::GuardChanged) => {}
            Err(error) => return Err(ApiError::from_write(error, resource.group_resource(), &name)),
        }
    }
}

async fn prepare_new(call: &Call<'_>, object: &mut Value, intent: &Intent, ownership: Ownership) -> Result<(), ApiError> {
    let resource = call.resource;
    object::give_birth(object, resource.generation, intent.now);
    if resource.has_status && resource.behaviour != Behaviour::Namespace {
        object::map(object).remove("status");
    }
    if let Some(schema) = &resource.schema {
        schema.prune(object);
        schema.default(object);
    }
    strategy::on_create(call.server, resource, object, intent.now);
    if ownership == Ownership::Record
        && let Some(schema) = &resource.schema
    {
        managed_fields::record_update(None, object, &intent.manager, &resource.api_version(), None, intent.now, schema);
    }
    validate(call, object, None).await
}

/// Schema, strategy and admission, in this order; the first to find something answers.
async fn validate(call: &Call<'_>, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let Call { server, resource, .. } = call;
    let mut errors = match &resource.schema {
        Some(schema) if schema.is_dear() => server.judges.validate(schema, new, old).await?,
        Some(schema) => schema.validate(new, old),
        None => Vec::new(),
    };
    errors.extend(strategy::validate(resource, new, old));
    if !errors.is_empty() {
        return Err(ApiError::invalid(resource.group_resource(), object::name(new), &errors));
    }
    let request = AdmissionRequest {
        group: &resource.group,
        version: &resource.version,
        kind: &resource.kind,
        object: new,
        old,
        user: &call.request.user.name,
    };
    let errors: Vec<FieldError> = server.options.admission.iter().filter_map(|admit| admit(&request).err()).flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(resource.group_resource(), object::name(new), &errors)) }
}

/// What became of an object.
#[derive(Debug)]
pub(super) enum Changed {
    /// It is now this.
    Stored(Value),
    /// Its last finalizer went, and it with it; this was its last state.
    Gone(Value),
}

impl Changed {
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Stored(value) | Self::Gone(value) => value,
        }
    }
}

/// A new object computed from an old one.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) value: Value,
    pub(super) ownership: Ownership,
}

/// Changes a stored object: computes it from its latest state, again whenever that moved meanwhile. None if there is no such object.
pub(super) async fn change(
    call: &Call<'_>,
    intent: &mut Intent,
    mut draft: impl FnMut(&mut Intent, &Entry, &Value) -> Result<Draft, ApiError>,
) -> Result<Option<Changed>, ApiError> {
    let Call { server, resource, namespace, name, .. } = call;
    let key = resource.key(namespace, name);
    for _ in 0..ATTEMPTS {
        let Some(entry) = server.store.get(&key) else { return Ok(None) };
        let old = resource.view(&entry);
        let mut new = draft(intent, &entry, &old)?;
        prepare_changed(call, &old, &mut new, intent).await?;
        let new = new.value;
        let ends = object::is_dying(&old) && !object::is_held(&new);
        if call.part == Part::Main && object::is_dying(&old) && object::finalizers(&old) == object::finalizers(&new) {
            intent.warn_of_end(resource, &old);
        }
        if intent.dry_run {
            return Ok(Some(if ends { Changed::Gone(new) } else { Changed::Stored(new) }));
        }
        let value = resource.unview(new);
        let change = if ends {
            Change::Delete { expected: entry.revision, last: value }
        } else {
            Change::Update { expected: entry.revision, value }
        };
        match server.commit(resource, Write { key: key.clone(), change, guard: None }).await {
            Ok(Written { entry, .. }) => {
                let value = resource.view(&entry);
                return Ok(Some(if ends { Changed::Gone(value) } else { Changed::Stored(value) }));
            }
            Err(WriteError::Conflict(_)) => {}
            Err(error) => return Err(ApiError::from_write(error, resource.group_resource(), name)),
        }
    }
    Err(ApiError::conflict(resource.group_resource(), name))
}

async fn prepare_changed(call: &Call<'_>, old: &Value, draft: &mut Draft, intent: &Intent) -> Result<(), ApiError> {
    let resource = call.resource;
    let new = &mut draft.value;
    check_foreign(resource, old, new)?;
    object::keep_identity(new, old);
    resource.name_kind(new);
    keep_other_parts(resource, call.part, old, new);
    if let Some(schema) = &resource.schema {
        schema.prune(new);
        schema.default(new);
    }
    strategy::on_update(call.server, resource, new, old, intent.now);
    check_finalizers(resource, old, new)?;
    if resource.generation && object::spec_differs(old, new) {
        object::bump_generation(new);
    }
    if draft.ownership == Ownership::Record
        && let Some(schema) = &resource.schema
    {
        let subresource = call.part.subresource();
        managed_fields::record_update(Some(old), new, &intent.manager, &resource.api_version(), subresource, intent.now, schema);
    }
    validate(call, new, Some(old)).await
}

/// A uid in a body names the object that is meant; another one is another object.
fn check_foreign(resource: &Resource, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (have, meant) = (object::uid(old), object::uid(new));
    if meant.is_empty() || meant == have {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {meant}, UID in object meta: {have}");
    Err(ApiError::conflict_because(resource.group_resource(), object::name(old), &why))
}

/// The main endpoint leaves the status alone, and `/status` everything else.
fn keep_other_parts(resource: &Resource, part: Part, old: &Value, new: &mut Value) {
    match part {
        Part::Status => {
            let mut kept = old.clone();
            object::copy_field(new, &mut kept, "status");
            if let Some(managed) = new.pointer("/metadata/managedFields") {
                object::metadata(&mut kept).insert("managedFields".to_owned(), managed.clone());
            }
            *new = kept;
        }
        Part::Finalize => {
            let mut kept = old.clone();
            let finalizers = new.pointer("/spec/finalizers").cloned().unwrap_or_default();
            object::set_at(&mut kept, "/spec/finalizers", finalizers);
            *new = kept;
        }
        Part::Main | Part::Scale | Part::Log => {
            if resource.has_status {
                object::copy_field(old, new, "status");
            }
            if resource.behaviour == Behaviour::Namespace {
                object::copy_field(old, new, "spec");
            }
        }
    }
}

/// Who dies gets no new reason to stay.
fn check_finalizers(resource: &Resource, old: &Value, new: &Value) -> Result<(), ApiError> {
    if !object::is_dying(old) {
        return Ok(());
    }
    let had = object::finalizers(old);
    let added: Vec<_> = object::finalizers(new)
        .into_iter()
        .filter(|finalizer| !had.contains(finalizer))
        .map(|finalizer| format!("{finalizer:?}"))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let found = added.join(", ");
    let message =
        format!("Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{found}}}");
    let error = FieldError { reason: Reason::Forbidden, message, field: "metadata.finalizers".to_owned() };
    Err(ApiError::invalid(resource.group_resource(), object::name(old), &[error]))
}

/// The server's own change of a stored object, without a request: no strategy, no managed fields. False if it is not there (any more) or if
/// `with` says that nothing is to be done.
pub(crate) async fn alter(server: &State, entry: &Entry, with: impl Fn(&mut Value) -> bool) -> Result<bool, WriteError> {
    let registry = server.registry();
    let Some(resource) = registry.stored(&entry.key.resource) else { return Ok(false) };
    for _ in 0..ATTEMPTS {
        let Some(entry) = server.store.get(&entry.key) else { return Ok(false) };
        let mut value = resource.view(&entry);
        if !with(&mut value) {
            return Ok(false);
        }
        let ends = object::is_dying(&value) && !object::is_held(&value);
        let value = resource.unview(value);
        let change = if ends {
            Change::Delete { expected: entry.revision, last: value }
        } else {
            Change::Update { expected: entry.revision, value }
        };
        match server.commit(resource, Write { key: entry.key.clone(), change, guard: None }).await {
            Err(WriteError::Conflict(_)) => {}
            other => return other.map(|_| true),
        }
    }
    Err(WriteError::Conflict(None))
}

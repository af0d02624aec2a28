//! `Status` errors: one constructor for each way in which a request is refused, with Kubernetes' exact words. Built by every part of the API server.
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    group_resource::GroupResource,
    patch::{ApplyError, Conflict, PatchError},
    schema::FieldError,
};
use mesh_store::{Expired, WriteError};

/// A refused request. Boxed inside: errors are rare, and results stay small.
#[derive(Debug, Clone)]
pub(crate) struct ApiError(Box<Refusal>);

#[derive(Debug, Clone)]
struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Map<String, Value>>,
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal { code, reason, message: message.into(), details: None }))
    }

    fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// Details that name the resource by its plural, as 403, 404 and 409 do.
    fn about(self, resource: GroupResource<'_>, name: &str) -> Self {
        self.about_kind(resource, name, resource.plural)
    }

    fn about_kind(self, resource: GroupResource<'_>, name: &str, kind: &str) -> Self {
        let this = if name.is_empty() { self } else { self.detail("name", name) };
        let this = if resource.group.is_empty() { this } else { this.detail("group", resource.group) };
        this.detail("kind", kind)
    }

    fn causes(self, causes: impl IntoIterator<Item = Value>) -> Self {
        self.detail("causes", causes.into_iter().collect::<Vec<_>>())
    }

    pub(crate) fn code(&self) -> StatusCode {
        self.0.code
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The `Status` object.
    pub(crate) fn to_value(&self) -> Value {
        let Refusal { code, reason, message, details } = &*self.0;
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code.as_u16()});
        if let (Some(details), Some(status)) = (details, status.as_object_mut()) {
            status.insert("details".to_owned(), Value::Object(details.clone()));
        }
        status
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// A write refused for a reason of its own, with the resource's full name in the message.
    pub(crate) fn forbidden_object(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        Self::forbidden(format!("{} \"{name}\" is forbidden: {why}", resource.qualified())).about(resource, name)
    }

    pub(crate) fn namespace_terminating(resource: GroupResource<'_>, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = json!({"reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"});
        Self::forbidden_object(resource, name, &why).causes([cause])
    }

    pub(crate) fn not_found(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    /// A path of a known group that nothing is served at.
    pub(crate) fn no_resource() -> Self {
        let mut this = Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        this.0.details = Some(Map::new());
        this
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut this = Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message);
        this.0.details = Some(Map::new());
        this
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn already_exists(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: GroupResource<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict_because(resource, name, why)
    }

    pub(crate) fn conflict_because(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    /// A failed precondition of a deletion names the Kind.
    pub(crate) fn precondition(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        Self::conflict_because(resource, name, why).detail("kind", resource.kind)
    }

    pub(crate) fn gone(expired: Expired) -> Self {
        Self::new(StatusCode::GONE, "Expired", expired.to_string())
    }

    /// A continue token whose revision is no longer kept.
    pub(crate) fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// A body of more than `limit` bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", format!("limit is {limit}"))
    }

    pub(crate) fn invalid(resource: GroupResource<'_>, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(resource.kind, resource.group, name, errors)
    }

    /// 422 for an options object or another kind than the resource's own.
    pub(crate) fn invalid_kind(kind: &str, group: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let all = if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes = errors.iter().map(|error| json!({"reason": error.reason.as_str(), "message": error.message, "field": error.field}));
        let this = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{qualified} \"{name}\" is invalid: {all}"));
        let this = if name.is_empty() { this } else { this.detail("name", name) };
        let this = if group.is_empty() { this } else { this.detail("group", group) };
        this.detail("kind", kind).causes(causes)
    }

    pub(crate) fn from_patch(error: &PatchError) -> Self {
        match error {
            PatchError::Rejected => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", error.to_string()),
            PatchError::Malformed(message) => Self::bad_request(message.clone()),
            PatchError::TooLarge(message) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message.clone()),
        }
    }

    pub(crate) fn from_apply(error: &ApplyError, options: impl FnOnce() -> Self) -> Self {
        match error {
            ApplyError::Conflict(conflicts) => {
                let causes = conflicts
                    .iter()
                    .map(|Conflict { message, field }| json!({"reason": Conflict::REASON, "message": message, "field": field}));
                Self::new(StatusCode::CONFLICT, "Conflict", error.to_string()).causes(causes)
            }
            ApplyError::ManagedFields | ApplyError::Version { .. } => Self::bad_request(error.to_string()),
            // 500 in Kubernetes, though it is the request that is wrong.
            ApplyError::Malformed { .. } => {
                let cause = json!({"reason": "FieldValueDuplicate", "message": error.to_string()});
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", error.to_string()).causes(std::iter::once(cause))
            }
            ApplyError::FieldManager => options(),
        }
    }

    pub(crate) fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).causes([cause]).detail("retryAfterSeconds", 1)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// A write that the store did not carry out, as the client is told.
    pub(crate) fn from_write(error: WriteError, resource: GroupResource<'_>, name: &str) -> Self {
        match error {
            WriteError::Exists(_) => Self::already_exists(resource, name),
            WriteError::Conflict(None) => Self::not_found(resource, name),
            WriteError::Conflict(Some(_)) | WriteError::GuardChanged => Self::conflict(resource, name),
            WriteError::Refused(why) => Self::unavailable(why),
        }
    }
}

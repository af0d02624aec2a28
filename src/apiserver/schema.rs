//! What a kind's objects look like: unknown fields, pruning, defaults and validation, all over `serde_json::Value`.
//!
//! Pure: no IO and no clock. The REST layer calls it in the API server's order: prune, default, validate.
//! A schema of a `CustomResourceDefinition` is read by [`structural`]; one of a built-in kind comes from k8s-openapi ([`builtin`]), completed
//! by what that crate leaves out ([`overlay`]). [`crate::patch`] and [`crate::managed_fields`] walk the same nodes.
use std::sync::{Arc, LazyLock};

use serde_json::Value;

mod builtin;
pub(crate) mod cost;
mod defaulting;
mod derived;
mod error;
mod format;
mod listing;
mod metadata;
mod names;
pub(crate) mod node;
mod overlay;
mod pruning;
mod rules;
mod structural;
mod validate;

pub(crate) use builtin::common_open_api;
pub use builtin::open_api as builtin_open_api;
pub use error::{FieldError, Reason};

use names::NameRule;
use node::{Arena, At, Id};
use rules::Rules;

/// The schema of one kind in one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema {
    inner: Arc<Inner>,
    status_subresource: bool,
}

#[derive(Debug)]
struct Inner {
    arena: Arena,
    /// What a CRD says of metadata.name besides the rules for all names.
    metadata: Option<Id>,
    rules: Option<Rules>,
    /// What they may cost.
    cost: u64,
    names: NameRule,
    /// The kind, if it is a built-in one.
    builtin: Option<&'static str>,
}

static OBJECT_META: LazyLock<Arena> = LazyLock::new(builtin::object_meta);

/// The one `ObjectMeta` of all kinds.
fn object_meta() -> At<'static> {
    OBJECT_META.root()
}

impl Schema {
    /// Reads the `openAPIV3Schema` of a `CustomResourceDefinition`, checks that it is structural and compiles its rules.
    ///
    /// # Errors
    /// Everything that is wrong with it; the fields are relative to the schema (`properties[spec].type`; empty for its root).
    pub fn from_open_api(schema: &Value) -> Result<Self, Vec<FieldError>> {
        let mut reader = structural::Reader::default();
        reader.read_root(schema);
        let (mut arena, mut errors) = (reader.arena, reader.errors);
        let metadata = structural::add_type_and_metadata(&mut arena);
        let (rules, broken) = rules::compile(schema, &structural::list_type);
        errors.extend(broken);
        if errors.is_empty() {
            errors.extend(defaulting::check_defaults(schema, &arena));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let inner = Inner { arena, metadata, rules, cost: cost::total(schema), names: NameRule::Subdomain, builtin: None };
        Ok(Self { inner: Arc::new(inner), status_subresource: false })
    }

    /// The schema of a built-in kind; the core group is the empty string.
    pub fn builtin(group: &str, version: &str, kind: &str) -> Option<Self> {
        builtin::schema(group, version, kind)
    }

    /// Says whether the kind's status is a subresource: then the main endpoint owns none of it. Built-in kinds know it of themselves.
    #[must_use]
    pub fn with_status_subresource(self, status_subresource: bool) -> Self {
        Self { status_subresource, ..self }
    }

    /// See [`Schema::with_status_subresource`].
    pub fn has_status_subresource(&self) -> bool {
        self.status_subresource
    }

    /// The paths of the fields that the schema does not know, in order: `spec.zz`, `spec.parts[0].q`.
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        pruning::unknown(self.root(), object, "", &mut found);
        found
    }

    /// Removes what [`Schema::unknown_fields`] names.
    pub fn prune(&self, object: &mut Value) {
        pruning::prune(self.root(), object);
    }

    /// Fills in the defaults, and what the API derives from other fields (a Secret's `stringData`, a Service's `targetPort`).
    pub fn default(&self, object: &mut Value) {
        // Metadata is a Go type in every kind: null is nothing.
        if let Some(metadata) = object.get_mut("metadata") {
            defaulting::drop_nulls(object_meta(), metadata);
        }
        if self.inner.builtin.is_some() {
            defaulting::drop_nulls(self.root(), object);
        }
        defaulting::fill(self.root(), object);
        if let Some(kind) = self.inner.builtin {
            derived::complete(kind, object);
        }
    }

    /// What is wrong with `new`, metadata first; `old` (of an update) is for transition rules and for ratcheting: what did not change is
    /// not held against it. An error that Kubernetes takes for blocking keeps the rules from being checked; that this is so (`<nil>: Invalid value: null:
    /// some validation rules were not checked …` there) is not said: nobody can act on it.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        self.validate_while(new, old, &|| true)
    }

    /// Whether its rules can take long: then they are not checked where others wait.
    pub fn is_dear(&self) -> bool {
        /// About ten milliseconds.
        const DEAR: u64 = 50_000;
        self.inner.cost > DEAR
    }

    /// The same, for as long as `go_on` says so: it is asked before each rule, and what was not checked by then is an error.
    pub fn validate_while(&self, new: &Value, old: Option<&Value>, go_on: &dyn Fn() -> bool) -> Vec<FieldError> {
        let mut errors = metadata::check(new.get("metadata"), self.inner.names, "metadata");
        validate::check(self.root(), new, old, "", &mut errors);
        if let (Some(id), Some(value)) = (self.inner.metadata, new.get("metadata")) {
            validate::check(self.inner.arena.at(id), value, None, "metadata", &mut errors);
        }
        metadata::check_embedded(self.root(), new, "", &mut errors);
        errors.extend(self.check_lists(new, old));
        if let Some(kind) = self.inner.builtin {
            errors.extend(derived::check(kind, new, old));
        }
        match &self.inner.rules {
            Some(rules) if !errors.iter().any(|error| error.reason.blocks_rules()) => rules.check(new, old, "", go_on, &mut errors),
            Some(_) | None => {}
        }
        errors
    }

    /// Lists that held duplicates already may go on doing so.
    fn check_lists(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let duplicates = |object: &Value| {
            let mut errors = Vec::new();
            listing::duplicates(self.root(), object, "", &mut errors);
            errors
        };
        match old {
            Some(old) if !duplicates(old).is_empty() => Vec::new(),
            _ => duplicates(new),
        }
    }

    /// Where walks over an object begin.
    pub(crate) fn root(&self) -> At<'_> {
        self.inner.arena.root()
    }
}

#[cfg(test)]
mod tests;

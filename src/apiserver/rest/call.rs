//! What a handler is given: a request, with the resource and the object that its path names.
use std::sync::Arc;

use crate::{registry::Resource, request::Request, state::State, status::ApiError};

/// A request to a resource.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) server: &'a Arc<State>,
    pub(super) request: &'a Request,
    pub(super) resource: &'a Arc<Resource>,
    /// Empty for cluster scope, and for a namespaced resource across all namespaces.
    pub(super) namespace: &'a str,
    /// Empty for the collection.
    pub(super) name: &'a str,
    pub(super) part: Part,
}

impl Call<'_> {
    /// Whether what is read at a revision is as new as what was asked for.
    pub(super) fn at_least(&self, asked: u64, current: u64) -> Result<(), ApiError> {
        self.server.store.check(asked).map_err(ApiError::gone)?;
        if asked > current { Err(ApiError::too_large_revision(asked, current)) } else { Ok(()) }
    }
}

/// Which part of an object a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The object, but for its status where that is a subresource.
    Main,
    /// The status only.
    Status,
    /// `autoscaling/v1 Scale`.
    Scale,
    /// A namespace's `finalize`.
    Finalize,
    /// The output of a `MeshInstance`.
    Log,
}

impl Part {
    /// The name in `managedFields`.
    pub(super) fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Main | Self::Finalize | Self::Log => None,
            Self::Status => Some("status"),
            Self::Scale => Some("scale"),
        }
    }
}

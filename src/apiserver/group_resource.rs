//! What a resource is called, whatever its version: as errors name it.

/// Kubernetes' `GroupResource`, with the kind beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupResource<'a> {
    /// Empty for the core group.
    pub(crate) group: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) kind: &'a str,
}

impl GroupResource<'_> {
    /// `widgets.judge.example`, `configmaps`
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

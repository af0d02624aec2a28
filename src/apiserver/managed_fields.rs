//! `metadata.managedFields`: who owns which field. Create and update record it here; apply lives in [`crate::apiserver::patch`].
use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::schema::Schema;

/// Records a create (`old` is none), an update or a non-apply patch by `manager` in `new.metadata.managedFields`.
///
/// Call it on the final object, defaulted and pruned. A client's own `managedFields` in `new` win over the old ones; an empty list or `[{}]` resets them.
/// `api_version` is the endpoint's `group/version`.
pub fn record_update(
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    api_version: &str,
    subresource: Option<&str>,
    now: Timestamp,
    schema: &Schema,
) {
    let _ = (old, new, manager, api_version, subresource, now, schema);
}

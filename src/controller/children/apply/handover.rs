//! Lets go of the number of replicas without losing it. Server-side apply removes a field that its only owner leaves out (then one replica would be left); so before an
//! autoscaler's Deployment is applied without it, a second field manager takes the live number over (Kubernetes' own advice, "Transferring ownership").
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{
    super::{
        Live, Rendered,
        drift::{Path, Step},
        owners,
    },
    Settling,
};
use mesh_api::labels;

/// Does that, if it has to be done.
pub(super) async fn before<K: Resource<DynamicType = ()>>(
    settling: &Settling<'_, K>,
    wanted: &Rendered,
    live: Option<&Live>,
) -> Result<(), kube::Error> {
    let replicas = |object: &Value| object.pointer("/spec/replicas").filter(|value| !value.is_null()).cloned();
    let is_left_out = settling.child.resource.kind == "Deployment" && replicas(&wanted.body).is_none();
    if !is_left_out || live.is_none_or(|live| replicas(&live.object).is_none()) {
        return Ok(());
    }
    let Some(found) = settling.api.get_opt(&settling.child.name).await? else { return Ok(()) };
    let path = Path(["spec", "replicas"].map(|name| Step::Field(name.to_owned())).to_vec());
    if !owners::only_ours(found.managed_fields(), &path) {
        return Ok(());
    }
    let Some(number) = found.data.pointer("/spec/replicas").cloned() else { return Ok(()) };
    let body = json!({
        "apiVersion": settling.child.resource.api_version, "kind": settling.child.resource.kind,
        // Of this version only: a number that has changed meanwhile is another's decision.
        "metadata": { "name": settling.child.name, "resourceVersion": found.resource_version() },
        "spec": { "replicas": number },
    });
    settling.patch(labels::HANDOVER_MANAGER, body, live).await.map(drop)
}

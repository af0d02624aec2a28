//! Carries a plan out: the finalizer, the revision object, instances made, changed and ended. Decides nothing.
use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::apps::v1::ControllerRevision,
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{Context, dereference::World};
use crate::{Error, api, notes::Note, writes};
use mesh_api::{MeshInstance, MeshInstanceSpec, MeshService, labels, names, node::BackendKind};
use mesh_plan::{
    history,
    rollout::Plan,
    template::{Revision, fixed_port, serves},
};

/// How many instances are made or deleted at the same time.
const WRITES_AT_ONCE: usize = 32;

/// Does what the plan says.
pub(super) async fn apply(context: &Context, service: &MeshService, revision: &Revision, plan: &Plan, world: &World) -> Result<(), Error> {
    set_finalizer(&context.client, service, true).await?;
    let instances: Api<MeshInstance> = Api::namespaced(context.client.clone(), &service.namespace().unwrap_or_default());
    if !plan.create.is_empty() {
        keep_revision(context, service, revision, world).await?;
    }
    drop_revisions(context, service, revision, world).await?;
    update(context, &instances, service, world).await?;
    adopt_revisions(context, service, world).await?;
    let (mut placed, mut new) = (Vec::new(), Vec::new());
    for ordinal in &plan.create {
        let Some(node) = world.node_for_next(&placed).cloned() else { break };
        new.push(instance(service, revision, *ordinal, node.clone(), world.nodes.backend()));
        placed.push(node);
    }
    // Writes that are under way together share a commit of the store.
    stream::iter(&new).map(Ok).try_for_each_concurrent(WRITES_AT_ONCE, |instance| write(&instances, instance)).await?;
    if let (Some(first), Some(last)) = (plan.create.first(), plan.create.last()) {
        let message = format!("created {} of revision {}: {first} to {last}", plan.create.len(), revision.name);
        context.notes.publish(service, Note::normal("InstancesCreated", message));
    }
    delete(context, service, &instances, &plan.delete).await
}

/// How far the end of a service has come.
pub(super) enum End {
    /// Instances of it are still there.
    Waiting,
    /// Nothing of it is left, and it has been let go.
    Released,
}

/// A service that is deleted: ends its instances, and lets it go when the last one is gone. Those that are to outlive it
/// (`--cascade=orphan`) lose their owner by the garbage collector, and are left alone.
pub(super) async fn end(context: &Context, service: &MeshService, world: &World) -> Result<End, Error> {
    if service.finalizers().iter().any(|name| name == "orphan") {
        return Ok(End::Waiting);
    }
    let instances: Api<MeshInstance> = Api::namespaced(context.client.clone(), &service.namespace().unwrap_or_default());
    let own: Vec<&MeshInstance> = world.instances.iter().filter(|instance| is_owned(instance, service)).collect();
    let living = own.iter().filter(|instance| instance.metadata.deletion_timestamp.is_none());
    let names: Vec<String> = living.map(|instance| instance.name_any()).collect();
    delete(context, service, &instances, &names).await?;
    if own.is_empty() {
        set_finalizer(&context.client, service, false).await?;
        return Ok(End::Released);
    }
    Ok(End::Waiting)
}

fn is_owned(instance: &MeshInstance, by: &MeshService) -> bool {
    instance.owner_references().iter().any(|owner| Some(&owner.uid) == by.metadata.uid.as_ref())
}

async fn delete(context: &Context, service: &MeshService, instances: &Api<MeshInstance>, names: &[String]) -> Result<(), Error> {
    let params = DeleteParams::background();
    let delete = async |name: &String| writes::delete(instances, name, &params, "delete MeshInstance").await;
    stream::iter(names).map(Ok).try_for_each_concurrent(WRITES_AT_ONCE, delete).await?;
    if !names.is_empty() {
        context.notes.publish(service, Note::normal("InstancesDeleted", format!("ending {}", names.join(", "))));
    }
    Ok(())
}

/// Brings the fields that may change in a running instance up to date, and takes up those that an earlier service of the name has left.
async fn update(context: &Context, instances: &Api<MeshInstance>, service: &MeshService, world: &World) -> Result<(), Error> {
    for found in &world.instances {
        let spec = MeshInstanceSpec {
            port: fixed_port(&service.spec, world.nodes.backend()),
            drain_timeout: service.spec.drain.timeout,
            logs: service.spec.logs.clone(),
            ..found.spec.clone()
        };
        let is_left = found.owner_references().is_empty();
        if found.metadata.deletion_timestamp.is_some() || (is_left && !still_lives(context, service).await?) {
            continue;
        }
        if spec != found.spec || is_left {
            let mut instance = owned(service, &found.spec.revision, found.spec.ordinal, spec);
            instance.metadata.uid = found.uid();
            write(instances, &instance).await?;
        }
    }
    Ok(())
}

/// Asks the API itself: a service that has just been deleted must not take its orphans back.
async fn still_lives(context: &Context, service: &MeshService) -> Result<bool, Error> {
    let services: Api<MeshService> = Api::namespaced(context.client.clone(), &service.namespace().unwrap_or_default());
    let found = services.get_metadata_opt(&service.name_any()).await.map_err(api("read MeshService"))?;
    Ok(found.is_some_and(|found| found.metadata.uid == service.metadata.uid && found.metadata.deletion_timestamp.is_none()))
}

async fn write(instances: &Api<MeshInstance>, instance: &MeshInstance) -> Result<(), Error> {
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    instances.patch(&instance.name_any(), &params, &Patch::Apply(instance)).await.map_err(api("apply MeshInstance"))?;
    Ok(())
}

fn instance(service: &MeshService, revision: &Revision, ordinal: u32, node: String, backend: BackendKind) -> MeshInstance {
    let spec = MeshInstanceSpec {
        service: service.name_any(),
        revision: revision.name.clone(),
        ordinal,
        node_name: node,
        serves: serves(&service.spec),
        port: fixed_port(&service.spec, backend),
        drain_timeout: service.spec.drain.timeout,
        logs: service.spec.logs.clone(),
        template: revision.template.clone(),
        run: None,
    };
    owned(service, &revision.name, ordinal, spec)
}

fn owned(service: &MeshService, revision: &str, ordinal: u32, spec: MeshInstanceSpec) -> MeshInstance {
    let mut instance = MeshInstance::new(&names::instance(&service.name_any(), revision, ordinal), spec);
    instance.metadata.namespace = service.namespace();
    instance.metadata.labels = Some(child_labels(service, revision));
    instance.metadata.finalizers = Some(vec![labels::DRAIN_FINALIZER.to_owned()]);
    instance.metadata.owner_references = service.controller_owner_ref(&()).map(|owner| vec![owner]);
    instance
}

fn child_labels(service: &MeshService, revision: &str) -> BTreeMap<String, String> {
    let own = [
        (labels::SERVICE, service.name_any()),
        (labels::REVISION, revision.to_owned()),
        (labels::APP_NAME, service.name_any()),
        (labels::APP_MANAGED_BY, labels::MANAGER.to_owned()),
    ];
    let part_of = service.labels().get(labels::APP_PART_OF).map(|value| (labels::APP_PART_OF, value.clone()));
    own.into_iter().chain(part_of).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Keeps the template under its revision's name, as the newest one.
async fn keep_revision(context: &Context, service: &MeshService, revision: &Revision, world: &World) -> Result<(), Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &service.namespace().unwrap_or_default());
    let name = names::controller_revision(&service.name_any(), &revision.name);
    let Some(number) = history::number(&name, &world.revisions) else { return Ok(()) };
    let object = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(child_labels(service, &revision.name)),
            owner_references: service.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: RawExtension(json!({ "spec": { "template": revision.template } })),
        revision: Some(number),
    };
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    revisions.patch(&name, &params, &Patch::Apply(&object)).await.map_err(api("apply ControllerRevision"))?;
    Ok(())
}

/// Drops the oldest of those that nothing runs any more, beyond as many as the spec keeps.
async fn drop_revisions(context: &Context, service: &MeshService, revision: &Revision, world: &World) -> Result<(), Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &service.namespace().unwrap_or_default());
    let used: BTreeSet<&str> =
        world.instances.iter().map(|instance| instance.spec.revision.as_str()).chain([revision.name.as_str()]).collect();
    let limit = usize::try_from(service.spec.rollout.revision_history_limit).unwrap_or(0);
    for old in history::surplus(&world.revisions, &used, limit) {
        writes::delete(&revisions, &old.name_any(), &DeleteParams::default(), "delete ControllerRevision").await?;
    }
    Ok(())
}

/// Takes up the revisions that an earlier service of the name has left, so that they go with this one.
async fn adopt_revisions(context: &Context, service: &MeshService, world: &World) -> Result<(), Error> {
    let left: Vec<_> = world.revisions.iter().filter(|known| known.owner_references().is_empty()).collect();
    if left.is_empty() || !still_lives(context, service).await? {
        return Ok(());
    }
    let revisions: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &service.namespace().unwrap_or_default());
    let owners: Vec<_> = service.controller_owner_ref(&()).into_iter().collect();
    for known in left {
        let patch = json!({ "metadata": { "ownerReferences": owners, "uid": known.uid() } });
        let patched = revisions.patch_metadata(&known.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.map_err(api("take up ControllerRevision"))?;
    }
    Ok(())
}

/// Puts our finalizer on the service, or takes it away.
pub(crate) async fn set_finalizer(client: &Client, service: &MeshService, wanted: bool) -> Result<(), Error> {
    let has = service.finalizers().iter().any(|name| name == labels::DRAIN_FINALIZER);
    if has == wanted {
        return Ok(());
    }
    let mut finalizers: Vec<&str> =
        service.finalizers().iter().map(String::as_str).filter(|name| *name != labels::DRAIN_FINALIZER).collect();
    if wanted {
        finalizers.push(labels::DRAIN_FINALIZER);
    }
    // The resourceVersion makes sure that nobody else's finalizer is lost.
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": service.resource_version() } });
    let services: Api<MeshService> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    match services.patch_metadata(&service.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 && !wanted => Ok(()),
        result => result.map(drop).map_err(api("patch the finalizer of MeshService")),
    }
}

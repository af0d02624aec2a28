//! Names, labels and owners of what a service or a task is made of.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{Resource, ResourceExt};

use mesh_api::{MeshService, MeshTask, labels};

pub(super) type Labels = BTreeMap<String, String>;

/// What finds the pods of a service. A Deployment's selector can never change, so nothing that may change is in it.
pub(super) fn selected(service: &MeshService) -> Labels {
    [(labels::SERVICE.to_owned(), service.name_any())].into()
}

/// The same as a selector.
pub(super) fn selector(service: &MeshService) -> LabelSelector {
    LabelSelector { match_labels: Some(selected(service)), match_expressions: None }
}

/// The labels of everything but the headless Service.
pub(super) fn labels(service: &MeshService) -> Labels {
    let managed = (labels::APP_MANAGED_BY.to_owned(), labels::MANAGER.to_owned());
    application(service).into_iter().chain(selected(service)).chain([managed]).collect()
}

/// The labels by which nobody but people looks for it.
pub(super) fn application(service: &MeshService) -> Labels {
    let name = service.name_any();
    let part_of = service.labels().get(labels::APP_PART_OF).cloned();
    let own = [(labels::APP_NAME, Some(name.clone())), (labels::APP_INSTANCE, Some(name)), (labels::APP_PART_OF, part_of)];
    own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The labels of a task's `CronJob`, of its Jobs and of their pods.
pub(super) fn of_task(task: &MeshTask) -> Labels {
    let name = task.name_any();
    let part_of = task.labels().get(labels::APP_PART_OF).cloned();
    let own = [(labels::TASK, name.clone()), (labels::APP_NAME, name), (labels::APP_MANAGED_BY, labels::MANAGER.to_owned())];
    own.into_iter().chain(part_of.map(|app| (labels::APP_PART_OF, app))).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// An object of this name that goes with its owner.
pub(super) fn meta(owner: &impl Resource<DynamicType = ()>, name: String, labels: Labels) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: owner.namespace(),
        labels: Some(labels),
        // What is from a file has no uid yet, and owns nothing.
        owner_references: owner.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

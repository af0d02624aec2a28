//! The table of built-in resources.
use super::resource::{Behaviour, Resource};
use crate::{schema::Schema, table::Columns};

/// A row: what differs between built-in kinds.
#[derive(Clone, Copy)]
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    has_status: bool,
    generation: bool,
    selectable: &'static [(&'static str, &'static str)],
    behaviour: Behaviour,
}

const fn row(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str, singular: &'static str) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: true,
        has_status: false,
        generation: false,
        selectable: &[],
        behaviour: Behaviour::Plain,
    }
}

const fn cluster(row: Row) -> Row {
    Row { namespaced: false, ..row }
}

/// Field selectors of an Event: each name that either of its two groups has, and where the value stands in the stored (core) shape.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.namespace", "/involvedObject/namespace"),
    ("involvedObject.name", "/involvedObject/name"),
    ("involvedObject.uid", "/involvedObject/uid"),
    ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
    ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
    ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
    ("regarding.kind", "/involvedObject/kind"),
    ("regarding.namespace", "/involvedObject/namespace"),
    ("regarding.name", "/involvedObject/name"),
    ("regarding.uid", "/involvedObject/uid"),
    ("regarding.apiVersion", "/involvedObject/apiVersion"),
    ("regarding.resourceVersion", "/involvedObject/resourceVersion"),
    ("regarding.fieldPath", "/involvedObject/fieldPath"),
    ("reason", "/reason"),
    ("type", "/type"),
    ("source", "/source/component"),
    ("reportingComponent", "/reportingComponent"),
    ("reportingController", "/reportingComponent"),
];

const POD_FIELDS: &[(&str, &str)] = &[
    ("spec.nodeName", "/spec/nodeName"),
    ("spec.restartPolicy", "/spec/restartPolicy"),
    ("spec.schedulerName", "/spec/schedulerName"),
    ("spec.serviceAccountName", "/spec/serviceAccountName"),
    ("status.phase", "/status/phase"),
    ("status.podIP", "/status/podIP"),
];

const ROWS: &[Row] = &[
    Row {
        short_names: &["ns"],
        has_status: true,
        selectable: &[("status.phase", "/status/phase"), ("name", "/metadata/name")],
        behaviour: Behaviour::Namespace,
        ..cluster(row("", "v1", "Namespace", "namespaces", "namespace"))
    },
    Row { short_names: &["cm"], ..row("", "v1", "ConfigMap", "configmaps", "configmap") },
    Row { selectable: &[("type", "/type")], ..row("", "v1", "Secret", "secrets", "secret") },
    Row {
        short_names: &["svc"],
        categories: &["all"],
        has_status: true,
        selectable: &[("spec.clusterIP", "/spec/clusterIP"), ("spec.type", "/spec/type")],
        ..row("", "v1", "Service", "services", "service")
    },
    Row { short_names: &["sa"], ..row("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount") },
    Row { short_names: &["ev"], selectable: EVENT_FIELDS, ..row("", "v1", "Event", "events", "event") },
    Row {
        behaviour: Behaviour::Empty,
        short_names: &["no"],
        selectable: &[("spec.unschedulable", "/spec/unschedulable")],
        ..cluster(row("", "v1", "Node", "nodes", "node"))
    },
    Row { behaviour: Behaviour::Empty, short_names: &["po"], selectable: POD_FIELDS, ..row("", "v1", "Pod", "pods", "pod") },
    Row { behaviour: Behaviour::Empty, short_names: &["quota"], ..row("", "v1", "ResourceQuota", "resourcequotas", "resourcequota") },
    Row { behaviour: Behaviour::Empty, short_names: &["limits"], ..row("", "v1", "LimitRange", "limitranges", "limitrange") },
    Row {
        short_names: &["ev"],
        selectable: EVENT_FIELDS,
        behaviour: Behaviour::EventsV1,
        ..row("events.k8s.io", "v1", "Event", "events", "event")
    },
    Row { generation: true, ..row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice") },
    row("coordination.k8s.io", "v1", "Lease", "leases", "lease"),
    row("apps", "v1", "ControllerRevision", "controllerrevisions", "controllerrevision"),
    Row {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        has_status: true,
        generation: true,
        behaviour: Behaviour::Definition,
        ..cluster(row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "customresourcedefinition"))
    },
    Row {
        behaviour: Behaviour::Review,
        ..cluster(row("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview"))
    },
    Row {
        behaviour: Behaviour::Review,
        ..cluster(row("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"))
    },
    Row {
        behaviour: Behaviour::Review,
        ..cluster(row("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview"))
    },
];

/// Whether some built-in resource is of this group.
pub(crate) fn is_built_in_group(group: &str) -> bool {
    ROWS.iter().any(|row| row.group == group)
}

/// The rows as resources.
pub(super) fn resources() -> Vec<Resource> {
    ROWS.iter().map(resource).collect()
}

fn resource(row: &Row) -> Resource {
    let Row { group, version, kind, plural, singular, short_names, categories, namespaced, has_status, generation, selectable, behaviour } =
        row;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    // Both groups' events are one stored object.
    let stored_group = if *behaviour == Behaviour::EventsV1 { "" } else { group };
    let storage = if stored_group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{stored_group}") };
    Resource {
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        kind: (*kind).to_owned(),
        list_kind: format!("{kind}List"),
        plural: (*plural).to_owned(),
        singular: (*singular).to_owned(),
        short_names: owned(short_names),
        categories: owned(categories),
        namespaced: *namespaced,
        has_status: *has_status,
        scale: None,
        selectable: selectable.iter().map(|(label, pointer)| ((*label).to_owned(), (*pointer).to_owned())).collect(),
        columns: Columns::builtin(group, kind),
        schema: Schema::builtin(group, version, kind),
        generation: *generation,
        behaviour: *behaviour,
        storage: storage.into(),
        convert: *behaviour == Behaviour::EventsV1,
        revision: 0,
        definition: None,
        terminating: false,
    }
}

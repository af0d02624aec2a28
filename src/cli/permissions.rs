//! What the controller, the routers and the agents may do in a cluster: one list, as data. The controller asks for its own at start, and the manifests in `charts/` and `deploy/`
//! grant these and no others (`tests/packaging/charts.rs`).

/// Where a permission holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In all namespaces.
    Cluster,
    /// In the system namespace.
    System,
}

/// What may be done with one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// Where.
    pub scope: Scope,
    /// The API group; empty for the core one.
    pub group: &'static str,
    /// The resource, with its subresource: `meshservices/status`.
    pub resource: &'static str,
    /// Only the objects of these names, if there are any.
    pub names: &'static [&'static str],
    /// `get`, `list`, …
    pub verbs: &'static [&'static str],
}

/// The verbs of server-side apply, and what it takes to keep a view of the objects.
const OWNED: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
const WATCHED: &[&str] = &["list", "watch"];
const MESH: &str = mesh_api::GROUP;

const fn cluster(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Permission {
    Permission { scope: Scope::Cluster, group, resource, names: &[], verbs }
}

const fn system(group: &'static str, resource: &'static str, names: &'static [&'static str], verbs: &'static [&'static str]) -> Permission {
    Permission { scope: Scope::System, group, resource, names, verbs }
}

/// What the controller does.
pub const CONTROLLER: &[Permission] = &[
    // The patch takes away the finalizer of a service that comes from a VM.
    cluster(MESH, "meshservices", &["get", "list", "watch", "patch"]),
    cluster(MESH, "meshservices/status", &["patch"]),
    // Asked for where an owner reference blocks its owner's deletion (OwnerReferencesPermissionEnforcement).
    cluster(MESH, "meshservices/finalizers", &["update"]),
    cluster(MESH, "meshtasks", &["get", "list", "watch"]),
    cluster(MESH, "meshtasks/status", &["patch"]),
    cluster(MESH, "meshtasks/finalizers", &["update"]),
    cluster("batch", "cronjobs", OWNED),
    cluster("batch", "jobs", &["get", "list", "watch", "create", "delete"]),
    cluster("apps", "deployments", &["get", "list", "watch", "create", "patch"]),
    cluster("", "services", OWNED),
    cluster("", "serviceaccounts", OWNED),
    cluster("policy", "poddisruptionbudgets", OWNED),
    cluster("", "pods", WATCHED),
    cluster("discovery.k8s.io", "endpointslices", WATCHED),
    cluster("autoscaling", "horizontalpodautoscalers", WATCHED),
    cluster("events.k8s.io", "events", &["create", "patch"]),
    // Creating cannot be limited to a name: it stands in the body.
    system("coordination.k8s.io", "leases", &[], &["create"]),
    system("coordination.k8s.io", "leases", &["mesh-controller"], &["get", "update"]),
    system("", "secrets", &[], &["create"]),
    system("", "secrets", &["mesh-router-cookie-keys"], &["get"]),
    system(MESH, "meshrouters", &[], &["create"]),
    system(MESH, "meshrouters", &["default"], &["get"]),
];

/// What a router does. Its Lease and that of its peers have the Pods' names.
pub const ROUTER: &[Permission] = &[
    cluster(MESH, "meshservices", WATCHED),
    cluster("discovery.k8s.io", "endpointslices", WATCHED),
    cluster("", "pods", &["get"]),
    cluster("", "nodes", WATCHED),
    system(MESH, "meshrouters", &[], WATCHED),
    system("", "secrets", &["mesh-router-cookie-keys"], WATCHED),
    system("coordination.k8s.io", "leases", &[], &["list", "create", "patch", "delete"]),
];

/// What an agent does: for whoever asks, in whatever namespace that is. The Secret is the key that all agents sign with.
pub const AGENT: &[Permission] = &[
    cluster("authentication.k8s.io", "tokenreviews", &["create"]),
    cluster("", "pods", WATCHED),
    cluster("coordination.k8s.io", "leases", OWNED),
    system("", "secrets", &[], &["create"]),
    system("", "secrets", &["mesh-agent-key"], &["get"]),
];

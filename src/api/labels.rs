//! Labels, annotations, finalizers and field managers that this project puts on objects.

/// The MeshService that an instance or a slice belongs to. As an annotation, on the pod of a task's run: in whose place it runs.
pub const SERVICE: &str = "mesh-controller.dev/service";
/// The MeshTask that an instance is a run of.
pub const TASK: &str = "mesh-controller.dev/task";
/// On a Job: the service of which a new revision waits for it.
pub const BEFORE: &str = "mesh-controller.dev/before";
/// On a container: the instance it is of.
pub const INSTANCE: &str = "mesh-controller.dev/instance";
/// On a container: the namespace of its instance.
pub const NAMESPACE: &str = "mesh-controller.dev/namespace";
/// On a container: the uid of its instance.
pub const UID: &str = "mesh-controller.dev/uid";
/// On a container: which start of its instance it is.
pub const ATTEMPT: &str = "mesh-controller.dev/attempt";
/// On what is made in an engine: the controller that made it.
pub const CONTROLLER: &str = "mesh-controller.dev/controller";
/// On what an engine holds: the machine's name and the path of the state directory of the controller that made it, by which it is known to be gone.
pub const STATE_DIR: &str = "mesh-controller.dev/state-dir";
/// On a container that systemd runs: its unit (Podman's own label).
pub const SYSTEMD_UNIT: &str = "PODMAN_SYSTEMD_UNIT";
/// The revision of an instance.
pub const REVISION: &str = "mesh-controller.dev/revision";
/// The recommended labels of Kubernetes.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// The one use of an application: the service's name.
pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
/// What part of an application something is: `headless` on the headless Service, which is found by it and its owner only.
pub const APP_COMPONENT: &str = "app.kubernetes.io/component";
/// `mesh-controller`, on everything that the controllers make.
pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The application a service is part of; copied from the `MeshService`.
pub const APP_PART_OF: &str = "app.kubernetes.io/part-of";
/// On what is made in a cluster: a hash of what the controller last wrote, by which it sees that it has to write anew.
pub const RENDERED: &str = "mesh-controller.dev/rendered";
/// The value of [`APP_MANAGED_BY`].
pub const MANAGER: &str = "mesh-controller";

/// On an `EndpointSlice`: the service it belongs to (Kubernetes' own label).
pub const SLICE_SERVICE: &str = "kubernetes.io/service-name";
/// On an `EndpointSlice`: who writes it (Kubernetes' own label).
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`SLICE_MANAGED_BY`] for slices made here.
pub const SLICE_MANAGER: &str = "mesh-controller.dev";
/// On an `EndpointSlice`: the time of the write (RFC 3339 with microseconds), from which routers measure how late they learn of it.
pub const SLICE_WRITTEN: &str = "mesh-controller.dev/written";

/// Asks for new instances of the same spec: a changed value is a new revision (as `kubectl rollout restart` does).
pub const RESTARTED_AT: &str = "mesh-controller.dev/restarted-at";

/// Holds an instance's object until its process has been drained and has ended.
pub const DRAIN_FINALIZER: &str = "mesh-controller.dev/drain";

/// Field manager of the controllers' writes.
pub const FIELD_MANAGER: &str = "mesh-controller";
/// Field manager of the controllers' status writes.
pub const STATUS_MANAGER: &str = "mesh-controller-status";
/// Field manager that keeps a field's value while it passes from the controllers to another owner, such as a `HorizontalPodAutoscaler`.
pub const HANDOVER_MANAGER: &str = "mesh-controller-handover";

/// The namespace of what belongs to the mesh itself: the default router, cookie keys, leases.
pub const SYSTEM_NAMESPACE: &str = "mesh-system";
/// The name of the router object that is made by default, in [`SYSTEM_NAMESPACE`].
pub const DEFAULT_ROUTER: &str = "default";
/// The label on the Lease of a router process; the label's value is the `MeshRouter`'s name.
pub const ROUTER_LEASE: &str = "mesh-controller.dev/router";
/// On the Lease of a router process: `ip:port` where it is asked whether it has let a pod go.
pub const DRAIN_ADDRESS: &str = "mesh-controller.dev/drain-address";
/// On an `EndpointSlice` of a cluster: when the pod changed that it was written for (Kubernetes' own annotation).
pub const SLICE_TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// On the Lease of a lock or leader of programs: `lock` or `leader`.
pub const LOCK: &str = "mesh-controller.dev/lock";
/// On such a Lease: what programs call it.
pub const LOCK_KEY: &str = "mesh-controller.dev/lock-key";
/// On such a Lease: the fence of the acquisition, once it was renewed; before that it is the Lease's own revision.
pub const LOCK_FENCE: &str = "mesh-controller.dev/lock-fence";
/// On such a Lease: what the holder said about it, as JSON.
pub const LOCK_METADATA: &str = "mesh-controller.dev/lock-metadata";
/// On such a Lease: the node of the agent whose instance holds it.
pub const LOCK_AGENT: &str = "mesh-controller.dev/lock-agent";
/// On such a Lease: the ticket of the one who asked.
pub const LOCK_TICKET: &str = "mesh-controller.dev/lock-ticket";
/// On a `MeshNode`: the Redis that keeps the locks of its instances; without it, Leases do.
pub const COORDINATION: &str = "mesh-controller.dev/coordination";

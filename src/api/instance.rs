//! `MeshInstance`: one running copy of a service, as a Pod is in Kubernetes.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    container::{ImagePullPolicy, LocalObjectReference, PodmanOptions, ResourceRequirements, SecurityContext, Volume, VolumeMount},
    duration::Duration,
    env::{EnvFromSource, EnvVar},
    http::HttpTask,
    probe::{PortNumber, Probe},
    service::Logs,
};

/// One running copy of a service, or one run of a task. Made and changed by the controllers only.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mesh-controller.dev",
    version = "v1alpha1",
    kind = "MeshInstance",
    plural = "meshinstances",
    singular = "meshinstance",
    shortname = "mi",
    category = "all",
    category = "mesh",
    namespaced,
    status = "MeshInstanceStatus",
    derive = "PartialEq",
    doc = "A MeshInstance is one running copy of a MeshService, or one run of a MeshTask. The controllers make it; deleting it drains and ends it, and a new copy of the service takes its place.",
    selectable = ".spec.nodeName",
    selectable = ".spec.service",
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restartCount"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.nodeName", priority = 1),
    printcolumn(name = "Pid", type_ = "integer", json_path = ".status.pid", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct MeshInstanceSpec {
    /// The `MeshService` it is a copy of. Of a run of a task: the service whose command it is, or the task.
    pub service: String,
    /// The revision of the service's template.
    pub revision: String,
    /// Its number among the copies of its revision.
    pub ordinal: u32,
    /// The node that runs it.
    pub node_name: String,
    /// Whether it is given a port to listen on.
    pub serves: bool,
    /// The port it is to have; one of the node's range if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// How long its requests may take to end once it is deleted.
    pub drain_timeout: Duration,
    /// What is kept of its output.
    pub logs: Logs,
    /// What is run; never changes.
    pub template: InstanceTemplate,
    /// It is a run of a task, which comes to its end; none for a copy of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<TaskRun>,
}

/// What is different about a run of a `MeshTask`: it comes to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRun {
    /// The `MeshTask`.
    pub task: String,
    /// Its time in the schedule; none if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Time>,
    /// The `MeshService` of which a new revision waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How often it is tried again.
    pub backoff_limit: i32,
    /// How long it may take from its creation on, with all its tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// It is to end before its program does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Cancelled>,
    /// A request that is made in the place of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTask>,
}

/// That a run is to end before its program does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// Since when.
    pub at: Time,
    /// Why, for people.
    pub why: String,
}

/// The part of a service's spec that makes a revision: a change of it replaces the instances.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceTemplate {
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// See `MeshService`; `healthPath` stands here in its long form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub volumes: Vec<Volume>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub volume_mounts: Vec<VolumeMount>,
    /// See `MeshService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub podman: Option<PodmanOptions>,
    /// See `MeshService`.
    pub termination_grace_period_seconds: i64,
    /// The annotation `mesh-controller.dev/restarted-at` of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
}

/// What the node's agent found, and what each router reports about a drain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshInstanceStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// In one word, for printing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<InstanceState>,
    /// Where it answers: `127.0.0.1:20001`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port it was given by the node; kept over restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// The image that its container was made from, by digest.
    #[serde(default, rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The process id of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
    /// When its program was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// How often its program was started again.
    #[serde(default)]
    pub restart_count: i32,
    /// How its program ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// Of a run of a task: when it had come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Of a run of a task that has come to its end: the end of what it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
    /// The condition Ready; of a run of a task Complete and Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What each router says about the drain of this instance; each writes its own entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub routers: Vec<RouterDrain>,
}

/// The state of an instance in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstanceState {
    /// Not started yet, or it cannot be started.
    Pending,
    /// Its program runs and has not been ready yet.
    Starting,
    /// It serves.
    Ready,
    /// It runs and was ready, but its readiness probe fails now.
    NotReady,
    /// Its program ended; it waits before the next start.
    BackOff,
    /// A run of a task: its program runs.
    Running,
    /// A run of a task: it has come to a good end.
    Succeeded,
    /// A run of a task: it has come to an end that is none.
    Failed,
    /// It is being taken out of the routers.
    Draining,
    /// It was told to end.
    Terminating,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Its exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it had been started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Time,
    /// For people.
    pub message: String,
}

/// What one router says about the drain of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterDrain {
    /// The router: the holder of its Lease.
    pub name: String,
    /// The resourceVersion of the `EndpointSlice` in which it saw the instance terminating.
    pub slice_revision: String,
    /// Requests and upgraded connections that it still has with the instance.
    pub in_flight: i64,
    /// It sends the instance nothing any more, and all it had sent has ended.
    pub drained: bool,
}

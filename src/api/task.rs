//! `MeshTask`: what runs to its end, on a schedule or when asked. Fields have the names and the meaning of Kubernetes' `CronJob` and `Job`.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    container::{ImagePullPolicy, LocalObjectReference, PodmanOptions, ResourceRequirements, SecurityContext, Volume, VolumeMount},
    duration::Duration,
    env::{EnvFromSource, EnvVar},
    http::HttpTask,
    instance::InstanceState,
    kubernetes::Door,
    service::Logs,
};

/// What runs to its end, on a schedule or when asked.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mesh-controller.dev",
    version = "v1alpha1",
    kind = "MeshTask",
    plural = "meshtasks",
    singular = "meshtask",
    shortname = "mt",
    category = "all",
    category = "mesh",
    namespaced,
    status = "MeshTaskStatus",
    derive = "PartialEq",
    doc = "A MeshTask says what runs to its end, and when: on a schedule, before a rollout, or when somebody asks (mesh task run).",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Timezone", type_ = "string", json_path = ".spec.timeZone"),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active", description = "Runs that are going"),
    printcolumn(name = "Last-run", type_ = "string", json_path = ".status.runs[0].state", description = "How the newest run stands"),
    printcolumn(name = "Last-schedule", type_ = "date", json_path = ".status.lastScheduleTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime", description = "When it runs next"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 52").message("metadata.name may have at most 52 characters: a run's name adds its time to it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label that begins with a letter: a-z, 0-9 and '-', for example nightly-report")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.template), has(self.serviceRef), has(self.http)].filter(x, x).size() == 1").message("give exactly one of template (a command or an image), serviceRef (a command in a service's image and environment) and http (a request to a service)"),
    validation = Rule::new("!has(self.timeZone) || has(self.schedule)").message("timeZone is that of the schedule: give a schedule, or leave timeZone out")
)]
pub struct MeshTaskSpec {
    /// When it runs: `minute hour day-of-month month day-of-week`, the same with the second first, `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`,
    /// or `@every` and a duration. Without it, it runs when asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub schedule: Option<String>,
    /// The time zone of the schedule, by its name in the IANA database; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// A run starts up to so much after its time, by an amount that differs among tasks and times, so that tasks of one schedule are spread. At most
    /// the shortest time between two runs: each starts before the next one's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,
    /// Whether runs of the schedule, and those that rollouts wait for, may overlap. Two for the rollouts of one service never do. One that somebody asks for
    /// is beside the schedule. (In a cluster the schedule does not see the runs of rollouts.)
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// How long after its time a run may still start; without it one that was missed starts however late, the latest of several only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i64>,
    /// No run of the schedule starts. Those that go on go on. The times that come wait: once this is over the latest of them is started, unless
    /// `startingDeadlineSeconds` is over too, and the others are missed.
    #[serde(default)]
    pub suspend: bool,
    /// How long a run may take with all its tries; then it is ended, and has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// How often a run that fails is tried again, after 10 s, 20 s, 40 s and so on up to 6 minutes.
    #[serde(default = "six")]
    #[schemars(range(min = 0, max = 1000))]
    pub backoff_limit: i32,
    /// How many runs that succeeded are kept, with what they wrote.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 1000))]
    pub successful_jobs_history_limit: i32,
    /// How many runs that failed are kept, with what they wrote.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub failed_jobs_history_limit: i32,
    /// A command or an image of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TaskTemplate>,
    /// A command in the image and the environment of a service, as that is when the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceCommand>,
    /// A request to a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTask>,
    /// What is kept of each run's output.
    #[serde(default)]
    pub logs: Logs,
}

fn six() -> i32 {
    6
}

fn three() -> i32 {
    3
}

fn one() -> i32 {
    1
}

/// Whether runs of a task may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// They may.
    #[default]
    Allow,
    /// One whose time comes while another goes on waits as long as `startingDeadlineSeconds` lets it; without that it is missed. One that a rollout
    /// waits for waits until nothing of the task goes on.
    Forbid,
    /// The one that goes on is ended first. One that a rollout waits for is ended by a later revision of its service only: all others wait as with Forbid.
    Replace,
}

/// A command or an image. All fields are as in a `MeshService`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.command) || has(self.image)").message("give command (an argument vector) or image"))]
pub struct TaskTemplate {
    /// The container image, for backends that run containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[^\x00-\x20\x7f]+$"))]
    pub image: Option<String>,
    /// When the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets of type kubernetes.io/dockerconfigjson, for registries that ask who it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The program and its first arguments, as a vector; no shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.size() == 0 || self[0] != ''").message("the first element of command is the program: it cannot be empty"))]
    pub command: Option<Vec<String>>,
    /// Arguments after those in `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Where the program runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^[^\x00]+$"))]
    pub working_dir: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Environment variables from all keys of `ConfigMap`s and `Secret`s; `env` wins over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// What each run may use. For backends that run containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// What each container may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// What `volumeMounts` can mount. For backends that run containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,
    /// Where volumes are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".into()]))]
    pub volume_mounts: Vec<VolumeMount>,
    /// What only Podman is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub podman: Option<PodmanOptions>,
    /// Seconds between SIGTERM and SIGKILL where a run is ended.
    #[serde(default = "thirty")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: i64,
}

fn thirty() -> i64 {
    30
}

/// A command in the image and the environment of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct ServiceCommand {
    /// The `MeshService`, in the task's namespace.
    #[schemars(length(min = 1, max = 48))]
    pub name: String,
    /// What runs in the place of the service's own command.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.size() == 0 || self[0] != ''").message("the first element of command is the program: it cannot be empty"))]
    pub command: Vec<String>,
    /// Arguments after those in `command`; the service's own are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables beside the service's, or in the place of those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshTaskStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Runs that are going.
    #[serde(default)]
    pub active: i32,
    /// The time of the schedule that was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// When a run succeeded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// When it runs next by its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// Every time of the schedule until here is started or missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_until: Option<Time>,
    /// The schedule, with its time zone, that this is true of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_schedule: Option<String>,
    /// The runs that are kept, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<TaskRunStatus>,
    /// How many times of the schedule had no run.
    #[serde(default)]
    pub missed_count: i64,
    /// The newest of them, oldest first: at most 100 entries, each for times that follow one another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub missed: Vec<MissedRuns>,
    /// In a cluster: where its runs find the mesh. `mesh task run` makes them so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
    /// The condition Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRunStatus {
    /// The `MeshInstance` that is the run.
    pub name: String,
    /// How it stands.
    pub state: InstanceState,
    /// Its time in the schedule; none if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Time>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it had come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// How often it was tried.
    #[serde(default)]
    pub tries: i32,
    /// The exit code of the last try that exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it is as it is; empty if all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The end of what it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
}

/// Times of the schedule that follow one another and had no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedRuns {
    /// The first.
    pub from: Time,
    /// The last.
    pub to: Time,
    /// How many they are; above 10000, which is what is counted after a long time, there may be more.
    pub count: i64,
    /// `StillRunning`, `TooLate` or Superseded.
    pub reason: String,
}

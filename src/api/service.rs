//! `MeshService`: what should run, how many, and how it is reached.
use k8s_openapi::apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    container::{ImagePullPolicy, LocalObjectReference, PodmanOptions, ResourceRequirements, SecurityContext, Volume, VolumeMount},
    duration::Duration,
    env::{EnvFromSource, EnvVar},
    kubernetes::KubernetesOptions,
    probe::{PortNumber, Probe},
};

/// What should run, how many, and how it is reached.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mesh-controller.dev",
    version = "v1alpha1",
    kind = "MeshService",
    plural = "meshservices",
    singular = "meshservice",
    shortname = "msvc",
    category = "all",
    category = "mesh",
    namespaced,
    status = "MeshServiceStatus",
    derive = "PartialEq",
    doc = "A MeshService says what should run, how many copies of it, and how requests reach them.",
    selectable = ".spec.type",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type", description = "Frontend, Backend or Worker"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready", description = "Ready instances of those wanted"),
    printcolumn(name = "Up-to-date", type_ = "integer", json_path = ".status.updatedReplicas", description = "Instances of the current revision"),
    printcolumn(name = "Route", type_ = "string", json_path = ".status.route", description = "Where the router takes requests for it"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, description = "Why it is ready, or is not"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.strategy", description = "How requests are spread", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.currentRevision", description = "The revision being run or rolled out", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, description = "More of the status", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 48").message("metadata.name may have at most 48 characters: an instance's name adds a revision and a number to it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label that begins with a letter: a-z, 0-9 and '-', for example shop-api")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.command) || has(self.image)").message("give command (an argument vector) or image"),
    validation = Rule::new("!(has(self.route) && has(self.routes))").message("route is the short form of routes: give one of them, not both"),
    validation = Rule::new("!(has(self.healthPath) && has(self.readinessProbe))").message("healthPath is the short form of readinessProbe.httpGet: give one of them, not both"),
    validation = Rule::new("self.type != 'Worker' || !(has(self.route) || has(self.routes))").message("a Worker gets no requests: leave route and routes out, or make it a Backend"),
    validation = Rule::new("self.type != 'Worker' || has(self.port) || !has(self.healthPath)").message("a Worker without a port has no healthPath to ask: give it a port, or a readinessProbe with exec")
)]
pub struct MeshServiceSpec {
    /// Frontend and Backend serve requests; a Worker needs no port and gets no route.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// The container image, for backends that run containers. The process backend runs `command` and leaves the image alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[^\x00-\x20\x7f]+$"))]
    pub image: Option<String>,
    /// When the image is pulled; if left out: before each start where its tag is `latest` or missing (but for `localhost/…` images), else if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets of type kubernetes.io/dockerconfigjson, for registries that ask who it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The program and its first arguments, as a vector; no shell. A bare name is looked up in PATH; a relative path is relative to `workingDir`.
    /// In a container it stands for the image's entrypoint, and `args` for the image's own arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.size() == 0 || self[0] != ''").message("the first element of command is the program: it cannot be empty"))]
    pub command: Option<Vec<String>>,
    /// Arguments after those in `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Where the program runs. A relative path is relative to the controller's `--project-dir`, which is also the default; in a container it is a path there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^[^\x00]+$"))]
    pub working_dir: Option<String>,
    /// The port that the program listens on. Process backend: each instance gets its own in `$PORT`; this number is honoured with one replica,
    /// and then the next instance starts only once the old one has ended: a rollout or restart leaves the service without one meanwhile.
    /// In a container it is the container's port, 8080 if left out; `$PORT` says it there as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// How many instances there should be.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Environment variables from all keys of `ConfigMap`s and `Secret`s; `env` wins over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// Short form of `routes` with this one path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RoutePath>,
    /// The requests that go to this service; the longest path that matches wins, a hostname wins over none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub routes: Option<Vec<Route>>,
    /// How requests are spread over the instances.
    #[serde(default)]
    pub strategy: Strategy,
    /// The cookie of the strategy `SessionAffinity` (Gateway API: sessionPersistence).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
    /// Time limits of the router for this service (Gateway API: timeouts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Whether the router sends a request again (Gateway API: retry).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Short form of `readinessProbe.httpGet` with this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_path: Option<HealthPath>,
    /// Whether an instance may get requests. Without it, one that has a port is ready when its program listens there, others when they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Whether an instance is alive; one that is not is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Whether an instance has started; until it has, the other probes wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// What each instance may use, and its share when the machine is short. For backends that run containers.
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
    /// What only Podman is told (also by Quadlet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub podman: Option<PodmanOptions>,
    /// What only Kubernetes is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesOptions>,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default = "thirty")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: i64,
    /// How an instance that is to end is taken out of the router first.
    #[serde(default)]
    pub drain: Drain,
    /// How a changed spec replaces the instances.
    #[serde(default)]
    pub rollout: Rollout,
    /// What is kept of the instances' output.
    #[serde(default)]
    pub logs: Logs,
}

fn one() -> i32 {
    1
}

fn thirty() -> i64 {
    30
}

/// What kind of service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Serves people.
    Frontend,
    /// Serves other programs.
    #[default]
    Backend,
    /// Works without being asked: no port, no route.
    Worker,
}

/// How the router spreads requests over ready instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// To the one with the fewest requests in flight.
    LeastConnections,
    /// A client stays with its instance, by a signed cookie.
    SessionAffinity,
}

/// A path that requests must begin with, on borders of segments: `/api` matches `/api` and `/api/x`, not `/apix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoutePath(pub String);

impl JsonSchema for RoutePath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RoutePath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "maxLength": 1024,
            "x-kubernetes-validations": [
                { "rule": "self.startsWith('/')", "message": "a route begins with a slash, for example /api" },
                { "rule": "!self.contains('//') && !self.matches('[?#%\\\\s\\\\x00-\\\\x1f\\\\x7f\\\\\\\\]') && !self.matches('/[.][.]?(/|$)')",
                  "message": "a route is a plain path: no //, no . or .. segments, no query, fragment, %-escape, backslash or white space" },
            ],
        })
    }
}

/// The path of an HTTP health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HealthPath(pub String);

impl JsonSchema for HealthPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HealthPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "maxLength": 1024,
            "x-kubernetes-validations": [
                { "rule": "self.startsWith('/') && !self.matches('[\\\\s\\\\x00-\\\\x1f\\\\x7f]')",
                  "message": "a healthPath begins with a slash and has no white space, for example /health" },
            ],
        })
    }
}

/// The requests that go to a service: those for one of the hostnames (any, if none is given) whose path begins with `path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Hostnames as in the Gateway API: `shop.example` or `*.shop.example`; none means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))
    )]
    pub hostnames: Vec<String>,
    /// The path that a request must begin with.
    #[serde(default = "root")]
    pub path: RoutePath,
}

fn root() -> RoutePath {
    RoutePath("/".to_owned())
}

/// The cookie that ties a client to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// The cookie's name.
    #[serde(default = "session_name")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub session_name: String,
    /// After this long a client is spread anew; a session cookie without end if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
}

fn session_name() -> String {
    "mesh_session".to_owned()
}

impl Default for SessionPersistence {
    fn default() -> Self {
        Self { session_name: session_name(), absolute_timeout: None }
    }
}

/// Time limits of the router. A WebSocket, once open, is under none of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Timeouts {
    /// From the request's head to the head of the response; then 504. `0s` means no limit. The router's default if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
}

/// When the router sends a request again. Only a `GET`, `HEAD` or `OPTIONS` without a body is, and only to the same instance: when a kept connection ended
/// before anything was answered, and the instance takes a new one. A request that no instance has got yet goes to another one that takes the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// How often: 0 or 1 times. 1 if left out.
    #[serde(default = "attempts")]
    #[schemars(range(min = 0, max = 1))]
    pub attempts: i32,
}

fn attempts() -> i32 {
    1
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: attempts() }
    }
}

/// How an instance that is to end is taken out of the router first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drain {
    /// How long its requests, WebSockets and sessions may take to end before it is told to stop. It is stopped earlier once every router says that they have ended.
    #[serde(default = "drain_timeout")]
    pub timeout: Duration,
}

fn drain_timeout() -> Duration {
    Duration::from_secs(30)
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: drain_timeout() }
    }
}

/// How a changed spec replaces the instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.maxSurge == 0 && self.maxUnavailable == 0)").message("maxSurge and maxUnavailable cannot both be 0: the rollout could not begin"))]
pub struct Rollout {
    /// `RollingUpdate` starts new instances before it ends old ones; Recreate ends all old ones first.
    #[serde(default, rename = "type")]
    pub type_: RolloutType,
    /// How many instances, or which percentage of them (rounded up), may be there above `replicas`.
    #[serde(default = "surge")]
    #[schemars(schema_with = "count_or_percent")]
    pub max_surge: IntOrString,
    /// How many instances, or which percentage of them (rounded down), may be missing.
    #[serde(default = "no_unavailable")]
    #[schemars(schema_with = "count_or_percent")]
    pub max_unavailable: IntOrString,
    /// Without progress for so many seconds the condition Progressing becomes False.
    #[serde(default = "progress_deadline")]
    #[schemars(range(min = 1, max = 86400))]
    pub progress_deadline_seconds: i32,
    /// How many old revisions are kept.
    #[serde(default = "history")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: i32,
    /// What has to be done once before the first instance of a new revision starts: a migration of the database, for example. Where it fails, the rollout stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// What has to be done before a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Before {
    /// The `MeshTask` in the service's namespace that is run. One with a `serviceRef` to this service is run with the new revision's image and environment.
    #[schemars(length(min = 1, max = 52))]
    pub task: String,
}

fn surge() -> IntOrString {
    IntOrString::Int(1)
}

fn no_unavailable() -> IntOrString {
    IntOrString::Int(0)
}

fn progress_deadline() -> i32 {
    120
}

fn history() -> i32 {
    5
}

fn count_or_percent(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "x-kubernetes-validations": [{
            "rule": "string(self).matches('^([0-9]{1,4}|(100|[0-9]{1,2})%)$')",
            "message": "give a number of instances (1) or a percentage (\"25%\")",
        }],
    })
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            type_: RolloutType::RollingUpdate,
            max_surge: surge(),
            max_unavailable: no_unavailable(),
            progress_deadline_seconds: progress_deadline(),
            revision_history_limit: history(),
            before: None,
        }
    }
}

/// The kinds of rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum RolloutType {
    /// New ones first.
    #[default]
    RollingUpdate,
    /// Old ones end first.
    Recreate,
}

/// What is kept of an instance's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// The size at which a file is rotated, in bytes or as a quantity such as `50Mi`.
    #[serde(default = "log_size")]
    #[schemars(regex(pattern = r"^[1-9][0-9]{0,11}(k|M|G|Ki|Mi|Gi)?$"))]
    pub max_size: String,
    /// How many files are kept, the current one included. A container engine keeps one, of the size of all of them; under Quadlet the journal keeps the output, by limits of its own.
    #[serde(default = "log_files")]
    #[schemars(range(min = 1, max = 100))]
    pub max_files: u32,
}

fn log_size() -> String {
    "50Mi".to_owned()
}

fn log_files() -> u32 {
    5
}

impl Default for Logs {
    fn default() -> Self {
        Self { max_size: log_size(), max_files: log_files() }
    }
}

/// What the controllers found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshServiceStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Instances that exist and are not being ended.
    #[serde(default)]
    pub replicas: i32,
    /// Instances that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Instances of the current revision.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Ready instances of those wanted, for printing: `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// The routes, for printing: `/api, shop.example/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The label selector of the instances, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The revision being run or rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// Ready, Available, Progressing and `RoutesAccepted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

//! Condition types and reasons, and the one way to set a condition.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Condition types of a `MeshService`.
pub mod service {
    /// Everything that the spec asks for is there: the summary that `kubectl wait` looks at.
    pub const READY: &str = "Ready";
    /// Enough instances are ready to serve (all but `maxUnavailable`).
    pub const AVAILABLE: &str = "Available";
    /// A rollout is under way, or ended well; False when it made no progress for `progressDeadlineSeconds`.
    pub const PROGRESSING: &str = "Progressing";
    /// The routes are the router's; False when another service claims one of them.
    pub const ROUTES_ACCEPTED: &str = "RoutesAccepted";
    /// It works, but not in every way as the spec says. Only there when True.
    pub const DEGRADED: &str = "Degraded";

    /// All wanted instances are ready and of the current revision.
    pub const ALL_READY: &str = "AllReplicasReady";
    /// `replicas` is 0, and nothing runs.
    pub const SCALED_TO_ZERO: &str = "ScaledToZero";
    /// Some instances are not ready yet.
    pub const WAITING: &str = "WaitingForReplicas";
    /// Old instances are being replaced.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// The rollout ended well.
    pub const ROLLED_OUT: &str = "RolloutComplete";
    /// The rollout has not moved for `progressDeadlineSeconds`.
    pub const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
    /// Instances end again and again, or cannot be started.
    pub const CRASH_LOOP: &str = "CrashLoopBackOff";
    /// Enough instances serve.
    pub const MINIMUM_AVAILABLE: &str = "MinimumReplicasAvailable";
    /// Too few instances serve.
    pub const MINIMUM_UNAVAILABLE: &str = "MinimumReplicasUnavailable";
    /// The spec is wrong in a way that the schema cannot say.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The backend cannot do what the spec asks for.
    pub const UNSUPPORTED: &str = "UnsupportedByBackend";
    /// No `MeshNode` is ready to take an instance.
    pub const NO_NODE: &str = "NoNodeReady";
    /// The task that has to be done before the rollout is not done yet.
    pub const WAITING_FOR_TASK: &str = "WaitingForTask";
    /// The task that has to be done before the rollout has failed, or is not there: the rollout is stopped.
    pub const TASK_FAILED: &str = "TaskFailed";
    /// It is deleted, and its instances are drained and ended.
    pub const TERMINATING: &str = "Terminating";
    /// In a cluster: an object of the name that the service needs belongs to somebody else.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// In a cluster: the controller's account may not do what it has to.
    pub const FORBIDDEN: &str = "Forbidden";
    /// In a cluster: its API refuses one of the service's objects.
    pub const REJECTED: &str = "RejectedByCluster";
    /// In a cluster: somebody else changes a field of one of the service's objects again and again.
    pub const FIELD_CONTESTED: &str = "FieldContested";
    /// In a cluster: a part of the spec that has no effect there.
    pub const UNHONOURED: &str = "NotHonoured";
    /// All routes are accepted.
    pub const ACCEPTED: &str = "Accepted";
    /// The service has no routes.
    pub const NO_ROUTES: &str = "NoRoutes";
    /// An older service has the same route.
    pub const ROUTE_CONFLICT: &str = "RouteConflict";
}

/// Condition types and reasons of a `MeshInstance`.
pub mod instance {
    /// It serves: its process runs and its readiness probe passes.
    pub const READY: &str = "Ready";

    /// The program runs and is ready.
    pub const RUNNING: &str = "Running";
    /// It waits for its start.
    pub const PENDING: &str = "Pending";
    /// It runs, but its startup or readiness probe has not passed yet.
    pub const PROBING: &str = "WaitingForProbe";
    /// It runs, has neither a port nor a probe, and has not been up for long enough yet.
    pub const UNPROVEN: &str = "WaitingForUptime";
    /// Its readiness probe fails.
    pub const PROBE_FAILED: &str = "ReadinessProbeFailed";
    /// Its probe cannot be made, for a cause on the controller's side (its descriptors are used up): nothing is known.
    pub const PROBE_UNKNOWN: &str = "ProbeUnknown";
    /// Its startup or liveness probe failed for too long, so it is restarted.
    pub const UNHEALTHY: &str = "Unhealthy";
    /// Nothing listens on the port it was given.
    pub const NOT_LISTENING: &str = "NotListening";
    /// Another process listens on the port it was given.
    pub const PORT_TAKEN: &str = "PortTaken";
    /// No port of the node's range is free.
    pub const PORTS_EXHAUSTED: &str = "PortRangeExhausted";
    /// The program ended; it waits before the next start.
    pub const BACK_OFF: &str = "CrashLoopBackOff";
    /// The program ended and is being started again.
    pub const RESTARTING: &str = "Restarting";
    /// `command` names no program that is there.
    pub const COMMAND_NOT_FOUND: &str = "CommandNotFound";
    /// `command` names a file that cannot be executed.
    pub const COMMAND_NOT_EXECUTABLE: &str = "CommandNotExecutable";
    /// `workingDir` is not there, or no directory.
    pub const WORKING_DIR: &str = "WorkingDirNotFound";
    /// A `ConfigMap` or `Secret` that `env` or `envFrom` refers to is missing.
    pub const CONFIG_MISSING: &str = "CreateContainerConfigError";
    /// Its image is being pulled.
    pub const PULLING: &str = "PullingImage";
    /// Its image cannot be had.
    pub const IMAGE_PULL: &str = "ErrImagePull";
    /// Its image is not there and must not be pulled.
    pub const IMAGE_NEVER_PULL: &str = "ErrImageNeverPull";
    /// `image` is no name of an image.
    pub const IMAGE_INVALID: &str = "InvalidImageName";
    /// In a cluster: pods cannot be made (a quota, pod security, a missing account).
    pub const REPLICA_FAILURE: &str = "ReplicaFailure";
    /// In a cluster: no node takes the pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// In a cluster: the pod's containers are being made.
    pub const CREATING: &str = "ContainerCreating";
    /// In a cluster: what runs before the pod's containers has not ended yet.
    pub const INIT_RUNNING: &str = "PodInitializing";
    /// Its image is for another kind of machine.
    pub const IMAGE_ARCHITECTURE: &str = "ImageArchitectureMismatch";
    /// Something of the name that it needs is there and belongs to somebody else.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// A path of the machine that a volume names is not as it should be.
    pub const HOST_PATH: &str = "HostPathNotFound";
    /// The container engine does not answer.
    pub const ENGINE_UNREACHABLE: &str = "EngineUnreachable";
    /// The controller, or its machine, has nothing left of what a start needs: descriptors, memory, processes.
    pub const NODE_EXHAUSTED: &str = "NodeExhausted";
    /// The backend's engine cannot do what the spec asks for.
    pub const UNSUPPORTED: &str = "UnsupportedByBackend";
    /// The program listens on the container's own loopback only.
    pub const LOOPBACK_ONLY: &str = "ListensOnLoopbackOnly";
    /// The backend refused, for another cause.
    pub const START_FAILED: &str = "StartFailed";
    /// It was told to end and cannot be ended.
    pub const STOP_FAILED: &str = "StopFailed";
    /// Routers are being waited for.
    pub const DRAINING: &str = "Draining";
    /// It was told to end.
    pub const TERMINATING: &str = "Terminating";
}

/// Condition types and reasons of a `MeshInstance` that is a run of a task, as a Job has them; and of the task.
pub mod task {
    /// The run has come to a good end.
    pub const COMPLETE: &str = "Complete";
    /// The run has come to an end that is none.
    pub const FAILED: &str = "Failed";
    /// The task's schedule is kept.
    pub const READY: &str = "Ready";

    /// The program ended with exit code 0.
    pub const SUCCEEDED: &str = "Succeeded";
    /// It failed, and was tried again as often as it may be.
    pub const BACKOFF_LIMIT: &str = "BackoffLimitExceeded";
    /// It took longer than `activeDeadlineSeconds`.
    pub const DEADLINE: &str = "DeadlineExceeded";
    /// It was ended for another one, or by somebody.
    pub const CANCELLED: &str = "Cancelled";

    /// It runs by its schedule.
    pub const SCHEDULED: &str = "Scheduled";
    /// It has no schedule: it runs when asked.
    pub const ON_DEMAND: &str = "OnDemand";
    /// Its schedule rests, as the spec says.
    pub const SUSPENDED: &str = "Suspended";
    /// The service that it is to run a command of, or to send a request to, is not there.
    pub const SERVICE_MISSING: &str = "ServiceNotFound";
    /// The backend cannot do what the spec asks for.
    pub const UNSUPPORTED: &str = "UnsupportedByBackend";
}

/// Condition types and reasons of a `MeshNode`.
pub mod node {
    /// The node's agent runs and its backend answers.
    pub const READY: &str = "Ready";
    /// The container engine does not answer.
    pub const ENGINE_UNREACHABLE: &str = "EngineUnreachable";
    /// The agent reports.
    pub const AGENT_READY: &str = "AgentReady";
    /// Instances run here that the store does not know; there only while it is so.
    pub const UNKNOWN_INSTANCES: &str = "UnknownInstances";
    /// They were started under a store that was moved away.
    pub const LEFT_BY_EARLIER_STORE: &str = "LeftByEarlierStore";
}

/// A condition to be, without its time of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// One of the types above.
    pub type_: &'static str,
    /// True, False, or Unknown for none.
    pub status: Option<bool>,
    /// One of the reasons above.
    pub reason: &'static str,
    /// For people; may be empty.
    pub message: String,
}

impl Want {
    /// A condition with a message.
    pub fn new(type_: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: Some(status), reason, message: message.into() }
    }

    /// The condition; its time of change stays that of `old` unless the status flips.
    pub fn over(self, old: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
        let status = match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let kept = old.iter().find(|c| c.type_ == self.type_ && c.status == status).map(|c| c.last_transition_time.clone());
        Condition {
            type_: self.type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            observed_generation: generation,
            last_transition_time: kept.unwrap_or(Time(now)),
        }
    }
}

/// Whether a condition is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

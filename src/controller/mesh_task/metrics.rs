//! Numbers about tasks, by namespace and name.
use std::sync::atomic::AtomicU64;

use kube::ResourceExt;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use mesh_api::{MeshTask, MeshTaskStatus, task::TaskRunStatus};
use mesh_coordination::schedule::Reason;
use mesh_kit::metrics::Metrics;

type Labels = Vec<(&'static str, String)>;

/// What is counted.
#[derive(Debug, Clone, Default)]
pub struct TaskMetrics {
    started: Family<Labels, Counter>,
    finished: Family<Labels, Counter>,
    missed: Family<Labels, Counter>,
    duration: Family<Labels, Gauge<f64, AtomicU64>>,
    succeeded_at: Family<Labels, Gauge<f64, AtomicU64>>,
}

impl TaskMetrics {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.register(|registry| {
            registry.register("task_runs_started", "Runs that a task's schedule has started", this.started.clone());
            registry.register("task_runs_finished", "Runs of a task that have come to their end, by result", this.finished.clone());
            registry.register("task_runs_missed", "Times of a task's schedule without a run, by reason", this.missed.clone());
            registry.register("task_last_run_duration_seconds", "How long the run of a task took that ended last", this.duration.clone());
            registry.register("task_last_success_timestamp_seconds", "When a run of a task succeeded last", this.succeeded_at.clone());
        });
        this
    }

    pub(super) fn started(&self, task: &MeshTask) {
        self.started.get_or_create(&labels(task, None)).inc();
    }

    pub(super) fn missed(&self, task: &MeshTask, reason: Reason, count: u64) {
        self.missed.get_or_create(&labels(task, Some(("reason", format!("{reason:?}"))))).inc_by(count);
    }

    /// Counts the runs that have come to their end between two statuses.
    pub(crate) fn ended(&self, task: &MeshTask, old: &MeshTaskStatus, new: &MeshTaskStatus) {
        let known = |name: &str| old.runs.iter().any(|run| run.name == name && run.completion_time.is_some());
        for run in new.runs.iter().filter(|run| run.completion_time.is_some() && !known(&run.name)) {
            self.finished(task, run);
        }
        if let Some(at) = &new.last_successful_time {
            self.succeeded_at.get_or_create(&labels(task, None)).set(at.0.as_duration().as_secs_f64());
        }
    }

    fn finished(&self, task: &MeshTask, run: &TaskRunStatus) {
        self.finished.get_or_create(&labels(task, Some(("result", format!("{:?}", run.state))))).inc();
        if let (Some(start), Some(end)) = (&run.start_time, &run.completion_time) {
            self.duration.get_or_create(&labels(task, None)).set(end.0.duration_since(start.0).as_secs_f64());
        }
    }
}

fn labels(task: &MeshTask, more: Option<(&'static str, String)>) -> Labels {
    [("namespace", task.namespace().unwrap_or_default()), ("task", task.name_any())].into_iter().chain(more).collect()
}

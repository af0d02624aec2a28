//! Numbers about tasks, by namespace and name.
use std::sync::atomic::AtomicU64;

use kube::ResourceExt;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use mesh_api::{MeshTask, MeshTaskStatus, instance::InstanceState, task::TaskRunStatus};
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
            registry.register(
                "task_runs_started",
                "Runs of a task that were made: by its schedule, for a rollout, or because somebody asked",
                this.started.clone(),
            );
            registry.register("task_runs_finished", "Runs of a task that have come to their end, by result", this.finished.clone());
            registry.register("task_runs_missed", "Times of a task's schedule without a run, by reason", this.missed.clone());
            registry.register("task_last_run_duration_seconds", "How long the run of a task took that ended last", this.duration.clone());
            registry.register("task_last_success_timestamp_seconds", "When a run of a task succeeded last", this.succeeded_at.clone());
        });
        this
    }

    pub(super) fn missed(&self, task: &MeshTask, reason: Reason, count: u64) {
        self.missed.get_or_create(&of_reason(task, reason)).inc_by(count);
    }

    /// Counts the runs that were made and those that have come to their end between two statuses.
    pub(crate) fn count(&self, task: &MeshTask, old: &MeshTaskStatus, new: &MeshTaskStatus) {
        for run in &new.runs {
            let known = old.runs.iter().find(|known| known.name == run.name);
            if known.is_none() {
                self.started.get_or_create(&labels(task, None)).inc();
            }
            if run.completion_time.is_some() && known.is_none_or(|known| known.completion_time.is_none()) {
                self.finished(task, run);
            }
        }
        if let Some(at) = &new.last_successful_time {
            self.succeeded_at.get_or_create(&labels(task, None)).set(at.0.as_duration().as_secs_f64());
        }
    }

    /// Drops what is told of a task that is gone.
    pub(crate) fn forget(&self, task: &MeshTask) {
        let own = labels(task, None);
        self.started.remove(&own);
        self.duration.remove(&own);
        self.succeeded_at.remove(&own);
        for result in [InstanceState::Succeeded, InstanceState::Failed] {
            self.finished.remove(&of_result(task, result));
        }
        for reason in [Reason::StillRunning, Reason::TooLate, Reason::Superseded] {
            self.missed.remove(&of_reason(task, reason));
        }
    }

    fn finished(&self, task: &MeshTask, run: &TaskRunStatus) {
        self.finished.get_or_create(&of_result(task, run.state)).inc();
        if let (Some(start), Some(end)) = (&run.start_time, &run.completion_time) {
            self.duration.get_or_create(&labels(task, None)).set(end.0.duration_since(start.0).as_secs_f64());
        }
    }
}

fn of_result(task: &MeshTask, result: InstanceState) -> Labels {
    labels(task, Some(("result", format!("{result:?}"))))
}

fn of_reason(task: &MeshTask, reason: Reason) -> Labels {
    labels(task, Some(("reason", format!("{reason:?}"))))
}

fn labels(task: &MeshTask, more: Option<(&'static str, String)>) -> Labels {
    [("namespace", task.namespace().unwrap_or_default()), ("task", task.name_any())].into_iter().chain(more).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn status(runs: &Value) -> MeshTaskStatus {
        from_value(json!({ "runs": runs, "lastSuccessfulTime": "2026-11-28T13:00:02Z" })).unwrap()
    }

    #[test]
    fn every_run_that_was_made_is_counted_once_and_of_a_task_that_is_gone_nothing_is_left() {
        let object = json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask", "metadata": { "name": "nightly", "namespace": "shop" }, "spec": {} });
        let task: MeshTask = from_value(object).unwrap();
        let (registry, none) = (Metrics::default(), MeshTaskStatus::default());
        let metrics = TaskMetrics::register(&registry);
        let nothing = registry.render();
        let going = status(&json!([{ "name": "before", "state": "Running" }]));
        let done = json!({ "name": "before", "state": "Succeeded", "startTime": "2026-11-28T13:00:00Z", "completionTime": "2026-11-28T13:00:02Z" });
        let more = status(&json!([{ "name": "asked", "state": "Failed", "completionTime": "2026-11-28T13:00:03Z" }, done]));
        for (old, new) in [(&none, &going), (&going, &going), (&going, &more), (&more, &more)] {
            metrics.count(&task, old, new);
        }
        for reason in [Reason::StillRunning, Reason::TooLate, Reason::Superseded] {
            metrics.missed(&task, reason, 3);
        }
        let text = registry.render();
        let of = r#"namespace="shop",task="nightly""#;
        for line in [
            format!("runs_started_total{{{of}}} 2"),
            format!(r#"runs_finished_total{{{of},result="Succeeded"}} 1"#),
            format!(r#"runs_finished_total{{{of},result="Failed"}} 1"#),
            format!(r#"runs_missed_total{{{of},reason="TooLate"}} 3"#),
            format!("last_run_duration_seconds{{{of}}} 2.0"),
        ] {
            assert!(text.contains(&format!("mesh_task_{line}\n")), "{line}: {text}");
        }
        metrics.forget(&task);
        assert_eq!(registry.render(), nothing);
    }
}

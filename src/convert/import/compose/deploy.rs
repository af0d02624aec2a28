//! `deploy`, the older fields for resources, and `logging` of a compose service.
use serde_json::{Map, Value, json};

use super::units;
use crate::import::{
    draft::{Book, Draft, inner},
    fields::Fields,
};

/// Takes replicas, resources and the way of updates.
pub(super) fn deploy(fields: &mut Fields, kept: bool, draft: &mut Draft, book: &mut Book<'_>) {
    if let Some(replicas) = fields.number("scale") {
        draft.set("replicas", replicas);
    }
    resources(fields, "mem_limit", "cpus", "limits", draft, book);
    resources(fields, "mem_reservation", "cpu_reservation", "requests", draft, book);
    let mut deploy = fields.inner("deploy").unwrap_or_default();
    if let Some(replicas) = deploy.number("replicas") {
        draft.set("replicas", replicas);
    }
    if let Some(mode) = deploy.text("mode").filter(|mode| mode != "replicated") {
        book.lost(&deploy.path("mode"), format!("deploy.mode {mode}: there is no one per node here: set spec.replicas"));
    }
    if let Some(mut all) = deploy.inner("resources") {
        for (field, name) in [("limits", "limits"), ("reservations", "requests")] {
            let Some(mut some) = all.inner(field) else { continue };
            resources(&mut some, "memory", "cpus", name, draft, book);
            for (path, key, _) in some.left() {
                book.lost(&path, format!("deploy.resources.{field}.{key} has no counterpart"));
            }
        }
    }
    let updates = deploy.inner("update_config");
    rollout(updates, kept, &fields.path("volumes"), draft, book);
    for (path, key, _) in deploy.left() {
        match key.as_str() {
            "restart_policy" => book.moot("deploy.restart_policy (what ends is started again, with growing pauses)"),
            "endpoint_mode" => book.moot("deploy.endpoint_mode"),
            "placement" => {
                book.lost(&path, "deploy.placement: in a cluster write spec.kubernetes.podTemplate.spec.nodeSelector or affinity");
            }
            "rollback_config" => {
                book.lost(
                    &path,
                    "deploy.rollback_config: a rollout that does not get ready stops by itself; apply the old file to go back",
                );
            }
            "labels" => book.lost(&path, "deploy.labels are Swarm's own"),
            _ => book.lost(&path, format!("deploy.{key} has no counterpart")),
        }
    }
}

fn resources(fields: &mut Fields, memory: &str, cpus: &str, kind: &str, draft: &mut Draft, book: &mut Book<'_>) {
    let mut list = Map::new();
    for (key, name, read) in [(memory, "memory", units::bytes as fn(&str) -> Option<String>), (cpus, "cpu", units::cpus)] {
        let Some(text) = fields.text(key) else { continue };
        match read(&text) {
            Some(quantity) => drop(list.insert(name.to_owned(), quantity.into())),
            None => book.lost(&fields.path(key), format!("{key} {text:?} is no amount")),
        }
    }
    if !list.is_empty() {
        inner(draft.inner("resources"), kind).extend(list);
    }
}

/// What is kept in a volume is not written by two at a time: then the old instance ends first, as with compose.
fn rollout(updates: Option<Fields>, kept: bool, path: &str, draft: &mut Draft, book: &mut Book<'_>) {
    let Some(mut updates) = updates else {
        if kept {
            draft.set("rollout", json!({ "type": "Recreate" }));
            book.said(path, "rollout.type is Recreate, because it writes to a volume: the old instance ends before the new one begins");
        }
        return;
    };
    let parallel = updates.number("parallelism").unwrap_or(1);
    let parallel: Value = if parallel == 0 { "100%".into() } else { parallel.into() };
    let rollout = match updates.text("order").as_deref() {
        Some("start-first") => json!({ "maxSurge": parallel, "maxUnavailable": 0 }),
        _ => json!({ "maxSurge": 0, "maxUnavailable": parallel }),
    };
    draft.set("rollout", rollout);
    for (path, key, _) in updates.left() {
        match key.as_str() {
            "delay" | "monitor" => {
                book.lost(&path, format!("deploy.update_config.{key}: the next one follows as soon as the one before is ready"));
            }
            "failure_action" | "max_failure_ratio" => {
                book.lost(&path, format!("deploy.update_config.{key}: a rollout that makes no progress stops (spec.rollout.progressDeadlineSeconds) and says so"));
            }
            _ => book.lost(&path, format!("deploy.update_config.{key} has no counterpart")),
        }
    }
}

/// Sizes of log files.
pub(super) fn logging(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let Some(mut logging) = fields.inner("logging") else { return };
    let driver = logging.text("driver").unwrap_or_else(|| "json-file".to_owned());
    if !matches!(driver.as_str(), "json-file" | "local" | "k8s-file") {
        book.lost(
            &logging.path("driver"),
            format!("logging.driver {driver}: output is kept by the backend; mesh logs shows it, kubectl logs in a cluster"),
        );
    }
    let mut options = logging.inner("options").unwrap_or_default();
    let mut logs = Map::new();
    if let Some(size) = options.text("max-size").and_then(|size| units::bytes(&size)) {
        logs.insert("maxSize".to_owned(), size.into());
    }
    if let Some(files) = options.number("max-file") {
        logs.insert("maxFiles".to_owned(), files.into());
    }
    if !logs.is_empty() {
        draft.set("logs", logs);
    }
    for (path, key, _) in options.left().into_iter().chain(logging.left()) {
        book.lost(&path, format!("logging: {key} has no counterpart"));
    }
}

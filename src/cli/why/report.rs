//! What is said of a service or an instance; `render` makes a text of it, and `--json` gives it as it is.
use jiff::Timestamp;
use serde::Serialize;

use super::events::Told;
use crate::instance::{Exit, Kind};

/// What is said. The JSON form is a promise: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) namespace: String,
    pub(super) service: String,
    /// The instance, if one was asked for.
    pub(super) instance: Option<String>,
    /// All is as wanted.
    pub(super) wanted: bool,
    /// In a line.
    pub(super) summary: String,
    /// Where it is reached.
    pub(super) reached_at: Vec<String>,
    /// Conditions that are not as they should be, and what is degraded.
    pub(super) conditions: Vec<Off>,
    /// Instances that are not ready, or were started again lately.
    pub(super) instances: Vec<Detail>,
    /// More of them.
    pub(super) others: Vec<Other>,
    /// Warnings, the newest first.
    pub(super) events: Vec<Told>,
    /// What mends it.
    pub(super) remedies: Vec<String>,
}

/// A condition that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Off {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) since: Option<Timestamp>,
}

/// An instance with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) state: String,
    pub(super) ready: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) restarts: i32,
    pub(super) node: Option<String>,
    pub(super) problem: Option<String>,
    pub(super) last_exit: Option<Exit>,
    /// Failures of its probes.
    pub(super) probes: Vec<Told>,
    /// The last lines of the run that failed.
    pub(super) log: Vec<String>,
}

/// An instance in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Other {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) problem: Option<String>,
}

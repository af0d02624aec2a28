//! `mesh ps`: what runs, what should and does not, and why.
use clap::Args;
use jiff::Timestamp;
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;

use super::{age::age, exit::Result, output, table::table, target::Connection};
use crate::{
    api::{
        MeshInstance, MeshInstanceStatus, MeshService,
        conditions::{self, instance, service},
        instance::InstanceState,
    },
    kit::clock,
};

/// List instances, and services that have none.
#[derive(Debug, Args)]
pub struct Ps {
    /// As JSON: an array with an object per line of the table.
    #[arg(long)]
    json: bool,
    /// Of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// One line: an instance, or a service without instances. The JSON form is a promise: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The namespace.
    pub namespace: String,
    /// The instance's name; none for a service without instances.
    pub id: Option<String>,
    /// The service.
    pub service: String,
    /// The instance's state in one word; for a service without instances why it has none.
    pub state: String,
    /// It serves.
    pub ready: bool,
    /// How often its program was started again.
    pub restarts: i32,
    /// Where it answers.
    pub address: Option<String>,
    /// Its process.
    pub pid: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What is wrong, or went wrong last.
    pub problem: Option<String>,
}

impl Ps {
    /// Prints the table.
    pub async fn run(self, connection: &Connection) -> Result {
        let (services, instances): (Api<MeshService>, Api<MeshInstance>) = if self.all_namespaces {
            (Api::all(connection.client.clone()), Api::all(connection.client.clone()))
        } else {
            (connection.services(), connection.instances())
        };
        let all = ListParams::default();
        let rows = rows(&services.list(&all).await?.items, &instances.list(&all).await?.items);
        if self.json {
            let json = serde_json::to_string_pretty(&rows).map_err(anyhow::Error::from)?;
            return output::print_line(&json);
        }
        if rows.is_empty() {
            return output::print_line("nothing runs here, and no service is to; `mesh apply -f FILE` adds one");
        }
        output::print(&render(&rows, self.all_namespaces, clock::now()))
    }
}

/// The lines, by namespace, service and instance.
pub fn rows(services: &[MeshService], instances: &[MeshInstance]) -> Vec<Row> {
    let mut rows: Vec<Row> = instances.iter().map(instance_row).collect();
    let missing = services.iter().filter(|service| {
        !instances.iter().any(|instance| instance.spec.service == service.name_any() && instance.namespace() == service.namespace())
    });
    rows.extend(missing.map(service_row));
    rows.sort_by(|a, b| (&a.namespace, &a.service, &a.id).cmp(&(&b.namespace, &b.service, &b.id)));
    rows
}

fn instance_row(instance: &MeshInstance) -> Row {
    let nothing = MeshInstanceStatus::default();
    let status = instance.status.as_ref().unwrap_or(&nothing);
    Row {
        namespace: instance.namespace().unwrap_or_default(),
        id: Some(instance.name_any()),
        service: instance.spec.service.clone(),
        state: word(status.state.unwrap_or(InstanceState::Pending)).to_owned(),
        ready: conditions::is_true(&status.conditions, instance::READY),
        restarts: status.restart_count,
        address: status.address.clone(),
        pid: status.pid,
        created: instance.creation_timestamp().map(|time| time.0),
        problem: problem(status),
    }
}

/// Why it is not ready; for one that is, how it ended last.
fn problem(status: &MeshInstanceStatus) -> Option<String> {
    let not_ready = status.conditions.iter().find(|c| c.type_ == instance::READY && c.status == "False");
    let now = not_ready.map(|c| if c.message.is_empty() { c.reason.clone() } else { format!("{}: {}", c.reason, c.message) });
    now.or_else(|| status.last_exit.as_ref().map(|exit| format!("last run {}", exit.message)))
}

fn service_row(service: &MeshService) -> Row {
    let conditions = service.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|c| c.type_ == service::READY);
    Row {
        namespace: service.namespace().unwrap_or_default(),
        id: None,
        service: service.name_any(),
        state: ready.map_or_else(|| "Pending".to_owned(), |c| c.reason.clone()),
        ready: ready.is_some_and(|c| c.status == "True"),
        restarts: 0,
        address: None,
        pid: None,
        created: service.creation_timestamp().map(|time| time.0),
        problem: ready.filter(|c| c.status != "True" && !c.message.is_empty()).map(|c| c.message.clone()),
    }
}

/// The state as the API writes it.
pub fn word(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Pending => "Pending",
        InstanceState::Starting => "Starting",
        InstanceState::Ready => "Ready",
        InstanceState::NotReady => "NotReady",
        InstanceState::BackOff => "BackOff",
        InstanceState::Draining => "Draining",
        InstanceState::Terminating => "Terminating",
    }
}

/// The table for people.
pub fn render(rows: &[Row], namespaces: bool, now: Timestamp) -> String {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = |row: &Row| {
        [
            dash(row.id.clone()),
            row.service.clone(),
            row.state.clone(),
            if row.ready { "yes" } else { "no" }.to_owned(),
            row.restarts.to_string(),
            dash(row.address.clone()),
            dash(row.pid.map(|pid| pid.to_string())),
            dash(row.created.map(|created| age(created, now))),
            row.problem.clone().unwrap_or_default(),
        ]
    };
    let head = ["ID", "SERVICE", "STATE", "READY", "RESTARTS", "ADDRESS", "PID", "AGE", "PROBLEM"];
    if !namespaces {
        return table(&head, &rows.iter().map(|row| cells(row).to_vec()).collect::<Vec<_>>());
    }
    let rows: Vec<Vec<String>> = rows.iter().map(|row| std::iter::once(row.namespace.clone()).chain(cells(row)).collect()).collect();
    table(&[&["NAMESPACE"], head.as_slice()].concat(), &rows)
}

#[cfg(test)]
mod tests;

//! `mesh ps`: what runs, what should and does not, and why.
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    age::age,
    exit::Result,
    instance::{self, Instance},
    output,
    table::table,
    target::Connection,
};
use mesh_api::{MeshService, conditions::service};
use mesh_kit::clock;

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
    /// Its process; none where a cluster runs it.
    pub pid: Option<i64>,
    /// What runs it.
    pub node: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What is wrong, or went wrong last.
    pub problem: Option<String>,
}

impl Ps {
    /// Prints the table.
    pub async fn run(self, connection: &Connection) -> Result {
        let services = connection.list_services(self.all_namespaces).await?;
        let rows = rows(&services, &copies(instance::list(connection, self.all_namespaces).await?));
        if rows.is_empty() && !self.all_namespaces {
            connection.namespace_is_there().await?;
        }
        for trouble in connection.node_troubles().await {
            output::remark(&format!("{trouble}\n"));
        }
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

/// Those that are copies of services: `mesh task ls` lists runs of tasks.
fn copies(mut instances: Vec<Instance>) -> Vec<Instance> {
    instances.retain(|instance| !instance.is_run);
    instances
}

/// The lines, by namespace, service and instance.
pub fn rows(services: &[MeshService], instances: &[Instance]) -> Vec<Row> {
    let of = |instance: &Instance| {
        services.iter().find(|service| service.name_any() == instance.service && service.namespace().as_ref() == Some(&instance.namespace))
    };
    let mut rows: Vec<Row> = instances.iter().map(|instance| instance_row(instance, of(instance))).collect();
    let missing = services.iter().filter(|service| {
        !instances
            .iter()
            .any(|instance| instance.service == service.name_any() && Some(&instance.namespace) == service.namespace().as_ref())
    });
    rows.extend(missing.map(service_row));
    rows.sort_by(|a, b| (&a.namespace, &a.service, &a.id).cmp(&(&b.namespace, &b.service, &b.id)));
    rows
}

/// What hinders a service though its instances may be well: its routes are another's, it works in part only, or a task comes first that is not done.
fn hindrance(service: &MeshService) -> Option<String> {
    let conditions = service.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let off = |c: &&Condition| {
        let waits = [service::TASK_FAILED, service::WAITING_FOR_TASK].contains(&c.reason.as_str());
        match c.type_.as_str() {
            service::ROUTES_ACCEPTED => c.status == "False",
            service::DEGRADED => c.status == "True",
            service::READY => c.status == "False" && waits,
            _ => false,
        }
    };
    let told =
        conditions.iter().filter(off).map(|c| if c.message.is_empty() { c.reason.clone() } else { format!("{}: {}", c.reason, c.message) });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Of an instance that is well, what hinders its service is of interest before how it ended once.
fn instance_row(instance: &Instance, service: Option<&MeshService>) -> Row {
    Row {
        namespace: instance.namespace.clone(),
        id: Some(instance.id.clone()),
        service: instance.service.clone(),
        state: instance.state.clone(),
        ready: instance.ready,
        restarts: instance.restarts,
        address: instance.address.clone(),
        pid: instance.pid,
        node: instance.node.clone(),
        created: instance.created,
        problem: instance.trouble.clone().or_else(|| service.and_then(hindrance)).or_else(|| instance.problem()),
    }
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
        node: None,
        created: service.creation_timestamp().map(|time| time.0),
        problem: ready.filter(|c| c.status != "True" && !c.message.is_empty()).map(|c| c.message.clone()).or_else(|| hindrance(service)),
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

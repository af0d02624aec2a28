//! `mesh why`: why a service, or one instance of it, is (not) as wanted: what is known of it in one screen, and what mends it.
mod collect;
mod diagnosis;
mod events;
mod remedy;
mod render;
mod report;

use clap::Args;
use kube::ResourceExt;

use super::{
    exit::{Code, Failure, Result},
    output,
    paint::Paint,
    select::{Found, Selected, find},
    target::Connection,
};
use mesh_kit::clock;
use mesh_plan::task::in_task;

/// Say why a service or an instance is (not) as wanted, and what mends it.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all is as wanted (what is Degraded is told, and is no failure), 1 it is not, 5 no API answers.")]
pub struct Why {
    /// A service, or the beginning of an instance's id.
    #[arg(value_name = "SERVICE|ID")]
    what: String,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Looks, and says what it found. The exit code tells as well.
    pub async fn run(self, connection: &Connection) -> Result {
        let Found { selected, services, instances } = find(connection, &self.what).await?;
        let only = match &selected {
            Selected::Service(_) => None,
            Selected::Instance(id) => Some(id.as_str()),
        };
        let name = match &selected {
            Selected::Service(name) => name.clone(),
            Selected::Instance(id) => instances.iter().find(|instance| instance.id == *id).map(|i| i.service.clone()).unwrap_or_default(),
        };
        let service = services.into_iter().find(|service| service.name_any() == name);
        let instances =
            instances.into_iter().filter(|instance| instance.service == name && only.is_none_or(|id| instance.id == id)).collect();
        let facts = collect::collect(connection, &name, service, instances, clock::now()).await?;
        let mut report = diagnosis::report(&facts, only);
        if let Some(task) = connection.tasks().get_opt(&name).await.ok().flatten().filter(|_| facts.service.is_none()) {
            let has_service = task.spec.service_ref.is_some();
            report.remedies = report.remedies.iter().map(|remedy| in_task(remedy, has_service)).collect();
        }
        if self.json {
            output::print_line(&serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)?)?;
        } else {
            output::print(&render::render(&report, clock::now(), Paint::detect()))?;
        }
        if report.wanted { Ok(()) } else { Err(Failure::said(Code::Failed)) }
    }
}

//! `mesh restart`: new instances of the same spec, by the rollout that a changed spec gets (nothing is lost on the way).
use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{
    apply::FIELD_MANAGER,
    exit::{Result, each},
    output,
    select::or_no_service,
    target::Connection,
};
use mesh_api::labels::RESTARTED_AT;
use mesh_kit::clock;

/// Replace all instances of services, one after the other.
#[derive(Debug, Args)]
pub struct Restart {
    /// The services.
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

impl Restart {
    /// Marks the services; the controller does the rest.
    pub async fn run(self, connection: &Connection) -> Result {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {RESTARTED_AT: clock::now().to_string()}}}));
        each(self.services, async |name| {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            or_no_service(connection, &name, connection.services().patch(&name, &params, &patch).await).await?;
            output::print_line(&format!("{name} is being restarted"))
        })
        .await
    }
}

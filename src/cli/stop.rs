//! `mesh stop`: a service keeps its object and loses its instances; an instance is drained, ended and replaced.
use clap::Args;
use kube::ResourceExt;

use super::{
    exit::Result,
    instance::{self, Kind},
    output,
    scale::scale,
    select::{Found, Selected, find},
    target::Connection,
};

/// Scale services to 0, or end one instance (another takes its place).
#[derive(Debug, Args)]
pub struct Stop {
    /// A service, or the beginning of an instance's id. All services of the namespace if left out.
    #[arg(value_name = "SERVICE|ID")]
    what: Option<String>,
}

impl Stop {
    /// Stops it, and says how it comes back.
    pub async fn run(self, connection: &Connection) -> Result {
        let Some(word) = self.what else {
            let services = connection.list_services(false).await?;
            for service in services.iter().filter(|service| service.spec.replicas > 0) {
                stop_service(connection, &service.name_any(), service.spec.replicas).await?;
            }
            return if services.is_empty() { output::print_line("there are no services here") } else { Ok(()) };
        };
        let Found { selected, services, instances } = find(connection, &word).await?;
        match selected {
            Selected::Service(name) => {
                let replicas = services.iter().find(|service| service.name_any() == name).map_or(0, |service| service.spec.replicas);
                stop_service(connection, &name, replicas).await
            }
            Selected::Instance(id) => {
                let Some(found) = instances.iter().find(|instance| instance.id == id) else { return Ok(()) };
                instance::delete(connection, found).await?;
                let next = match found.kind {
                    Kind::MeshInstance => "a new instance takes its place",
                    Kind::Pod => "its Deployment makes another",
                };
                output::print_line(&format!("{id} is drained and ended; {next} (`mesh scale` changes how many there are)"))
            }
        }
    }
}

async fn stop_service(connection: &Connection, name: &str, replicas: i32) -> Result {
    if replicas == 0 {
        return output::print_line(&format!("{name} is at 0 already; `mesh scale {name}=1` brings it back"));
    }
    scale(connection, name, 0).await?;
    output::print_line(&format!("{name} scaled from {replicas} to 0; `mesh scale {name}={replicas}` brings it back"))
}

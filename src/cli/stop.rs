//! `mesh stop`: a service keeps its object and loses its instances; an instance is drained, ended and replaced.
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{
    delete::end,
    exit::{Code, Failure, Result, each},
    instance::{self, Instance, Kind},
    output,
    scale::scale,
    select::{Found, Selected, find},
    target::Connection,
};
use mesh_api::duration::Duration as Wait;

/// Scale services to 0, or end one instance (another takes its place).
#[derive(Debug, Args)]
pub struct Stop {
    /// A service, or the beginning of an instance's id; a run of a task by its whole id. All services of the namespace if left out.
    #[arg(value_name = "SERVICE|ID")]
    what: Option<String>,
    /// Do not wait until an instance has ended.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for that.
    #[arg(long, default_value = "2m", value_name = "DURATION")]
    timeout: Wait,
}

impl Stop {
    /// Stops it, and says how it comes back.
    pub async fn run(self, connection: &Connection) -> Result {
        let Some(word) = self.what else {
            let services = connection.list_services(false).await?;
            let running: Vec<_> = services.iter().filter(|service| service.spec.replicas > 0).collect();
            each(&running, async |service| stop_service(connection, &service.name_any(), service.spec.replicas).await).await?;
            let back: Vec<String> = running.iter().map(|service| format!("{}={}", service.name_any(), service.spec.replicas)).collect();
            return match back.as_slice() {
                [] if services.is_empty() => output::print_line("there are no services here"),
                [] | [_] => Ok(()),
                _ => output::print_line(&format!("`mesh scale {}` brings all back", back.join(" "))),
            };
        };
        let Found { selected, services, instances } = find(connection, &word).await?;
        match selected {
            Selected::Service(name) => {
                let replicas = services.iter().find(|service| service.name_any() == name).map_or(0, |service| service.spec.replicas);
                stop_service(connection, &name, replicas).await
            }
            Selected::Instance(id) => {
                let Some(found) = instances.iter().find(|instance| instance.id == id) else { return Ok(()) };
                if found.is_run && word != id {
                    let text =
                        format!("{word:?} is the beginning of {id}, a run of task {}: `mesh stop {id}` ends and removes it", found.service);
                    return Err(Failure::new(Code::Failed, text));
                }
                instance::delete(connection, found).await?;
                if found.is_run {
                    return output::print_line(&format!("{id} is ended and removed; it was a run of task {}", found.service));
                }
                let next = match found.kind {
                    Kind::MeshInstance => "a new instance takes its place",
                    Kind::Pod => "its Deployment makes another",
                };
                if self.no_wait {
                    return output::print_line(&format!(
                        "{id} is being drained, and ends then; {next} (`mesh scale` changes how many there are)"
                    ));
                }
                let late = || {
                    let text = format!("{id} has not ended after {}: it is drained first, `mesh why {id}` shows it; {next}", self.timeout);
                    Failure::new(Code::NotReady, text)
                };
                let limit = self.timeout.get().max(Duration::from_millis(1));
                tokio::time::timeout(limit, ended(connection, found)).await.unwrap_or_else(|_| Err(late()))?;
                output::print_line(&format!("{id} is drained and ended; {next} (`mesh scale` changes how many there are)"))
            }
        }
    }
}

/// Waits until it is gone.
async fn ended(connection: &Connection, instance: &Instance) -> Result {
    let uid = instance.uid.clone().unwrap_or_default();
    match instance.kind {
        Kind::MeshInstance => end(connection.instances(), &instance.id, &uid).await,
        Kind::Pod => end(instance::api::<Pod>(&connection.client, Some(&connection.namespace)), &instance.id, &uid).await,
    }
}

async fn stop_service(connection: &Connection, name: &str, replicas: i32) -> Result {
    if replicas == 0 {
        return output::print_line(&format!("{name} is at 0 already; `mesh scale {name}=1` brings it back"));
    }
    scale(connection, name, 0).await?;
    output::print_line(&format!("{name} scaled from {replicas} to 0; `mesh scale {name}={replicas}` brings it back"))
}

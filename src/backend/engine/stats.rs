//! What containers use.
use std::{collections::HashMap, time::Duration};

use bollard::query_parameters::StatsOptions;
use futures::StreamExt;
use http::Method;
use serde::Deserialize;

use super::{Engine, Error, Kind, LIBPOD, http::encode};

/// What one container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since its start.
    pub cpu: Duration,
    /// Memory now, in bytes; 0 where the engine cannot tell.
    pub memory: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct All {
    #[serde(default)]
    error: Option<serde_json::Value>,
    #[serde(default)]
    stats: Option<Vec<One>>,
}

#[derive(Deserialize)]
struct One {
    #[serde(rename = "ContainerID")]
    id: String,
    #[serde(rename = "CPUNano", default)]
    cpu: u64,
    #[serde(rename = "MemUsage", default)]
    memory: u64,
}

impl Engine {
    /// What these running containers use, by id. One that is gone meanwhile is left out.
    pub async fn stats(&self, ids: &[String]) -> Result<HashMap<String, Usage>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        match self.kind() {
            Kind::Podman => self.all_by_libpod(ids).await,
            Kind::Docker => self.each_by_docker(ids).await,
        }
    }

    async fn all_by_libpod(&self, ids: &[String]) -> Result<HashMap<String, Usage>, Error> {
        let named: Vec<String> = ids.iter().map(|id| format!("containers={}", encode(id))).collect();
        let path = format!("{LIBPOD}/containers/stats?stream=false&{}", named.join("&"));
        let all: All = self.http().json(Method::GET, &path, None::<&()>).await?;
        match all.error {
            Some(error) if !error.is_null() => Err(Error::Answer { status: 500, message: error.to_string() }),
            _ => Ok(all.stats.unwrap_or_default().into_iter().map(|one| (one.id, usage(one.cpu, one.memory))).collect()),
        }
    }

    async fn each_by_docker(&self, ids: &[String]) -> Result<HashMap<String, Usage>, Error> {
        let mut found = HashMap::new();
        for id in ids {
            let mut stats = self.docker().stats(id, Some(StatsOptions { stream: false, one_shot: true })).boxed();
            match stats.next().await.transpose().map_err(self.refused()) {
                Ok(Some(stats)) => {
                    let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage).and_then(|usage| usage.total_usage).unwrap_or(0);
                    let memory = stats.memory_stats.and_then(|memory| memory.usage).unwrap_or(0);
                    found.insert(id.clone(), usage(cpu, memory));
                }
                Err(error) if error.is_unreachable() => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(found)
    }
}

fn usage(nanoseconds: u64, memory: u64) -> Usage {
    Usage { cpu: Duration::from_nanos(nanoseconds), memory }
}

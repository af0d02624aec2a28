//! Containers: list, look, make, start, stop, kill, rename, remove.
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptions, RemoveContainerOptionsBuilder, RenameContainerOptions,
};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Engine, Error, Kind, LIBPOD, create::Create, docker, http::encode, spec};
use mesh_plan::container::Published;

/// How long after a container's grace the engine may still take to say that it has stopped.
const STOP_SLACK: Duration = Duration::from_secs(30);

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub status: Status,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The networks that it is on.
    pub networks: Vec<String>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was made and never started.
    Created,
    /// It runs.
    Running,
    /// It runs, and gets no time.
    Paused,
    /// It was told to stop.
    Stopping,
    /// It has ended, and its network and mounts are being cleaned up.
    Stopped,
    /// It has ended.
    Exited,
    /// It is being removed.
    Removing,
}

impl Status {
    /// From either engine's word; one that nobody knows is taken for a container that never ran, which is removed before the next start.
    fn of(word: &str) -> Self {
        match word {
            "running" | "restarting" => Self::Running,
            "paused" => Self::Paused,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "exited" | "dead" => Self::Exited,
            "removing" => Self::Removing,
            _ => Self::Created,
        }
    }

    /// Whether a process of it may live.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Stopping)
    }
}

/// A close look at a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does, as the engine believes.
    pub status: Status,
    /// Its main process, as the engine believes; 0 if there is none.
    pub pid: i32,
    /// The process that holds it (conmon), where the engine says so.
    pub holder: Option<i32>,
    /// When it was started last.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its exit code, if it has ended.
    pub exit_code: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its published port.
    pub port: Option<Published>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSummary {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    /// Podman's.
    #[serde(default)]
    networks: Option<Vec<String>>,
    /// Docker's.
    #[serde(default)]
    network_settings: Option<RawNetworks>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNetworks {
    #[serde(default)]
    networks: Option<BTreeMap<String, serde_json::Value>>,
}

impl From<RawSummary> for Summary {
    fn from(raw: RawSummary) -> Self {
        let of_docker = raw.network_settings.and_then(|settings| settings.networks).map(|networks| networks.into_keys().collect());
        Self {
            id: raw.id,
            name: raw.names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
            status: Status::of(&raw.state),
            labels: raw.labels.unwrap_or_default(),
            networks: raw.networks.or(of_docker).unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawInspect {
    id: String,
    name: String,
    state: RawState,
    config: RawConfig,
    #[serde(default)]
    host_config: RawHostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawState {
    #[serde(default)]
    status: String,
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    conmon_pid: Option<i32>,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
    #[serde(default)]
    exit_code: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RawHostConfig {
    #[serde(default)]
    port_bindings: Option<BTreeMap<String, Option<Vec<RawBinding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawBinding {
    #[serde(default)]
    host_port: String,
}

impl From<RawInspect> for Inspected {
    fn from(raw: RawInspect) -> Self {
        let port = raw.host_config.port_bindings.unwrap_or_default().into_iter().find_map(|(port, bindings)| {
            let host = bindings?.first()?.host_port.parse().ok()?;
            Some(Published { container: port.split('/').next()?.parse().ok()?, host })
        });
        Self {
            id: raw.id,
            name: raw.name.trim_start_matches('/').to_owned(),
            status: Status::of(&raw.state.status),
            pid: raw.state.pid,
            holder: raw.state.conmon_pid.filter(|pid| *pid > 0),
            started: time(&raw.state.started_at),
            finished: time(&raw.state.finished_at),
            exit_code: raw.state.exit_code,
            labels: raw.config.labels.unwrap_or_default(),
            port,
        }
    }
}

/// A time as the engines write it; the year 1 stands for never.
fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|at| at.as_second() > 0)
}

/// A filter by labels, all of which must be there.
pub(super) fn by_labels(labels: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.iter().map(|(key, value)| format!("{key}={value}")).collect())])
}

impl Engine {
    /// Every container that has these labels, whatever it does.
    pub async fn containers(&self, labels: &[(&str, &str)]) -> Result<Vec<Summary>, Error> {
        let filters = serde_json::to_string(&by_labels(labels)).map_err(|error| Error::Unreadable(error.to_string()))?;
        let path = self.path(&format!("/containers/json?all=true&filters={}", encode(&filters)));
        let found: Vec<RawSummary> = self.http().json(Method::GET, &path, None::<&()>).await?;
        Ok(found.into_iter().map(Summary::from).collect())
    }

    /// A close look at one, by id or name; none if there is none.
    pub async fn inspect(&self, container: &str) -> Result<Option<Inspected>, Error> {
        let path = self.path(&format!("/containers/{}/json", encode(container)));
        let found = self.http().json::<RawInspect>(Method::GET, &path, None::<&()>).await;
        Ok(Error::none_if_missing(found)?.map(Inspected::from))
    }

    /// Makes a container, and gives its id.
    pub async fn create(&self, create: &Create<'_>) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Made {
            id: String,
        }
        match self.kind() {
            Kind::Podman => {
                let path = format!("{LIBPOD}/containers/create");
                self.http().json::<Made>(Method::POST, &path, Some(&spec::spec(create))).await.map(|made| made.id)
            }
            Kind::Docker => {
                let options = CreateContainerOptionsBuilder::default().name(&create.container.name).build();
                let body = docker::body(create, &self.info().log_driver);
                self.docker().create_container(Some(options), body).await.map(|made| made.id).map_err(self.refused())
            }
        }
    }

    /// Starts it; one that runs stays as it is.
    pub async fn start(&self, container: &str) -> Result<(), Error> {
        self.docker().start_container(container, None).await.map_err(self.refused())
    }

    /// SIGTERM, and SIGKILL after the grace. Returns when it has ended.
    pub async fn stop(&self, container: &str, grace: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let path = format!("/containers/{}/stop?t={seconds}", encode(container));
        let answer = self.http().send(Method::POST, &path, &[], Vec::new(), grace + STOP_SLACK).await?;
        let status = answer.status;
        let body = answer.body.collect().await?;
        // 304: it had ended already.
        if status.is_success() || status == StatusCode::NOT_MODIFIED { Ok(()) } else { Err(Error::answer(status.as_u16(), &body)) }
    }

    /// Sends a signal.
    pub async fn kill(&self, container: &str, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        self.docker().kill_container(container, Some(options)).await.map_err(self.refused())
    }

    /// Lets a paused one go on.
    pub async fn unpause(&self, container: &str) -> Result<(), Error> {
        self.docker().unpause_container(container).await.map_err(self.refused())
    }

    /// Gives it another name.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), Error> {
        self.docker().rename_container(container, RenameContainerOptions { name: name.to_owned() }).await.map_err(self.refused())
    }

    /// Removes it with its anonymous volumes, running or not, without waiting for it; one that is not there is as good.
    pub async fn remove(&self, container: &str) -> Result<(), Error> {
        let mut removed = self.remove_once(container).await;
        // Where conmon was killed the first removal only finds that out (Podman 5.4), and the second removes.
        if matches!(&removed, Err(error) if !error.is_unreachable() && !error.is_not_found()) {
            removed = self.remove_once(container).await;
        }
        Error::none_if_missing(removed).map(drop)
    }

    async fn remove_once(&self, container: &str) -> Result<(), Error> {
        match self.kind() {
            Kind::Podman => {
                let path = format!("{LIBPOD}/containers/{}?force=true&timeout=0&v=true&ignore=true", encode(container));
                self.http().call(Method::DELETE, &path, &[], Vec::new()).await.map(drop)
            }
            Kind::Docker => {
                let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
                self.docker().remove_container(container, Some(options)).await.map_err(self.refused())
            }
        }
    }
}

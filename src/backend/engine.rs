//! A client of a container engine, Podman or Docker, over the Unix socket of its API. Knows the two dialects and their traps, and nothing of
//! instances; decides nothing. Called by the podman backend, by Quadlet and by `mesh doctor`.
//!
//! What the two engines share goes through bollard; what libpod alone has, or says better, goes through the thin client in [`http`].
pub mod containers;
pub mod create;
mod docker;
pub mod error;
pub mod events;
pub mod exec;
mod http;
pub mod images;
pub mod logs;
pub mod networks;
pub mod secrets;
pub mod socket;
mod spec;
pub mod stats;
pub mod version;
pub mod volumes;

use std::{path::Path, sync::Arc, time::Duration};

use ::http::Method;
use bollard::{API_DEFAULT_VERSION, Docker};
use serde::Deserialize;

pub use self::error::Error;
use self::{http::Http, version::Version};

/// Podman 4 is the first with networks as they are used here.
pub const OLDEST_PODMAN: Version = Version { major: 4, minor: 0, patch: 0 };
/// The first Podman that shows `*******` instead of the value of a secret environment variable in `podman inspect` (podman #23959).
pub const MASKS_SECRET_ENV: Version = Version { major: 5, minor: 3, patch: 0 };
/// How long the engine may take to answer anything but a stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the path of every call in libpod's own dialect; the version in it is not checked by the engine.
const LIBPOD: &str = "/v4.0.0/libpod";

/// Which program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Podman: its own dialect is used where it can more.
    Podman,
    /// Docker, or another that speaks its dialect only.
    Docker,
}

/// What the engine says of itself and its machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// The architecture as Go calls it (`amd64`).
    pub architecture: String,
    /// Where the output of containers goes (`journald`, `k8s-file`, `json-file`).
    pub log_driver: String,
    /// It runs without root.
    pub rootless: bool,
    /// `v1` or `v2`.
    pub cgroup_version: String,
    /// The controllers that it may use; empty if it does not say.
    pub cgroup_controllers: Vec<String>,
    /// SELinux confines its containers.
    pub selinux: bool,
}

/// A container engine. A clone is the same one; every call makes a connection of its own, so an engine that was restarted is simply found again.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    version: Version,
    info: Info,
    docker: Docker,
    http: Http,
}

impl Engine {
    /// Opens the engine at a socket: asks who it is, and refuses what is too old.
    ///
    /// # Errors
    /// No socket, no permission, no engine behind it, or too old a one; each text has the remedy.
    pub async fn open(socket: &Path) -> Result<Self, Error> {
        let http = Http::new(socket);
        let (kind, version) = ping(&http).await?;
        Self::with(http, kind, version).await
    }

    /// Speaks Docker's dialect to a Podman: for tests, where no Docker is at hand.
    pub async fn open_as_docker(socket: &Path) -> Result<Self, Error> {
        let http = Http::new(socket);
        let (_, version) = ping(&http).await?;
        Self::with(http, Kind::Docker, version).await
    }

    async fn with(http: Http, kind: Kind, version: Version) -> Result<Self, Error> {
        if kind == Kind::Podman && version < OLDEST_PODMAN {
            return Err(Error::TooOld { socket: http.socket().to_owned(), version });
        }
        let path = http.socket().to_string_lossy().into_owned();
        let docker = Docker::connect_with_unix(&path, PATIENCE.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| Error::of_bollard(&error, http.socket()))?;
        let info = match kind {
            Kind::Podman => podman_info(&http).await?,
            Kind::Docker => docker_info(&docker, http.socket()).await?,
        };
        Ok(Self(Arc::new(Inner { kind, version, info, docker, http })))
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// What it said of itself when it was opened.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        self.0.http.socket()
    }

    /// The program that a person at a terminal uses on it.
    pub fn program(&self) -> &'static str {
        match self.0.kind {
            Kind::Podman => "podman",
            Kind::Docker => "docker",
        }
    }

    /// What to call it in a message.
    pub fn name(&self) -> String {
        let product = match self.0.kind {
            Kind::Podman => "Podman",
            Kind::Docker => "Docker",
        };
        format!("{product} at {}", self.socket().display())
    }

    /// Whether the value of a secret environment variable stays out of `inspect`.
    pub fn masks_secret_env(&self) -> bool {
        self.0.kind == Kind::Podman && self.0.version >= MASKS_SECRET_ENV
    }

    /// Asks whether it is there.
    pub async fn ping(&self) -> Result<(), Error> {
        ping(&self.0.http).await.map(drop)
    }

    fn http(&self) -> &Http {
        &self.0.http
    }

    fn docker(&self) -> &Docker {
        &self.0.docker
    }

    /// Takes an error of bollard for what it is.
    fn refused(&self) -> impl Fn(bollard::errors::Error) -> Error + '_ {
        |error| Error::of_bollard(&error, self.socket())
    }

    /// The path of a call that both dialects have alike, but for what stands before it.
    fn path(&self, path: &str) -> String {
        match self.0.kind {
            Kind::Podman => format!("{LIBPOD}{path}"),
            Kind::Docker => path.to_owned(),
        }
    }
}

/// Podman names itself in the answer's header; asking for its version would take a hundred times as long.
async fn ping(http: &Http) -> Result<(Kind, Version), Error> {
    let not_engine = |why: &str| Error::NotAnEngine { socket: http.socket().to_owned(), why: why.to_owned() };
    let answer = http.send(Method::GET, "/_ping", &[], Vec::new(), PATIENCE).await?;
    if !answer.status.is_success() {
        return Err(not_engine(&format!("it answers a ping with HTTP status {}", answer.status.as_u16())));
    }
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (podman, server, api) = (header("libpod-api-version"), header("server"), header("api-version"));
    if !podman.is_empty() {
        return Ok((Kind::Podman, podman.parse().map_err(|()| not_engine(&format!("its version is {podman:?}")))?));
    }
    if api.is_empty() {
        return Err(not_engine("its answer to a ping has no Api-Version"));
    }
    // `Server: Docker/27.0.1 (linux)`
    let version = server.split(['/', ' ']).nth(1).unwrap_or_default().parse().unwrap_or(Version { major: 0, minor: 0, patch: 0 });
    Ok((Kind::Docker, version))
}

#[derive(Deserialize)]
struct PodmanInfo {
    host: PodmanHost,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodmanHost {
    arch: String,
    log_driver: String,
    cgroup_version: String,
    cgroup_controllers: Option<Vec<String>>,
    security: PodmanSecurity,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodmanSecurity {
    rootless: bool,
    selinux_enabled: bool,
}

async fn podman_info(http: &Http) -> Result<Info, Error> {
    let PodmanInfo { host } = http.json(Method::GET, &format!("{LIBPOD}/info"), None::<&()>).await?;
    Ok(Info {
        architecture: host.arch,
        log_driver: host.log_driver,
        rootless: host.security.rootless,
        cgroup_version: host.cgroup_version,
        cgroup_controllers: host.cgroup_controllers.unwrap_or_default(),
        selinux: host.security.selinux_enabled,
    })
}

async fn docker_info(docker: &Docker, socket: &Path) -> Result<Info, Error> {
    let info = docker.info().await.map_err(|error| Error::of_bollard(&error, socket))?;
    let options = info.security_options.unwrap_or_default();
    Ok(Info {
        architecture: images::go_name(&info.architecture.unwrap_or_default()).to_owned(),
        log_driver: info.logging_driver.unwrap_or_default(),
        rootless: options.iter().any(|option| option.contains("rootless")),
        cgroup_version: info.cgroup_version.map(|version| format!("v{version}")).unwrap_or_default(),
        cgroup_controllers: Vec::new(),
        selinux: options.iter().any(|option| option.contains("selinux")),
    })
}

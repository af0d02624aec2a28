//! Which API a command talks to: found by flags, by the project's `.mesh`, by the environment, or by the default state directory.
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use kube::{
    Api, Client, Config,
    api::ListParams,
    client::{ClientBuilder, retry::RetryPolicy},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{buffer::BufferLayer, retry::RetryLayer};

use super::{
    exit::{Code, Failure, Result},
    state_dir::{self, owner},
};
use mesh_api::{MeshInstance, MeshService};

/// The flags that say which API.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    /// The kubeconfig of the API [default: .mesh/kubeconfig here or above, else $KUBECONFIG, else that of the default state directory].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Which API")]
    pub kubeconfig: Option<PathBuf>,
    /// The state directory of the controller: its kubeconfig is used. With `run`: where to keep the state [default: .mesh in the project directory].
    #[arg(long, global = true, env = "MESH_STATE_DIR", value_name = "DIR", conflicts_with = "kubeconfig", help_heading = "Which API")]
    pub state_dir: Option<PathBuf>,
    /// The namespace [default: that of the kubeconfig].
    #[arg(short, long, global = true, env = "MESH_NAMESPACE", value_name = "NAME", help_heading = "Which API")]
    pub namespace: Option<String>,
}

/// Where the API was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// One kubeconfig, and whose it is.
    File(PathBuf, &'static str),
    /// The files in `$KUBECONFIG`.
    Environment,
    /// No kubeconfig anywhere.
    Nowhere,
}

/// What is looked at, in values.
struct Places {
    kubeconfig: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    current: PathBuf,
    environment: bool,
    default_state_dir: Option<PathBuf>,
}

/// An API that a command may use.
#[derive(Clone)]
pub struct Connection {
    /// Speaks to it.
    pub client: Client,
    /// The namespace that is meant where none is said.
    pub namespace: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Connection {
    /// The services of the namespace.
    pub fn services(&self) -> Api<MeshService> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The services of the namespace, or of all; says what to do where the API does not know what a service is.
    pub async fn list_services(&self, all_namespaces: bool) -> Result<Vec<MeshService>> {
        let api = if all_namespaces { Api::all(self.client.clone()) } else { self.services() };
        match api.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(Failure::new(
                Code::Failed,
                "this API has no MeshServices: their definitions are not installed; `mesh-controller crd | kubectl apply --server-side -f -` does it",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// The instances of the namespace.
    pub fn instances(&self) -> Api<MeshInstance> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl Target {
    /// Does something with the API; says which one it was, and what to do, if it does not answer.
    pub async fn with(self, act: impl AsyncFnOnce(&Connection) -> Result) -> Result {
        let places = self.places()?;
        let found = find(&places);
        let config = config(&found, &places).await?;
        let address = config.cluster_url.to_string();
        let namespace = self.namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = client(config).map_err(|error| Failure::from(error).context(source_of(&found)))?;
        act(&Connection { client, namespace }).await.map_err(|failure| match failure.code {
            Code::Unreachable => Failure::new(
                Code::Unreachable,
                format!(
                    "nothing answers at {address} (from {}): {}; start it with `mesh run` or `mesh-controller`, or name another with --kubeconfig or --state-dir",
                    source_of(&found),
                    failure.text()
                ),
            ),
            _ => failure,
        })
    }

    fn places(&self) -> Result<Places> {
        Ok(Places {
            kubeconfig: self.kubeconfig.clone(),
            state_dir: self.state_dir.clone(),
            current: std::env::current_dir().map_err(|error| Failure::from(error).context("current directory"))?,
            environment: std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()),
            default_state_dir: state_dir::default(),
        })
    }
}

/// Flags win, then the project, then the environment, then this machine's default controller.
fn find(places: &Places) -> Found {
    if let Some(file) = &places.kubeconfig {
        return Found::File(file.clone(), "--kubeconfig");
    }
    if let Some(dir) = &places.state_dir {
        return Found::File(state_dir::kubeconfig(dir), "--state-dir");
    }
    if let Some(file) = in_project(&places.current) {
        return Found::File(file, "this project");
    }
    if places.environment {
        return Found::Environment;
    }
    let Some(file) = places.default_state_dir.as_deref().map(state_dir::kubeconfig) else { return Found::Nowhere };
    // A directory that cannot be looked into exists all the same; reading it will say why.
    if file.try_exists().unwrap_or(true) { Found::File(file, "the default state directory") } else { Found::Nowhere }
}

fn in_project(current: &Path) -> Option<PathBuf> {
    current.ancestors().map(|dir| state_dir::kubeconfig(&dir.join(state_dir::IN_PROJECT))).find(|file| is_there(file))
}

/// One that cannot be looked at is there all the same; reading it will say whose it is.
fn is_there(file: &Path) -> bool {
    std::fs::metadata(file).map_or_else(|error| error.kind() == std::io::ErrorKind::PermissionDenied, |found| found.is_file())
}

fn source_of(found: &Found) -> String {
    match found {
        Found::File(file, whose) => format!("{}, {whose}", file.display()),
        Found::Environment => format!("$KUBECONFIG {}", std::env::var("KUBECONFIG").unwrap_or_default()),
        Found::Nowhere => "nowhere".to_owned(),
    }
}

async fn config(found: &Found, places: &Places) -> Result<Config> {
    let kubeconfig = match found {
        Found::File(file, whose) => {
            if places.kubeconfig.is_none() {
                is_ours(file)?;
            }
            Kubeconfig::read_from(file).map_err(|error| Failure::new(Code::Unreachable, format!("{whose}: {error}: {}", file.display())))?
        }
        Found::Environment => Kubeconfig::from_env()
            .map_err(|error| Failure::new(Code::Unreachable, format!("$KUBECONFIG: {error}")))?
            .ok_or_else(|| Failure::new(Code::Unreachable, "$KUBECONFIG names no file"))?,
        Found::Nowhere => {
            let default = places.default_state_dir.as_deref().map(|dir| format!("{} is not there", state_dir::kubeconfig(dir).display()));
            let default = default.unwrap_or_else(|| "there is no $HOME with a state directory".to_owned());
            return Err(Failure::new(
                Code::Unreachable,
                format!(
                    "no API found: there is no .mesh/kubeconfig here or above, $KUBECONFIG is not set, and {default}; \
                     start one with `mesh run` or `mesh-controller`"
                ),
            ));
        }
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| Failure::new(Code::Unreachable, format!("{}: {error}", source_of(found))))?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(config)
}

/// A kubeconfig that was found and not named: one of another user could have us run what it wants, or cannot be read.
fn is_ours(file: &Path) -> Result {
    is_of(file, rustix::process::geteuid().as_raw())
}

fn is_of(file: &Path, us: u32) -> Result {
    let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let closed = std::fs::File::open(file).is_err_and(|error| denied(&error));
    // Where the file cannot be looked at, its directory says whose it is.
    let owner = [Some(file), file.parent()].into_iter().flatten().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.uid());
    match owner {
        Some(owner) if closed || (owner != us && owner != 0) => {
            let (name, file) = (owner::name(owner), file.display());
            let text = format!(
                "{file} belongs to user {name}, whose controller it is of: run this as that user (sudo -u {name} mesh …), \
                 or name an API that you trust with --kubeconfig"
            );
            Err(Failure::new(Code::Unreachable, text))
        }
        _ => Ok(()),
    }
}

/// An API that is busy, or has just got our definitions ("storage is (re)initializing"), is asked again for some seconds: a person waits.
fn client(mut config: Config) -> kube::Result<Client> {
    // Its own goes on for minutes.
    config.default_retry = false;
    let Ok(policy) = RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(2), 6, true) else { return Client::try_from(config) };
    // A retry clones its service; this is the one that can be cloned.
    Ok(ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(64)).with_layer(&RetryLayer::new(policy)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_then_the_project_then_the_environment_then_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("project");
        let current = project.join("src/deep");
        std::fs::create_dir_all(&current).unwrap();
        std::fs::create_dir_all(project.join(".mesh")).unwrap();
        let default_state_dir = dir.path().join("state");
        let places = || Places {
            kubeconfig: None,
            state_dir: None,
            current: current.clone(),
            environment: false,
            default_state_dir: Some(default_state_dir.clone()),
        };
        assert_eq!(find(&places()), Found::Nowhere);
        std::fs::create_dir_all(&default_state_dir).unwrap();
        std::fs::write(default_state_dir.join("kubeconfig"), "").unwrap();
        assert_eq!(find(&places()), Found::File(default_state_dir.join("kubeconfig"), "the default state directory"));
        assert_eq!(find(&Places { environment: true, ..places() }), Found::Environment);
        std::fs::write(project.join(".mesh/kubeconfig"), "").unwrap();
        assert_eq!(find(&Places { environment: true, ..places() }), Found::File(project.join(".mesh/kubeconfig"), "this project"));
        assert_eq!(find(&Places { state_dir: Some("/s".into()), ..places() }), Found::File("/s/kubeconfig".into(), "--state-dir"));
        assert_eq!(
            find(&Places { kubeconfig: Some("/k".into()), state_dir: Some("/s".into()), ..places() }),
            Found::File("/k".into(), "--kubeconfig")
        );
    }

    #[test]
    fn a_kubeconfig_that_was_found_and_is_another_users_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        is_of(&file, 1).unwrap();
        std::fs::write(&file, "").unwrap();
        let us = std::fs::metadata(&file).unwrap().uid();
        is_of(&file, us).unwrap();
        if us != 0 {
            return;
        }
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        let refused = is_of(&file, 0).unwrap_err();
        assert_eq!(refused.code, Code::Unreachable);
        assert!(refused.text().contains("belongs to user nobody") && refused.text().contains("--kubeconfig"), "{}", refused.text());
    }
}

//! Which API a command talks to: found by flags, by the project's `.mesh`, by the environment, or by the default state directory.
mod ours;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    client::{ClientBuilder, retry::RetryPolicy},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::{buffer::BufferLayer, retry::RetryLayer};

use super::{
    exit::{Code, Failure, Result},
    kubeconfig::{of_list, wrong},
    state_dir,
};
use mesh_api::{MeshInstance, MeshNode, MeshService, MeshTask, conditions, labels};
use mesh_kit::meant::did_you_mean;

/// The flags that say which API.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    /// The kubeconfig of the API [default: .mesh/kubeconfig here or above, else $KUBECONFIG, else that of the default state directory].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Which API")]
    pub kubeconfig: Option<PathBuf>,
    /// The state directory of the controller: its kubeconfig is used. With `run`: where to keep the state [default: .mesh in the project directory] [env: MESH_STATE_DIR].
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "kubeconfig", help_heading = "Which API")]
    state_dir: Option<PathBuf>,
    /// The namespace [default: that of the kubeconfig].
    #[arg(short, long, global = true, env = "MESH_NAMESPACE", value_name = "NAME", help_heading = "Which API")]
    namespace: Option<String>,
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

/// Whose the kubeconfig of the default state directory is.
const DEFAULT: &str = "the default state directory";

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

    /// For where nothing was found: whether that is because there is no such namespace.
    ///
    /// # Errors
    /// There is none, and which there are.
    pub async fn namespace_is_there(&self) -> Result {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match namespaces.get(&self.namespace).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // Who may not read namespaces is not to be kept from what is in them.
            Ok(_) | Err(_) => return Ok(()),
        }
        let all = namespaces.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        Err(Failure::new(Code::Failed, no_namespace(&self.namespace, &names)))
    }

    /// The machines that run instances.
    async fn nodes(&self) -> Vec<MeshNode> {
        // A cluster has no MeshNodes, and who may not read them is not to be kept from the rest.
        Api::all(self.client.clone()).list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
    }

    /// What is wrong with the machines that run instances, in words.
    pub async fn node_troubles(&self) -> Vec<String> {
        self.nodes().await.iter().flat_map(node_troubles).collect()
    }

    /// Where instances' locks are kept, if a node keeps them elsewhere than as Leases: the node and the place.
    pub async fn coordination(&self) -> Option<(String, String)> {
        let nodes = self.nodes().await;
        nodes.iter().find_map(|node| Some((node.name_any(), node.annotations().get(labels::COORDINATION)?.clone())))
    }

    /// The tasks of the namespace.
    pub fn tasks(&self) -> Api<MeshTask> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The instances of the namespace.
    pub fn instances(&self) -> Api<MeshInstance> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn node_troubles(node: &MeshNode) -> Vec<String> {
    let conditions = node.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let wrong = |c: &&Condition| match c.type_.as_str() {
        conditions::node::READY => c.status == "False",
        conditions::node::UNKNOWN_INSTANCES => c.status == "True",
        _ => false,
    };
    conditions.iter().filter(wrong).map(|c| format!("node {}: {}", node.name_any(), c.message)).collect()
}

fn no_namespace(name: &str, there: &[String]) -> String {
    let meant = did_you_mean(name, there.iter().map(String::as_str));
    let here = if there.is_empty() { String::new() } else { format!("; namespaces here: {}", there.join(", ")) };
    format!("there is no namespace {name:?}{meant}{here}")
}

impl Target {
    /// Does something with the API; says which one it was, and what to do, if it does not answer.
    pub async fn with(self, act: impl AsyncFnOnce(&Connection) -> Result) -> Result {
        let places = self.places()?;
        let found = find(&places);
        let config = config(&found, &places).await?;
        let (address, of_machine) = (config.cluster_url.to_string(), is_of_machine(&config));
        let namespace = self.namespace().unwrap_or_else(|| config.default_namespace.clone());
        let client = client(config).map_err(|error| Failure::from(error).context(source_of(&found)))?;
        act(&Connection { client, namespace }).await.map_err(|failure| match failure.code {
            Code::Unreachable if failure.is_unavailable() => failure.context(format!("the API at {address} cannot do it now")),
            Code::Unreachable => Failure::new(
                Code::Unreachable,
                format!(
                    "nothing answers at {address} (from {}): {}; {}, or name another with --kubeconfig or --state-dir",
                    source_of(&found),
                    failure.text(),
                    match (of_machine, &found) {
                        // `mesh run` keeps its own in the project.
                        (true, Found::File(_, DEFAULT)) => "start it with `mesh-controller`",
                        (true, _) => "start it with `mesh run` or `mesh-controller`",
                        (false, _) => "see whether that machine can be reached",
                    }
                ),
            ),
            _ => failure,
        })
    }

    /// Whether an API was named on the command line.
    pub fn is_said(&self) -> bool {
        self.kubeconfig.is_some() || self.state_dir.is_some()
    }

    /// That of the flag; else that of the environment, which is no flag: `--kubeconfig` goes before it, and an empty one is none.
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.state_dir.clone().or_else(|| std::env::var_os("MESH_STATE_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from))
    }

    /// The one that is said; an empty one is none.
    pub fn namespace(&self) -> Option<String> {
        self.namespace.clone().filter(|name| !name.is_empty())
    }

    fn places(&self) -> Result<Places> {
        Ok(Places {
            kubeconfig: self.kubeconfig.clone(),
            state_dir: self.state_dir(),
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
    if let Some(dir) = state_dir::in_project(&places.current) {
        return Found::File(state_dir::kubeconfig(&dir), "this project");
    }
    if places.environment {
        return Found::Environment;
    }
    let Some(file) = places.default_state_dir.as_deref().map(state_dir::kubeconfig) else { return Found::Nowhere };
    // A directory that cannot be looked into exists all the same; reading it will say why.
    if file.try_exists().unwrap_or(true) { Found::File(file, DEFAULT) } else { Found::Nowhere }
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
                ours::check(file)?;
            }
            Kubeconfig::read_from(file).map_err(|error| {
                let text = format!("{whose} {}: {}{}", file.display(), wrong(&error), of_another(&error));
                Failure::new(Code::Unreachable, text)
            })?
        }
        Found::Environment => of_list(&std::env::var_os("KUBECONFIG").unwrap_or_default())
            .map_err(|text| Failure::new(Code::Unreachable, format!("{}: {text}", source_of(found))))?,
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
        .map_err(|error| Failure::new(Code::Unreachable, format!("{}: {}", source_of(found), wrong(&error))))?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(config)
}

/// Who may not read a kubeconfig may not use its API either.
fn of_another(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::ReadConfig(error, _) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "; it belongs to another user: run this as that one (sudo), or start your own with `mesh run`, or name another API with --kubeconfig"
        }
        _ => "",
    }
}

/// Whether the API is one of this machine, which can be started here.
fn is_of_machine(config: &Config) -> bool {
    let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
    fn a_namespace_that_is_not_there_is_named_with_those_that_are() {
        let there = ["default".to_owned(), "shop".to_owned()];
        assert_eq!(
            no_namespace("shopp", &there),
            "there is no namespace \"shopp\"; did you mean \"shop\"?; namespaces here: default, shop"
        );
        assert_eq!(no_namespace("nosuch", &[]), "there is no namespace \"nosuch\"");
    }

    #[test]
    fn a_kubeconfig_of_another_user_is_told_from_one_that_is_not_there() {
        let read = |kind: std::io::ErrorKind| of_another(&KubeconfigError::ReadConfig(kind.into(), "/k".into()));
        assert!(read(std::io::ErrorKind::PermissionDenied).contains("belongs to another user"));
        assert_eq!(read(std::io::ErrorKind::NotFound), "");
    }

    #[test]
    fn only_an_api_of_this_machine_can_be_started_here() {
        let of = |url: &str| is_of_machine(&Config::new(url.parse().unwrap()));
        assert!(of("https://127.0.0.1:7443") && of("https://[::1]:7443") && of("https://localhost:7443"));
        assert!(!of("https://10.0.0.1:6443") && !of("https://cluster.example"));
    }

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
}

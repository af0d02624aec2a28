//! The controller's flags by where they count: on this machine, or in a cluster. One that means nothing with the backend is refused, not ignored.
use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args};

use crate::{
    address::address,
    backend::{BackendArgs, BackendFlag},
    coordination::CoordinationArgs,
    exit::{Code, Failure, Result},
    hostname::hostname,
    serve::{
        ServeOptions,
        cluster::{self, ClusterOptions},
    },
    state_dir,
};
use mesh_api::{names::is_subdomain, node::PortRange};
use mesh_controllers::mesh_instance::ledger::Unknown;

const ROUTER_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const API_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7443);

/// What counts where instances run on this machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "On this machine")]
pub(crate) struct MachineArgs {
    /// Holds the store, credentials, kubeconfig, and instances' records and logs [default: $XDG_STATE_HOME/mesh; root: /var/lib/mesh].
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// What a relative workingDir is relative to [default: .].
    #[arg(long, env = "MESH_PROJECT_DIR", value_name = "DIR")]
    project_dir: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:7443].
    #[arg(long, value_parser = address, env = "MESH_API_LISTEN", value_name = "ADDR")]
    api_listen: Option<SocketAddr>,
    /// Where the router listens, unless a .socket unit of systemd passes its sockets [default: 127.0.0.1:8080].
    #[arg(long, value_parser = address, env = "MESH_ROUTER_LISTEN", value_name = "ADDR")]
    router_listen: Option<SocketAddr>,
    /// The Unix socket at which programs talk to the mesh [default: agent/agent.sock in the state directory].
    #[arg(long, env = "MESH_AGENT_SOCKET", value_name = "PATH")]
    agent_socket: Option<PathBuf>,
    /// Where programs talk to the mesh besides, in clear HTTP with their tokens [default: nowhere].
    #[arg(long, value_parser = loopback, env = "MESH_AGENT_LISTEN", value_name = "ADDR")]
    agent_listen: Option<SocketAddr>,
    /// Where instances get their ports from [default: 20000-29999].
    #[arg(long, env = "MESH_PORT_RANGE", value_name = "FROM-TO")]
    port_range: Option<PortRange>,
    /// The name of this machine's MeshNode [default: the hostname].
    #[arg(long, env = "MESH_NODE_NAME", value_name = "NAME", value_parser = node_name)]
    node_name: Option<String>,
    /// End what runs here and the store, which is a new one, does not know [default: it runs on until its services are applied again].
    #[arg(long, env = "MESH_END_UNKNOWN")]
    end_unknown: bool,
    #[command(flatten)]
    coordination: CoordinationArgs,
}

/// What counts in a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "In a cluster (--backend kubernetes)")]
pub(crate) struct ClusterArgs {
    /// The cluster's kubeconfig [default: the Pod's own access, else $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace of the Lease, the default MeshRouter and the cookie keys [default: the Pod's own, else mesh-system].
    #[arg(long, env = "MESH_SYSTEM_NAMESPACE", value_name = "NAME")]
    system_namespace: Option<String>,
    /// The Service by which pods that end reach the routers [default: mesh-router-drain in the system namespace].
    #[arg(long, env = "MESH_ROUTER_SERVICE", value_name = "NAMESPACE/NAME", value_parser = namespace_and_name)]
    router_service: Option<(String, String)>,
    /// The image that holds mesh-drain: pods wait with it until the routers have let them go. Without it they do not wait.
    #[arg(long, env = "MESH_DRAIN_IMAGE", value_name = "IMAGE")]
    drain_image: Option<String>,
    /// Where pods find the agent (mesh-controller agent). Without it they get no word of one, and no token.
    #[arg(long, value_name = "URL", value_parser = http_url)]
    agent_url: Option<String>,
    /// Where pods find the routers, as those with an agent are told.
    #[arg(long, value_name = "URL", value_parser = http_url, requires = "agent_url")]
    router_url: Option<String>,
    /// Whether several controllers may run, of which one writes [default: true].
    #[arg(long, env = "MESH_LEADER_ELECT", value_name = "true|false", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    leader_elect: Option<bool>,
}

/// It names the MeshNode and, behind `node-`, its Lease.
fn node_name(text: &str) -> Result<String, String> {
    if text.len() <= 63 && is_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("a node's name has lower-case letters, digits, dashes and dots, begins and ends with a letter or digit, and has 63 characters at most".to_owned())
    }
}

/// An address of this machine alone: tokens pass there in clear.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!("{} is no loopback address, and tokens pass there in clear: take 127.0.0.1", address.ip()))
    }
}

/// `NAMESPACE/NAME`.
fn namespace_and_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("it is NAMESPACE/NAME, as mesh-system/mesh-router-drain".to_owned()),
    }
}

/// `http://HOST` or `http://HOST:PORT`, as programs take it.
fn http_url(text: &str) -> Result<String, String> {
    let is_one = |uri: &http::Uri| uri.scheme_str() == Some("http") && uri.host().is_some() && uri.path() == "/" && uri.query().is_none();
    match text.parse::<http::Uri>() {
        Ok(uri) if is_one(&uri) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("it is http://HOST or http://HOST:PORT, as http://mesh-agent.mesh-system".to_owned()),
    }
}

impl MachineArgs {
    /// Where the router listens.
    pub(crate) fn router_listen(&self) -> SocketAddr {
        self.router_listen.unwrap_or(ROUTER_LISTEN)
    }

    /// The flags that were given.
    fn given(&self) -> Vec<&'static str> {
        let Self {
            state_dir,
            project_dir,
            api_listen,
            router_listen,
            agent_socket,
            agent_listen,
            port_range,
            node_name,
            end_unknown,
            coordination,
        } = self;
        let mut given = names([
            ("--state-dir", state_dir.is_some()),
            ("--project-dir", project_dir.is_some()),
            ("--api-listen", api_listen.is_some()),
            ("--router-listen", router_listen.is_some()),
            ("--agent-socket", agent_socket.is_some()),
            ("--agent-listen", agent_listen.is_some()),
            ("--port-range", port_range.is_some()),
            ("--node-name", node_name.is_some()),
            ("--end-unknown", *end_unknown),
        ]);
        given.extend(names(coordination.given()));
        given
    }

    /// With the defaults in the places of what was not given.
    pub(super) fn options(self, backend: &BackendArgs, cluster: &ClusterArgs, admin_listen: SocketAddr) -> Result<ServeOptions> {
        let backend = backend.chosen()?;
        refuse(&cluster.given(), "is for --backend kubernetes: leave it out")?;
        let router_listen = self.router_listen();
        let dir = self.project_dir.unwrap_or_else(|| PathBuf::from("."));
        let project = |error: std::io::Error| Failure::from(error).context(format!("--project-dir {}", dir.display()));
        Ok(ServeOptions {
            state_dir: state_dir::or_default(self.state_dir)?,
            project_dir: dir.canonicalize().map_err(project)?,
            api_listen: self.api_listen.unwrap_or(API_LISTEN),
            router_listen,
            admin_listen,
            agent_socket: self.agent_socket,
            agent_listen: self.agent_listen,
            port_range: self.port_range.unwrap_or_default(),
            node_name: self.node_name.unwrap_or_else(hostname),
            backend,
            coordination: self.coordination.options()?,
            unknown: if self.end_unknown { Unknown::End } else { Unknown::Keep },
        })
    }
}

impl ClusterArgs {
    fn given(&self) -> Vec<&'static str> {
        let Self { kubeconfig, system_namespace, router_service, drain_image, agent_url, router_url, leader_elect } = self;
        names([
            ("--kubeconfig", kubeconfig.is_some()),
            ("--system-namespace", system_namespace.is_some()),
            ("--router-service", router_service.is_some()),
            ("--drain-image", drain_image.is_some()),
            ("--agent-url", agent_url.is_some()),
            ("--router-url", router_url.is_some()),
            ("--leader-elect", leader_elect.is_some()),
        ])
    }

    /// With the defaults in the places of what was not given.
    pub(super) fn options(self, backend: &BackendArgs, machine: &MachineArgs) -> Result<ClusterOptions> {
        debug_assert_eq!(backend.backend, BackendFlag::Kubernetes);
        let mut given = machine.given();
        given.extend(backend.engine_socket.is_some().then_some("--engine-socket"));
        refuse(&given, "is not for --backend kubernetes, where instances, API and routers are the cluster's: leave it out")?;
        Ok(ClusterOptions {
            kubeconfig: self.kubeconfig,
            system_namespace: self.system_namespace,
            router_service: self.router_service,
            // An empty variable is how a manifest says that there is none.
            drain_image: self.drain_image.filter(|image| !image.is_empty()),
            agent_url: self.agent_url,
            router_url: self.router_url,
            leader_elect: self.leader_elect.unwrap_or(true),
            name: cluster::own_name(),
        })
    }
}

fn names<const N: usize>(flags: [(&'static str, bool); N]) -> Vec<&'static str> {
    flags.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}

/// A usage error if any of these was given, on the command line or in the environment.
fn refuse(given: &[&str], why: &str) -> Result {
    if given.is_empty() { Ok(()) } else { Err(Failure::new(Code::Usage, format!("{} {why}", given.join(", ")))) }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    #[test]
    fn a_nodes_name_is_one_that_an_object_can_have() {
        for name in ["a", "vm-1", "vm1.example.org"] {
            assert_eq!(node_name(name).as_deref(), Ok(name));
        }
        for name in ["", "Bad_Name", "-a", "a-", "a..b", "a b", &"x".repeat(64)] {
            assert!(node_name(name).is_err(), "{name:?}");
        }
    }

    /// The exit code and text, or nothing if the words are accepted.
    fn refused(words: &[&str]) -> Option<(Code, String)> {
        let command =
            ClusterArgs::augment_args(MachineArgs::augment_args(BackendArgs::augment_args(Command::new("x").no_binary_name(true))));
        let matches = command.mut_args(|arg| arg.env(None::<&str>)).try_get_matches_from(words).unwrap();
        let backend = BackendArgs::from_arg_matches(&matches).unwrap();
        let machine = MachineArgs::from_arg_matches(&matches).unwrap();
        let cluster = ClusterArgs::from_arg_matches(&matches).unwrap();
        let failure = match backend.backend {
            BackendFlag::Kubernetes => cluster.options(&backend, &machine).err(),
            _ => machine.options(&backend, &cluster, API_LISTEN).err(),
        };
        failure.map(|failure| (failure.code, failure.text()))
    }

    #[test]
    fn a_flag_that_means_nothing_with_the_backend_is_refused() {
        let kubernetes = ["--backend", "kubernetes"];
        let with = |more: &[&'static str]| refused(&[&kubernetes[..], more].concat());
        assert_eq!(with(&["--kubeconfig", "/k", "--leader-elect=false", "--router-service", "a/b", "--drain-image", "i"]), None);
        let text = "--state-dir, --api-listen, --engine-socket is not for --backend kubernetes, where instances, API and routers are the cluster's: leave it out";
        assert_eq!(
            with(&["--api-listen", "127.0.0.1:1", "--engine-socket", "/s", "--state-dir", "/x"]),
            Some((Code::Usage, text.to_owned()))
        );
        for flag in [["--project-dir", "/"], ["--router-listen", "127.0.0.1:1"], ["--port-range", "1-2"], ["--node-name", "n"]] {
            assert!(with(&flag).is_some_and(|(code, _)| code == Code::Usage), "{flag:?}");
        }
        let text = "--system-namespace, --leader-elect is for --backend kubernetes: leave it out";
        assert_eq!(refused(&["--backend", "podman", "--leader-elect", "--system-namespace", "n"]), Some((Code::Usage, text.to_owned())));
    }

    #[test]
    fn the_drain_service_is_namespace_and_name() {
        assert_eq!(namespace_and_name("mesh-system/x"), Ok(("mesh-system".to_owned(), "x".to_owned())));
        for wrong in ["x", "/x", "x/", "a/b/c"] {
            assert!(namespace_and_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_pods_are_told_is_a_plain_address() {
        assert_eq!(http_url("http://mesh-agent.mesh-system").as_deref(), Ok("http://mesh-agent.mesh-system"));
        assert_eq!(http_url("http://10.0.0.1:81/").as_deref(), Ok("http://10.0.0.1:81"));
        for wrong in ["", "mesh-agent", "https://x", "http://", "http://x/y", "http://x?y", "unix:///x"] {
            assert!(http_url(wrong).is_err(), "{wrong}");
        }
    }
}

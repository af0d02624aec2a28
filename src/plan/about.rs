//! What the mesh tells a program about itself, in its environment; and where the agent's door is for it.
use std::path::Path;

use mesh_api::{
    instance::{InstanceTemplate, TaskRun},
    service::ServiceType,
};

/// Where a container finds the folder of the agent's socket.
pub const SOCKET_FOLDER: &str = "/run/mesh/agent";
/// Where a container, also one of a pod, finds the folder of its token.
pub const TOKEN_FOLDER: &str = "/run/mesh/token";
/// The token's file in its folder.
pub const TOKEN: &str = "token";

/// Which instance.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The `MeshService`.
    pub service: &'a str,
    /// The revision.
    pub revision: &'a str,
    /// The `MeshInstance`.
    pub instance: &'a str,
    /// Its number among the copies of its revision.
    pub ordinal: u32,
    /// The application that the service is part of.
    pub part_of: Option<&'a str>,
    /// Whether it is given a port.
    pub serves: bool,
    /// What is run.
    pub template: &'a InstanceTemplate,
    /// What is known of its service.
    pub service_type: Option<ServiceType>,
    /// How many copies are wanted as it starts.
    pub replicas: Option<i32>,
    /// What makes it a run of a task, if it is one.
    pub run: Option<&'a TaskRun>,
    /// How it reaches the mesh; none where no controller runs beside it.
    pub door: Option<Door<'a>>,
}

/// How an instance reaches the mesh.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// The agent's socket on the machine.
    pub socket: &'a Path,
    /// The folder on the machine that has its token in it, and nothing else.
    pub token: &'a Path,
    /// Where the router answers it.
    pub router: Option<&'a str>,
}

/// The variables whose values differ among the instances of a revision, and do not name one.
pub const OWN: [&str; 2] = [INDEX, REPLICAS];
const INDEX: &str = "MESH_INSTANCE_INDEX";
const REPLICAS: &str = "MESH_REPLICAS";

/// The variables, without the door's.
pub fn vars(of: &Of<'_>, port: Option<u16>) -> Vec<(String, String)> {
    let always = [
        ("MESH_SERVICE", of.service.to_owned()),
        ("MESH_INSTANCE", of.instance.to_owned()),
        (INDEX, of.ordinal.to_string()),
        ("MESH_REVISION", of.revision.to_owned()),
        ("MESH_NAMESPACE", of.namespace.to_owned()),
    ];
    let known = [
        ("MESH_APP", of.part_of.map(ToOwned::to_owned)),
        ("MESH_SERVICE_TYPE", of.service_type.map(|of| format!("{of:?}"))),
        (REPLICAS, of.replicas.map(|replicas| replicas.to_string())),
        ("MESH_ROUTER_URL", of.door.and_then(|door| door.router.map(ToOwned::to_owned))),
        ("MESH_TASK", of.run.map(|run| run.task.clone())),
        ("MESH_SCHEDULED_TIME", of.run.and_then(|run| Some(run.scheduled_time.as_ref()?.0.to_string()))),
        ("PORT", port.map(|port| port.to_string())),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name, value?)));
    always.into_iter().chain(known).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The variables of the door, by which a program finds the agent and its own token.
pub fn door(agent: &str, token_file: &str) -> [(String, String); 2] {
    [("MESH_AGENT".to_owned(), format!("unix://{agent}")), ("MESH_TOKEN_FILE".to_owned(), token_file.to_owned())]
}

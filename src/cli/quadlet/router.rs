//! The router's units, with socket activation, and the file that it serves: the services, and an endpoint per instance. It needs no controller.
use std::{net::SocketAddr, path::PathBuf};

use k8s_openapi::{
    api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    files::Root,
    plan::{Member, Plan},
};
use crate::exit::{Code, Failure, Result};
use mesh_api::{MeshService, labels, names::PORT_NAME};
use mesh_backend::quadlet::{
    keys::{service as setting, socket},
    render::Host,
    templates,
    unit::Refused,
    version::Systemd,
};

/// The units' names, without their suffix.
const NAME: &str = "mesh-router";

/// How the router is started.
pub(super) struct Router {
    bin_dir: PathBuf,
    listen: Vec<String>,
    admin: SocketAddr,
}

impl Router {
    /// Checks where it is to listen.
    ///
    /// # Errors
    /// Neither a port nor an address with a port.
    pub(super) fn new(bin_dir: PathBuf, listen: &[String], admin: SocketAddr) -> Result<Self> {
        let bad = |text: &String| text.parse::<u16>().map_or(true, |port| port == 0) && text.parse::<SocketAddr>().is_err();
        match listen.iter().find(|text| bad(text)) {
            Some(text) => Err(Failure::new(
                Code::Usage,
                format!("--router-listen {text}: write a port (80) or an address with a port (127.0.0.1:8080)"),
            )),
            None => Ok(Self { bin_dir, listen: listen.to_vec(), admin }),
        }
    }

    /// Adds its files to a plan.
    ///
    /// # Errors
    /// A path that no unit can hold.
    pub(super) fn add(&self, plan: &mut Plan, services: &[MeshService], host: &Host) -> Result {
        let file = host.data.join(format!("{NAME}.yaml"));
        let program = self.bin_dir.join("mesh-controller");
        let refused = |refused: Refused| Failure::new(Code::Invalid, refused.to_string());
        let mut socket = templates::router_socket();
        for listen in &self.listen {
            socket.add(socket::LISTEN_STREAM, "--router-listen", listen.as_str()).map_err(refused)?;
            if listen.parse::<u16>().is_ok() {
                plan.notes.push(format!(
                    "the router listens at port {listen} of all addresses of the machine; --router-listen 127.0.0.1:{listen} keeps it to itself"
                ));
            }
        }
        let mut service = templates::router_service();
        if host.systemd >= Some(Systemd::NOTIFY_RELOAD) {
            // `systemctl reload` then has it read its file again; otherwise that is a restart.
            service.set(setting::TYPE, "the router", "notify-reload").map_err(refused)?;
        }
        let words =
            [program.as_path(), "router".as_ref(), "--from".as_ref(), file.as_path()].map(|word| word.to_string_lossy().into_owned());
        let admin = ["--admin-listen".to_owned(), self.admin.to_string()];
        service.set(setting::EXEC_START, "--bin-dir", [&words[..], &admin[..]].concat()).map_err(refused)?;
        plan.add(Root::Systemd, format!("{NAME}.socket"), &socket.text(), "the services' routes");
        plan.add(Root::Systemd, format!("{NAME}.service"), &service.text(), "the services' routes");
        let yaml = yaml(services, &plan.members)?;
        plan.add(Root::Data, format!("{NAME}.yaml"), &yaml, "the services' routes");
        plan.units.extend([(format!("{NAME}.socket"), true), (format!("{NAME}.service"), true)]);
        Ok(())
    }
}

/// What the router serves.
fn yaml(services: &[MeshService], members: &[Member]) -> Result<String> {
    let mut documents = Vec::new();
    for service in services {
        let metadata = json!({ "name": service.name_any(), "namespace": service.namespace() });
        // What the router reads of a service; its environment is not its business.
        let spec = serde_json::to_value(&service.spec).map_err(anyhow::Error::from)?;
        let routes =
            ["type", "image", "replicas", "route", "routes", "strategy", "sessionPersistence", "timeouts", "retry", "drain", "port"];
        let spec: serde_json::Map<String, Value> =
            routes.iter().filter_map(|field| spec.get(field).map(|value| ((*field).to_owned(), value.clone()))).collect();
        documents.push(json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": metadata, "spec": spec }));
    }
    for member in members {
        if let Some(port) = member.container.port {
            documents.push(serde_json::to_value(slice(member, port.host)).map_err(anyhow::Error::from)?);
        }
    }
    let texts = documents.iter().map(|document| serde_saphyr::to_string(document).map_err(anyhow::Error::from));
    Ok(texts.collect::<anyhow::Result<Vec<_>>>()?.join("---\n"))
}

/// systemd keeps the instance running, so it is taken for ready; one that does not answer is left out by the router itself.
fn slice(member: &Member, port: u16) -> EndpointSlice {
    let labels = [
        (labels::SLICE_SERVICE, member.service.as_str()),
        (labels::SLICE_MANAGED_BY, labels::SLICE_MANAGER),
        (labels::APP_MANAGED_BY, labels::MANAGER),
    ];
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(member.name.clone()),
            namespace: Some(member.namespace.clone()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: Some(vec![Endpoint {
            addresses: vec!["127.0.0.1".to_owned()],
            conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.to_owned()),
            port: Some(i32::from(port)),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    }
}

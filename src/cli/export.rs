//! `mesh export`: what runs here (or what is in files) as plain manifests of Kubernetes, which need nothing of ours in the cluster.
use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt, api::ListParams};

use super::{
    exit::{Code, Failure, Result},
    load::Loaded,
    output,
    target::{Connection, Target},
};
use mesh_api::MeshService;
use mesh_convert::export::{Bundle, Native, References, Wishes, native};
use mesh_plan::environment::Sources;

/// Print plain manifests of what runs here, for a cluster without a controller of ours.
#[derive(Debug, Args)]
pub struct Export {
    /// What the manifests are for.
    #[arg(long, value_enum, value_name = "WHAT")]
    to: Format,
    /// Export what is in a file, a directory, or - for standard input, instead of what the API has; may be given several times.
    #[arg(short, long = "file", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Print Secrets as well; without it, the commands that make them stand in their places.
    #[arg(long)]
    with_secrets: bool,
    /// The services [default: all of the namespace, or of the files].
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// What manifests can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Deployments, Services and what belongs to them.
    Kubernetes,
}

/// The services, and what is known of them.
#[derive(Debug, Default)]
struct Exported {
    natives: Vec<Native>,
    /// Why a service cannot be exported.
    failed: Vec<Failure>,
}

impl Export {
    /// Prints manifests.
    pub async fn run(self, target: Target) -> Result {
        let Format::Kubernetes = self.to;
        if self.files.is_empty() {
            return target.with(async |api| self.of_api(api).await).await;
        }
        let loaded = Loaded::read(&self.files, target.namespace()).await?;
        if loaded.services.is_empty() {
            return Err(Failure::new(Code::Invalid, "there is no MeshService in the manifests"));
        }
        let services = self.chosen(loaded.services.clone())?;
        let exported = exported(&services, |service, text| loaded.complaint(service, text));
        let namespaces = exported.natives.iter().map(|native| native.namespace.clone());
        let sources = namespaces.map(|namespace| (namespace.clone(), loaded.sources(&namespace))).collect();
        self.print(&services, exported, &sources, loaded.others())
    }

    async fn of_api(&self, api: &Connection) -> Result {
        let mut services = api.services().list(&ListParams::default()).await?.items;
        services.retain(|service| service.metadata.deletion_timestamp.is_none());
        services.sort_by_key(ResourceExt::name_any);
        if services.is_empty() {
            let text = format!("there is no MeshService in namespace {:?}: name another with -n, or a file with -f", api.namespace);
            return Err(Failure::new(Code::Failed, text));
        }
        let services = self.chosen(services)?;
        let exported =
            exported(&services, |service, text| Failure::new(Code::Invalid, format!("MeshService {}: {text}", service.name_any())));
        let wanted = exported.natives.iter().fold(References::default(), |all, native| all.and(&native.references));
        let sources = [(api.namespace.clone(), sources(api, &wanted).await?)].into();
        self.print(&services, exported, &sources, Vec::new())
    }

    /// Those that were named, in the order that they have.
    fn chosen(&self, services: Vec<MeshService>) -> Result<Vec<MeshService>> {
        let names: Vec<String> = services.iter().map(ResourceExt::name_any).collect();
        if let Some(unknown) = self.services.iter().find(|name| !names.contains(name)) {
            return Err(Failure::new(Code::Failed, format!("there is no MeshService {unknown:?}; services here: {}", names.join(", "))));
        }
        Ok(services.into_iter().filter(|service| self.services.is_empty() || self.services.contains(&service.name_any())).collect())
    }

    /// Prints the manifests, then what is not in them; the exit code says whether services are missing.
    fn print(&self, services: &[MeshService], exported: Exported, sources: &BTreeMap<String, Sources>, others: Vec<String>) -> Result {
        let Exported { natives, failed } = exported;
        let none = natives.is_empty();
        if !none {
            let bundle = Bundle::new(&natives, services, sources, &Wishes { secrets: self.with_secrets, others });
            output::print(&bundle.manifests())?;
            for line in bundle.summary() {
                output::complain("mesh", &line);
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        let text: Vec<String> = failed.iter().map(Failure::text).collect();
        Err(Failure::new(if none { Code::Invalid } else { Code::Partial }, text.join("\n")))
    }
}

fn exported(services: &[MeshService], complaint: impl Fn(&MeshService, &str) -> Failure) -> Exported {
    let mut all = Exported::default();
    for service in services {
        match native(service) {
            Ok(native) => all.natives.push(native),
            Err(text) => all.failed.push(complaint(service, &text)),
        }
    }
    all
}

/// What services refer to, as far as it is there.
async fn sources(api: &Connection, wanted: &References) -> Result<Sources> {
    let mut found = Sources::default();
    let maps: Api<ConfigMap> = Api::namespaced(api.client.clone(), &api.namespace);
    for name in wanted.config_maps.keys() {
        found.config_maps.extend(maps.get_opt(name).await?.map(|map| (name.clone(), map)));
    }
    let secrets: Api<Secret> = Api::namespaced(api.client.clone(), &api.namespace);
    for name in wanted.secrets.keys() {
        found.secrets.extend(secrets.get_opt(name).await?.map(|secret| (name.clone(), secret)));
    }
    Ok(found)
}

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
use mesh_api::{MeshService, MeshTask};
use mesh_convert::export::{self, Bundle, Native, References, Wishes, native};
use mesh_plan::{environment::Sources, task::service_of};

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
    /// The services and tasks; a task brings its service along [default: all of the namespace, or of the files].
    #[arg(value_name = "SERVICE|TASK")]
    names: Vec<String>,
}

/// What manifests can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Deployments, Services, CronJobs and what belongs to them.
    Kubernetes,
}

/// What is exported.
#[derive(Debug)]
struct Chosen {
    services: Vec<MeshService>,
    tasks: Vec<MeshTask>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Exported {
    natives: Vec<Native>,
    /// Why a service or a task cannot be exported.
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
        let chosen = self.chosen(loaded.services.clone(), loaded.tasks.clone())?;
        let exported = chosen.exported(|service, text| loaded.complaint(service, text), |task, text| loaded.complaint(task, text));
        let namespaces = exported.natives.iter().map(|native| native.namespace.clone());
        let sources = namespaces.map(|namespace| (namespace.clone(), loaded.sources(&namespace))).collect();
        self.print(&chosen.services, exported, &sources, loaded.others())
    }

    async fn of_api(&self, api: &Connection) -> Result {
        let mut services = api.services().list(&ListParams::default()).await?.items;
        services.retain(|service| service.metadata.deletion_timestamp.is_none());
        services.sort_by_key(ResourceExt::name_any);
        let mut tasks = api.tasks().list(&ListParams::default()).await?.items;
        tasks.retain(|task| task.metadata.deletion_timestamp.is_none());
        tasks.sort_by_key(ResourceExt::name_any);
        if services.is_empty() && tasks.is_empty() {
            let text =
                format!("there is no MeshService or MeshTask in namespace {:?}: name another with -n, or a file with -f", api.namespace);
            return Err(Failure::new(Code::Failed, text));
        }
        let chosen = self.chosen(services, tasks)?;
        let wrong = |kind: &str, name: String, text: &str| Failure::new(Code::Invalid, format!("{kind} {name}: {text}"));
        let exported = chosen.exported(
            |service, text| wrong("MeshService", service.name_any(), text),
            |task, text| wrong("MeshTask", task.name_any(), text),
        );
        let wanted = exported.natives.iter().fold(References::default(), |all, native| all.and(&native.references));
        let sources = [(api.namespace.clone(), sources(api, &wanted).await?)].into();
        self.print(&chosen.services, exported, &sources, Vec::new())
    }

    /// Those that were named, in the order that they have.
    fn chosen(&self, services: Vec<MeshService>, tasks: Vec<MeshTask>) -> Result<Chosen> {
        let names: Vec<String> = services.iter().map(ResourceExt::name_any).chain(tasks.iter().map(ResourceExt::name_any)).collect();
        if let Some(unknown) = self.names.iter().find(|name| !names.contains(name)) {
            let text = format!("there is no MeshService or MeshTask {unknown:?}; here are: {}", names.join(", "));
            return Err(Failure::new(Code::Failed, text));
        }
        let is_named = |name: &String| self.names.is_empty() || self.names.contains(name);
        let tasks: Vec<MeshTask> = tasks.into_iter().filter(|task| is_named(&task.name_any())).collect();
        let is_needed = |service: &MeshService| tasks.iter().any(|task| is_of(task, service));
        let services = services.into_iter().filter(|service| is_named(&service.name_any()) || is_needed(service)).collect();
        Ok(Chosen { services, tasks })
    }

    /// Prints the manifests, then what is not in them; the exit code says whether something is missing.
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

impl Chosen {
    fn exported(&self, of_service: impl Fn(&MeshService, &str) -> Failure, of_task: impl Fn(&MeshTask, &str) -> Failure) -> Exported {
        let services = self.services.iter().map(|service| native(service).map_err(|text| of_service(service, &text)));
        let tasks = self.tasks.iter().map(|task| {
            let service = self.services.iter().find(|service| is_of(task, service));
            export::of_task(task, service).map_err(|text| of_task(task, &text))
        });
        let mut all = Exported::default();
        for made in services.chain(tasks) {
            match made {
                Ok(native) => all.natives.push(native),
                Err(failure) => all.failed.push(failure),
            }
        }
        all
    }
}

/// Whether a task needs a service.
fn is_of(task: &MeshTask, service: &MeshService) -> bool {
    task.namespace() == service.namespace() && service_of(task) == service.metadata.name.as_deref()
}

/// What services and tasks refer to, as far as it is there.
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

//! From checked manifests to files: one folder per service, one for what a namespace shares, the router's, and what the engine must be given.
use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::{
    files::{Content, File, Root},
    plan::{Job, Member, Plan},
    redis,
    router::Router,
    task,
};
use crate::{
    exit::{Code, Failure, Result},
    load::Loaded,
};
use mesh_api::{
    MeshService, labels, names as api_names,
    node::{BackendKind, PortRange},
};
use mesh_backend::quadlet::{
    header, names,
    render::{self, Host, Instance},
    unit::Unit,
    version::Podman,
};
use mesh_plan::{
    about::Of,
    container::{self, Container, Source},
    task::placed,
    template, validate,
};

/// What is asked for beside the manifests.
pub(crate) struct Wishes {
    pub(crate) host: Host,
    pub(crate) ports: PortRange,
    pub(crate) redis: Option<String>,
    pub(super) router: Option<Router>,
    pub(crate) set: String,
    pub(crate) pods: bool,
}

/// Makes the plan.
///
/// # Errors
/// The first service that cannot be units, by file and line.
pub(crate) fn plan(loaded: &Loaded, wishes: &Wishes) -> Result<Plan> {
    let mut plan = Plan {
        host: wishes.host.clone(),
        set: wishes.set.clone(),
        files: vec![],
        members: vec![],
        secrets: vec![],
        units: vec![],
        notes: vec![],
    };
    let mut ports = Ports { range: wishes.ports, taken: BTreeSet::new() };
    for service in &loaded.services {
        let members = members(loaded, service, wishes.host.podman, &mut ports, &mut plan.notes)?;
        plan.members.extend(members);
    }
    for task in &loaded.tasks {
        plan.members.extend(task::member(loaded, task, &mut plan.notes)?);
    }
    if let Some(image) = &wishes.redis {
        redis::add(&mut plan.members, image);
    }
    let mut files = Files { plan: &mut plan, shared: BTreeMap::new(), pods: BTreeMap::new() };
    if wishes.pods {
        files.pods(loaded)?;
    }
    files.members(loaded)?;
    let router = wishes.router.as_ref().filter(|_| loaded.services.iter().any(|service| template::serves(&service.spec)));
    if let Some(router) = router {
        router.add(&mut plan, &loaded.services, &wishes.host)?;
    }
    plan.index();
    plan.files.sort_by(|a, b| (a.root, &a.path).cmp(&(b.root, &b.path)));
    Ok(plan)
}

/// The instances of a service.
fn members(loaded: &Loaded, service: &MeshService, podman: Podman, ports: &mut Ports, notes: &mut Vec<String>) -> Result<Vec<Member>> {
    validate::validate(&service.spec, BackendKind::Quadlet).map_err(|refusal| loaded.complaint(service, &refusal.message))?;
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let revision = template::revision(service);
    if !revision.template.image_pull_secrets.is_empty() {
        notes.push(format!(
            "{namespace}/{name}: units hold no registry's password; run `podman login REGISTRY` once as the user that runs them"
        ));
    }
    if let Some(before) = &service.spec.rollout.before {
        notes.push(format!(
            "{namespace}/{name}: spec.rollout.before: units know no rollout: start the unit of the task {} yourself before you install a new revision",
            before.task
        ));
    }
    let health = render::health(&revision.template, podman);
    notes.extend(health.notes.iter().map(|note| {
        // The short form is what its author knows.
        let note = if service.spec.health_path.is_some() {
            note.replacen("spec.readinessProbe.httpGet", "spec.healthPath", 1)
        } else {
            note.clone()
        };
        format!("{namespace}/{name}: {note}")
    }));
    let sources = loaded.sources(&namespace);
    let mut members = Vec::new();
    for ordinal in 0..u32::try_from(service.spec.replicas).unwrap_or(0) {
        let instance = api_names::instance(&name, &revision.name, ordinal);
        let of = Of {
            namespace: &namespace,
            service: &name,
            revision: &revision.name,
            instance: &instance,
            part_of: service.labels().get(labels::APP_PART_OF).map(String::as_str),
            serves: template::serves(&service.spec),
            template: &revision.template,
            ordinal,
            service_type: Some(service.spec.type_),
            // No controller keeps it true.
            replicas: None,
            run: None,
            door: None,
        };
        let port = ports.give(&format!("{namespace}/{name}/{ordinal}"))?;
        let container =
            container::container(&of, &sources, Some(port)).map_err(|missing| loaded.complaint(service, &missing.to_string()))?;
        members.push(Member {
            container,
            health: Some(health.clone()),
            namespace: namespace.clone(),
            service: name.clone(),
            revision: revision.name.clone(),
            name: instance,
            ordinal,
            after: Vec::new(),
            job: None,
        });
    }
    Ok(members)
}

/// Gives each instance the same port each time, as far as the others let it.
struct Ports {
    range: PortRange,
    taken: BTreeSet<u16>,
}

impl Ports {
    fn give(&mut self, key: &str) -> Result<u16> {
        let (from, to) = (self.range.from.0, self.range.to.0);
        let digest = Sha256::digest(key.as_bytes());
        let number = digest.iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let count = u32::from(to - from) + 1;
        let start = u16::try_from(number % count).unwrap_or(0) + from;
        let free = (start..=to).chain(from..start).find(|port| !self.taken.contains(port));
        let port = free
            .ok_or_else(|| Failure::new(Code::Invalid, format!("the ports {} are not enough: give more with --port-range", self.range)))?;
        self.taken.insert(port);
        Ok(port)
    }
}

/// Makes the files of the members.
struct Files<'a> {
    plan: &'a mut Plan,
    /// Files that several instances need, by path.
    shared: BTreeMap<(Root, String), Content>,
    /// The pods of instances that are in one, by the instances' names.
    pods: BTreeMap<String, String>,
}

impl Files<'_> {
    /// A pod per network, with the services on it that have one instance; others would meet themselves on their port.
    fn pods(&mut self, loaded: &Loaded) -> Result {
        let members = std::mem::take(&mut self.plan.members);
        let alone = |member: &&Member| {
            let same = members
                .iter()
                .filter(|other| other.job.is_none() && (&other.namespace, &other.service) == (&member.namespace, &member.service));
            member.job.is_none() && same.count() == 1
        };
        let mut by_network: BTreeMap<(&str, &str), Vec<&Member>> = BTreeMap::new();
        for member in members.iter().filter(alone) {
            by_network.entry((&member.namespace, &member.container.network)).or_default().push(member);
        }
        for ((namespace, network), inside) in by_network {
            let instances: Vec<Instance<'_>> = inside.iter().map(|member| member.instance()).collect();
            let unit = render::pod(network, &instances, &self.plan.host).map_err(|error| {
                let named =
                    inside.iter().rev().find_map(|member| loaded.services.iter().find(|service| service.name_any() == member.service));
                named
                    .map_or_else(|| Failure::new(Code::Invalid, error.to_string()), |service| loaded.complaint(service, &error.to_string()))
            })?;
            let path = format!("{}/{}", names::shared_folder(namespace), render::pod_file(network));
            self.text(Root::Quadlet, path, &unit, "the services with one instance");
            self.pods.extend(inside.iter().map(|member| (member.name.clone(), network.to_owned())));
        }
        self.plan.members = members;
        Ok(())
    }

    fn members(&mut self, loaded: &Loaded) -> Result {
        let members = std::mem::take(&mut self.plan.members);
        for member in &members {
            self.member(member).map_err(|error| {
                let text = error.to_string();
                match (find(&loaded.services, member), find(&loaded.tasks, member)) {
                    (_, Some(task)) if member.job.is_some() => loaded.complaint(task, &placed(task, &text)),
                    (Some(service), _) => loaded.complaint(service, &text),
                    _ => Failure::new(Code::Invalid, text),
                }
            })?;
        }
        self.plan.members = members;
        let shared = std::mem::take(&mut self.shared);
        self.plan.files.extend(shared.into_iter().map(|((root, path), content)| File { root, path, content }));
        Ok(())
    }

    fn member(&mut self, member: &Member) -> Result<(), render::Error> {
        let instance = member.instance();
        if self.plan.host.podman < Podman::QUADLET {
            self.plain(member)?;
        } else {
            self.quadlet(member)?;
        }
        for data in render::data_files(&instance)? {
            let path = data.path.to_string_lossy().into_owned();
            self.shared.insert((Root::Data, path), Content::Bytes(data.content, data.mode));
        }
        for secret in render::secrets(&instance)? {
            if !self.plan.secrets.contains(&secret) {
                self.plan.secrets.push(secret);
            }
        }
        match &member.job {
            None => self.plan.units.push((member.unit_name(), self.plan.host.podman < Podman::QUADLET)),
            Some(job) => self.timer(member, job)?,
        }
        Ok(())
    }

    /// What starts a task. Without a timer nothing does but somebody who asks.
    fn timer(&mut self, member: &Member, job: &Job) -> Result<(), render::Error> {
        if let Some(timer) = &job.timer {
            let file = format!("{}.timer", names::task(&member.namespace, &member.service));
            let unit = render::timer(&member.instance(), timer, &self.plan.host)?;
            self.text(Root::Systemd, file.clone(), &unit, &from(member));
            self.plan.units.push((file, true));
        }
        Ok(())
    }

    fn quadlet(&mut self, member: &Member) -> Result<(), render::Error> {
        let (instance, host) = (member.instance(), self.plan.host.clone());
        let (folder, stem) = (names::folder(&member.namespace, &member.service), instance.stem());
        let from = from(member);
        let file = |ordinal| format!("{folder}/{}", names::file(&stem, ordinal, "container"));
        let own = file(Some(member.ordinal));
        let pod = self.pods.get(&member.name).cloned();
        if let Some(job) = &member.job {
            let file = format!("{folder}/{}.container", names::task(&member.namespace, &member.service));
            self.text(Root::Quadlet, file, &render::task(&instance, &job.tries, &host)?, &from);
        } else if host.podman >= Podman::INSTANCE_LINKS {
            let (mut template, mut drop_in) = (render::template(&instance, &host)?, render::drop_in(&instance, &host)?);
            if let Some(pod) = pod {
                (template, drop_in) = (render::joining(&template, &pod)?, render::in_pod(&drop_in));
            }
            self.text(Root::Quadlet, file(None), &template, &from);
            self.shared.insert((Root::Quadlet, own.clone()), Content::Link(names::file(&stem, None, "container")));
            self.text(Root::Quadlet, format!("{own}.d/{}", names::DROP_IN), &drop_in, &from);
        } else {
            self.text(Root::Quadlet, own, &render::whole(&instance, &host)?, &from);
        }
        let shared = names::shared_folder(&member.namespace);
        let network = &member.container.network;
        self.text(Root::Quadlet, format!("{shared}/{}", render::network_file(network)), &render::network(network, &host)?, "its network");
        for volume in claims(&member.container) {
            if let Some(unit) = render::volume(volume, &host)? {
                self.text(Root::Quadlet, format!("{shared}/{}", render::volume_file(volume)), &unit, "a persistentVolumeClaim");
            }
        }
        if host.image_units {
            let (image, pull) = (&member.container.image, member.container.pull);
            self.text(Root::Quadlet, format!("{shared}/{}", render::image_file(image)), &render::image(image, pull, &host)?, "an image");
        }
        Ok(())
    }

    fn plain(&mut self, member: &Member) -> Result<(), render::Error> {
        let (instance, host) = (member.instance(), self.plan.host.clone());
        let unit = match &member.job {
            Some(job) => render::task_service(&instance, &job.tries, &host)?,
            None => render::service(&instance, &host)?,
        };
        self.text(Root::Systemd, member.unit_name(), &unit, &from(member));
        let network = &member.container.network;
        self.text(Root::Systemd, format!("{network}-network.service"), &render::network_service(network)?, "its network");
        for volume in claims(&member.container) {
            self.text(Root::Systemd, format!("{volume}-volume.service"), &render::volume_service(volume)?, "a persistentVolumeClaim");
        }
        Ok(())
    }

    fn text(&mut self, root: Root, path: String, unit: &Unit, from: &str) {
        let text = header::add(&unit.text(), &self.plan.set, from);
        self.shared.insert((root, path), Content::Text(text));
    }
}

fn from(member: &Member) -> String {
    let kind = if member.job.is_some() { "MeshTask" } else { "MeshService" };
    format!("{kind} {}/{}", member.namespace, member.service)
}

/// The object that a member is made of.
fn find<'a, K: ResourceExt>(objects: &'a [K], member: &Member) -> Option<&'a K> {
    objects.iter().find(|object| object.name_any() == member.service && object.namespace().as_ref() == Some(&member.namespace))
}

/// The named volumes that outlive a container.
fn claims(container: &Container) -> impl Iterator<Item = &str> {
    container.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Volume { volume, owned: false } => Some(volume.as_str()),
        Source::Volume { .. } | Source::Files { .. } | Source::Host { .. } | Source::Controllers { .. } | Source::Memory { .. } => None,
    })
}

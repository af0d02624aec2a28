//! Everything that a launch becomes: names, unit files, secrets. Pure.
use crate::{
    Error,
    quadlet::{
        header,
        keys::{container as key, network as network_key, volume as volume_key},
        live::{
            files::{self, Paths, Wanted},
            maker::Maker,
            place::Place,
        },
        names, render,
        unit::Unit,
        version::Podman,
    },
};
use mesh_api::{container::ImagePullPolicy, labels};
use mesh_plan::{
    container::{Container, Source},
    instance::{ContainerLaunch, InstanceKey},
};

/// What a launch becomes.
#[derive(Debug)]
pub(crate) struct Made {
    /// The stem of the revision's units.
    pub(crate) stem: String,
    /// Which of the revision.
    pub(crate) ordinal: u32,
    /// The service.
    pub(crate) unit: String,
    /// Its files.
    pub(crate) paths: Paths,
    /// All unit files, in the order in which they are written.
    pub(crate) wanted: Vec<Wanted>,
    /// Files that are mounted.
    pub(crate) data: Vec<render::DataFile>,
    /// What the engine must know.
    pub(crate) secrets: Vec<render::EngineSecret>,
    /// Volumes that go with the instance.
    pub(crate) volumes: Vec<String>,
    /// Its network.
    pub(crate) network: String,
    /// Its port on the machine.
    pub(crate) port: Option<u16>,
}

impl Made {
    /// Makes it.
    ///
    /// # Errors
    /// Something of the spec cannot be told to this version of Podman.
    pub(crate) fn new(place: &Place, maker: &Maker, launch: &ContainerLaunch) -> Result<Self, Error> {
        let container = Container { pull: after_pull(launch.container.pull), ..launch.container.clone() };
        let label = |name: &str| container.labels.get(name).map(String::as_str).unwrap_or_default();
        let (service, revision) = (label(labels::SERVICE), label(labels::REVISION));
        let ordinal = ordinal(&launch.key)?;
        let instance = render::Instance {
            namespace: &launch.key.namespace,
            service,
            revision,
            name: &launch.key.name,
            ordinal,
            container: &container,
            health: None,
            after: &[],
        };
        let stem = instance.stem();
        let paths = Paths::new(&place.units, &launch.key.namespace, service, &stem, ordinal);
        let from = format!("MeshService {}/{service}", launch.key.namespace);
        let mut wanted = shared(place, maker, &container)?;
        wanted.extend(own(place, maker, launch, &instance, &paths, &from)?);
        Ok(Self {
            unit: instance.unit_name(),
            data: render::data_files(&instance).map_err(unsupported)?,
            secrets: render::secrets(&instance).map_err(unsupported)?,
            volumes: owned_volumes(&container),
            network: container.network.clone(),
            port: container.port.map(|port| port.host),
            stem,
            ordinal,
            paths,
            wanted,
        })
    }
}

/// The image is here when a unit starts; should it be gone one day, systemd's start brings it back.
fn after_pull(policy: ImagePullPolicy) -> ImagePullPolicy {
    match policy {
        ImagePullPolicy::Never => ImagePullPolicy::Never,
        ImagePullPolicy::Always | ImagePullPolicy::IfNotPresent => ImagePullPolicy::IfNotPresent,
    }
}

fn ordinal(key: &InstanceKey) -> Result<u32, Error> {
    let digits = key.name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok());
    digits.ok_or_else(|| Error::Unsupported(format!("instance {key}: its name does not end in a number, so it cannot be a unit")))
}

fn owned_volumes(container: &Container) -> Vec<String> {
    let owned = container.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Volume { volume, owned: true } => Some(volume.clone()),
        Source::Volume { .. } | Source::Files { .. } | Source::Host { .. } | Source::Controllers { .. } | Source::Memory { .. } => None,
    });
    owned.collect()
}

/// The units of the network and of volumes that outlive services.
fn shared(place: &Place, maker: &Maker, container: &Container) -> Result<Vec<Wanted>, Error> {
    let mut network = render::network(&container.network, &place.host).map_err(unsupported)?;
    maker.sign(&mut network, network_key::LABEL).map_err(unsupported)?;
    let mut files = vec![text_of(place, maker, &render::network_file(&container.network), &network)];
    for mount in &container.mounts {
        if let Source::Volume { volume, owned: false } = &mount.source
            && let Some(mut unit) = render::volume(volume, &place.host).map_err(unsupported)?
        {
            maker.sign(&mut unit, volume_key::LABEL).map_err(unsupported)?;
            files.push(text_of(place, maker, &render::volume_file(volume), &unit));
        }
    }
    Ok(files)
}

/// Several services share it: its header names none of them, so that it stays the same.
fn text_of(place: &Place, maker: &Maker, file: &str, unit: &Unit) -> Wanted {
    let path = files::shared(&place.units, file);
    let drop_in = path.with_file_name(format!("{file}.d")).join("50-local.conf");
    Wanted::Text { text: header::add(&unit.text(), &maker.controller, "the services that use it"), drop_in, path }
}

/// The instance's own files. Before [`Podman::INSTANCE_LINKS`] that is one whole unit.
fn own(
    place: &Place,
    maker: &Maker,
    launch: &ContainerLaunch,
    instance: &render::Instance<'_>,
    paths: &Paths,
    from: &str,
) -> Result<Vec<Wanted>, Error> {
    let local = paths.drop_ins.join("50-local.conf");
    let text = |path: &std::path::Path, unit: &Unit, drop_in: &std::path::Path| Wanted::Text {
        path: path.to_owned(),
        text: header::add(&unit.text(), &maker.controller, from),
        drop_in: drop_in.to_owned(),
    };
    if place.host.podman < Podman::INSTANCE_LINKS {
        let mut whole = render::whole(instance, &place.host).map_err(unsupported)?;
        identify(&mut whole, maker, launch)?;
        return Ok(vec![text(&paths.own, &whole, &local)]);
    }
    let mut template = render::template(instance, &place.host).map_err(unsupported)?;
    maker.sign(&mut template, key::LABEL).map_err(unsupported)?;
    let mut drop_in = render::drop_in(instance, &place.host).map_err(unsupported)?;
    identify(&mut drop_in, maker, launch)?;
    let name = names::file(&instance.stem(), None, "container");
    let of_revision = paths.folder.join(format!("{name}.d")).join("50-local.conf");
    Ok(vec![
        text(&paths.template, &template, &of_revision),
        Wanted::Link { path: paths.own.clone(), to: name },
        text(&paths.drop_in(), &drop_in, &local),
    ])
}

/// Who made it, and for which instance: what is read again if the record is lost.
fn identify(unit: &mut Unit, maker: &Maker, launch: &ContainerLaunch) -> Result<(), Error> {
    maker.sign(unit, key::LABEL).map_err(unsupported)?;
    let labels = [(labels::UID, &launch.key.uid), (labels::NAMESPACE, &launch.key.namespace)];
    for (name, value) in labels {
        unit.add(key::LABEL, "label", (name, value.as_str())).map_err(unsupported)?;
    }
    Ok(())
}

fn unsupported(error: impl Into<render::Error>) -> Error {
    Error::Unsupported(error.into().to_string())
}

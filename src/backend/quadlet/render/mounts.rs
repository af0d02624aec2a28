//! What is mounted: named volumes, paths of the machine, memory, and files from a `ConfigMap`, which lie beside the units (never among them: a
//! key called `x.container` would be a unit there).
use std::path::PathBuf;

use super::{Error, Host, Instance, Writer, field, volume_file};
use crate::quadlet::{
    keys::{container as key, service as setting, unit as about},
    names,
};
use mesh_api::container::HostPathType;
use mesh_plan::container::{Mount, Source};

/// A file that must lie on the machine before the instance starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Below [`Host::data`].
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub content: Vec<u8>,
}

/// The files of an instance, from `ConfigMap`s. Those of Secrets are secrets of the engine.
///
/// # Errors
/// A name that leads out of its folder.
pub fn data_files(instance: &Instance<'_>) -> Result<Vec<DataFile>, Error> {
    let mut found = Vec::new();
    for mount in &instance.container.mounts {
        if let Source::Files { files, mode, secret: false } = &mount.source {
            for (file, content) in files {
                check_file_name(mount, file)?;
                let path = PathBuf::from(instance.stem()).join(&mount.name).join(file);
                found.push(DataFile { path, mode: *mode, content: content.0.clone() });
            }
        }
    }
    Ok(found)
}

/// Files lie below their folder.
pub(super) fn check_file_name(mount: &Mount, file: &str) -> Result<(), Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if file.is_empty() || file.starts_with("..") || file == "." || file.len() > 253 || !file.chars().all(known) {
        return field(
            format!("spec.volumes[name={}]", mount.name),
            format!("{file:?} is no file name: letters, digits, '-', '_' and '.' only"),
        );
    }
    Ok(())
}

/// A path in the container. Podman takes a volume apart at its colons.
fn check_target(mount: &Mount) -> Result<(), Error> {
    let of = format!("spec.volumeMounts[name={}].mountPath", mount.name);
    if !mount.target.starts_with('/') || mount.target.contains(':') {
        return field(of, format!("{:?} is no path in a container: it begins with a slash and has no colon", mount.target));
    }
    if !names::is_plain(&mount.name) {
        return field(of, format!("{:?} is no name of a volume", mount.name));
    }
    Ok(())
}

/// A path of the machine stands in settings that systemd takes apart at white space, too.
fn check_host_path(mount: &Mount, path: &str) -> Result<(), Error> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ":,\"'\\$%*?[".contains(c);
    if !path.starts_with('/') || path.chars().any(odd) {
        let of = format!("spec.volumes[name={}].hostPath.path", mount.name);
        return field(of, format!("{path:?} cannot be mounted by a unit: an absolute path without white space and : , \" ' \\ $ % * ? ["));
    }
    Ok(())
}

/// What is mounted, where, and how, for `Volume=`.
pub(super) enum Form {
    /// `Volume=`, `--volume`.
    Volume(String),
    /// `Tmpfs=`, `--tmpfs`.
    Tmpfs(String),
}

/// The form of a mount; none for what is a secret of the engine.
pub(super) fn form(instance: &Instance<'_>, mount: &Mount, host: &Host, unit_files: bool) -> Result<Option<Form>, Error> {
    check_target(mount)?;
    let target = &mount.target;
    let access = if mount.read_only { "ro" } else { "rw" };
    Ok(Some(match &mount.source {
        Source::Files { secret: true, .. } => return Ok(None),
        Source::Files { secret: false, .. } => {
            let folder = host.data.join(instance.stem()).join(&mount.name);
            let folder = folder.to_string_lossy().into_owned();
            check_host_path(mount, &folder)?;
            // z: where SELinux is on, all containers may read it.
            Form::Volume(format!("{folder}:{target}:{access},z"))
        }
        Source::Volume { volume, owned } => {
            if !names::is_plain(volume) {
                return field(format!("spec.volumes[name={}]", mount.name), format!("{volume:?} is no name of a volume"));
            }
            let source = if *owned || !unit_files { volume.clone() } else { volume_file(volume) };
            Form::Volume(format!("{source}:{target}:{access}"))
        }
        Source::Host { path, kind: _ } => {
            check_host_path(mount, path)?;
            Form::Volume(format!("{path}:{target}:{access}"))
        }
        Source::Controllers { path } => {
            check_host_path(mount, path)?;
            Form::Volume(format!("{path}:{target}:{access},z"))
        }
        Source::Memory { size } => {
            let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
            Form::Tmpfs(format!("{target}:{access},mode=1777{size}"))
        }
    }))
}

/// The mounts of an instance as flags of `podman run`.
///
/// # Errors
/// A path that cannot be mounted.
pub fn data_mounts(instance: &Instance<'_>, host: &Host) -> Result<Vec<(&'static str, String)>, Error> {
    let mut found = Vec::new();
    for mount in &instance.container.mounts {
        match form(instance, mount, host, false)? {
            Some(Form::Volume(text)) => found.push(("volume", text)),
            Some(Form::Tmpfs(text)) => found.push(("tmpfs", text)),
            None => {}
        }
    }
    Ok(found)
}

impl Writer<'_> {
    pub(super) fn mounts(&mut self, instance: &Instance<'_>) -> Result<(), Error> {
        // Before VolumeName= a unit's volume would have another name than the one that is wanted; Podman makes it at its first use instead.
        let unit_files = self.has(crate::quadlet::keys::volume::VOLUME_NAME);
        for mount in &instance.container.mounts {
            let of = format!("spec.volumeMounts[name={}]", mount.name);
            match form(instance, mount, self.host, unit_files)? {
                Some(Form::Volume(text)) => self.unit.add(key::VOLUME, &of, text)?,
                Some(Form::Tmpfs(text)) => self.text(key::TMPFS, &of, "tmpfs", &text)?,
                None => {}
            }
            self.host_path(mount)?;
        }
        Ok(())
    }

    /// What must be at a path of the machine before the start.
    pub(super) fn host_path(&mut self, mount: &Mount) -> Result<(), Error> {
        let Source::Host { path, kind } = &mount.source else { return Ok(()) };
        let of = format!("spec.volumes[name={}].hostPath", mount.name);
        match kind {
            Some(HostPathType::DirectoryOrCreate) => {
                let words = ["/usr/bin/mkdir", "-p", "--", path].map(ToOwned::to_owned).to_vec();
                self.unit.add(setting::EXEC_START_PRE, &of, words)?;
            }
            Some(HostPathType::Directory) => self.unit.add(about::ASSERT_PATH_IS_DIRECTORY, &of, path.as_str())?,
            Some(HostPathType::File) => {
                self.unit.add(about::ASSERT_PATH_EXISTS, &of, path.as_str())?;
                self.unit.add(about::ASSERT_PATH_IS_DIRECTORY, &of, format!("!{path}"))?;
            }
            None => {}
        }
        Ok(())
    }
}

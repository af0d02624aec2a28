//! Secrets of the engine: a unit names them, and their values go to `podman secret create` by standard input, never into a file or a command line.
use super::{Error, Instance, Writer, field};
use crate::quadlet::{keys::container as key, names};
use mesh_plan::container::{Mount, Source};

/// A secret that the engine must have before the instance starts.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineSecret {
    /// The engine's name for it.
    pub name: String,
    /// The field of the spec that it comes from.
    pub field: String,
    /// What it is, for the unit: `type=env,target=KEY` or `type=mount,target=/path,…`.
    options: String,
    /// Its value.
    value: Vec<u8>,
}

impl std::fmt::Debug for EngineSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

impl EngineSecret {
    /// What `podman run --secret` and `Secret=` take.
    pub fn reference(&self) -> String {
        format!("{},{}", self.name, self.options)
    }

    /// The value itself, for the engine.
    pub fn reveal(&self) -> &[u8] {
        &self.value
    }
}

/// The secrets of an instance: variables first, then files.
///
/// # Errors
/// A name that cannot be told to the engine.
pub fn secrets(instance: &Instance<'_>) -> Result<Vec<EngineSecret>, Error> {
    let container = instance.container;
    let mut found = Vec::new();
    for (name, var) in container.variables().into_iter().filter(|(_, var)| var.secret) {
        let of = format!("spec.env[name={name}]");
        if !is_option(name) {
            return field(of, "the name of a variable from a Secret may have letters, digits, '_', '-' and '.' only");
        }
        let value = var.value.reveal().as_bytes().to_vec();
        // A value that names the instance is its own.
        let own = var.value.reveal().contains(instance.name);
        let stem = if own { container.name.clone() } else { instance.stem() };
        found.push(EngineSecret {
            name: format!("{stem}-env-{}", names::plain(name)),
            field: of,
            options: format!("type=env,target={name}"),
            value,
        });
    }
    for mount in &container.mounts {
        if let Source::Files { files, mode, secret: true } = &mount.source {
            for (file, content) in files {
                let target = target(mount, file)?;
                let owner = container.security.user.map(|user| format!(",uid={user}")).unwrap_or_default();
                let group = container.security.group.map(|group| format!(",gid={group}")).unwrap_or_default();
                found.push(EngineSecret {
                    name: format!("{}-file-{}-{}", instance.stem(), names::plain(&mount.name), names::plain(file)),
                    field: format!("spec.volumes[name={}]", mount.name),
                    options: format!("type=mount,target={target},mode={mode:04o}{owner}{group}"),
                    value: content.0.clone(),
                });
            }
        }
    }
    Ok(found)
}

/// Where a file of a mount stands in the container.
fn target(mount: &Mount, file: &str) -> Result<String, Error> {
    super::mounts::check_file_name(mount, file)?;
    let target = format!("{}/{file}", mount.target.trim_end_matches('/'));
    if target.contains([',', '"']) {
        return field(
            format!("spec.volumeMounts[name={}]", mount.name),
            "a path that a Secret is mounted at cannot have a comma or a quote in it",
        );
    }
    Ok(target)
}

/// Whether a text can stand in a list that is split at commas.
fn is_option(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

impl Writer<'_> {
    pub(super) fn secret(&mut self, secret: &EngineSecret) -> Result<(), Error> {
        if self.has(key::SECRET) {
            self.unit.add(key::SECRET, &secret.field, vec![secret.reference()])?;
            return Ok(());
        }
        self.argument(&secret.field, "secret", &secret.reference())
    }
}

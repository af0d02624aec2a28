//! Environment variables from Secrets: the engine keeps their values as secrets of its own, so that `inspect` does not show them.
//! A value has one name, made from it with a key that nobody else has, so that it is kept once and its name says nothing of it.
use std::{collections::BTreeMap, fmt, path::Path};

use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use sha2::Sha256;

use super::{
    Inner,
    identity::{self, SECRETS},
    refusal::refused,
};
use crate::{
    Error,
    engine::{Kind, MASKS_SECRET_ENV, containers::Summary},
};
use mesh_api::labels;
use mesh_plan::{container::Container, environment::Var};

const FILE: &str = "engine-key";
const KEY_BYTES: usize = 32;
/// So much of the digest names a secret.
const NAME_BYTES: usize = 16;

/// The key of the names.
pub(super) struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// The key in the state directory; made at the first use.
pub(super) fn key(state: &Path) -> Result<Key, Error> {
    let mut key = vec![0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    identity::write_once(&state.join(FILE), &key).map(Key)
}

impl Inner {
    /// Before Podman 5.3 every user of the engine would see the values in `inspect`, and in Docker they always would.
    pub(super) fn refuse_secret_env(&self, container: &Container) -> Result<(), Error> {
        if self.engine.masks_secret_env() {
            return Ok(());
        }
        let Some((name, _)) = secret_variables(container).next() else { return Ok(()) };
        let product = match self.engine.kind() {
            Kind::Podman => format!("Podman {}", self.engine.version()),
            Kind::Docker => "Docker".to_owned(),
        };
        Err(Error::Unsupported(format!(
            "environment variable {name} comes from a Secret, and {product} shows such variables in `{} inspect`: mount the Secret as a volume, \
             or use Podman {}.{} or later",
            self.engine.program(),
            MASKS_SECRET_ENV.major,
            MASKS_SECRET_ENV.minor
        )))
    }

    /// Sees to it that the engine has the values, and gives the name of each variable's.
    pub(super) async fn ensure_secrets(&self, container: &Container) -> Result<BTreeMap<String, String>, Error> {
        let mut names = BTreeMap::new();
        for (variable, var) in secret_variables(container) {
            let name = self.secret_name(var.value.reveal());
            let made = self.engine.create_secret(&name, &self.labels(), var.value.reveal()).await;
            made.map_err(|error| refused(&self.engine, format!("keep the value of {variable} as a secret of the engine"), &error))?;
            names.insert(variable.to_owned(), name);
        }
        Ok(names)
    }

    fn secret_name(&self, value: &str) -> String {
        // A key of any length will do.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.secret_key.0) else { return String::new() };
        let digest = mac.chain_update(value.as_bytes()).finalize().into_bytes();
        let number = digest.iter().take(NAME_BYTES).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        format!("mesh-{}-{number:032x}", self.controller.split('-').next().unwrap_or_default())
    }

    /// Secrets of ours that none of these containers uses.
    pub(super) async fn unused_secrets(&self, containers: &[Summary]) -> Result<Vec<String>, Error> {
        if !self.engine.masks_secret_env() {
            return Ok(Vec::new());
        }
        let used: Vec<&str> = containers.iter().filter_map(|it| it.labels.get(SECRETS)).flat_map(|names| names.split(',')).collect();
        let all = self.engine.secrets().await.map_err(|error| refused(&self.engine, "list secrets".to_owned(), &error))?;
        let ours = all.into_iter().filter(|(_, of)| self.owns(of.get(labels::CONTROLLER)));
        Ok(ours.map(|(name, _)| name).filter(|name| !used.contains(&name.as_str())).collect())
    }
}

/// The variables whose values are secret. An empty value tells nothing, and no engine keeps it as a secret.
fn secret_variables(container: &Container) -> impl Iterator<Item = (&str, &Var)> {
    container.variables().into_iter().filter(|(_, var)| var.secret && !var.value.reveal().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_kit::redact::Redacted;

    #[test]
    fn only_what_is_secret_in_the_end_counts() {
        let var = |name: &str, value: &str, secret| Var { name: name.to_owned(), value: Redacted::new(value), secret };
        let mut container = super::super::start::tests::container();
        container.env = vec![var("A", "1", true), var("A", "2", false), var("B", "3", false), var("B", "4", true), var("C", "", true)];
        let names: Vec<&str> = secret_variables(&container).map(|(name, _)| name).collect();
        assert_eq!(names, ["B"]);
    }
}

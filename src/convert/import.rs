//! Compose files, Procfiles, ecosystem files of pm2 and Deployments as MeshServices. Every key of the input is carried over, known to mean nothing
//! here (and listed once as such), or named with its file and line; nothing is dropped without a word.
//!
//! [`read`] finds the files and tells their formats, [`import()`] makes an [`Outcome`] of them, which renders itself.
mod compose;
mod dotenv;
mod draft;
mod fields;
mod finish;
mod input;
mod interpolate;
mod kubernetes;
mod loosen;
mod pm2;
mod procfile;
mod render;
mod setting;
mod yaml;

use std::collections::BTreeMap;

use mesh_api::node::BackendKind;

pub use self::{
    draft::{Draft, Outcome},
    input::{Format, Input, USUAL, read},
    setting::Setting,
};
use crate::Result;

/// What is made of inputs. Files of one format belong together.
///
/// # Errors
/// What cannot be read, with file and line.
pub fn import(inputs: Vec<(Format, Input)>, setting: &Setting) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut by_kind: BTreeMap<Format, Vec<Input>> = BTreeMap::new();
    for (kind, input) in inputs {
        by_kind.entry(kind).or_default().push(input);
    }
    for (kind, inputs) in by_kind {
        let before = outcome.drafts.len();
        match kind {
            Format::Compose => compose::import(inputs, setting, &mut outcome)?,
            Format::Procfile => procfile::import(&inputs, &mut outcome)?,
            Format::Pm2 => pm2::import(inputs, setting, &mut outcome)?,
            Format::Kubernetes => kubernetes::import(inputs, &mut outcome)?,
        }
        let backend = setting.backend.unwrap_or(match kind {
            Format::Compose => BackendKind::Podman,
            Format::Procfile | Format::Pm2 => BackendKind::Process,
            Format::Kubernetes => BackendKind::Kubernetes,
        });
        finish::finish(&mut outcome, before, backend)?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;

//! The environment of an instance: `envFrom`, then `env`, then what the mesh itself gives; by the rules of Kubernetes core.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::{Deserialize, Serialize};

use mesh_api::{
    env::{EnvVar, KeyRef, ObjectRef},
    instance::InstanceTemplate,
};
use mesh_kit::redact::Redacted;

/// One variable of a program's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Var {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Redacted,
    /// Something of the value comes from a Secret.
    pub secret: bool,
}

impl Var {
    /// One that everybody may see.
    pub fn plain((name, value): (String, String)) -> Self {
        Self { name, value: Redacted::new(value), secret: false }
    }
}

/// The objects that a template refers to, as far as they exist.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// By name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
}

/// Which objects a template refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Names of `ConfigMap`s.
    pub config_maps: Vec<String>,
    /// Names of `Secret`s.
    pub secrets: Vec<String>,
}

/// Something that a template refers to is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The object.
    #[error("{field} refers to {kind} {name:?}, which does not exist in this namespace: create it, or set optional: true")]
    Object {
        /// The field of the spec.
        field: String,
        /// `ConfigMap` or Secret.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The key in the object.
    #[error("{field} refers to key {key:?} of {kind} {name:?}, which has no such key: add it, or set optional: true")]
    Key {
        /// The field of the spec.
        field: String,
        /// `ConfigMap` or Secret.
        kind: &'static str,
        /// The object's name.
        name: String,
        /// The key.
        key: String,
    },
    /// A secret would be seen by everybody who can list processes.
    #[error(
        "{field} would put a secret on a command line, where others see it: let the program read it from its environment or from a volume"
    )]
    OnCommandLine {
        /// The field of the spec.
        field: String,
    },
    /// A Secret that says who asks a registry cannot be read.
    #[error(
        "{field}: Secret {name:?} is no kubernetes.io/dockerconfigjson ({problem}): make it with kubectl create secret docker-registry"
    )]
    NotDockerConfig {
        /// The field of the spec.
        field: String,
        /// The object's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A secret's value cannot be an environment variable.
    #[error("{field}: key {key:?} of Secret {name:?} is no text, so it cannot be an environment variable")]
    NotText {
        /// The field of the spec.
        field: String,
        /// The object's name.
        name: String,
        /// The key.
        key: String,
    },
}

/// The names of all objects that the template refers to.
pub fn references(template: &InstanceTemplate) -> References {
    let mut found = References::default();
    for source in &template.env_from {
        found.config_maps.extend(source.config_map_ref.iter().map(|r| r.name.clone()));
        found.secrets.extend(source.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in template.env.iter().filter_map(|var| var.value_from.as_ref()) {
        found.config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        found.secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    for volume in &template.volumes {
        found.config_maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
        found.secrets.extend(volume.secret.iter().map(|secret| secret.secret_name.clone()));
    }
    found.secrets.extend(template.image_pull_secrets.iter().map(|secret| secret.name.clone()));
    found
}

/// The variables, in order; a later one of the same name wins.
///
/// # Errors
/// The first reference that leads nowhere.
pub fn resolve(template: &InstanceTemplate, sources: &Sources, given: &[(String, String)]) -> Result<Vec<Var>, Missing> {
    let mut vars: Vec<Var> = given.iter().cloned().map(Var::plain).collect();
    for (index, source) in template.env_from.iter().enumerate() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let field = format!("spec.envFrom[{index}].configMapRef");
            let found = object(&sources.config_maps, reference, "ConfigMap", &field)?;
            let data = found.and_then(|map| map.data.as_ref()).into_iter().flatten();
            vars.extend(data.map(|(key, value)| Var::plain((format!("{prefix}{key}"), value.clone()))));
        }
        if let Some(reference) = &source.secret_ref {
            let field = format!("spec.envFrom[{index}].secretRef");
            let found = object(&sources.secrets, reference, "Secret", &field)?;
            for (key, value) in found.and_then(|secret| secret.data.as_ref()).into_iter().flatten() {
                let value = Redacted::new(text(&value.0, &field, &reference.name, key)?);
                vars.push(Var { name: format!("{prefix}{key}"), value, secret: true });
            }
        }
    }
    for var in &template.env {
        if let Some((value, secret)) = value(var, sources, &vars)? {
            vars.push(Var { name: var.name.clone(), value: Redacted::new(value), secret });
        }
    }
    Ok(vars)
}

/// An argument with its references replaced.
///
/// # Errors
/// One of them is a secret.
pub fn argument(value: &str, vars: &[Var], field: &str) -> Result<String, Missing> {
    match expand(value, vars) {
        (_, true) => Err(Missing::OnCommandLine { field: field.to_owned() }),
        (value, false) => Ok(value),
    }
}

/// The value, and whether something of it is secret.
fn value(var: &EnvVar, sources: &Sources, earlier: &[Var]) -> Result<Option<(String, bool)>, Missing> {
    let field = format!("spec.env[name={}]", var.name);
    let Some(from) = &var.value_from else { return Ok(Some(expand(var.value.as_deref().unwrap_or_default(), earlier))) };
    if let Some(reference) = &from.config_map_key_ref {
        let object = key_object(&sources.config_maps, reference, "ConfigMap", &field)?;
        let found = object.and_then(|map| map.data.as_ref()?.get(&reference.key).cloned());
        return Ok(found_or_optional(found, reference, "ConfigMap", field)?.map(|value| (value, false)));
    }
    if let Some(reference) = &from.secret_key_ref {
        let object = key_object(&sources.secrets, reference, "Secret", &field)?;
        let bytes = object.and_then(|secret| secret.data.as_ref()?.get(&reference.key));
        let found = bytes.map(|bytes| text(&bytes.0, &field, &reference.name, &reference.key)).transpose()?;
        return Ok(found_or_optional(found, reference, "Secret", field)?.map(|value| (value, true)));
    }
    Ok(None)
}

fn found_or_optional(found: Option<String>, reference: &KeyRef, kind: &'static str, field: String) -> Result<Option<String>, Missing> {
    if found.is_none() && !reference.optional {
        return Err(Missing::Key { field, kind, name: reference.name.clone(), key: reference.key.clone() });
    }
    Ok(found)
}

fn object<'a, T>(
    objects: &'a BTreeMap<String, T>,
    reference: &ObjectRef,
    kind: &'static str,
    field: &str,
) -> Result<Option<&'a T>, Missing> {
    match objects.get(&reference.name) {
        None if !reference.optional => Err(Missing::Object { field: field.to_owned(), kind, name: reference.name.clone() }),
        found => Ok(found),
    }
}

fn key_object<'a, T>(
    objects: &'a BTreeMap<String, T>,
    reference: &KeyRef,
    kind: &'static str,
    field: &str,
) -> Result<Option<&'a T>, Missing> {
    object(objects, &ObjectRef { name: reference.name.clone(), optional: reference.optional }, kind, field)
}

fn text(bytes: &[u8], field: &str, name: &str, key: &str) -> Result<String, Missing> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.map(ToOwned::to_owned).ok_or_else(|| Missing::NotText { field: field.to_owned(), name: name.to_owned(), key: key.to_owned() })
}

/// Replaces `$(NAME)` by variables defined earlier, as Kubernetes does: an unknown name stays as it is, `$$` is a dollar sign.
/// Says as well whether one of them is secret.
pub fn expand(value: &str, earlier: &[Var]) -> (String, bool) {
    let mut secret = false;
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = tail.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = tail.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match earlier.iter().rfind(|earlier| earlier.name == name) {
                Some(var) => {
                    out.push_str(var.value.reveal());
                    secret |= var.secret;
                }
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = tail.strip_prefix('$').unwrap_or_default();
        }
    }
    out.push_str(rest);
    (out, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_earlier_variables_are_replaced_and_unknown_ones_stay() {
        let password = Var { name: "PASSWORD".to_owned(), value: Redacted::new("sesame"), secret: true };
        let vars = [Var::plain(("HOST".to_owned(), "db".to_owned())), Var::plain(("PORT".to_owned(), "5432".to_owned())), password];
        for (value, expanded, secret) in [
            ("postgres://$(HOST):$(PORT)/x", "postgres://db:5432/x", false),
            ("$(NOPE)", "$(NOPE)", false),
            ("$$(HOST)", "$(HOST)", false),
            ("$HOST", "$HOST", false),
            ("100$", "100$", false),
            ("$(HOST", "$(HOST", false),
            ("", "", false),
            ("x:$(PASSWORD)", "x:sesame", true),
        ] {
            assert_eq!(expand(value, &vars), (expanded.to_owned(), secret), "{value}");
        }
        assert!(argument("--password=$(PASSWORD)", &vars, "spec.args[0]").is_err());
    }
}

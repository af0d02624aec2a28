//! What objects refer to by name: whatever the pods mount, read or pull with, also where a pod template of the user's says so.
use std::collections::BTreeMap;

use serde_json::Value;

/// Names of objects, and whether pods start without them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Optional>,
    /// Secrets.
    pub secrets: BTreeMap<String, Optional>,
    pub(super) claims: BTreeMap<String, Optional>,
}

/// Whether pods start without it.
pub(super) type Optional = bool;

impl References {
    /// All that an object refers to.
    pub(super) fn of(object: &Value) -> Self {
        let mut found = Self::default();
        found.look(object);
        found
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        let maps = [(&mut self.config_maps, &others.config_maps), (&mut self.secrets, &others.secrets), (&mut self.claims, &others.claims)];
        for (own, others) in maps {
            for (name, optional) in others {
                put(own, Some(name), *optional);
            }
        }
        self
    }

    fn look(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.field(key, value);
                    self.look(value);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.look(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn field(&mut self, key: &str, value: &Value) {
        let name = |field: &str| value.get(field).and_then(Value::as_str).filter(|name| !name.is_empty());
        let optional = value.get("optional") == Some(&Value::Bool(true));
        match key {
            "configMap" | "configMapRef" | "configMapKeyRef" => put(&mut self.config_maps, name("name"), optional),
            "secret" | "secretRef" | "secretKeyRef" => put(&mut self.secrets, name("secretName").or(name("name")), optional),
            "imagePullSecrets" => {
                for secret in value.as_array().into_iter().flatten() {
                    put(&mut self.secrets, secret.get("name").and_then(Value::as_str), false);
                }
            }
            "persistentVolumeClaim" => put(&mut self.claims, name("claimName"), false),
            _ => {}
        }
    }
}

fn put(map: &mut BTreeMap<String, Optional>, name: Option<&str>, optional: Optional) {
    if let Some(name) = name {
        let known = map.entry(name.to_owned()).or_insert(optional);
        *known &= optional;
    }
}

//! The files of a volume that comes from a `ConfigMap` or a Secret; by the rules of Kubernetes core.
use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::environment::{Missing, Sources};
use mesh_api::container::{ConfigMapVolume, KeyToPath, SecretVolume};

/// The content of a file, which is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// Those of a `ConfigMap`; none if it may be missing and is.
///
/// # Errors
/// The object or a key is missing.
pub(super) fn of_config_map(volume: &ConfigMapVolume, sources: &Sources, field: &str) -> Result<BTreeMap<String, Content>, Missing> {
    let found = sources.config_maps.get(&volume.name).map(|map| {
        let texts = map.data.iter().flatten().map(|(key, text)| (key.clone(), Content(text.clone().into_bytes())));
        texts.chain(map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), Content(bytes.0.clone())))).collect()
    });
    chosen(found, &volume.items, volume.optional, &Object { field, kind: "ConfigMap", name: &volume.name })
}

/// Those of a Secret; none if it may be missing and is.
///
/// # Errors
/// The object or a key is missing.
pub(super) fn of_secret(volume: &SecretVolume, sources: &Sources, field: &str) -> Result<BTreeMap<String, Content>, Missing> {
    let found = sources.secrets.get(&volume.secret_name);
    let found = found.map(|secret| secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), Content(bytes.0.clone()))).collect());
    chosen(found, &volume.items, volume.optional, &Object { field, kind: "Secret", name: &volume.secret_name })
}

struct Object<'a> {
    field: &'a str,
    kind: &'static str,
    name: &'a str,
}

fn chosen(
    found: Option<BTreeMap<String, Content>>,
    items: &[KeyToPath],
    optional: bool,
    object: &Object<'_>,
) -> Result<BTreeMap<String, Content>, Missing> {
    let Object { field, kind, name } = *object;
    let Some(all) = found else {
        return if optional { Ok(BTreeMap::new()) } else { Err(Missing::Object { field: field.to_owned(), kind, name: name.to_owned() }) };
    };
    if items.is_empty() {
        return Ok(all);
    }
    let mut files = BTreeMap::new();
    for item in items {
        match all.get(&item.key) {
            Some(content) => drop(files.insert(item.path.clone(), content.clone())),
            None if optional => {}
            None => return Err(Missing::Key { field: field.to_owned(), kind, name: name.to_owned(), key: item.key.clone() }),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn sources() -> Sources {
        let data = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        Sources { config_maps: BTreeMap::from([("config".to_owned(), map)]), ..Sources::default() }
    }

    fn files(volume: &ConfigMapVolume) -> Result<Vec<String>, Missing> {
        of_config_map(volume, &sources(), "spec.volumes[0].configMap").map(|files| files.into_keys().collect())
    }

    #[test]
    fn every_key_is_a_file_unless_some_are_chosen() {
        let all = ConfigMapVolume { name: "config".to_owned(), ..ConfigMapVolume::default() };
        assert_eq!(files(&all).unwrap(), ["a", "b"]);
        let items = vec![KeyToPath { key: "b".to_owned(), path: "app.conf".to_owned() }];
        assert_eq!(files(&ConfigMapVolume { items, ..all }).unwrap(), ["app.conf"]);
    }

    #[test]
    fn what_is_missing_is_named_unless_it_may_be() {
        let gone = ConfigMapVolume { name: "gone".to_owned(), ..ConfigMapVolume::default() };
        assert!(files(&gone).unwrap_err().to_string().contains("ConfigMap \"gone\""));
        assert_eq!(files(&ConfigMapVolume { optional: true, ..gone }).unwrap(), Vec::<String>::new());
        let items = vec![KeyToPath { key: "c".to_owned(), path: "c".to_owned() }];
        let short = ConfigMapVolume { name: "config".to_owned(), items, ..ConfigMapVolume::default() };
        assert!(files(&short).unwrap_err().to_string().contains("key \"c\""));
    }
}

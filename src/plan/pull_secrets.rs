//! Who asks a registry: from Secrets of type kubernetes.io/dockerconfigjson.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    container::RegistryAuth,
    environment::{Missing, Sources},
};
use mesh_api::container::LocalObjectReference;
use mesh_kit::redact::Redacted;

/// The key in such a Secret.
const KEY: &str = ".dockerconfigjson";

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

/// Everything that the Secrets say.
///
/// # Errors
/// A Secret is missing, or is none of that type.
pub fn registry_auth(references: &[LocalObjectReference], sources: &Sources) -> Result<Vec<RegistryAuth>, Missing> {
    let mut found = Vec::new();
    for (index, LocalObjectReference { name }) in references.iter().enumerate() {
        let field = format!("spec.imagePullSecrets[{index}]");
        let Some(secret) = sources.secrets.get(name) else { return Err(Missing::Object { field, kind: "Secret", name: name.clone() }) };
        let wrong = |problem: String| Missing::NotDockerConfig { field: field.clone(), name: name.clone(), problem };
        let text = secret.data.as_ref().and_then(|data| data.get(KEY)).ok_or_else(|| wrong(format!("it has no key {KEY}")))?;
        // The error of serde may quote what it read.
        let config: DockerConfig = serde_json::from_slice(&text.0).map_err(|_| wrong("its JSON has no map auths".to_owned()))?;
        for (registry, entry) in config.auths {
            let (username, password) =
                entry.who().ok_or_else(|| wrong(format!("its entry for {registry} has no username and password")))?;
            found.push(RegistryAuth { registry: host(&registry).to_owned(), username, password: Redacted::new(password) });
        }
    }
    Ok(found)
}

impl Entry {
    fn who(self) -> Option<(String, String)> {
        if let (Some(username), Some(password)) = (self.username, self.password) {
            return Some((username, password));
        }
        let pair = String::from_utf8(STANDARD.decode(self.auth?).ok()?).ok()?;
        pair.split_once(':').map(|(username, password)| (username.to_owned(), password.to_owned()))
    }
}

/// `https://index.docker.io/v1/` and `index.docker.io` are the same registry.
fn host(registry: &str) -> &str {
    let bare = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    bare.split_once('/').map_or(bare, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, api::core::v1::Secret};

    use super::*;

    fn read(config: &str) -> Result<Vec<RegistryAuth>, Missing> {
        let data = BTreeMap::from([(KEY.to_owned(), ByteString(config.as_bytes().to_vec()))]);
        let secret = Secret { data: Some(data), ..Secret::default() };
        let sources = Sources { secrets: BTreeMap::from([("pull".to_owned(), secret)]), ..Sources::default() };
        registry_auth(&[LocalObjectReference { name: "pull".to_owned() }], &sources)
    }

    #[test]
    fn both_forms_of_an_entry_are_read() {
        for config in
            [r#"{"auths":{"quay.io":{"username":"u","password":"p:q"}}}"#, r#"{"auths":{"https://quay.io/v1/":{"auth":"dTpwOnE="}}}"#]
        {
            let expected = RegistryAuth { registry: "quay.io".to_owned(), username: "u".to_owned(), password: Redacted::new("p:q") };
            assert_eq!(read(config).unwrap(), [expected], "{config}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_quoted() {
        for config in ["sesame", r#"{"auths":{"quay.io":{"auth":"sesame"}}}"#, "{}"] {
            let text = read(config).unwrap_err().to_string();
            assert!(text.contains("pull") && !text.contains("sesame"), "{text}");
        }
    }
}

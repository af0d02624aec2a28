//! The engine's secrets, which libpod alone has as they are needed here.
use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;

use super::{Engine, Error, LIBPOD, http::encode};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Engine {
    /// The names and labels of all secrets.
    pub async fn secrets(&self) -> Result<Vec<(String, BTreeMap<String, String>)>, Error> {
        let found: Vec<Listed> = self.http().json(Method::GET, &format!("{LIBPOD}/secrets/json"), None::<&()>).await?;
        Ok(found.into_iter().map(|listed| (listed.spec.name, listed.spec.labels.unwrap_or_default())).collect())
    }

    /// Makes a secret; one of that name that is there stays as it is.
    pub async fn create_secret(&self, name: &str, labels: &BTreeMap<String, String>, value: &str) -> Result<(), Error> {
        let labels = serde_json::to_string(labels).map_err(|error| Error::Unreadable(error.to_string()))?;
        let path = format!("{LIBPOD}/secrets/create?name={}&labels={}", encode(name), encode(&labels));
        match self.http().call(Method::POST, &path, &[], value.as_bytes().to_vec()).await {
            Err(error) if error.says("secret name in use") || error.says("already exists") => Ok(()),
            result => result.map(drop),
        }
    }

    /// Removes a secret; one that is not there is as good.
    pub async fn remove_secret(&self, name: &str) -> Result<(), Error> {
        let path = format!("{LIBPOD}/secrets/{}", encode(name));
        Error::none_if_missing(self.http().call(Method::DELETE, &path, &[], Vec::new()).await).map(drop)
    }
}

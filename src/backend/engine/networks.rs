//! Networks.
use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::NetworkCreateRequest,
    query_parameters::{InspectNetworkOptions, ListNetworksOptions},
};

use super::{Engine, Error, containers::by_labels};

impl Engine {
    /// The labels of a network; none if there is no such network.
    pub async fn network(&self, name: &str) -> Result<Option<HashMap<String, String>>, Error> {
        let found = self.docker().inspect_network(name, None::<InspectNetworkOptions>).await.map_err(self.refused());
        Ok(Error::none_if_missing(found)?.map(|network| network.labels.unwrap_or_default()))
    }

    /// Makes a network whose members find each other by name.
    pub async fn create_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        let labels = Some(labels.clone().into_iter().collect());
        let wanted =
            NetworkCreateRequest { name: name.to_owned(), driver: Some("bridge".to_owned()), labels, ..NetworkCreateRequest::default() };
        self.docker().create_network(wanted).await.map(drop).map_err(self.refused())
    }

    /// The networks that have these labels: their names, and all of their labels.
    pub async fn networks(&self, labels: &[(&str, &str)]) -> Result<Vec<(String, HashMap<String, String>)>, Error> {
        let options = ListNetworksOptions { filters: Some(by_labels(labels)) };
        let found = self.docker().list_networks(Some(options)).await.map_err(self.refused())?;
        Ok(found.into_iter().filter_map(|network| Some((network.name?, network.labels.unwrap_or_default()))).collect())
    }

    /// Removes a network; refused while containers are on it. One that is not there is as good.
    pub async fn remove_network(&self, name: &str) -> Result<(), Error> {
        Error::none_if_missing(self.docker().remove_network(name).await.map_err(self.refused())).map(drop)
    }
}

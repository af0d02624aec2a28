//! Named volumes.
use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{ListVolumesOptions, RemoveVolumeOptions},
};

use super::{Engine, Error, Kind, containers::by_labels};

impl Engine {
    /// The labels of a volume; none if there is no such volume.
    pub async fn volume(&self, name: &str) -> Result<Option<HashMap<String, String>>, Error> {
        let found = self.docker().inspect_volume(name).await.map_err(self.refused());
        Ok(Error::none_if_missing(found)?.map(|volume| volume.labels))
    }

    /// Makes a volume; `owner` is a user and a group by number.
    ///
    /// Docker has no such thing: there it is root's, or that of the image's directory.
    pub async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>, owner: Option<(u32, u32)>) -> Result<(), Error> {
        let labels = Some(labels.clone().into_iter().collect());
        let owner = owner.filter(|_| self.kind() == Kind::Podman);
        let driver_opts = owner.map(|(user, group)| HashMap::from([("o".to_owned(), format!("uid={user},gid={group}"))]));
        let wanted = VolumeCreateRequest { name: Some(name.to_owned()), labels, driver_opts, ..VolumeCreateRequest::default() };
        self.docker().create_volume(wanted).await.map(drop).map_err(self.refused())
    }

    /// The names of the volumes that have these labels, with all of theirs.
    pub async fn volumes(&self, labels: &[(&str, &str)]) -> Result<Vec<(String, HashMap<String, String>)>, Error> {
        let options = ListVolumesOptions { filters: Some(by_labels(labels)) };
        let found = self.docker().list_volumes(Some(options)).await.map_err(self.refused())?;
        let wanted =
            |volume: &bollard::models::Volume| labels.iter().all(|(key, value)| volume.labels.get(*key).is_some_and(|it| it == value));
        // Engines differ in whether several labels of a filter must all be there.
        Ok(found.volumes.unwrap_or_default().into_iter().filter(wanted).map(|volume| (volume.name, volume.labels)).collect())
    }

    /// Removes a volume; one that is not there is as good.
    pub async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        let removed = self.docker().remove_volume(name, Some(RemoveVolumeOptions { force: false })).await.map_err(self.refused());
        Error::none_if_missing(removed).map(drop)
    }
}

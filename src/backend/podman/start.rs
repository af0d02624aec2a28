//! Starts a run: everything it needs is there first, then one container is made and started; what fails is taken away again.
use std::sync::Arc;

use super::{
    Inner,
    adopted::whose,
    identity::{IMAGE, SECRETS},
    refusal::{not_started, refused},
    slot::State,
};
use crate::{
    Error,
    engine::{self, create::Create, images::Image},
};
use mesh_api::labels;
use mesh_plan::instance::{ContainerLaunch, InstanceKey, Observed};

/// What engines say of a container whose name is taken.
const NAME_TAKEN: &str = "already in use";

impl Inner {
    /// Starts it, unless it runs or this very attempt was made already.
    pub(super) async fn start(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<(), Error> {
        let slot = self.slots.of(&launch.key);
        let mut state = slot.state.lock().await;
        match self.look(&slot, &mut state).await? {
            Observed::Running(_) => return Ok(()),
            Observed::Exited(exit) if exit.attempt == launch.attempt => return Ok(()),
            Observed::Exited(_) | Observed::Absent => {}
        }
        let started = self.begin(launch, &mut state).await;
        slot.look_again();
        drop(state);
        if started.is_ok() {
            self.subscribers.tell(&launch.key);
        }
        started
    }

    async fn begin(self: &Arc<Self>, launch: &ContainerLaunch, state: &mut State) -> Result<(), Error> {
        let container = &launch.container;
        self.refuse_secret_env(container)?;
        let image = self.image(launch).await?;
        // From here on networks and secrets are relied on that no container uses yet.
        let _shared = self.shared.read().await;
        let user = user(launch, &image);
        // Where the spec says nothing it is the image's.
        let runs_as = user.as_deref().or(Some(image.user.as_str()));
        let mounts = self.mounts(launch, runs_as).await?;
        self.ensure_network(&launch.key, &container.network).await?;
        let secret_env = self.ensure_secrets(container).await?;
        let mut labels = self.container_labels(launch);
        labels.insert(IMAGE.to_owned(), image.digest(&container.image));
        if !secret_env.is_empty() {
            labels.insert(SECRETS.to_owned(), secret_env.values().cloned().collect::<Vec<_>>().join(","));
        }
        // The engine keeps one file, so it is as large as all of them together; it counts with a sign.
        let log_bytes = launch.log.max_bytes.saturating_mul(u64::from(launch.log.max_files.max(1)));
        let log_bytes = Some(log_bytes.min(i64::MAX.unsigned_abs()));
        let create = Create { container, labels, mounts, secret_env, user, log_bytes };
        let _turn = self.starts.acquire().await;
        self.make_room(launch).await?;
        state.ended_unseen = None;
        self.run(&launch.key, &create).await
    }

    /// Makes the container and starts it.
    async fn run(&self, key: &InstanceKey, create: &Create<'_>) -> Result<(), Error> {
        let container = create.container;
        let mut made = self.engine.create(create).await;
        if matches!(&made, Err(error) if error.says(NAME_TAKEN)) && self.give_way(key, &container.name).await? {
            made = self.engine.create(create).await;
        }
        let id = match made {
            Ok(id) => id,
            Err(error) => return Err(self.not_created(container, error).await),
        };
        let Err(error) = self.engine.start(&id).await else { return Ok(()) };
        if let Err(error) = self.engine.remove(&id).await {
            tracing::warn!(container = container.name, %error, "a container that did not start could not be removed; the next start tries again");
        }
        Err(not_started(&self.engine, container, &error))
    }

    /// Removes the container of that name if its maker is gone: nobody else would ever.
    async fn give_way(&self, key: &InstanceKey, name: &str) -> Result<bool, Error> {
        let found = self.engine.inspect(name).await.map_err(|error| refused(&self.engine, format!("look at container {name}"), &error))?;
        let Some(found) = found.filter(|found| !self.owns(found.labels.get(labels::CONTROLLER))) else { return Ok(false) };
        if !self.may_use(key, ("container (replaced)", name), |label| found.labels.get(label)) {
            return Ok(false);
        }
        self.remove_container(&found.id, name).await?;
        Ok(true)
    }

    async fn not_created(&self, container: &mesh_plan::container::Container, error: engine::Error) -> Error {
        let name = &container.name;
        if !error.says(NAME_TAKEN) {
            return not_started(&self.engine, container, &error);
        }
        let other = self.engine.inspect(name).await.ok().flatten();
        if other.as_ref().is_some_and(|other| self.owns(other.labels.get(labels::CONTROLLER))) {
            let why = "a container of that name is left of an instance that is being removed; tried again".to_owned();
            return Error::Refused { act: format!("make container {name}"), why };
        }
        let whose = other.map(|other| whose(|label| other.labels.get(label))).unwrap_or_default();
        let remedy = format!("{whose}remove it ({} rm -f {name}), or set spec.podman.containerPrefix", self.engine.program());
        Error::NameTaken { what: "container", name: name.clone(), remedy }
    }

    /// Removes what a start made in the engine, for an error that comes before the container.
    pub(super) async fn remove_container(&self, id: &str, name: &str) -> Result<(), Error> {
        self.engine.remove(id).await.map_err(|error| refused(&self.engine, format!("remove container {name}"), &error))
    }
}

/// Whom it runs as: a group alone goes with the image's user.
fn user(launch: &ContainerLaunch, image: &Image) -> Option<String> {
    let security = &launch.container.security;
    let of_image = || image.user.split(':').next().filter(|user| !user.is_empty()).unwrap_or("0").to_owned();
    match (security.user, security.group) {
        (None, None) => None,
        (Some(user), None) => Some(user.to_string()),
        (user, Some(group)) => Some(format!("{}:{group}", user.map_or_else(of_image, |user| user.to_string()))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use mesh_api::container::ImagePullPolicy;
    use mesh_plan::{
        container::{Container, Resources, Security},
        instance::LogLimits,
    };

    pub(crate) fn container() -> Container {
        let security = Security { user: None, group: None, read_only_root: true, no_new_privileges: true, drop: vec![], add: vec![] };
        Container {
            name: "mesh-default-web-0".to_owned(),
            image: "localhost/bb:1".to_owned(),
            pull: ImagePullPolicy::Never,
            command: vec![],
            args: vec![],
            working_dir: None,
            env: vec![],
            port: None,
            network: "mesh-default".to_owned(),
            aliases: vec![],
            mounts: vec![],
            resources: Resources::default(),
            security,
            stop_grace: std::time::Duration::from_secs(1),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_group_alone_goes_with_the_images_user() {
        let key = InstanceKey { namespace: "default".into(), name: "web-0".into(), uid: "1".into() };
        let log = LogLimits { max_bytes: 1, max_files: 1 };
        let mut launch = ContainerLaunch { key, attempt: 0, container: container(), auth: vec![], log };
        let image = |user: &str| Image { id: String::new(), architecture: String::new(), digests: vec![], user: user.to_owned() };
        let mut of = |uid, gid, image_user: &str| {
            (launch.container.security.user, launch.container.security.group) = (uid, gid);
            user(&launch, &image(image_user))
        };
        assert_eq!(of(None, None, "web"), None);
        assert_eq!(of(Some(7), None, "web").as_deref(), Some("7"));
        assert_eq!(of(Some(7), Some(8), "web").as_deref(), Some("7:8"));
        assert_eq!(of(None, Some(8), "web:9").as_deref(), Some("web:8"));
        assert_eq!(of(None, Some(8), "").as_deref(), Some("0:8"));
    }
}

//! Images are brought here before a unit is started, so that a slow registry is progress and not a start that hangs. One pull per image at a time.
use std::{
    collections::HashMap,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::watch,
};

use super::{Inner, podman, system};
use crate::{
    Error,
    engine::images::{auth_for, go_name},
};
use mesh_api::container::ImagePullPolicy;
use mesh_plan::{container::RegistryAuth, instance::ContainerLaunch};

/// A pull that is done within this is not talked about.
const SHORT: Duration = Duration::from_secs(2);

/// The pulls that are under way, by image; one that is done is taken by who asked for it.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<String, watch::Receiver<Pull>>>);

/// How far a pull is.
#[derive(Debug, Clone)]
enum Pull {
    UnderWay(String),
    Done,
    Failed(String),
}

impl Inner {
    /// Sees to it that the image is here; its digest.
    ///
    /// # Errors
    /// It is on its way, it cannot be had, or it is for another kind of machine.
    pub(super) async fn image(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<String, Error> {
        let (name, policy) = (&launch.container.image, launch.container.pull);
        let here = podman::image(name).await?;
        let pull = match (policy, &here) {
            (ImagePullPolicy::Never, None) => return Err(Error::ImageNeverPull { image: name.clone() }),
            (ImagePullPolicy::Never | ImagePullPolicy::IfNotPresent, Some(_)) => false,
            (ImagePullPolicy::IfNotPresent, None) | (ImagePullPolicy::Always, _) => true,
        };
        let here = if pull {
            self.pulled(name, &launch.auth).await?;
            podman::image(name).await?
        } else {
            here
        };
        let image = here.ok_or_else(|| Error::Image { image: name.clone(), why: "it was pulled, and is not here".to_owned() })?;
        let wanted = go_name(std::env::consts::ARCH);
        if !image.architecture.is_empty() && image.architecture != wanted {
            return Err(Error::ImageArchitecture { image: name.clone(), found: image.architecture, wanted: wanted.to_owned() });
        }
        Ok(image.digest(name))
    }

    /// Joins the pull of an image or begins it, and waits for it a little.
    async fn pulled(self: &Arc<Self>, image: &str, auth: &[RegistryAuth]) -> Result<(), Error> {
        let mut progress = self.join(image, auth);
        let done = tokio::time::timeout(SHORT, progress.wait_for(|pull| !matches!(pull, Pull::UnderWay(_)))).await;
        let now = match done.map(|pull| pull.map(|pull| pull.clone())) {
            Ok(Ok(pull)) => pull,
            Ok(Err(_)) => Pull::Failed("the pull was cut off".to_owned()),
            Err(_) => progress.borrow().clone(),
        };
        if let Pull::UnderWay(progress) = now {
            return Err(Error::Pulling { image: image.to_owned(), progress });
        }
        self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
        match now {
            Pull::Failed(why) => Err(Error::Image { image: image.to_owned(), why }),
            Pull::Done | Pull::UnderWay(_) => Ok(()),
        }
    }

    fn join(self: &Arc<Self>, image: &str, auth: &[RegistryAuth]) -> watch::Receiver<Pull> {
        let mut pulls = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = pulls.get(image) {
            return progress.clone();
        }
        let (tell, progress) = watch::channel(Pull::UnderWay(String::new()));
        pulls.insert(image.to_owned(), progress.clone());
        let (inner, image, auth) = (Arc::clone(self), image.to_owned(), auth.to_vec());
        self.shutdown.spawn_work(async move {
            let end = inner.shutdown.triggered();
            tokio::select! {
                done = inner.pull(&image, &auth, &tell) => {
                    tell.send_replace(match done {
                        Ok(()) => Pull::Done,
                        Err(Error::Image { why, .. }) => Pull::Failed(why),
                        Err(error) => Pull::Failed(error.to_string()),
                    });
                }
                () = end => {}
            }
        });
        progress
    }

    async fn pull(&self, image: &str, auth: &[RegistryAuth], tell: &watch::Sender<Pull>) -> Result<(), Error> {
        if let Some(engine) = self.engines.get(self.place.manager).await {
            let told = |said| drop(tell.send_replace(Pull::UnderWay(said)));
            let pulled = engine.pull(image, auth_for(image, auth), told).await;
            return pulled.map_err(|error| Error::Image { image: image.to_owned(), why: remedy(&error.to_string()) });
        }
        let file = AuthFile::write(&self.place.records, auth)?;
        let mut args = vec!["pull".to_owned()];
        args.extend(file.as_ref().map(|file| format!("--authfile={}", file.0.display())));
        args.extend(["--".to_owned(), image.to_owned()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = podman::command(&args).spawn().map_err(|error| podman::missing(&error))?;
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tell.send_replace(Pull::UnderWay(line.clone()));
                said.push(line);
            }
        }
        let status = child.wait().await.map_err(|error| podman::missing(&error))?;
        if status.success() { Ok(()) } else { Err(Error::Image { image: image.to_owned(), why: remedy(&podman::told(&said.join("\n"))) }) }
    }
}

/// What a registry says, with what to do about it.
fn remedy(why: &str) -> String {
    let lower = why.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let remedy = if has(&["unauthorized", "authentication required", "denied", "403"]) {
        "give the registry's user and password in a Secret, and name it in spec.imagePullSecrets (kubectl create secret docker-registry …)"
    } else if has(&["manifest unknown", "name unknown", "not found"]) {
        "look whether the name and the tag are right"
    } else if has(&["short-name"]) {
        "write the registry before the name, for example docker.io/library/NAME"
    } else if has(&["http response to https", "x509", "certificate"]) {
        "the registry has no certificate that this machine trusts: add it, or allow it without (insecure = true in /etc/containers/registries.conf)"
    } else {
        "look whether this machine reaches the registry (podman pull says the same by hand)"
    };
    format!("{why}; {remedy}")
}

/// Who asks the registries, in a file for this user only, removed when the pull is over.
struct AuthFile(PathBuf);

impl AuthFile {
    fn write(dir: &std::path::Path, auth: &[RegistryAuth]) -> Result<Option<Self>, Error> {
        if auth.is_empty() {
            return Ok(None);
        }
        let of = |auth: &RegistryAuth| {
            (auth.registry.clone(), json!({ "auth": STANDARD.encode(format!("{}:{}", auth.username, auth.password.reveal())) }))
        };
        let auths: serde_json::Map<String, serde_json::Value> = auth.iter().map(of).collect();
        let path = dir.join(format!("{}.auth", uuid::Uuid::new_v4()));
        let file = Self(path.clone());
        let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(system("write", &path))?;
        open.write_all(json!({ "auths": auths }).to_string().as_bytes()).map_err(system("write", &path))?;
        Ok(Some(file))
    }
}

impl Drop for AuthFile {
    fn drop(&mut self) {
        // It is in a directory of our own, and for this user only; a later one has another name.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_registry_names_a_remedy() {
        for (why, expected) in [
            ("reading manifest 9 in r.io/x: manifest unknown", "the tag"),
            ("requested access to the resource is denied", "imagePullSecrets"),
            ("unauthorized: authentication required", "imagePullSecrets"),
            ("short-name \"web\" did not resolve to an alias", "docker.io/library"),
            ("http: server gave HTTP response to HTTPS client", "registries.conf"),
            ("dial tcp 127.0.0.1:1: connect: connection refused", "reaches the registry"),
        ] {
            assert!(remedy(why).contains(expected), "{why}");
        }
    }
}

//! Images are brought here before a unit is started, so that a slow registry is progress and not a start that hangs. One pull per image at a time.
use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::watch,
};

use super::{Inner, podman, system};
use crate::{
    Error,
    engine::images::auth_for,
    images::{
        self,
        pulls::{Claim, Progress},
    },
};
use mesh_plan::{container::RegistryAuth, instance::ContainerLaunch};

/// What units are started with.
const PROGRAM: &str = "podman";

/// A pull of this backend: what Podman said against it.
type Pulling = Progress<String>;

impl Inner {
    /// Sees to it that the image is here; its digest.
    ///
    /// # Errors
    /// It is on its way, it cannot be had, or it is for another kind of machine.
    pub(super) async fn image(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<String, Error> {
        let reference = &launch.container.image;
        let mut found = podman::image(reference).await?;
        if images::is_pulled(reference, launch.container.pull, found.is_some(), PROGRAM)? {
            self.pulled(launch).await?;
            found = podman::image(reference).await?;
        }
        let image = found.ok_or_else(|| images::vanished(reference))?;
        images::fits(reference, &image.architecture, std::env::consts::ARCH)?;
        Ok(image.digest(reference))
    }

    /// Joins the pull of an image or begins it, and waits for it a little.
    async fn pulled(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<(), Error> {
        let reference = &launch.container.image;
        let claim: Claim = (launch.key.uid.clone(), launch.attempt);
        match self.pulls.wait(reference, &claim, |sender| self.begin_pull(launch, sender)).await {
            Progress::Going(progress) => Err(Error::Pulling { image: reference.clone(), progress }),
            Progress::Over(result) => result.map_err(|said| images::not_pulled(reference, PROGRAM, &said)),
        }
    }

    fn begin_pull(self: &Arc<Self>, launch: &ContainerLaunch, tell: watch::Sender<Pulling>) {
        let (inner, image, auth) = (Arc::clone(self), launch.container.image.clone(), launch.auth.clone());
        self.shutdown.spawn_work(async move {
            let result = tokio::select! {
                () = inner.shutdown.triggered() => return,
                result = inner.pull(&image, &auth, &tell) => result,
            };
            tell.send_replace(Progress::Over(result));
        });
    }

    /// By the engine's socket where there is one, else by its command line; what it said if that failed.
    async fn pull(&self, image: &str, auth: &[RegistryAuth], tell: &watch::Sender<Pulling>) -> Result<(), String> {
        let text = |error: &Error| error.to_string();
        if let Some(engine) = self.engines.get(self.place.manager).await {
            let told = |said| drop(tell.send_replace(Progress::Going(said)));
            return engine.pull(image, auth_for(image, auth), told).await.map_err(|error| error.to_string());
        }
        let file = AuthFile::write(&self.place.records, auth).map_err(|error| text(&error))?;
        let mut args = vec!["pull".to_owned()];
        args.extend(file.as_ref().map(|file| format!("--authfile={}", file.0.display())));
        args.extend(["--".to_owned(), image.to_owned()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = podman::command(&args).spawn().map_err(|error| text(&podman::missing(error)))?;
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tell.send_replace(Progress::Going(line.clone()));
                said.push(line);
            }
        }
        let status = child.wait().await.map_err(|error| text(&podman::missing(error)))?;
        if status.success() { Ok(()) } else { Err(podman::told(&said.join("\n"))) }
    }
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

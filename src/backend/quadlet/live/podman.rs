//! Podman's command line, for what systemd does not do: images, secrets, networks, volumes. Each call is bounded in time; values go by standard input.
use std::{collections::BTreeMap, io, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{Error, engine::images::Image, quadlet::version::Podman};
use mesh_base::exhausted::is_exhausted;

/// What no answer takes longer than; pulls have no limit.
const ANSWER: Duration = Duration::from_secs(60);

/// What a call ended with.
#[derive(Debug)]
pub(super) struct Answer {
    /// 0 if all is well.
    pub(super) code: Option<i32>,
    pub(super) out: Vec<u8>,
    /// What was said on standard error.
    pub(super) said: String,
}

impl Answer {
    fn is_ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// A command of podman, ended when it is dropped.
pub(super) fn command(args: &[&str]) -> Command {
    let mut command = Command::new("podman");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What stands in the way of running podman at all.
pub(super) fn missing(error: io::Error) -> Error {
    if is_exhausted(&error) {
        return Error::System { act: "run podman".to_owned(), source: error };
    }
    let why = format!("{error}; install it (apt-get install podman), and have it in the controller's PATH");
    Error::EngineUnreachable { engine: "podman".to_owned(), why }
}

async fn call(args: &[&str], input: Option<&[u8]>) -> Result<Answer, Error> {
    let mut command = command(args);
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(missing)?;
    let stdin = child.stdin.take();
    let talk = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // It may have ended without reading; then it says why.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    };
    match tokio::time::timeout(ANSWER, talk).await {
        Ok(Ok(output)) => {
            Ok(Answer { code: output.status.code(), out: output.stdout, said: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
        }
        Ok(Err(error)) => Err(missing(error)),
        Err(_) => Err(refused(args, &format!("no answer within {} s", ANSWER.as_secs()))),
    }
}

fn refused(args: &[&str], said: &str) -> Error {
    let shown: Vec<&str> = args.iter().take(3).copied().collect();
    Error::Refused { act: format!("podman {}", shown.join(" ")), why: told(said) }
}

/// The line of what podman said that has the cause.
pub(super) fn told(said: &str) -> String {
    let line = said.lines().rev().find(|line| line.starts_with("Error:")).or_else(|| said.lines().last()).unwrap_or("it does not say why");
    line.trim_start_matches("Error:").trim().to_owned()
}

/// Does something; what is not there need not be removed.
async fn must(args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let answer = call(args, input).await?;
    if answer.is_ok() { Ok(answer.out) } else { Err(refused(args, &answer.said)) }
}

/// What `inspect` says; none if there is no such thing.
async fn inspect<T: for<'de> Deserialize<'de>>(kind: &str, name: &str) -> Result<Option<T>, Error> {
    let args = [kind, "inspect", "--", name];
    let answer = call(&args, None).await?;
    if answer.is_ok() {
        let found: Vec<T> =
            serde_json::from_slice(&answer.out).map_err(|error| refused(&args, &format!("its answer is not understood: {error}")))?;
        return Ok(found.into_iter().next());
    }
    // Names no image, container, network, secret or volume has in all versions' words.
    let gone = ["no such", "not known", "not found", "unable to find"].iter().any(|words| answer.said.to_lowercase().contains(words));
    if gone { Ok(None) } else { Err(refused(&args, &answer.said)) }
}

/// Labels, in the spelling of each kind.
type Labels = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Network {
    #[serde(default)]
    labels: Option<Labels>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    #[serde(default)]
    labels: Option<Labels>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Option<Labels>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    spec: SecretSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretSpec {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: Option<Labels>,
}

/// What is known of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage {
    /// Without `sha256:`.
    id: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    /// As Go spells it: `amd64`.
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    user: String,
}

impl From<InspectedImage> for Image {
    fn from(found: InspectedImage) -> Self {
        let InspectedImage { id, repo_digests, architecture, user } = found;
        Self { id: format!("sha256:{}", id.trim_start_matches("sha256:")), architecture, digests: repo_digests.unwrap_or_default(), user }
    }
}

/// Podman's version.
pub(super) async fn version() -> Result<Podman, Error> {
    let text = must(&["--version"], None).await?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|error| refused(&["--version"], &format!("{error}")))
}

/// What is known of an image that is here.
pub(super) async fn image(name: &str) -> Result<Option<Image>, Error> {
    Ok(inspect::<InspectedImage>("image", name).await?.map(Image::from))
}

/// The labels of a network that is there.
pub(super) async fn network_labels(name: &str) -> Result<Option<Labels>, Error> {
    Ok(inspect::<Network>("network", name).await?.map(|network| network.labels.unwrap_or_default()))
}

/// The labels of a volume that is there.
pub(super) async fn volume_labels(name: &str) -> Result<Option<Labels>, Error> {
    Ok(inspect::<Volume>("volume", name).await?.map(|volume| volume.labels.unwrap_or_default()))
}

/// The labels of a container that is there.
pub(super) async fn container_labels(name: &str) -> Result<Option<Labels>, Error> {
    Ok(inspect::<Container>("container", name).await?.map(|container| container.config.labels.unwrap_or_default()))
}

/// The labels of a secret that is there.
pub(super) async fn secret_labels(name: &str) -> Result<Option<Labels>, Error> {
    Ok(inspect::<Secret>("secret", name).await?.map(|secret| secret.spec.labels.unwrap_or_default()))
}

/// Makes a secret, in place of one of that name.
pub(super) async fn put_secret(name: &str, label: &str, value: &[u8]) -> Result<(), Error> {
    must(&["secret", "create", "--replace", "--label", label, name, "-"], Some(value)).await.map(drop)
}

/// The names of the secrets with a label.
pub(super) async fn secrets(label: (&str, &str)) -> Result<Vec<String>, Error> {
    let names = must(&["secret", "ls", "--quiet"], None).await?;
    let ids = String::from_utf8_lossy(&names).split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let args: Vec<&str> = ["secret", "inspect", "--"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let found: Vec<Secret> = serde_json::from_slice(&call(&args, None).await?.out).unwrap_or_default();
    let ours =
        |secret: &Secret| secret.spec.labels.as_ref().is_some_and(|labels| labels.get(label.0).is_some_and(|value| value == label.1));
    Ok(found.into_iter().filter(ours).map(|secret| secret.spec.name).collect())
}

/// Removes something, if it is there.
pub(super) async fn remove(kind: &str, name: &str) -> Result<(), Error> {
    let args = [kind, "rm", "--", name];
    let answer = call(&args, None).await?;
    let gone = ["no such", "not found", "unable to find"].iter().any(|words| answer.said.to_lowercase().contains(words));
    if answer.is_ok() || gone { Ok(()) } else { Err(refused(&args, &answer.said)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_registrys_digest() {
        let image = |digests: &[&str]| {
            Image::from(InspectedImage {
                id: "aa".into(),
                repo_digests: Some(digests.iter().map(|digest| (*digest).to_owned()).collect()),
                architecture: "amd64".into(),
                user: String::new(),
            })
        };
        let two = image(&["localhost/web@sha256:1", "r.io:5000/web@sha256:2"]);
        for (asked, expected) in
            [("r.io:5000/web:1", "r.io:5000/web@sha256:2"), ("r.io:5000/web", "r.io:5000/web@sha256:2"), ("web", "localhost/web@sha256:1")]
        {
            assert_eq!(two.digest(asked), expected, "{asked}");
        }
        assert_eq!(image(&[]).digest("localhost/web:1"), "sha256:aa");
    }

    #[test]
    fn the_cause_is_taken_from_what_podman_said() {
        assert_eq!(told("Trying to pull\nError: no such image\n"), "no such image");
        assert_eq!(told("some words"), "some words");
        assert_eq!(told(""), "it does not say why");
    }
}

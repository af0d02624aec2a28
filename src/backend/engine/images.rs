//! Images: what is on the machine, and pulling what is not.
use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use bollard::{auth::DockerCredentials, query_parameters::CreateImageOptionsBuilder};
use futures::{StreamExt, TryStreamExt, pin_mut};
use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::json;

use super::{Engine, Error, Kind, LIBPOD, PATIENCE, http::encode};
use mesh_plan::container::RegistryAuth;

/// An image of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its architecture, as Go calls it; empty if it does not say.
    pub architecture: String,
    /// Its digests, each with the repository that it is from.
    pub digests: Vec<String>,
    /// The user that it runs as; may be empty.
    pub user: String,
}

impl Image {
    /// The digest under which a reference's own registry has it; else any that it has, else its id.
    pub fn digest(&self, reference: &str) -> String {
        let wanted = repository(reference);
        // A short name stands for the end of a longer one.
        let is_own = |digest: &&String| repository(digest).strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        let own = self.digests.iter().find(is_own);
        own.or_else(|| self.digests.first()).cloned().unwrap_or_else(|| self.id.clone())
    }
}

/// A reference without its tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let colon = name.get(slash..).and_then(|last| last.find(':')).map_or(name.len(), |at| slash + at);
    name.get(..colon).unwrap_or(name)
}

/// The registry that a reference names, by the rule of the distribution project: a first part with a dot or a port, or `localhost`.
/// None for a short name.
pub fn registry(reference: &str) -> Option<&str> {
    let (first, _) = reference.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

/// Whether a registry is on this machine, where no certificate is to be had.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Docker's own registry has several names.
fn canonical(registry: &str) -> &str {
    let host = registry.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

/// Who asks for a reference.
pub fn auth_for<'a>(reference: &str, auth: &'a [RegistryAuth]) -> Option<&'a RegistryAuth> {
    let wanted = canonical(registry(reference).unwrap_or("docker.io"));
    auth.iter().find(|it| canonical(&it.registry) == wanted)
}

/// An architecture as Go calls it, from the kernel's or Rust's name for it.
pub fn go_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "x86" | "i386" | "i686" => "386",
        other => other,
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    error: String,
}

impl Engine {
    /// An image of the machine; none if it is not there.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let found = self.docker().inspect_image(reference).await.map_err(self.refused());
        Ok(Error::none_if_missing(found)?.map(|image| Image {
            id: image.id.unwrap_or_default(),
            architecture: image.architecture.unwrap_or_default(),
            digests: image.repo_digests.unwrap_or_default(),
            user: image.config.and_then(|config| config.user).unwrap_or_default(),
        }))
    }

    /// Pulls an image; `progress` is told how far it is.
    ///
    /// # Errors
    /// The engine's words, also where it answered 200 before it failed.
    pub async fn pull(&self, reference: &str, auth: Option<&RegistryAuth>, progress: impl FnMut(String) + Send) -> Result<(), Error> {
        match self.kind() {
            Kind::Podman => self.pull_by_libpod(reference, auth, progress).await,
            Kind::Docker => self.pull_by_docker(reference, auth, progress).await,
        }
    }

    async fn pull_by_libpod(&self, reference: &str, auth: Option<&RegistryAuth>, mut progress: impl FnMut(String)) -> Result<(), Error> {
        let secure = if registry(reference).is_some_and(is_loopback) { "&tlsVerify=false" } else { "" };
        let path = format!("{LIBPOD}/images/pull?reference={}&policy=always{secure}", encode(reference));
        let headers: Vec<(HeaderName, String)> =
            auth.map(|auth| (HeaderName::from_static("x-registry-auth"), header(auth))).into_iter().collect();
        let answer = self.http().send(Method::POST, &path, &headers, Vec::new(), PATIENCE).await?;
        let status = answer.status;
        if !status.is_success() {
            return Err(Error::answer(status.as_u16(), &answer.body.collect().await?));
        }
        let lines = answer.body.lines();
        pin_mut!(lines);
        while let Some(line) = lines.try_next().await? {
            let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
            if !line.error.is_empty() {
                return Err(Error::Answer { status: 500, message: line.error });
            }
            let said = line.stream.trim();
            if !said.is_empty() {
                progress(said.to_owned());
            }
        }
        Ok(())
    }

    async fn pull_by_docker(&self, reference: &str, auth: Option<&RegistryAuth>, mut progress: impl FnMut(String)) -> Result<(), Error> {
        // Without a tag Docker would pull all of them.
        let whole = if repository(reference) == reference { format!("{reference}:latest") } else { reference.to_owned() };
        let credentials = auth.map(|auth| DockerCredentials {
            username: Some(auth.username.clone()),
            password: Some(auth.password.reveal().to_owned()),
            serveraddress: Some(auth.registry.clone()),
            ..DockerCredentials::default()
        });
        let options = CreateImageOptionsBuilder::default().from_image(&whole).build();
        let mut lines = self.docker().create_image(Some(options), None, credentials).boxed();
        while let Some(line) = lines.next().await {
            let line = line.map_err(self.refused())?;
            if let Some(status) = line.status {
                progress(format!("{} {status}", line.id.unwrap_or_default()).trim().to_owned());
            }
        }
        Ok(())
    }
}

fn header(auth: &RegistryAuth) -> String {
    let credentials = json!({ "username": auth.username, "password": auth.password.reveal(), "serveraddress": auth.registry });
    BASE64_URL_SAFE.encode(credentials.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_kit::redact::Redacted;

    #[test]
    fn the_registry_of_a_reference_is_found() {
        for (reference, name, loopback) in [
            ("busybox", None, false),
            ("library/busybox:1", None, false),
            ("quay.io/a/b", Some("quay.io"), false),
            ("127.0.0.1:5000/a", Some("127.0.0.1:5000"), true),
            ("localhost/bb:1", Some("localhost"), true),
            ("[::1]:5000/a@sha256:00", Some("[::1]:5000"), true),
            ("127.example.org:5000/a", Some("127.example.org:5000"), false),
        ] {
            assert_eq!(registry(reference), name, "{reference}");
            assert_eq!(registry(reference).is_some_and(is_loopback), loopback, "{reference}");
        }
    }

    #[test]
    fn the_digest_of_the_references_own_registry_is_the_one() {
        let digests =
            ["localhost/bb@sha256:1", "127.0.0.1:5000/app/bb@sha256:2", "docker.io/library/web@sha256:3"].map(str::to_owned).to_vec();
        let image = Image { id: "sha256:0".to_owned(), architecture: "amd64".to_owned(), digests, user: String::new() };
        assert_eq!(image.digest("127.0.0.1:5000/app/bb:1"), "127.0.0.1:5000/app/bb@sha256:2");
        assert_eq!(image.digest("web:1"), "docker.io/library/web@sha256:3");
        assert_eq!(image.digest("other"), "localhost/bb@sha256:1");
        assert_eq!(Image { digests: vec![], ..image }.digest("x"), "sha256:0");
    }

    #[test]
    fn credentials_go_to_their_own_registry_only() {
        let of = |registry: &str| RegistryAuth { registry: registry.to_owned(), username: "u".to_owned(), password: Redacted::new("p") };
        let auth = [of("quay.io"), of("https://index.docker.io/v1/"), of("127.0.0.1:5000")];
        let found = |reference: &str| auth_for(reference, &auth).map(|auth| auth.registry.as_str());
        assert_eq!(found("quay.io/a/b:1"), Some("quay.io"));
        assert_eq!(found("busybox"), Some("https://index.docker.io/v1/"));
        assert_eq!(found("127.0.0.1:5000/a"), Some("127.0.0.1:5000"));
        assert_eq!(found("127.0.0.1:5001/a"), None);
        assert_eq!(found("evil.example/quay.io/a"), None);
    }
}

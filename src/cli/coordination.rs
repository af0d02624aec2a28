//! `--coordination` and what belongs to it: where locks and leaders are kept, if not as Leases of the API.
use std::{convert::Infallible, fmt, fs, os::unix::fs::MetadataExt, path::Path, path::PathBuf, str::FromStr};

use clap::Args;

use super::exit::{Code, Failure, Result};
use mesh_coordination::locks::redis::{self, Redis};

/// Others than owner and group may read.
const OTHERS_READ: u32 = 0o004;

/// The flags.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CoordinationArgs {
    /// The Redis that keeps locks and leaders, for hosts that share one: redis://HOST:PORT/DB, rediss:// for TLS, or file:PATH with such a URL in it [default: none; Leases of the API keep them].
    #[arg(long, env = "MESH_COORDINATION", hide_env_values = true, value_name = "URL|file:PATH", help_heading = "Locks and leaders")]
    coordination: Option<Place>,
    /// What the keys in that Redis begin with [default: mesh:].
    #[arg(long, env = "MESH_COORDINATION_PREFIX", value_name = "TEXT", value_parser = prefix, help_heading = "Locks and leaders")]
    coordination_prefix: Option<String>,
    /// The certificates that are trusted for rediss://, as PEM [default: those of the system].
    #[arg(long, env = "MESH_COORDINATION_CA", value_name = "FILE", help_heading = "Locks and leaders")]
    coordination_ca: Option<PathBuf>,
}

/// A URL, or the file that holds it. It may have a password in it, so that it is shown nowhere.
#[derive(Clone)]
struct Place(String);

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

fn prefix(text: &str) -> std::result::Result<String, String> {
    let plain = (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err("1 to 64 letters, digits and signs are possible".to_owned()) }
}

impl CoordinationArgs {
    /// The flags that were given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 3] {
        let Self { coordination, coordination_prefix, coordination_ca } = self;
        [
            ("--coordination", coordination.is_some()),
            ("--coordination-prefix", coordination_prefix.is_some()),
            ("--coordination-ca", coordination_ca.is_some()),
        ]
    }

    /// Which Redis; none: Leases.
    pub(crate) fn options(&self) -> Result<Option<redis::Options>> {
        let Some(place) = &self.coordination else {
            let alone = self.given().into_iter().find(|(_, given)| *given);
            return match alone {
                Some((flag, _)) => {
                    Err(Failure::new(Code::Usage, format!("{flag} is for a Redis: give --coordination too, or leave it out")))
                }
                None => Ok(None),
            };
        };
        let url = match place.0.strip_prefix("file:") {
            Some(path) => secret(Path::new(path)).map_err(|failure| failure.context("--coordination"))?,
            None => place.0.clone(),
        };
        let read =
            |path: &PathBuf| fs::read(path).map_err(|error| Failure::from(error).context(format!("--coordination-ca {}", path.display())));
        let ca = self.coordination_ca.as_ref().map(read).transpose()?;
        let prefix = self.coordination_prefix.clone().unwrap_or_else(|| redis::PREFIX.to_owned());
        Ok(Some(redis::Options { url: url.trim().to_owned(), prefix, ca }))
    }

    /// The Redis itself, looked at once; none: Leases.
    pub(crate) async fn open(&self) -> Result<Option<Redis>> {
        match self.options()? {
            Some(options) => Ok(Some(Redis::open(options).await?)),
            None => Ok(None),
        }
    }
}

/// What stands in a file that only its owner and group can read.
fn secret(path: &Path) -> Result<String> {
    let context = |error: std::io::Error| Failure::from(error).context(path.display());
    let mode = fs::metadata(path).map_err(context)?.mode() & 0o7777;
    if mode & OTHERS_READ != 0 {
        let text = format!("{} can be read by other users (mode {mode:04o}), and may hold a password: chmod 600 {0}", path.display());
        return Err(Failure::new(Code::Failed, text));
    }
    fs::read_to_string(path).map_err(context)
}

impl From<redis::Error> for Failure {
    fn from(error: redis::Error) -> Self {
        let (flag, code) = match &error {
            redis::Error::NoTls | redis::Error::Certificates => ("--coordination-ca", Code::Usage),
            redis::Error::Scheme(_) | redis::Error::Url(_) | redis::Error::More(_) => ("--coordination", Code::Usage),
            redis::Error::Refused { .. } => ("--coordination", Code::Failed),
        };
        Self { code, error: Some(error.into()) }.context(flag)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn args(place: &str) -> CoordinationArgs {
        CoordinationArgs { coordination: Some(Place(place.to_owned())), ..CoordinationArgs::default() }
    }

    #[test]
    fn a_file_holds_the_url_if_others_cannot_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redis");
        fs::write(&path, "redis://:s3cret@host\n").unwrap();
        let place = format!("file:{}", path.display());
        for (mode, url) in [(0o600, Some("redis://:s3cret@host")), (0o440, Some("redis://:s3cret@host")), (0o644, None)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match (args(&place).options(), url) {
                (Ok(options), Some(url)) => assert_eq!(options.unwrap().url, url),
                (Err(failure), None) => assert!(failure.text().contains("chmod 600"), "{}", failure.text()),
                (other, url) => panic!("{mode:o}: {:?} {url:?}", other.map(|options| options.map(|options| options.url)).is_ok()),
            }
        }
    }

    #[test]
    fn what_belongs_to_a_redis_means_nothing_without_one_and_nothing_shows_the_url() {
        assert!(CoordinationArgs::default().options().unwrap().is_none());
        let alone = CoordinationArgs { coordination_prefix: Some("x:".to_owned()), ..CoordinationArgs::default() };
        let refused = alone.options().err().unwrap();
        assert!(refused.text().contains("--coordination-prefix is for a Redis"), "{}", refused.text());
        assert!(!format!("{:?}", args("redis://:s3cret@host")).contains("s3cret"));
    }
}

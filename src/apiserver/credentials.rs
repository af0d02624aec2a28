//! Who may come in: an own CA, the server's certificate, the administrator's certificate and token, all in `<state>/pki`, and the kubeconfig of them.
//!
//! A certificate file holds its certificate and key, and before them, as text that PEM readers skip, until when it is good and for which names;
//! so it is replaced in one piece. Called by the wiring at start, after the listener is bound.
use std::{
    collections::BTreeSet,
    fmt::Display,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use mesh_kit::redact::Redacted;
use mesh_kit::replace::{self, Durability};

/// Why there are no credentials. The text names the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The system refused something.
    #[error("{act} {}: {source}", path.display())]
    File {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key could not be made or read.
    #[error("certificate {}: {reason}; remove the file to have it made anew", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: Redacted,
}

/// Everything a server needs to know its clients, and clients their server.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(crate) ca: Pair,
    pub(crate) server: Pair,
    pub(crate) admin: Pair,
    pub(crate) token: Redacted,
    pub(crate) address: SocketAddr,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Authority,
    Server,
    Admin,
}

impl Use {
    fn file(self) -> &'static str {
        match self {
            Self::Authority => "ca.pem",
            Self::Server => "server.pem",
            Self::Admin => "admin.pem",
        }
    }

    fn days(self) -> i64 {
        match self {
            Self::Authority => 3650,
            Self::Server | Self::Admin => 730,
        }
    }
}

impl Credentials {
    /// Reads them from `<state>/pki`, and makes anew what is missing, ends within a third of its time, or does not cover the address.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that does not hold what its name says.
    pub fn load_or_create(state_dir: &Path, address: SocketAddr, now: Timestamp) -> Result<Self, CredentialsError> {
        let dir = state_dir.join("pki");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(file_error("make", &dir))?;
        let names = names(address);
        let ca = if let Some(pair) = read_pair(&dir.join(Use::Authority.file()), &BTreeSet::new(), Use::Authority, now)? {
            pair
        } else {
            // What the old one signed is worth nothing under a new one.
            for old in [Use::Server, Use::Admin] {
                let _ = fs::remove_file(dir.join(old.file()));
            }
            issue(&dir, Use::Authority, &BTreeSet::new(), None, now)?
        };
        let pair = |purpose: Use, names: &BTreeSet<String>| match read_pair(&dir.join(purpose.file()), names, purpose, now)? {
            Some(pair) => Ok(pair),
            None => issue(&dir, purpose, names, Some(&ca), now),
        };
        let (server, admin) = (pair(Use::Server, &names)?, pair(Use::Admin, &BTreeSet::new())?);
        let token = token(&dir.join("token"))?;
        Ok(Self { ca, server, admin, token, address })
    }

    /// PEM of the CA's certificate.
    pub fn ca_certificate(&self) -> &str {
        &self.ca.certificate
    }

    /// Writes `<state>/kubeconfig` (0600, everything embedded, so that it can be copied), and says where it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_kubeconfig(&self, state_dir: &Path) -> Result<PathBuf, CredentialsError> {
        let path = state_dir.join("kubeconfig");
        let text = self.kubeconfig();
        // One that is right stays: a start needs no room on a full disk.
        let mode = fs::symlink_metadata(&path).map(|found| found.permissions().mode() & 0o777);
        if mode.ok() != Some(0o600) || fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            write_private(&path, text.as_bytes())?;
        }
        Ok(path)
    }

    fn kubeconfig(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let server = SocketAddr::new(ip, self.address.port());
        let ca = STANDARD.encode(&self.ca.certificate);
        let (certificate, key) = (STANDARD.encode(&self.admin.certificate), STANDARD.encode(self.admin.key.reveal()));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: mesh\n\
             clusters:\n- name: mesh\n  cluster:\n    server: https://{server}\n    certificate-authority-data: {ca}\n\
             users:\n- name: mesh-admin\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
             contexts:\n- name: mesh\n  context:\n    cluster: mesh\n    user: mesh-admin\n    namespace: default\n"
        )
    }
}

/// What the server's certificate is for: loopback always, and the address it listens on.
fn names(address: SocketAddr) -> BTreeSet<String> {
    ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string(), address.ip().to_string()].into()
}

fn file_error(act: &'static str, path: &Path) -> impl Fn(io::Error) -> CredentialsError {
    let path = path.to_owned();
    move |source| CredentialsError::File { act, path: path.clone(), source }
}

/// A pair that is there, good for long enough, and for these names.
fn read_pair(path: &Path, names: &BTreeSet<String>, purpose: Use, now: Timestamp) -> Result<Option<Pair>, CredentialsError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error("read", path)(error)),
    };
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let enough = now + SignedDuration::from_hours(purpose.days() * 24 / 3);
    let good = header("# good until:").and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|until| until > enough);
    let covered: BTreeSet<String> =
        header("# names:").into_iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect();
    if !good || !names.is_subset(&covered) {
        return Ok(None);
    }
    let at = text
        .find("-----BEGIN PRIVATE KEY-----")
        .zip(text.find("-----BEGIN CERTIFICATE-----"))
        .filter(|(key, certificate)| certificate < key);
    let parts = at.and_then(|(key, certificate)| Some((text.get(certificate..key)?, text.get(key..)?)));
    let (certificate, key) = parts.ok_or_else(|| broken(path, &"it does not hold a certificate and then a key"))?;
    Ok(Some(Pair { certificate: certificate.to_owned(), key: Redacted::new(key) }))
}

fn broken(path: &Path, reason: &dyn Display) -> CredentialsError {
    CredentialsError::Certificate { path: path.to_owned(), reason: reason.to_string() }
}

/// Makes a pair, signed by the authority (or by itself), and keeps it.
fn issue(dir: &Path, purpose: Use, names: &BTreeSet<String>, authority: Option<&Pair>, now: Timestamp) -> Result<Pair, CredentialsError> {
    let path = dir.join(purpose.file());
    let made = |error: rcgen::Error| broken(&path, &error);
    let key = KeyPair::generate().map_err(made)?;
    let params = params(purpose, names, now).map_err(made)?;
    let certificate = match authority {
        None => params.self_signed(&key).map_err(made)?,
        Some(ca) => {
            let signer = KeyPair::from_pem(ca.key.reveal()).map_err(made)?;
            let issuer = Issuer::new(self::params(Use::Authority, &BTreeSet::new(), now).map_err(made)?, signer);
            params.signed_by(&key, &issuer).map_err(made)?
        }
    };
    let pair = Pair { certificate: certificate.pem(), key: Redacted::new(key.serialize_pem()) };
    let until = now + SignedDuration::from_hours(purpose.days() * 24);
    let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
    let text = format!("# good until: {until}\n# names: {names}\n{}{}", pair.certificate, pair.key.reveal());
    write_private(&path, text.as_bytes())?;
    Ok(pair)
}

fn params(purpose: Use, names: &BTreeSet<String>, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
    // A day on each side: clocks differ, and rcgen takes whole days.
    let day = |time: Timestamp| {
        let date = TimeZone::UTC.to_datetime(time);
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) =
        (day(now - SignedDuration::from_hours(24)), day(now + SignedDuration::from_hours((purpose.days() + 1) * 24)));
    let mut subject = DistinguishedName::new();
    match purpose {
        Use::Authority => {
            subject.push(DnType::CommonName, "mesh-controller CA");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        Use::Server => {
            subject.push(DnType::CommonName, "mesh-controller");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
        Use::Admin => {
            subject.push(DnType::OrganizationName, "system:masters");
            subject.push(DnType::CommonName, "mesh-admin");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
    }
    params.use_authority_key_identifier_extension = purpose != Use::Authority;
    params.distinguished_name = subject;
    Ok(params)
}

/// The bearer token, made once.
fn token(path: &Path) -> Result<Redacted, CredentialsError> {
    match fs::read_to_string(path) {
        Ok(token) if token.trim().len() >= 32 => return Ok(Redacted::new(token.trim())),
        Ok(_) => return Err(broken(path, &"the token is shorter than 32 characters")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error("read", path)(error)),
    }
    let bytes: [u8; 32] = rand::rng().random();
    let token = URL_SAFE_NO_PAD.encode(bytes);
    write_private(path, token.as_bytes())?;
    Ok(Redacted::new(token))
}

/// Replaces a file in one step, readable by its owner only.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CredentialsError> {
    replace::file(path, bytes, 0o600, Durability::Synced).map_err(file_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_kit::clock;

    #[test]
    fn credentials_are_kept_until_they_end_or_the_address_is_not_covered() {
        let dir = tempfile::tempdir().unwrap();
        let now = clock::now();
        let load = |address: &str, now| Credentials::load_or_create(dir.path(), address.parse().unwrap(), now).unwrap();
        let first = load("127.0.0.1:7443", now);
        let again = load("127.0.0.1:7443", now);
        assert_eq!(
            (&first.server.certificate, &first.admin.certificate, &first.token),
            (&again.server.certificate, &again.admin.certificate, &again.token)
        );
        let moved = load("192.0.2.1:7443", now);
        assert_ne!(first.server.certificate, moved.server.certificate);
        assert_eq!((&first.ca.certificate, &first.admin.certificate), (&moved.ca.certificate, &moved.admin.certificate));
        let later = load("192.0.2.1:7443", now + SignedDuration::from_hours(24 * 600));
        assert_ne!(later.admin.certificate, first.admin.certificate);
        assert_eq!(later.ca.certificate, first.ca.certificate);
        let kubeconfig = first.write_kubeconfig(dir.path()).unwrap();
        for file in [kubeconfig, dir.path().join("pki/ca.pem"), dir.path().join("pki/admin.pem"), dir.path().join("pki/token")] {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }
}

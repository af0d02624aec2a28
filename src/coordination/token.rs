//! The token by which a program shows which run of which instance it is: what it says is in it, signed with a key of the node. It is good while the run lives.
use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::session::Session;
use mesh_kit::{
    redact::Redacted,
    replace::{self, Durability},
};

const VERSION: &str = "mesh1";
const KEY: usize = 32;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Where its names count.
    pub namespace: String,
    /// The `MeshService` that it is an instance of.
    pub service: String,
    /// Which run of which instance.
    pub session: Session,
}

/// Whether it is such a key as is made here.
fn is_key(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|key| key.len() == KEY)
}

/// What stands in a token.
#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    #[serde(rename = "ns")]
    namespace: &'a str,
    #[serde(rename = "svc")]
    service: &'a str,
    #[serde(rename = "inst")]
    instance: &'a str,
    uid: &'a str,
    #[serde(rename = "try")]
    attempt: u32,
}

/// The Secret with the key of a cluster's agents, in the system namespace.
pub const SHARED: &str = "mesh-agent-key";
/// Its member.
const MEMBER: &str = "key";

/// Why there is no shared key.
#[derive(Debug, thiserror::Error)]
pub enum NotShared {
    /// The API does not give it.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It is no key.
    #[error("the Secret {SHARED} holds no key of ours: delete it, and it is made anew")]
    Damaged,
}

/// Makes tokens, and knows its own again.
#[derive(Debug, Clone)]
pub struct Tokens(Redacted);

impl Tokens {
    /// With the key in this file, which is made if it is not there: who has been given a token keeps it over a restart.
    ///
    /// # Errors
    /// The file cannot be read or written, or is no such key.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) if is_key(&text) => Ok(Self(Redacted::new(text))),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a key: remove {} and start again", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let this = Self::random();
                replace::file(path, this.0.reveal().as_bytes(), 0o600, Durability::Synced)?;
                Ok(this)
            }
            Err(error) => Err(error),
        }
    }

    /// With the key in the Secret [`SHARED`] of this namespace, which the first who asks makes: what one agent of a cluster has signed, all of them know again.
    ///
    /// # Errors
    /// The API does not give it, or what is there is no such key.
    pub async fn shared(client: Client, namespace: &str) -> Result<Self, NotShared> {
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let secret = match secrets.get_opt(SHARED).await? {
            Some(secret) => secret,
            None => match secrets.create(&PostParams::default(), &Self::random().secret()).await {
                // Another was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => secrets.get(SHARED).await?,
                made => made?,
            },
        };
        let text = secret.data.unwrap_or_default().remove(MEMBER).and_then(|bytes| String::from_utf8(bytes.0).ok());
        text.filter(|text| is_key(text)).map(|text| Self(Redacted::new(text))).ok_or(NotShared::Damaged)
    }

    fn secret(&self) -> Secret {
        Secret {
            metadata: ObjectMeta { name: Some(SHARED.to_owned()), ..ObjectMeta::default() },
            data: Some([(MEMBER.to_owned(), ByteString(self.0.reveal().as_bytes().to_vec()))].into()),
            type_: Some("mesh-controller.dev/agent-key".to_owned()),
            ..Secret::default()
        }
    }

    /// With a key that nobody else has.
    pub fn random() -> Self {
        Self(Redacted::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; KEY]>())))
    }

    /// The token of a run.
    pub fn issue(&self, caller: &Caller) -> Redacted {
        let Caller { namespace, service, session } = caller;
        let claims = Claims { namespace, service, instance: &session.instance, uid: &session.uid, attempt: session.attempt };
        // Texts and a number always serialize.
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap_or_default());
        Redacted::new(format!("{VERSION}.{body}.{}", self.sign(&body)))
    }

    /// Whose token it is; none if it was not made here.
    pub fn verify(&self, token: &str) -> Option<Caller> {
        let (body, mac) = token.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        if !self.is_signed(body, mac) {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(body).ok()?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).ok()?;
        let session = Session { instance: claims.instance.to_owned(), uid: claims.uid.to_owned(), attempt: claims.attempt };
        Some(Caller { namespace: claims.namespace.to_owned(), service: claims.service.to_owned(), session })
    }

    /// Signs something that is not a token.
    pub fn sign(&self, what: &str) -> String {
        self.mac(what).map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// Whether it was signed here.
    pub fn is_signed(&self, what: &str, mac: &str) -> bool {
        self.mac(what).zip(URL_SAFE_NO_PAD.decode(mac).ok()).is_some_and(|(made, mac)| made.verify_slice(&mac).is_ok())
    }

    fn mac(&self, body: &str) -> Option<Hmac<Sha256>> {
        // A key of any length will do, so there always is one.
        Hmac::<Sha256>::new_from_slice(self.0.reveal().as_bytes()).ok().map(|mac| mac.chain_update(VERSION).chain_update(body))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn caller(attempt: u32) -> Caller {
        let session = Session { instance: "web-1a-0".into(), uid: "u-1".into(), attempt };
        Caller { namespace: "shop".into(), service: "web".into(), session }
    }

    #[test]
    fn a_token_says_which_run_it_is_of_and_only_who_made_it_believes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.key");
        let tokens = Tokens::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let token = tokens.issue(&caller(3));
        assert_eq!(Tokens::open(&path).unwrap().verify(token.reveal()), Some(caller(3)));
        assert_eq!(Tokens::random().verify(token.reveal()), None);
        assert!(!format!("{tokens:?} {token:?}").contains(token.reveal()));
        let other = tokens.issue(&caller(4));
        let (head, mac) = token.reveal().rsplit_once('.').unwrap();
        let swapped = format!("{}.{mac}", other.reveal().rsplit_once('.').unwrap().0);
        for bad in
            ["", "mesh1", "mesh1..", head, &swapped, &format!("{head}."), &format!("mesh2{}", &token.reveal()[5..]), &token.reveal()[..40]]
        {
            assert_eq!(tokens.verify(bad), None, "{bad}");
        }
        fs::write(&path, "x").unwrap();
        assert!(Tokens::open(&path).unwrap_err().to_string().contains("remove"));
    }
}

//! The affinity cookie: a signed note that a client's requests go to one instance. Pure; the time and the keys come in as values.
//!
//! `v1.<key id>.<token>.<expiry>.<mac>`: the token is an opaque digest of the instance's uid, the expiry is in Unix seconds (0: none), the mac is
//! HMAC-SHA256 over the rest and over the service's uid, namespace and name. The host is left out: the browser keeps cookies of hosts apart, and a service
//! with two hostnames is one service. A cookie only ever picks among the *current* endpoints of the service that it was made for.
use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Shorter keys are not used.
pub const MIN_KEY: usize = 32;

const VERSION: &str = "v1";
/// Characters of a token: 12 bytes in base64.
const TOKEN: usize = 16;

/// An instance's opaque name in cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN]);

impl Token {
    /// The token of an instance (by uid) of a service (by uid).
    pub fn new(service_uid: &str, instance_uid: &str) -> Self {
        let digest = Sha256::new().chain_update(service_uid).chain_update([0]).chain_update(instance_uid).finalize();
        let mut token = [0; TOKEN];
        // 12 bytes are exactly 16 characters, so this cannot fail; if it did, the token would fit no cookie.
        let _ = URL_SAFE_NO_PAD.encode_slice(digest.get(..12).unwrap_or_default(), &mut token);
        Self(token)
    }

    fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// What a cookie is bound to besides its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The service's uid.
    pub uid: String,
    /// `namespace/name`.
    pub name: String,
}

/// A cookie that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The instance it belongs to.
    pub token: Token,
    /// Unix seconds after which it counts no more; 0 is never.
    pub expires: i64,
    /// It was signed by the key that signs now; otherwise it is to be issued again.
    pub current_key: bool,
}

/// The keys of affinity cookies: all verify, the one whose id sorts last signs.
#[derive(Clone)]
pub struct KeyRing(Vec<(String, Hmac<Sha256>)>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl KeyRing {
    /// From key ids and keys; keys that are too short or whose id does not fit into a cookie are left out and returned by their ids.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> (Self, Vec<String>) {
        let (mut ring, mut refused) = (Vec::new(), Vec::new());
        for (id, key) in keys {
            let fits = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            match Hmac::<Sha256>::new_from_slice(key) {
                Ok(mac) if fits && key.len() >= MIN_KEY => ring.push((id.to_owned(), mac)),
                _ => refused.push(id.to_owned()),
            }
        }
        ring.sort_by(|a, b| a.0.cmp(&b.0));
        (Self(ring), refused)
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A cookie's value; none if there is no key.
    pub fn sign(&self, scope: &Scope, token: Token, expires: i64) -> Option<String> {
        let (id, key) = self.0.last()?;
        let mut value = format!("{VERSION}.{id}.{token}.{expires}");
        let mac = mac(key, &value, scope).finalize().into_bytes();
        value.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut value);
        Some(value)
    }

    /// What a cookie's value says, if it was signed by one of the keys for this service and has not expired. `now` is in Unix seconds.
    pub fn verify(&self, scope: &Scope, value: &str, now: i64) -> Option<Session> {
        let (signed, signature) = value.rsplit_once('.')?;
        let (rest, expires) = signed.rsplit_once('.')?;
        let (rest, token) = rest.rsplit_once('.')?;
        let id = rest.strip_prefix(VERSION)?.strip_prefix('.')?;
        let position = self.0.iter().position(|(known, _)| known == id)?;
        let (_, key) = self.0.get(position)?;
        let mut given = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut given).ok()?;
        mac(key, signed, scope).verify_slice(given.get(..length)?).ok()?;
        let expires: i64 = expires.parse().ok()?;
        (expires == 0 || now < expires).then_some(Session {
            token: Token::parse(token)?,
            expires,
            current_key: position + 1 == self.0.len(),
        })
    }
}

fn mac(key: &Hmac<Sha256>, signed: &str, scope: &Scope) -> Hmac<Sha256> {
    key.clone().chain_update(signed).chain_update([0]).chain_update(&scope.uid).chain_update([0]).chain_update(&scope.name)
}

/// The value of the cookie `name` in one `Cookie` header, if it is there.
pub fn find<'a>(header: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    header.split(';').filter_map(move |pair| pair.trim_matches([' ', '\t']).strip_prefix(name)?.strip_prefix('='))
}

/// A `Set-Cookie` value. `max_age` is in seconds; none makes a cookie that ends with the browser's session.
pub fn set_cookie(name: &str, value: &str, path: &str, max_age: Option<i64>, secure: bool) -> String {
    let path = if path.is_empty() { "/" } else { path };
    let mut cookie = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax");
    if let Some(seconds) = max_age {
        cookie.push_str("; Max-Age=");
        cookie.push_str(&seconds.to_string());
    }
    if secure {
        cookie.push_str("; Secure");
    }
    cookie
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: [u8; 32] = [7; 32];
    const NEW: [u8; 32] = [9; 32];

    fn ring(keys: &[(&str, &[u8])]) -> KeyRing {
        KeyRing::new(keys.iter().copied()).0
    }

    fn scope() -> Scope {
        Scope { uid: "service-uid".into(), name: "default/api".into() }
    }

    #[test]
    fn a_cookie_leads_back_to_its_instance_and_tells_nothing_else() {
        let (ring, token) = (ring(&[("k1", &OLD)]), Token::new("service-uid", "instance-uid"));
        let value = ring.sign(&scope(), token, 0).unwrap();
        assert_eq!(ring.verify(&scope(), &value, 1_000), Some(Session { token, expires: 0, current_key: true }));
        assert!(!value.contains("instance-uid"));
        assert_ne!(token, Token::new("other", "instance-uid"), "a token means nothing at another service");
    }

    #[test]
    fn all_keys_verify_and_the_last_one_signs() {
        let token = Token::new("s", "i");
        let old = ring(&[("2026-01", &OLD)]).sign(&scope(), token, 0).unwrap();
        let both = ring(&[("2026-02", &NEW), ("2026-01", &OLD)]);
        assert_eq!(both.verify(&scope(), &old, 0), Some(Session { token, expires: 0, current_key: false }));
        let new = both.sign(&scope(), token, 0).unwrap();
        assert!(new.starts_with("v1.2026-02."));
        assert_eq!(ring(&[("2026-02", &NEW)]).verify(&scope(), &old, 0), None, "the old key was removed");
    }

    #[test]
    fn a_cookie_of_another_service_or_past_its_time_is_refused() {
        let ring = ring(&[("k", &OLD)]);
        let value = ring.sign(&scope(), Token::new("s", "i"), 500).unwrap();
        assert!(ring.verify(&scope(), &value, 499).is_some());
        assert_eq!(ring.verify(&scope(), &value, 500), None);
        assert_eq!(ring.verify(&Scope { name: "default/other".into(), ..scope() }, &value, 0), None);
        assert_eq!(ring.verify(&Scope { uid: "reborn".into(), ..scope() }, &value, 0), None);
    }

    #[test]
    fn short_keys_and_ids_that_do_not_fit_are_refused_by_name() {
        let (ring, refused) = KeyRing::new([("short", &[1_u8; 31][..]), ("a;b", &OLD[..]), ("good", &OLD[..])]);
        assert_eq!(refused, ["short", "a;b"]);
        assert_eq!(format!("{ring:?}"), r#"["good"]"#);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let header = "a=1; mesh_session2=no;mesh_session=v1.x ; mesh_session=second";
        assert_eq!(find(header, "mesh_session").collect::<Vec<_>>(), ["v1.x", "second"]);
        assert_eq!(find("", "mesh_session").next(), None);
    }

    #[test]
    fn the_set_cookie_header_has_the_attributes() {
        assert_eq!(set_cookie("s", "v", "/api", None, false), "s=v; Path=/api; HttpOnly; SameSite=Lax");
        assert_eq!(set_cookie("s", "v", "", Some(60), true), "s=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn no_mutation_of_a_cookie_is_accepted(at in 0_usize..200, byte in 0x20_u8..0x7f, cut in any::<bool>()) {
            let ring = ring(&[("k1", &OLD), ("k2", &NEW)]);
            let good = ring.sign(&scope(), Token::new("s", "i"), 5_000_000_000).unwrap();
            let mut bytes = good.clone().into_bytes();
            let at = at % bytes.len();
            if cut { bytes.truncate(at); } else { bytes[at] = byte; }
            let bad = String::from_utf8(bytes).unwrap();
            prop_assume!(bad != good);
            prop_assert_eq!(ring.verify(&scope(), &bad, 0), None);
        }

        #[test]
        fn arbitrary_text_is_never_accepted_nor_a_panic(text in ".{0,80}") {
            prop_assert_eq!(ring(&[("k", &OLD)]).verify(&scope(), &format!("v1.k.{text}"), 0), None);
            prop_assert_eq!(ring(&[("k", &OLD)]).verify(&scope(), &text, 0), None);
        }
    }
}

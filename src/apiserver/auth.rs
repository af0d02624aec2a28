//! Who a request over the network comes from, and whether it may come at all. Loopback is no boundary: a web page in the operator's browser and
//! every local user can reach it, and creating a `MeshService` equals a shell. So nobody is anonymous, and no browser's request is let in.
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Uri, header};
use subtle::ConstantTimeEq;

use crate::{request::User, status::ApiError};
use mesh_kit::redact::Redacted;

/// The door.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    token: Redacted,
    address: SocketAddr,
}

impl Door {
    pub(crate) fn new(token: Redacted, address: SocketAddr) -> Self {
        Self { token, address }
    }

    /// The user, or why there is none. `has_certificate`: the TLS layer verified a client certificate of our CA.
    pub(crate) fn admit(&self, uri: &Uri, headers: &HeaderMap, has_certificate: bool) -> Result<User, ApiError> {
        if headers.contains_key(header::ORIGIN) {
            return Err(ApiError::forbidden("requests of web pages (with an Origin) are refused"));
        }
        let header_host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(http::uri::Authority::as_str).or(header_host).unwrap_or_default();
        if !self.is_own_name(host) {
            return Err(ApiError::forbidden(format!("host {host:?} is not this server's: use its address or localhost")));
        }
        // The CA issues client certificates for the administrator only, so whoever has one is that.
        if has_certificate || self.has_token(headers) { Ok(admin()) } else { Err(ApiError::unauthorized()) }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        sent.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && bool::from(token.trim().as_bytes().ct_eq(self.token.reveal().as_bytes()))
        })
    }

    /// Against DNS rebinding: a name that an attacker can point here is none of ours.
    fn is_own_name(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let listen = self.address.ip();
        match name.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || ip == listen || listen.is_unspecified(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

fn admin() -> User {
    User { name: "mesh-admin".to_owned(), groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(headers: &[(&str, &str)], certificate: bool) -> u16 {
        let door = Door::new(Redacted::new("secret"), "192.0.2.7:7443".parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        door.admit(&Uri::from_static("/api"), &map, certificate).map_or_else(|error| error.code().as_u16(), |_| 200)
    }

    #[test]
    fn only_known_clients_under_own_names_and_no_web_pages_come_in() {
        assert_eq!(admit(&[("host", "127.0.0.1:7443")], true), 200);
        assert_eq!(admit(&[("host", "[::1]:7443")], true), 200);
        assert_eq!(admit(&[("host", "192.0.2.7")], true), 200);
        assert_eq!(admit(&[("host", "localhost:7443"), ("authorization", "Bearer secret")], false), 200);
        assert_eq!(admit(&[("host", "localhost:7443"), ("authorization", "Bearer wrong")], false), 401);
        assert_eq!(admit(&[("host", "localhost:7443")], false), 401);
        assert_eq!(admit(&[("host", "evil.example:7443")], true), 403);
        assert_eq!(admit(&[("host", "192.0.2.8:7443")], true), 403);
        assert_eq!(admit(&[], true), 403);
        assert_eq!(admit(&[("host", "localhost"), ("origin", "https://evil.example")], true), 403);
    }
}

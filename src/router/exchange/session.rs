//! The affinity of one request: what its cookie says, and the cookie of its answer.
use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

use super::Client;
use crate::{
    affinity::{self, KeyRing, Session},
    endpoint::Endpoint,
    forward::{self, Peer},
    table::{Route, Service},
};
use mesh_api::service::Strategy;
use mesh_kit::clock;

/// A request to a service with `SessionAffinity`.
#[derive(Debug)]
pub struct Sticky {
    session: Option<Session>,
    secure: bool,
}

impl Sticky {
    /// What the request's cookies say; none if the service has no affinity.
    pub fn of(service: &Service, headers: &HeaderMap, keys: &KeyRing, peer: &Peer) -> Option<Self> {
        if service.strategy != Strategy::SessionAffinity {
            return None;
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut values = cookies.flat_map(|header| affinity::find(header, &service.cookie.name)).peekable();
        let session = values
            .peek()
            .is_some()
            .then(clock::now)
            .and_then(|now| values.find_map(|v| keys.verify(&service.cookie.scope, v, now.as_second())));
        Some(Self { session, secure: forward::is_secure(headers, peer) })
    }

    /// The endpoint that the session is tied to, while it may be.
    pub fn endpoint<'a>(&self, service: &'a Service) -> Option<&'a Arc<Endpoint>> {
        self.session.as_ref().and_then(|session| service.by_token.get(&session.token))
    }

    /// Ties the client to the endpoint that answered, unless its cookie does so already.
    pub fn mark(&self, client: &Client, route: &Route, endpoint: &Endpoint, headers: &mut HeaderMap) {
        endpoint.live.pin();
        if self.session.is_some_and(|session| session.current_key && session.token == endpoint.token) {
            return;
        }
        let cookie = &route.service.cookie;
        let lifetime = cookie.lifetime.map(|lifetime| i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let now = clock::now().as_second();
        let signed_anew = self.session.filter(|session| session.token == endpoint.token && session.expires != 0);
        // The end of a session does not move because a key did.
        let expires = signed_anew.map_or(lifetime.map_or(0, |lifetime| now.saturating_add(lifetime)), |session| session.expires);
        let table = client.worker.proxy.table();
        let Some(value) = table.settings.keys.sign(&cookie.scope, endpoint.token, expires) else { return };
        let max_age = (expires != 0).then(|| expires.saturating_sub(now));
        if let Ok(header) = HeaderValue::from_str(&affinity::set_cookie(&cookie.name, &value, &route.prefix, max_age, self.secure)) {
            headers.append(SET_COOKIE, header);
        }
    }
}

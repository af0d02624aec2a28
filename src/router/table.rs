//! The route table: an immutable snapshot of which service gets a request and which endpoints that service has. Pure; made by [`build`].
//! Every worker reads the one that was published last, without a lock.
pub mod build;
#[cfg(test)]
pub(crate) mod fixture;
pub mod path;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use http::HeaderValue;

use super::{
    affinity::{Scope, Token},
    endpoint::Endpoint,
    metrics::cells::ServiceCells,
    settings::Settings,
};
use mesh_api::service::Strategy;
use path::{Ambiguous, Readings};

/// Which service gets what, at one moment.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Whether the world was seen at all; before that nothing can be decided.
    pub synced: bool,
    /// What the router was told.
    pub settings: Arc<Settings>,
    /// Every service that has routes or endpoints.
    pub services: Vec<Arc<Service>>,
    /// Endpoints that no slice has any more, until what they had under way has ended: nothing new goes there.
    pub departed: Vec<Departed>,
    exact: HashMap<String, Paths>,
    wildcards: HashMap<String, Paths>,
    any: Paths,
}

/// An endpoint that no slice has any more.
#[derive(Debug, Clone)]
pub struct Departed {
    /// As it was, but for its condition.
    pub endpoint: Arc<Endpoint>,
    /// Namespace and name of its service.
    pub service: (String, String),
    /// How long its tunnels may stay.
    pub drain_timeout: Duration,
}

impl Departed {
    fn is_of(&self, service: &Service) -> bool {
        self.service.0 == service.namespace && self.service.1 == service.name
    }
}

/// The prefixes of one hostname.
#[derive(Debug, Default)]
struct Paths(HashMap<Arc<str>, Route>);

/// A prefix and whom it belongs to.
#[derive(Debug, Clone)]
pub struct Route {
    /// Who gets the request.
    pub service: Arc<Service>,
    /// The prefix that matched, `""` for the root.
    pub prefix: Arc<str>,
}

/// A service as the router sees it.
#[derive(Debug)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `namespace/name`, ready for a header.
    pub label: HeaderValue,
    /// How requests are spread.
    pub strategy: Strategy,
    /// The affinity cookie.
    pub cookie: Cookie,
    /// How long until the head of a response; none: no limit.
    pub request_limit: Option<Duration>,
    /// Whether a request may be sent again.
    pub resend: bool,
    /// How long sessions and tunnels may stay with an instance that is ending.
    pub drain_timeout: Duration,
    /// With nothing ready, those that are ending and serve may get requests: not if the service is to be gone or was told to have a gap.
    pub last_resort: bool,
    /// All endpoints there are.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Those for new requests and sessions.
    pub ready: Vec<Arc<Endpoint>>,
    /// Those on nodes that the cluster lost: for requests when there are no others.
    pub stranded: Vec<Arc<Endpoint>>,
    /// Those that are ending and serve still.
    pub terminating: Vec<Arc<Endpoint>>,
    /// By the name in cookies: the ready ones, the stranded, and those that are ending and serve still.
    pub by_token: HashMap<Token, Arc<Endpoint>>,
    /// Whose turn it is; goes on from table to table.
    pub turn: Arc<AtomicUsize>,
    /// What is counted about it.
    pub cells: Arc<ServiceCells>,
}

/// The affinity cookie of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// How long it counts; none: the browser's session.
    pub lifetime: Option<Duration>,
    /// What it is bound to.
    pub scope: Scope,
}

impl RouteTable {
    /// The route of a request: by host (exact, then wildcard with the longest suffix, then none), then by the longest prefix.
    /// A host that has no route for the path leaves it to the next.
    ///
    /// # Errors
    /// The path can be read in two ways, which are two routes'.
    pub fn find(&self, host: &str, path: &Readings<'_>) -> Result<Option<&Route>, Ambiguous> {
        let sent = self.of(host, path.sent);
        let same = |other: Option<&Route>| match (sent, other) {
            (Some(sent), Some(other)) => Arc::ptr_eq(&sent.service, &other.service) && sent.prefix == other.prefix,
            (sent, other) => sent.is_none() && other.is_none(),
        };
        if path.undone.as_deref().is_none_or(|undone| same(self.of(host, undone))) { Ok(sent) } else { Err(Ambiguous::Routes) }
    }

    fn of(&self, host: &str, path: &str) -> Option<&Route> {
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return self.any.find(path);
        }
        let host = hostname(host);
        let wildcard = || {
            if self.wildcards.is_empty() {
                return None;
            }
            let suffixes = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
            suffixes.filter_map(|suffix| self.wildcards.get(suffix)).find_map(|paths| paths.find(path))
        };
        self.exact.get(host.as_ref()).and_then(|paths| paths.find(path)).or_else(wildcard).or_else(|| self.any.find(path))
    }

    fn paths(&mut self, hostname: Option<&str>) -> &mut Paths {
        match hostname {
            None => &mut self.any,
            Some(host) => match host.strip_prefix("*.") {
                Some(suffix) => self.wildcards.entry(suffix.to_owned()).or_default(),
                None => self.exact.entry(host.to_owned()).or_default(),
            },
        }
    }
}

impl Paths {
    fn find(&self, path: &str) -> Option<&Route> {
        if self.0.is_empty() {
            return None;
        }
        path::prefixes(path).find_map(|prefix| self.0.get(prefix))
    }
}

/// A Host header's name: without the port and the last dot, in lower case.
fn hostname(host: &str) -> std::borrow::Cow<'_, str> {
    let name = match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => host.get(..end + 2).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_without_port_case_and_last_dot() {
        for (host, name) in [
            ("Shop.Example:8080", "shop.example"),
            ("shop.example.", "shop.example"),
            ("[::1]:8080", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(hostname(host), name, "{host}");
        }
    }
}

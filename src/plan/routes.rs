//! Which service gets which requests: the routes of a spec in their long form, and who wins where two services claim the same.
//! The controllers (for the condition `RoutesAccepted`) and the router (for its table) both decide by this.
use jiff::Timestamp;
use kube::ResourceExt;

use mesh_api::{
    MeshService, MeshServiceSpec,
    conditions::{is_true, service::ROUTES_ACCEPTED},
};

/// One claim of a service: a hostname (none: any) and a path prefix without a trailing slash (`""` is the root).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Lower case; may begin with `*.`.
    pub hostname: Option<String>,
    /// `/api`, or `""` for everything.
    pub prefix: String,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.hostname.as_deref().unwrap_or_default(), if self.prefix.is_empty() { "/" } else { &self.prefix })
    }
}

/// All claims of a spec: `route` and `routes` in one form, without repeats, in the order written.
pub fn claims(spec: &MeshServiceSpec) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut add = |hostname: Option<String>, path: &str| {
        let claim = Claim { hostname, prefix: path.trim_end_matches('/').to_owned() };
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    };
    if let Some(path) = &spec.route {
        add(None, &path.0);
    }
    for route in spec.routes.iter().flatten() {
        if route.hostnames.is_empty() {
            add(None, &route.path.0);
        }
        for hostname in &route.hostnames {
            add(Some(hostname.to_ascii_lowercase()), &route.path.0);
        }
    }
    claims
}

/// The order in which services get what they claim: the older one first, then by namespace and name.
pub fn seniority(service: &MeshService) -> (Timestamp, String, String) {
    let born = service.creation_timestamp().map_or(Timestamp::MAX, |time| time.0);
    (born, service.namespace().unwrap_or_default(), service.name_any())
}

/// Whether it may matter to a service that somebody takes or frees these claims: it has one of them too, or has not been given all of its own.
pub fn concerns(service: &MeshService, taken_or_freed: &[Claim]) -> bool {
    let refused = service.status.as_ref().is_some_and(|status| !is_true(&status.conditions, ROUTES_ACCEPTED));
    refused || claims(&service.spec).iter().any(|claim| taken_or_freed.contains(claim))
}

/// The first of `service`'s claims that a more senior service has as well, and which service that is.
pub fn conflict<'a>(service: &MeshService, others: impl IntoIterator<Item = &'a MeshService>) -> Option<(Claim, &'a MeshService)> {
    let mine = claims(&service.spec);
    let me = seniority(service);
    others
        .into_iter()
        .filter(|other| other.uid() != service.uid() && other.metadata.deletion_timestamp.is_none() && seniority(other) < me)
        .find_map(|other| {
            let theirs = claims(&other.spec);
            mine.iter().find(|claim| theirs.contains(claim)).map(|claim| (claim.clone(), other))
        })
}

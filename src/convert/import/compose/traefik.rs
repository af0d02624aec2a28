//! Traefik's labels as routes, where they say no more than host and path.
use serde_json::json;

use crate::import::draft::{Book, Draft};

/// Takes the labels that begin with `traefik.`: path in the file, name, value.
pub(super) fn labels(labels: &[(String, String, String)], draft: &mut Draft, book: &mut Book<'_>) {
    let off = labels.iter().any(|(_, name, value)| name == "traefik.enable" && value == "false");
    let mut routes: Vec<(Option<String>, String)> = Vec::new();
    for (path, name, value) in labels {
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["traefik", "enable"] => book.moot("labels: traefik.enable"),
            ["traefik", "docker", "network"] => book.moot("labels: traefik.docker.network"),
            ["traefik", "http", "routers", which, "rule"] if !off => match rule(value) {
                Some(claims) => routes.extend(claims),
                None => book.lost(
                    path,
                    format!("labels: the rule of the router {which} ({value}) is more than hosts and paths: write spec.routes for it"),
                ),
            },
            ["traefik", "http", "routers", _, "service"] => book.moot("labels: traefik.http.routers.*.service"),
            ["traefik", "http", "services", _, "loadbalancer", "server", "port"] => match value.parse::<u16>() {
                Ok(port) => draft.set("port", port),
                Err(_) => book.lost(path, format!("labels: {name}={value} is no port")),
            },
            ["traefik", "http", "services", _, "loadbalancer", "sticky", "cookie"] if value == "true" => {
                draft.set("strategy", "SessionAffinity");
            }
            ["traefik", "http", "services", _, "loadbalancer", "sticky", "cookie", "name"] => {
                draft.set("strategy", "SessionAffinity");
                draft.set("sessionPersistence", json!({ "sessionName": value }));
            }
            ["traefik", "http", "services", _, "loadbalancer", "healthcheck", "path"] if !draft.has("readinessProbe") => {
                draft.set("healthPath", value.clone());
            }
            ["traefik", "http", "routers", _, "tls", ..] => {
                book.lost(path, format!("labels: {name}: the router speaks plain HTTP: end TLS before it"));
            }
            ["traefik", "http", "routers", _, "entrypoints" | "entryPoints"] => {
                book.lost(path, format!("labels: {name}={value}: the router has one entry, its --router-listen"));
            }
            _ => book.lost(path, format!("labels: {name} has no counterpart")),
        }
    }
    draft.set_routes(&routes);
}

/// ``Host(`a`) && PathPrefix(`/b`) || …`` as hosts and paths; none if there is more in it.
fn rule(text: &str) -> Option<Vec<(Option<String>, String)>> {
    if text.contains('!') {
        return None;
    }
    let mut claims = Vec::new();
    for side in text.split("||") {
        let (mut hosts, mut paths) = (Vec::new(), Vec::new());
        // `A && (B || C)` comes apart here in pieces that are no matchers.
        for matcher in side.split("&&") {
            let (name, values) = matcher.trim().trim_matches(|c| c == '(' || c == ')').split_once('(')?;
            let values = values.split(',').map(|value| value.trim().trim_matches(['`', '"', '\'', ')']).to_owned());
            match name.trim() {
                "Host" => hosts.extend(values.map(|host| host.to_ascii_lowercase())),
                "PathPrefix" => paths.extend(values),
                _ => return None,
            }
        }
        let nested = side.matches('(').count() != side.matches(')').count();
        if nested || hosts.iter().any(String::is_empty) || paths.iter().any(|path| !path.starts_with('/') || path.contains(['{', '%'])) {
            return None;
        }
        let paths = if paths.is_empty() { vec!["/".to_owned()] } else { paths };
        let hosts: Vec<_> = if hosts.is_empty() { vec![None] } else { hosts.into_iter().map(Some).collect() };
        claims.extend(hosts.iter().flat_map(|host| paths.iter().map(|path| (host.clone(), path.clone()))));
    }
    Some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_hosts_and_paths_become_claims() {
        let host = |name: &str| Some(name.to_owned());
        for (text, claims) in [
            ("Host(`a.example`)", Some(vec![(host("a.example"), "/".to_owned())])),
            ("Host(`a`, `b`) && PathPrefix(`/x`)", Some(vec![(host("a"), "/x".to_owned()), (host("b"), "/x".to_owned())])),
            ("PathPrefix(`/api`) || Host(\"c\")", Some(vec![(None, "/api".to_owned()), (host("c"), "/".to_owned())])),
            ("Host(`a`) && (PathPrefix(`/x`) || PathPrefix(`/y`))", None),
            ("HostRegexp(`{x:.+}`)", None),
            ("Host(`a`) && !PathPrefix(`/x`)", None),
        ] {
            assert_eq!(rule(text), claims, "{text}");
        }
    }
}

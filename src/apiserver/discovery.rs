//! Discovery: plain lists and the aggregated form, with an `ETag` that moves with every definition.
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    body::{self, Body},
    registry::{Behaviour, Registry, Resource},
    request::Request,
    state::State,
    status::ApiError,
};

const AGGREGATED: [(&str, &str); 2] = [
    ("v=v2;", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ("v=v2beta1;", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
];
/// The Kubernetes version whose behaviour is served. `kubectl version` warns when its own minor version is more than 1 away, so that no number
/// suits both 1.32 and 1.35; this one is true, and suits 1.34 to 1.36. The warning comes from that verb only.
const VERSION: (&str, &str) = ("1", "35");

/// `/`: what there is besides objects.
pub(crate) fn root() -> Response<Body> {
    let paths = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    body::json(StatusCode::OK, &json!({"paths": paths}))
}

pub(crate) fn version() -> Response<Body> {
    let (major, minor) = VERSION;
    let git = format!("v{major}.{minor}.0+mesh-{}", env!("CARGO_PKG_VERSION"));
    let platform = format!("{}/{}", std::env::consts::OS, if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    let version = json!({
        "major": major, "minor": minor, "gitVersion": git, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": platform,
    });
    body::json(StatusCode::OK, &version)
}

/// `/api`
pub(crate) fn core(server: &State, request: &Request) -> Result<Response<Body>, ApiError> {
    aggregated_or(server, request, true, |_| {
        let cidr = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]);
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": cidr})
    })
}

/// `/apis`
pub(crate) fn groups(server: &State, request: &Request) -> Result<Response<Body>, ApiError> {
    aggregated_or(server, request, false, |registry| {
        let groups = registry.groups();
        let named = groups.iter().filter(|(group, _)| !group.is_empty());
        let groups: Vec<_> = named.map(|(group, versions)| api_group(group, versions)).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    })
}

/// `/apis/GROUP`
pub(crate) fn group(server: &State, group: &str) -> Response<Body> {
    let registry = server.registry();
    let groups = registry.groups();
    let Some(versions) = groups.get(group).filter(|_| !group.is_empty()) else {
        return body::text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let mut value = api_group(group, versions);
    let kind = json!({"kind": "APIGroup", "apiVersion": "v1"});
    for field in ["kind", "apiVersion"] {
        crate::object::copy_field(&kind, &mut value, field);
    }
    body::json(StatusCode::OK, &value)
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let all: Vec<_> = versions.iter().map(version).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn resources(server: &State, request: &Request, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    request.form()?;
    let registry = server.registry();
    let resources = registry.of_group_version(group, version);
    if resources.is_empty() {
        return Ok(body::text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let all: Vec<_> = resources.into_iter().flat_map(|resource| plain(resource)).collect();
    Ok(body::json(StatusCode::OK, &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": all})))
}

/// A resource and its subresources, as plain discovery lists them.
fn plain(resource: &Resource) -> Vec<Value> {
    let Resource { kind, plural, singular, short_names, categories, namespaced, .. } = resource;
    let mut main = json!({"name": plural, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": resource.verbs()});
    let map = crate::object::map(&mut main);
    for (field, names) in [("shortNames", short_names), ("categories", categories)] {
        if !names.is_empty() {
            map.insert(field.to_owned(), names.clone().into());
        }
    }
    let mut all = vec![main];
    for Sub { name, kind, foreign, verbs } in subresources(resource) {
        let mut sub =
            json!({"name": format!("{plural}/{name}"), "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs});
        if let Some((group, version)) = foreign {
            let map = crate::object::map(&mut sub);
            map.insert("group".to_owned(), group.into());
            map.insert("version".to_owned(), version.into());
        }
        all.push(sub);
    }
    all
}

struct Sub<'a> {
    name: &'static str,
    kind: &'a str,
    /// The kind's group and version, where they are not the resource's.
    foreign: Option<(&'static str, &'static str)>,
    verbs: &'static [&'static str],
}

fn subresources(resource: &Resource) -> Vec<Sub<'_>> {
    let mut all = Vec::new();
    let verbs: &[&str] = &["get", "patch", "update"];
    if resource.has_status {
        all.push(Sub { name: "status", kind: &resource.kind, foreign: None, verbs });
    }
    if resource.scale.is_some() {
        all.push(Sub { name: "scale", kind: "Scale", foreign: Some(("autoscaling", "v1")), verbs });
    }
    if resource.behaviour == Behaviour::Namespace {
        all.push(Sub { name: "finalize", kind: &resource.kind, foreign: None, verbs: &["update"] });
    }
    if resource.group == "mesh-controller.dev" && resource.kind == "MeshInstance" {
        all.push(Sub { name: "log", kind: &resource.kind, foreign: None, verbs: &["get"] });
    }
    all
}

fn aggregated_or(server: &State, request: &Request, core: bool, plain: impl Fn(&Registry) -> Value) -> Result<Response<Body>, ApiError> {
    let registry = server.registry();
    let accept = request.header(header::ACCEPT).unwrap_or_default();
    let media = accept.split(',').map(|part| part.replace(' ', "")).find_map(|part| {
        let aggregated = part.contains("as=APIGroupDiscoveryList") && part.contains("g=apidiscovery.k8s.io");
        AGGREGATED.iter().find(|(mark, _)| aggregated && format!("{part};").contains(mark)).map(|(_, media)| *media)
    });
    let Some(media) = media else {
        request.form()?;
        return Ok(body::json(StatusCode::OK, &plain(&registry)));
    };
    let version = if media.contains("v=v2beta1") { "v2beta1" } else { "v2" };
    let etag = HeaderValue::from_str(&format!("\"{}-{version}\"", registry.hash())).unwrap_or(HeaderValue::from_static("\"\""));
    let mut response = if request.headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        body::response(StatusCode::NOT_MODIFIED, media, body::full(""))
    } else {
        body::response(StatusCode::OK, media, body::full(aggregated(&registry, version, core).to_string()))
    };
    response.headers_mut().insert(header::ETAG, etag);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(response)
}

fn aggregated(registry: &Registry, version: &str, core: bool) -> Value {
    let groups = registry.groups().into_iter().filter(|(group, _)| group.is_empty() == core);
    let items: Vec<_> = groups
        .map(|(group, versions)| {
            let versions: Vec<_> = versions
                .into_iter()
                .map(|version| {
                    let resources: Vec<_> =
                        registry.of_group_version(group, version).into_iter().map(|resource| aggregated_resource(resource)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata =
                if group.is_empty() { json!({"creationTimestamp": null}) } else { json!({"name": group, "creationTimestamp": null}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let api_version = format!("apidiscovery.k8s.io/{version}");
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let Resource { group, version, kind, plural, singular, short_names, categories, namespaced, .. } = resource;
    let own = json!({"group": group, "version": version, "kind": kind});
    let scope = if *namespaced { "Namespaced" } else { "Cluster" };
    let mut value =
        json!({"resource": plural, "responseKind": own, "scope": scope, "singularResource": singular, "verbs": resource.verbs()});
    let map = crate::object::map(&mut value);
    for (field, names) in [("shortNames", short_names), ("categories", categories)] {
        if !names.is_empty() {
            map.insert(field.to_owned(), names.clone().into());
        }
    }
    let subresources: Vec<_> = subresources(resource)
        .into_iter()
        .map(|Sub { name, kind, foreign, verbs }| {
            let (group, version) = foreign.unwrap_or((group, version));
            json!({"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": verbs})
        })
        .collect();
    if !subresources.is_empty() {
        map.insert("subresources".to_owned(), subresources.into());
    }
    value
}

//! What the router's files may hold, and where it stands. Refuses what the router would pass over in silence: here nobody else would tell. Pure.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::{
    exit::{Code, Failure, Result},
    manifest::Document,
};
use mesh_api::labels::{APP_MANAGED_BY, MANAGER, SLICE_SERVICE, SYSTEM_NAMESPACE};

/// Kind, namespace and name.
pub(super) fn identity(document: &Document) -> (&str, &str, &str) {
    (&document.gvk.kind, document.object.metadata.namespace.as_deref().unwrap_or_default(), document.name())
}

/// The documents with their namespaces and the labels that the router looks for; endpoints come before the services that have them.
pub(super) fn checked(mut documents: Vec<Document>) -> Result<Vec<Document>> {
    for document in &mut documents {
        place(document)?;
    }
    let mut first: BTreeMap<_, String> = BTreeMap::new();
    for document in &documents {
        if let Some(place) = first.insert(identity(document), document.place()) {
            return Err(refuse(document, "metadata.name", &format!("it is in the files twice, first at {place}")));
        }
    }
    let services: BTreeSet<(String, String)> = documents.iter().filter(|document| document.is_service()).map(name_of).collect();
    for document in documents.iter_mut().filter(|document| document.gvk.kind == "EndpointSlice") {
        endpoints(document, &services)?;
    }
    documents.sort_by_key(Document::is_service);
    Ok(documents)
}

fn refuse(document: &Document, field: &str, what: &str) -> Failure {
    Failure::new(Code::Invalid, format!("{}:{}: {}: {what}", document.file, document.lines.of(field), document.title()))
}

fn name_of(document: &Document) -> (String, String) {
    (document.object.metadata.namespace.clone().unwrap_or_default(), document.name().to_owned())
}

/// What belongs to the router itself is looked for in one namespace; the rest is in `default` unless it says another.
fn place(document: &mut Document) -> Result {
    let own = match (document.gvk.group.as_str(), document.gvk.kind.as_str()) {
        (mesh_api::GROUP, "MeshService") | ("discovery.k8s.io", "EndpointSlice") => "default",
        (mesh_api::GROUP, "MeshRouter") | ("", "Secret") => SYSTEM_NAMESPACE,
        _ => return Err(refuse(document, "kind", "a router reads MeshService, EndpointSlice, MeshRouter and Secret objects only")),
    };
    let namespace = document.object.metadata.namespace.get_or_insert_with(|| own.to_owned());
    if own == SYSTEM_NAMESPACE && namespace != own {
        return Err(refuse(document, "metadata.namespace", &format!("routers look for it in {own} only: leave metadata.namespace out")));
    }
    Ok(())
}

fn endpoints(document: &mut Document, services: &BTreeSet<(String, String)>) -> Result {
    let labels = document.object.metadata.labels.get_or_insert_default();
    labels.insert(APP_MANAGED_BY.to_owned(), MANAGER.to_owned());
    let service = labels.get(SLICE_SERVICE).cloned();
    let Some(service) = service else {
        return Err(refuse(document, "metadata.labels", &format!("the label {SLICE_SERVICE} is missing: it names the MeshService")));
    };
    let namespace = document.object.metadata.namespace.clone().unwrap_or_default();
    if !services.contains(&(namespace.clone(), service.clone())) {
        let what = format!("there is no MeshService {service} in namespace {namespace} in the files");
        return Err(refuse(document, &format!("metadata.labels.{SLICE_SERVICE}"), &what));
    }
    let slice = serde_json::to_value(&document.object).and_then(serde_json::from_value::<EndpointSlice>);
    let slice = slice.map_err(|error| refuse(document, "endpoints", &error.to_string()))?;
    if !slice.ports.iter().flatten().any(|port| port.port.is_some_and(|port| u16::try_from(port).is_ok_and(|port| port > 0))) {
        return Err(refuse(document, "ports", "there is no port: write ports: [{port: NUMBER}]"));
    }
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let address = endpoint.addresses.first().map(String::as_str).unwrap_or_default();
        if address.parse::<IpAddr>().is_err() {
            return Err(refuse(document, &format!("endpoints[{index}].addresses[0]"), &format!("{address:?} is no IP address")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    const SERVICE: &str =
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: web}\nspec: {command: [x], route: /}\n---\n";

    fn slice(labels: &str, rest: &str) -> String {
        format!(
            "{SERVICE}apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  labels: {labels}\naddressType: IPv4\n{rest}\n"
        )
    }

    fn check(text: &str) -> Result<Vec<Document>> {
        checked(parse("r.yaml", text)?)
    }

    #[test]
    fn endpoints_get_the_label_that_routers_look_for_and_stand_before_services() {
        let text = slice("{kubernetes.io/service-name: web}", "ports: [{port: 80}]\nendpoints: [{addresses: [127.0.0.1]}]");
        let documents = check(&text).unwrap();
        assert_eq!(
            documents.iter().map(identity).collect::<Vec<_>>(),
            [("EndpointSlice", "default", "web-1"), ("MeshService", "default", "web")]
        );
        assert_eq!(documents[0].object.metadata.labels.as_ref().unwrap()[APP_MANAGED_BY], MANAGER);
    }

    #[test]
    fn keys_and_settings_are_where_routers_look() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\n";
        assert_eq!(identity(&check(text).unwrap()[0]), ("Secret", SYSTEM_NAMESPACE, "keys"));
    }

    #[test]
    fn what_a_router_would_pass_over_is_refused_with_its_line() {
        let good = "ports: [{port: 80}]\nendpoints:\n- addresses: [127.0.0.1]";
        for (text, said) in [
            ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n".to_owned(), "r.yaml:2: ConfigMap c: a router reads MeshService,"),
            (
                "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: shop\n".to_owned(),
                "r.yaml:5: Secret s: routers look for it in mesh-system only",
            ),
            (format!("{SERVICE}{SERVICE}"), "r.yaml:8: MeshService web: it is in the files twice, first at r.yaml:1"),
            (slice("{}", good), "r.yaml:10: EndpointSlice web-1: the label kubernetes.io/service-name is missing"),
            (
                slice("{kubernetes.io/service-name: wbe}", good),
                "r.yaml:10: EndpointSlice web-1: there is no MeshService wbe in namespace default",
            ),
            (
                slice("{kubernetes.io/service-name: web}", "endpoints: [{addresses: [127.0.0.1]}]"),
                "r.yaml:6: EndpointSlice web-1: there is no port",
            ),
            (
                slice("{kubernetes.io/service-name: web}", "ports: [{port: 80}]\nendpoints:\n- addresses: [db.local]"),
                "r.yaml:14: EndpointSlice web-1: \"db.local\" is no IP address",
            ),
        ] {
            let failure = check(&text).unwrap_err();
            assert_eq!(failure.code, Code::Invalid);
            assert!(failure.text().starts_with(said), "{}\nbegins not with\n{said}\n{text}", failure.text());
        }
    }
}

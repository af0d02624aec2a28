//! The Services and Ingresses that lead to a Deployment's pods.
use serde_json::{Map, Value};

use super::Object;
use crate::import::{
    draft::{Book, Draft},
    fields::{Fields, number, scalar},
    input::Input,
};

/// A container's port as a Service names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    name: Option<String>,
    pub(super) number: Option<i64>,
}

impl Target {
    /// Whether it is that port.
    pub(super) fn is(&self, name: Option<&str>, number: i64) -> bool {
        self.number == Some(number) || (self.name.is_some() && self.name.as_deref() == name)
    }
}

/// The Services that select pods with these labels.
pub(super) fn services<'a>(deployment: &Object, labels: &Map<String, Value>, objects: &'a [Object]) -> Vec<&'a Object> {
    let selects = |service: &&Object| {
        let selector = service.value.pointer("/spec/selector").and_then(Value::as_object);
        selector.is_some_and(|selector| !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    objects.iter().filter(|object| object.kind == "Service" && object.namespace() == deployment.namespace()).filter(selects).collect()
}

/// The port that the first of them leads to.
pub(super) fn target_port(services: &[&Object]) -> Option<Target> {
    let ports = services.iter().flat_map(|service| service.value.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten());
    let port = ports.into_iter().find(|port| port.get("protocol").and_then(Value::as_str).is_none_or(|protocol| protocol == "TCP"))?;
    let target = port.get("targetPort").or_else(|| port.get("port"))?;
    Some(Target { name: target.as_str().filter(|text| text.parse::<i64>().is_err()).map(str::to_owned), number: number(target) })
}

/// Takes over what the Services say, and the Ingresses before them. What is said of them stands where they stand.
pub(super) fn routes(services: &[&Object], objects: &[Object], inputs: &[Input], draft: &mut Draft, book: &mut Book<'_>) {
    let mut routes = Vec::new();
    let about = book.service.clone();
    let book_of = |object: &Object| Some(Book::new(inputs.get(object.input)?, object.document, about.as_deref()));
    for service in services {
        let Some(mut own) = book_of(service) else { continue };
        of_service(service, draft, &mut own);
        book.take(own);
        for ingress in objects.iter().filter(|object| object.kind == "Ingress" && object.namespace() == service.namespace()) {
            let Some(mut own) = book_of(ingress) else { continue };
            routes.extend(of_ingress(ingress, service.name(), &mut own));
            book.take(own);
        }
    }
    routes.dedup();
    draft.set_routes(&routes);
}

fn of_service(service: &Object, draft: &mut Draft, book: &mut Book<'_>) {
    let (at, path) = (format!("Service {}", service.name()), service.path("spec"));
    let own = draft.spec.get("port").and_then(Value::as_i64);
    let mut spec = Fields::new(String::new(), service.value.get("spec").cloned().unwrap_or_default());
    if service.name() != draft.name {
        book.lost(&path, format!("{at}: the Service that is made is called {}: others that call {} must use that, or keep yours with the selector mesh-controller.dev/service: {0}", draft.name, service.name()));
    }
    for (index, (_, port)) in spec.list("ports").into_iter().enumerate() {
        let seen = port.get("port").and_then(number);
        if index > 0 {
            book.lost(&path, format!("{at}: port {}: a MeshService has one; keep a Service of your own for it", seen.unwrap_or_default()));
        } else if let Some((seen, own)) = seen.zip(own).filter(|(seen, own)| seen != own) {
            book.lost(&path, format!("{at}: its port {seen} is {own} here, the container's own: call http://{}:{own}", draft.name));
        }
    }
    if spec.text("clusterIP").as_deref() == Some("None") {
        draft.inner("kubernetes").insert("headlessService".to_owned(), true.into());
        book.said(
            &path,
            format!("{at} is headless: spec.kubernetes.headlessService makes one called {}-headless beside the other", draft.name),
        );
    }
    if spec.text("sessionAffinity").as_deref() == Some("ClientIP") {
        draft.set("strategy", "SessionAffinity");
        book.said(&path, format!("{at}: sessionAffinity ClientIP is strategy SessionAffinity, which goes by a cookie"));
    }
    if let Some(distribution) = spec.text("trafficDistribution") {
        draft.inner("kubernetes").insert("trafficDistribution".to_owned(), distribution.into());
    }
    if let Some(type_ @ ("LoadBalancer" | "NodePort" | "ExternalName")) = spec.text("type").as_deref() {
        book.lost(&path, format!("{at}: type {type_}: requests come in through the routers' Service; give a route"));
    }
    for (_, key, value) in spec.left() {
        match key.as_str() {
            "selector"
            | "clusterIPs"
            | "ipFamilies"
            | "ipFamilyPolicy"
            | "internalTrafficPolicy"
            | "sessionAffinityConfig"
            | "allocateLoadBalancerNodePorts" => {
                book.moot(format!("Service: spec.{key}"));
            }
            _ if value.is_null() => {}
            _ => book.lost(&path, format!("{at}: spec.{key} has no counterpart")),
        }
    }
}

/// The hosts and paths that an Ingress sends to a Service.
fn of_ingress(ingress: &Object, service: &str, book: &mut Book<'_>) -> Vec<(Option<String>, String)> {
    let mut routes = Vec::new();
    let (at, place) = (format!("Ingress {}", ingress.name()), ingress.path("spec.rules"));
    let is_it = |backend: Option<&Value>| {
        let backend = backend.unwrap_or(&Value::Null);
        backend.pointer("/service/name").or_else(|| backend.get("serviceName")).and_then(Value::as_str) == Some(service)
    };
    let default = ingress.value.pointer("/spec/defaultBackend").or_else(|| ingress.value.pointer("/spec/backend"));
    if is_it(default) {
        routes.push((None, "/".to_owned()));
    }
    for rule in ingress.value.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
        let host = rule.get("host").and_then(scalar).filter(|host| !host.is_empty());
        for path in rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten().filter(|path| is_it(path.get("backend"))) {
            let text = path.get("path").and_then(Value::as_str).unwrap_or("/");
            if text.contains(['(', '*', '[', '$', '|', '?']) {
                book.lost(&place, format!("{at}: the path {text} is a pattern: routes are plain beginnings of paths"));
                continue;
            }
            if path.get("pathType").and_then(Value::as_str) == Some("Exact") {
                book.said(&place, format!("{at}: {text} is meant exactly; a route takes what lies below it too"));
            }
            routes.push((host.clone(), text.to_owned()));
        }
    }
    routes
}

/// A Service or an Ingress that leads to no Deployment of the input, and what of an Ingress no route says.
pub(super) fn unused(object: &Object, objects: &[Object], book: &mut Book<'_>) {
    if object.kind == "Ingress" {
        let backends = object.value.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
        let paths = backends.flat_map(|rule| rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten());
        let all = paths.filter_map(|path| path.get("backend")).chain(object.value.pointer("/spec/defaultBackend"));
        for resource in all.filter_map(|backend| backend.get("resource")) {
            let (kind, name) = (resource.get("kind").and_then(Value::as_str), resource.get("name").and_then(Value::as_str));
            let text = format!(
                "Ingress {}: its backend is the resource {} {}, not a Service: a route leads to services only",
                object.name(),
                kind.unwrap_or("without kind"),
                name.unwrap_or_default()
            );
            book.lost(&object.path("spec"), text);
        }
    }
    if object.kind == "Service" {
        let deployments = objects.iter().filter(|other| other.kind == "Deployment");
        let selected = deployments.into_iter().any(|deployment| {
            let labels = deployment.value.pointer("/spec/template/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
            services(deployment, &labels, objects).iter().any(|service| std::ptr::eq(*service, object))
        });
        if !selected {
            book.lost(&object.path("metadata.name"), format!("Service {}: it selects no Deployment of this input", object.name()));
        }
        for (path, key, _) in annotations(object) {
            book.lost(&path, format!("Service {}: the annotation {key}", object.name()));
        }
        return;
    }
    let name = object.name();
    for (path, key, _) in annotations(object) {
        book.lost(&path, format!("Ingress {name}: the annotation {key} is for its own controller"));
    }
    if object.value.pointer("/spec/tls").is_some() {
        book.lost(
            &object.path("spec.tls"),
            format!("Ingress {name}: tls: the routers speak plain HTTP: end TLS before them (keep an Ingress in front of their Service)"),
        );
    }
    if object.value.pointer("/spec/ingressClassName").is_some() {
        book.moot("Ingress: spec.ingressClassName");
    }
    let names = object.value.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    let backends = names.flat_map(|rule| rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten());
    for backend in backends.filter_map(|path| path.pointer("/backend/service/name")?.as_str()) {
        if !objects.iter().any(|other| other.kind == "Service" && other.name() == backend) {
            book.lost(&object.path("spec.rules"), format!("Ingress {name}: the Service {backend} is not in this input"));
        }
    }
}

fn annotations(object: &Object) -> Vec<(String, String, Value)> {
    let annotations = object.value.pointer("/metadata/annotations").cloned().unwrap_or_default();
    let all = Fields::new(object.path("metadata.annotations"), annotations).left();
    all.into_iter().filter(|(_, key, _)| !key.starts_with("kubectl.kubernetes.io/")).collect()
}

//! Everything that is printed, in an order that does not change: what others refer to first, then service by service.
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::Value;

use super::{
    config,
    native::{Kind, Native},
    references::{Optional, References},
    text,
};
use mesh_api::MeshService;
use mesh_plan::{environment::Sources, routes};

/// What the user wants.
#[derive(Debug)]
pub struct Wishes {
    /// Secrets are printed.
    pub secrets: bool,
    /// What else was in the files.
    pub others: Vec<String>,
}

/// One document of the output.
#[derive(Debug, Default)]
struct Part {
    comments: Vec<String>,
    /// None where a command stands for the object.
    object: Option<Value>,
}

/// The manifests, and what is said about them.
#[derive(Debug)]
pub struct Bundle {
    head: String,
    parts: Vec<Part>,
    /// What is lost, and of which services.
    lost: Vec<(String, Vec<String>)>,
}

impl Bundle {
    /// Puts it together; what services refer to is given by namespace.
    pub fn new(natives: &[Native], services: &[MeshService], sources: &BTreeMap<String, Sources>, wishes: &Wishes) -> Self {
        let namespaces: BTreeSet<String> = natives.iter().map(|native| native.namespace.clone()).collect();
        let mut bundle = Self { head: head(natives, &namespaces), parts: Vec::new(), lost: Vec::new() };
        for namespace in &namespaces {
            let natives: Vec<&Native> = natives.iter().filter(|native| native.namespace == *namespace).collect();
            let wanted = natives.iter().fold(References::default(), |all, native| all.and(&native.references));
            let sources = sources.get(namespace).cloned().unwrap_or_default();
            bundle.config_maps(&wanted.config_maps, &sources);
            bundle.secrets(&wanted.secrets, &sources, wishes.secrets);
            bundle.claims(namespace, &wanted.claims, &natives);
        }
        for native in natives {
            bundle.native(native, services);
        }
        for other in &wishes.others {
            bundle.lose(other, "is not exported: it is nothing that a MeshService or a MeshTask refers to".to_owned());
        }
        if let [_] = namespaces.iter().collect::<Vec<_>>().as_slice() {
            // Whoever applies it says where.
            bundle.parts.iter_mut().filter_map(|part| part.object.as_mut()?.get_mut("metadata")?.as_object_mut()).for_each(|metadata| {
                metadata.remove("namespace");
            });
        }
        bundle
    }

    /// The text for `kubectl apply`.
    pub fn manifests(&self) -> String {
        let parts = self.parts.iter().map(|part| {
            let comments: String = part.comments.iter().map(|comment| text::comment(comment)).collect();
            match &part.object {
                Some(object) => format!("---\n{comments}{}", text::yaml(object)),
                None => comments,
            }
        });
        text::comment(&self.head) + &parts.collect::<String>()
    }

    /// The lines for standard error.
    pub fn summary(&self) -> Vec<String> {
        let lines = self.lost.iter().map(|(text, of)| format!("  {}: {text}", of.join(", ")));
        let head = (!self.lost.is_empty()).then(|| "not carried over:".to_owned());
        head.into_iter().chain(lines).collect()
    }

    fn lose(&mut self, of: &str, text: String) {
        match self.lost.iter_mut().find(|(known, _)| *known == text) {
            Some((_, services)) => services.push(of.to_owned()),
            None => self.lost.push((text, vec![of.to_owned()])),
        }
    }

    fn config_maps(&mut self, wanted: &BTreeMap<String, Optional>, sources: &Sources) {
        for (name, optional) in wanted {
            match sources.config_maps.get(name) {
                Some(map) => self.parts.push(Part { comments: Vec::new(), object: Some(config::config_map(map)) }),
                None if *optional => {}
                None => {
                    let command = format!("kubectl create configmap {name} --from-literal=KEY=VALUE");
                    self.absent(&format!("ConfigMap {name}"), "it is not here, and pods do not start without it", &command);
                }
            }
        }
    }

    fn secrets(&mut self, wanted: &BTreeMap<String, Optional>, sources: &Sources, printed: bool) {
        for (name, optional) in wanted {
            let found = sources.secrets.get(name);
            let why = match found {
                Some(secret) if printed => {
                    self.parts.push(Part { comments: Vec::new(), object: Some(config::secret(secret)) });
                    continue;
                }
                Some(secret) => format!("its values ({}) are printed by --with-secrets only", keys(secret)),
                None if *optional => continue,
                None => "it is not here, and pods do not start without it".to_owned(),
            };
            self.absent(&format!("Secret {name}"), &why, &config::secret_command(name, found));
        }
    }

    /// A command stands for an object.
    fn absent(&mut self, title: &str, why: &str, command: &str) {
        self.parts.push(Part { comments: vec![format!("{title}: {why}. Make it:\n  {command}")], object: None });
        self.lose(title, format!("{why}: {command}"));
    }

    fn claims(&mut self, namespace: &str, wanted: &BTreeMap<String, Optional>, natives: &[&Native]) {
        for name in wanted.keys() {
            let users: i32 =
                natives.iter().filter(|native| native.references.claims.contains_key(name)).map(|native| native.replicas).sum();
            let mut comments = vec!["Check the size, the access mode and the storage class: on a VM a claim has none of them.".to_owned()];
            if users > 1 {
                comments.push(format!(
                    "{users} pods share it: on more than one node they need ReadWriteMany, and a storage class that has it."
                ));
            }
            self.parts.push(Part { comments, object: Some(config::claim(name, namespace)) });
            self.lose(&format!("PersistentVolumeClaim {name}"), "what is in the volume is not moved".to_owned());
        }
    }

    fn native(&mut self, native: &Native, services: &[MeshService]) {
        for object in &native.objects {
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
            let lost = native.lost.iter().filter(|lost| lost.beside == kind).map(|lost| format!("Not carried over: {}", lost.text));
            let mut comments: Vec<String> = lost.collect();
            if kind == "Ingress" {
                comments.push(
                    "An Ingress controller must be in the cluster; spec.ingressClassName says which, if none is the default.".to_owned(),
                );
            }
            self.parts.push(Part { comments, object: Some(object.clone()) });
        }
        for lost in &native.lost {
            self.lose(&native.name, lost.text.clone());
        }
        let own = services
            .iter()
            .filter(|_| native.kind == Kind::Service)
            .find(|service| service.name_any() == native.name && service.namespace().unwrap_or_default() == native.namespace);
        if let Some((claim, other)) = own.and_then(|own| routes::conflict(own, services)) {
            let text =
                format!("the route {claim} is also that of the older {}: an Ingress controller may choose the other way", other.name_any());
            self.lose(&native.name, text);
        }
    }
}

fn keys(secret: &Secret) -> String {
    secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ")
}

fn head(natives: &[Native], namespaces: &BTreeSet<String>) -> String {
    let titled = |kind: Kind, title: &str| {
        let names: Vec<&str> = natives.iter().filter(|native| native.kind == kind).map(|native| native.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("the {title} {}", names.join(", ")))
    };
    let names: Vec<String> = [titled(Kind::Service, "MeshServices"), titled(Kind::Task, "MeshTasks")].into_iter().flatten().collect();
    let namespace = match namespaces.iter().collect::<Vec<_>>().as_slice() {
        [one] => format!(" -n {one}"),
        _ => String::new(),
    };
    format!(
        "Made by `mesh export --to kubernetes` from {}. Nothing here needs mesh-controller.\nkubectl apply --server-side{namespace} -f THIS-FILE",
        names.join(" and ")
    )
}

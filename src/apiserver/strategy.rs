//! What differs by kind when objects are written: a namespace's finalizer and phase, a definition's status, the namespace that an object needs.
pub(crate) mod definition;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::definition::names::Taken;
use crate::{
    object,
    registry::{Behaviour, NAMESPACES, Resource},
    schema::FieldError,
    state::State,
    status::ApiError,
};
use mesh_store::Key;

/// The namespaces that the server itself makes and needs.
pub(crate) const PERMANENT_NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

pub(crate) fn on_create(server: &State, resource: &Resource, object: &mut Value, now: Timestamp) {
    match resource.behaviour {
        Behaviour::Namespace => {
            let name = object::name(object).to_owned();
            let labels = object::map_at(object::metadata(object), "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
            object::set_at(object, "/spec/finalizers", json!(["kubernetes"]));
            object::set_at(object, "/status", json!({"phase": "Active"}));
        }
        Behaviour::Definition => definition::establish(object, None, &Taken::beside(&server.store, object), now),
        Behaviour::Plain | Behaviour::EventsV1 | Behaviour::Empty | Behaviour::Review => {}
    }
}

pub(crate) fn on_update(server: &State, resource: &Resource, new: &mut Value, old: &Value, now: Timestamp) {
    match resource.behaviour {
        Behaviour::Definition => definition::establish(new, Some(old), &Taken::beside(&server.store, new), now),
        Behaviour::Namespace => {
            let name = object::name(new).to_owned();
            let labels = object::map_at(object::metadata(new), "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
        Behaviour::Plain | Behaviour::EventsV1 | Behaviour::Empty | Behaviour::Review => {}
    }
}

pub(crate) fn validate(resource: &Resource, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match resource.behaviour {
        Behaviour::Definition => definition::validate(new, old),
        Behaviour::Plain | Behaviour::Namespace | Behaviour::EventsV1 | Behaviour::Empty | Behaviour::Review => Vec::new(),
    }
}

/// The namespace that a new object goes into, at the revision it was seen alive; the create is refused if it moved since.
pub(crate) fn namespace_guard(server: &State, resource: &Resource, namespace: &str, name: &str) -> Result<Option<(Key, u64)>, ApiError> {
    if !resource.namespaced {
        return Ok(None);
    }
    let key = Key::new(NAMESPACES, "", namespace);
    let registry = server.registry();
    let not_found = || match registry.stored(NAMESPACES) {
        Some(namespaces) => ApiError::not_found(namespaces.group_resource(), namespace),
        None => ApiError::internal("namespaces are not served"),
    };
    let entry = server.store.get(&key).ok_or_else(not_found)?;
    if object::is_dying(&entry.value()) {
        return Err(ApiError::namespace_terminating(resource.group_resource(), name, namespace));
    }
    Ok(Some((key, entry.revision)))
}

/// Refuses the deletion of what the server, or who runs it, needs.
pub(crate) fn check_deletion(server: &State, resource: &Resource, name: &str) -> Result<(), ApiError> {
    if resource.behaviour == Behaviour::Namespace && PERMANENT_NAMESPACES.contains(&name) {
        return Err(ApiError::forbidden_object(resource.group_resource(), name, "this namespace may not be deleted"));
    }
    let kind = resource.group_resource().qualified();
    let protected = server.options.protected.iter().find(|protected| protected.name == name && protected.resource == kind);
    protected.map_or(Ok(()), |protected| Err(ApiError::forbidden_object(resource.group_resource(), name, &protected.why)))
}

/// Before an object is deleted or marked.
pub(crate) fn on_delete(resource: &Resource, object: &mut Value) {
    match resource.behaviour {
        Behaviour::Namespace if object::is_held(object) => object::set_at(object, "/status/phase", json!("Terminating")),
        // Its objects go first.
        Behaviour::Definition if !object::is_dying(object) => definition::hold(object),
        Behaviour::Plain | Behaviour::Namespace | Behaviour::Definition | Behaviour::EventsV1 | Behaviour::Empty | Behaviour::Review => {}
    }
}

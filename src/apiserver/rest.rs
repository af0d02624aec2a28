//! The objects' paths: which verb it is, and one path for all kinds through it. A handler per file; what each is given is a [`Call`], what writes
//! share is in `write`.
mod call;
mod create;
mod delete;
mod form;
mod get;
mod list;
mod log;
mod patch;
mod review;
mod scale;
mod update;
mod watch;
mod write;

use std::sync::Arc;

use http::{Method, Response};

use self::call::{Call, Part};
pub(crate) use self::{
    delete::{Deletion, Propagation, remove},
    write::alter,
};
use crate::{
    body::Body,
    path::ObjectPath,
    registry::{Behaviour, Resource},
    request::Request,
    state::State,
    status::ApiError,
};

/// Answers a request to a path of a group version.
pub(crate) async fn answer(server: &Arc<State>, request: &Request, path: &ObjectPath) -> Result<Response<Body>, ApiError> {
    let registry = server.registry();
    let resource = registry.find(&path.group, &path.version, &path.plural).ok_or_else(ApiError::no_resource)?;
    let part = part(resource, path.subresource.as_deref())?;
    let (namespace, name) = (path.namespace.as_deref().unwrap_or_default(), path.name.as_deref().unwrap_or_default());
    if !resource.namespaced && path.namespace.is_some() {
        return Err(ApiError::no_resource());
    }
    if resource.namespaced
        && namespace.is_empty()
        && (!name.is_empty() || request.method == Method::POST)
        && resource.behaviour != Behaviour::Review
    {
        // Kubernetes answers so too: such a path is not served.
        return Err(if name.is_empty() { ApiError::method_not_allowed() } else { ApiError::no_resource() });
    }
    dispatch(Call { server, request, resource, namespace, name, part }).await
}

fn part(resource: &Resource, subresource: Option<&str>) -> Result<Part, ApiError> {
    match subresource {
        None => Ok(Part::Main),
        Some("status") if resource.has_status => Ok(Part::Status),
        Some("scale") if resource.scale.is_some() => Ok(Part::Scale),
        Some("finalize") if resource.behaviour == Behaviour::Namespace => Ok(Part::Finalize),
        Some("log") if resource.group == "mesh-controller.dev" && resource.kind == "MeshInstance" => Ok(Part::Log),
        Some("token") if resource.group.is_empty() && resource.kind == "ServiceAccount" => Err(ApiError::not_implemented(
            "this server issues no tokens for service accounts: programs use the kubeconfig in the state directory",
        )),
        Some(_) => Err(ApiError::no_resource()),
    }
}

async fn dispatch(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { request, resource, name, part, .. } = &call;
    let (method, collection) = (&request.method, name.is_empty());
    match resource.behaviour {
        Behaviour::Review if *method == Method::POST => return review::answer(&call),
        Behaviour::Review => return Err(ApiError::method_not_allowed()),
        Behaviour::Empty if *method != Method::GET => return Err(ApiError::method_not_allowed()),
        Behaviour::Empty | Behaviour::Plain | Behaviour::Namespace | Behaviour::Definition | Behaviour::EventsV1 => {}
    }
    match (method, part, collection) {
        (&Method::GET, Part::Main, _) if request.query.flag("watch") => watch::watch(&call),
        (&Method::GET, Part::Main, true) => list::list(&call),
        (&Method::GET, Part::Scale, false) => scale::get(&call),
        (&Method::GET, Part::Log, false) => log::log(&call),
        (&Method::GET, Part::Main | Part::Status, false) => get::get(&call),
        (&Method::POST, Part::Main, true) => create::create(&call).await,
        (&Method::PUT, Part::Scale, false) => scale::update(&call).await,
        (&Method::PUT, Part::Main | Part::Status | Part::Finalize, false) => update::update(&call).await,
        (&Method::PATCH, Part::Scale, false) => scale::patch(&call).await,
        (&Method::PATCH, Part::Main | Part::Status, false) => patch::patch(&call).await,
        (&Method::DELETE, Part::Main, false) => delete::delete(&call).await,
        (&Method::DELETE, Part::Main, true) => delete::delete_collection(&call).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

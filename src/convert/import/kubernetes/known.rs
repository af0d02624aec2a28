//! Whether an object has only fields of its kind. What is misspelt would mean nothing in a cluster either, so it is not carried over, and said.
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, networking::v1::Ingress};
use serde_json::Value;

use mesh_backend::kubernetes::shape;

/// Takes what is no field out of an object of a kind that is read here; its paths.
///
/// # Errors
/// The path of a field of the wrong type, and what is wrong.
pub(super) fn known(object: &mut Value, kind: &str) -> Result<Vec<String>, (String, String)> {
    let unknown = match kind {
        "Deployment" => shape::typed::<Deployment>(object).map(|(_, unknown)| unknown),
        "Service" => shape::typed::<Service>(object).map(|(_, unknown)| unknown),
        "Ingress" => shape::typed::<Ingress>(object).map(|(_, unknown)| unknown),
        _ => return Ok(Vec::new()),
    };
    let unknown = unknown.map_err(|wrong| {
        let (path, what) = wrong.split_once(": ").unwrap_or(("", &wrong));
        (path.trim_start_matches('.').to_owned(), what.to_owned())
    })?;
    for path in &unknown {
        remove(object, path);
    }
    Ok(unknown.into_iter().map(|path| path.trim_start_matches('.').to_owned()).collect())
}

/// Takes out what stands at a path of a mapping's key.
fn remove(object: &mut Value, path: &str) {
    let Some((parent, key)) = path.rsplit_once('.') else { return };
    let pointer: String = parent.split(['.', '[', ']']).filter(|step| !step.is_empty()).flat_map(|step| ["/", step]).collect();
    if let Some(map) = object.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        map.remove(key);
    }
}

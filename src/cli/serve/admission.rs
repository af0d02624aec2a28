//! What an API of our own refuses beside what the schemas say. In a cluster the same is told by the object's condition.
use mesh_apiserver::{
    Admission,
    admission::AdmissionRequest,
    schema::{FieldError, Reason},
};
use mesh_coordination::schedule::Schedule;
use serde_json::Value;

/// All of it.
pub(crate) fn admission() -> Vec<Admission> {
    vec![schedule]
}

/// A task's schedule can be read, its time zone is one, and its jitter fits between two of its times.
fn schedule(request: &AdmissionRequest<'_>) -> Result<(), Vec<FieldError>> {
    if request.kind != "MeshTask" || request.group != mesh_api::GROUP {
        return Ok(());
    }
    let field = |object: &Value, name: &str| object.pointer(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let of = |object: &Value| ["/spec/schedule", "/spec/timeZone", "/spec/jitter"].map(|name| field(object, name));
    let [schedule, zone, jitter] = of(request.object);
    // What was stored before a time zone was taken out of the database must still be changed in all else.
    let unchanged = request.old.is_some_and(|old| of(old) == [schedule.clone(), zone.clone(), jitter.clone()]);
    let Some(schedule) = schedule.filter(|_| !unchanged) else { return Ok(()) };
    let refused = |error: mesh_coordination::schedule::Error| {
        let text = error.to_string();
        let (field, why) = text.split_once(": ").unwrap_or(("spec.schedule", &text));
        vec![FieldError { reason: Reason::Invalid, message: format!("Invalid value: {why}"), field: field.to_owned() }]
    };
    let schedule = Schedule::parse(&schedule, zone.as_deref()).map_err(refused)?;
    // One that is no duration the schema refuses.
    let jitter = jitter.and_then(|jitter| jitter.parse().ok());
    jitter.map_or(Ok(()), |jitter| schedule.check_jitter(jitter)).map_err(refused)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(new: &Value, old: Option<&Value>) -> Option<String> {
        let request = AdmissionRequest { group: mesh_api::GROUP, version: "v1alpha1", kind: "MeshTask", object: new, old, user: "me" };
        schedule(&request).err().map(|errors| format!("{}: {}", errors[0].field, errors[0].message))
    }

    #[test]
    fn a_schedule_that_cannot_be_kept_is_refused_by_its_field() {
        let task = |schedule: &str, zone: &str| json!({ "spec": { "schedule": schedule, "timeZone": zone } });
        assert_eq!(refused(&task("0 3 * * *", "Europe/Berlin"), None), None);
        let (bad, nowhere) = (task("61 * * * *", "UTC"), task("@daily", "Europe/Berln"));
        assert!(refused(&bad, None).unwrap().starts_with("spec.schedule: Invalid value: \"61 * * * *\": minute 61 is not in 0-59; write"));
        assert!(
            refused(&nowhere, None).unwrap().starts_with("spec.timeZone: Invalid value: \"Europe/Berln\" is not in the time zone database")
        );
        let spread = json!({ "spec": { "schedule": "@every 1m", "jitter": "2m" } });
        assert!(refused(&spread, None).unwrap().starts_with("spec.jitter: Invalid value: 2m is longer than the shortest time"));
        assert_eq!(refused(&bad, Some(&bad)), None, "it is not what is being changed");
        assert_eq!(refused(&json!({ "spec": {} }), None), None);
    }
}

//! Creates and updates: what the server sets, what it refuses, dry runs, events in both shapes.
use super::*;

#[tokio::test]
async fn the_server_sets_identity_whatever_the_body_says() {
    let fixture = server().await;
    let metadata =
        json!({"uid": "mine", "creationTimestamp": "1999-01-01T00:00:00Z", "generation": 9, "deletionTimestamp": "1999-01-01T00:00:00Z"});
    let map = fixture.map("a", metadata).await;
    let metadata = &map["metadata"];
    assert_ne!(metadata["uid"], "mine");
    assert!(metadata["creationTimestamp"].as_str().unwrap().ends_with('Z') && metadata["creationTimestamp"].as_str().unwrap().len() == 20);
    assert_eq!((metadata.get("generation"), metadata.get("deletionTimestamp")), (None, None));
    let refused = fixture.post(MAPS, &json!({"metadata": {"name": "b", "resourceVersion": "5"}})).await;
    assert_eq!((refused.code, refused.body["message"].as_str()), (500, Some("resourceVersion should not be set on objects to be created")));
    let generated = fixture.post(MAPS, &json!({"metadata": {"generateName": "g-"}})).await.body;
    assert_eq!(generated["metadata"]["name"].as_str().unwrap().len(), 7);
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_revision() {
    let fixture = server().await;
    let map = fixture.map("a", json!({})).await;
    let same = fixture.put(&format!("{MAPS}/a"), &map).await;
    assert_eq!((same.code, &same.body["metadata"]["resourceVersion"]), (200, &map["metadata"]["resourceVersion"]));
    let mut other = map.clone();
    other["data"]["of"] = "b".into();
    let changed = fixture.put(&format!("{MAPS}/a"), &other).await;
    assert_eq!(changed.code, 200);
    let stale = fixture.put(&format!("{MAPS}/a"), &map).await;
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!((stale.code, stale.body["message"].as_str()), (409, Some(message)));
    assert_eq!(fixture.put(&format!("{MAPS}/nope"), &json!({"metadata": {"name": "nope"}})).await.code, 404);
    let mut foreign = other.clone();
    foreign["metadata"] = json!({"name": "a", "uid": "another"});
    assert_eq!(fixture.put(&format!("{MAPS}/a"), &foreign).await.code, 409);
}

#[tokio::test]
async fn a_custom_object_is_updated_by_revision_only_and_keeps_its_status() {
    let (fixture, widgets) = with_widgets().await;
    let created = widgets.create(&PostParams::default(), &widget("w", &json!({"size": 1}))).await.unwrap();
    let mut object = json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 2}, "status": {"phase": "Mine"}});
    let refused = fixture.put(&format!("{WIDGETS}/w"), &object).await;
    let message = "Widget.judge.example \"w\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    assert_eq!((refused.code, refused.body["message"].as_str()), (422, Some(message)));
    object["metadata"]["resourceVersion"] = created.resource_version().unwrap().into();
    let updated = fixture.put(&format!("{WIDGETS}/w"), &object).await.body;
    assert_eq!((&updated["spec"]["size"], &updated["metadata"]["generation"], updated.get("status")), (&json!(2), &json!(2), None));
    object["metadata"]["resourceVersion"] = updated["metadata"]["resourceVersion"].clone();
    object["spec"]["size"] = 9.into();
    let status = fixture.put(&format!("{WIDGETS}/w/status"), &object).await.body;
    assert_eq!(
        (&status["spec"]["size"], &status["status"]["phase"], &status["metadata"]["generation"]),
        (&json!(2), &json!("Mine"), &json!(2))
    );
}

#[tokio::test]
async fn unknown_and_doubled_fields_are_refused_or_warned_of_and_always_dropped() {
    let (fixture, _) = with_widgets().await;
    let body = r#"{"apiVersion":"judge.example/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"size":1,"size":2,"zz":true}}"#;
    let header = [("content-type", "application/json")];
    let strict = fixture.ask("POST", &format!("{WIDGETS}?fieldValidation=Strict"), &header, body).await;
    let message = "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: duplicate field \"spec.size\", unknown field \"spec.zz\"";
    assert_eq!((strict.code, strict.body["message"].as_str()), (400, Some(message)));
    let warned = fixture.ask("POST", &format!("{WIDGETS}?dryRun=All"), &header, body).await;
    let warnings: Vec<_> = warned.headers.get_all("warning").iter().collect();
    assert_eq!(warnings, ["299 - \"duplicate field \\\"spec.size\\\"\"", "299 - \"unknown field \\\"spec.zz\\\"\""]);
    assert_eq!(warned.body["spec"].get("zz"), None);
    let ignored = fixture.ask("POST", &format!("{WIDGETS}?fieldValidation=Ignore"), &header, body).await;
    assert!(ignored.code == 201 && !ignored.headers.contains_key("warning"));
    assert_eq!(fixture.ask("POST", &format!("{WIDGETS}?fieldValidation=Maybe"), &header, body).await.code, 422);
}

#[tokio::test]
async fn a_dry_run_does_everything_but_the_commit() {
    let fixture = server().await;
    let before = fixture.server.store().revision();
    let dry = fixture.post(&format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "a"}})).await;
    assert!(dry.code == 201 && dry.body["metadata"].get("resourceVersion").is_none() && dry.body["metadata"]["uid"].is_string());
    assert_eq!(fixture.get(&format!("{MAPS}/a")).await.code, 404);
    assert_eq!(fixture.post(&format!("{MAPS}?dryRun=Some"), &json!({"metadata": {"name": "a"}})).await.code, 422);
    assert_eq!(fixture.delete(&format!("{MAPS}/kube-root-ca.crt"), &json!({"dryRun": ["All"]})).await.code, 200);
    assert_eq!(fixture.server.store().revision(), before);
}

#[tokio::test]
async fn bodies_that_do_not_fit_the_path_are_refused() {
    let (fixture, _) = with_widgets().await;
    for (object, message) in [
        (
            json!({"apiVersion": "v1", "kind": "Widget", "metadata": {"name": "w"}}),
            "the API version in the data (v1) does not match the expected API version (judge.example/v1)",
        ),
        (
            json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "other"}}),
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ] {
        let answer = fixture.post(WIDGETS, &object).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (400, Some(message)));
    }
    fixture.map("a", json!({})).await;
    let renamed = fixture.put(&format!("{MAPS}/a"), &json!({"metadata": {"name": "b"}})).await;
    assert_eq!(renamed.body["message"], "the name of the object (b) does not match the name on the URL (a)");
    let empty = fixture.post(WIDGETS, &json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {}})).await;
    assert_eq!(empty.code, 422, "{}", empty.text);
}

#[tokio::test]
async fn an_event_of_either_group_is_one_object() {
    let fixture = server().await;
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "eventTime": "2026-11-21T08:30:06.123456Z", "action": "Started",
        "reason": "Started", "type": "Normal", "note": "it runs", "reportingController": "mesh", "reportingInstance": "mesh-0",
        "regarding": {"kind": "Widget", "name": "w", "namespace": "default", "uid": "u"}});
    let created = fixture.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!((&created.body["note"], &created.body["eventTime"]), (&json!("it runs"), &json!("2026-11-21T08:30:06.123456Z")));
    let core = "/api/v1/namespaces/default/events";
    let chosen = fixture.get(&format!("{core}?fieldSelector=involvedObject.name%3Dw%2CinvolvedObject.uid%3Du")).await.body;
    assert_eq!((&chosen["items"][0]["message"], &chosen["items"][0]["involvedObject"]["kind"]), (&json!("it runs"), &json!("Widget")));
    let none = fixture.get(&format!("{core}?fieldSelector=involvedObject.name%3Dother")).await.body;
    assert_eq!(none["items"], json!([]));
    let new = fixture.get("/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dw").await.body;
    assert_eq!(new["items"][0]["regarding"]["uid"], "u");
}

#[tokio::test]
async fn admission_can_refuse_what_is_valid() {
    let (shutdown, _supervisor) = Shutdown::new();
    let refuse: Admission = |request| {
        let message = "Forbidden: not here".to_owned();
        let error = schema::FieldError { reason: schema::Reason::Forbidden, message, field: "data".to_owned() };
        if request.kind == "ConfigMap" { Err(vec![error]) } else { Ok(()) }
    };
    let options = Options { admission: vec![refuse], ..Options::default() };
    let server = ApiServer::start(Store::memory().unwrap(), options, &shutdown).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let error = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err();
    assert_eq!((code(&error), error.to_string().contains("ConfigMap \"a\" is invalid: data: Forbidden: not here")), (422, true));
}

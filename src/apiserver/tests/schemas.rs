//! Definitions that change, their versions, and who owns what at which endpoint.
use super::*;

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.judge.example";

#[tokio::test]
async fn a_new_default_shows_on_read_in_lists_and_in_watches_without_a_write() {
    let (fixture, _) = with_widgets().await;
    fixture.post(WIDGETS, &json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}})).await;
    let stored = fixture.get(&format!("{WIDGETS}/w")).await.body;
    let properties = json!({"spec": {"versions": [widget_definition()["spec"]["versions"][0].clone()]}});
    let mut patch = properties;
    patch["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["colour"]["default"] = "grey".into();
    assert_eq!(fixture.merge(DEFINITION, &patch).await.code, 200);
    let read = fixture.get(&format!("{WIDGETS}/w")).await.body;
    assert_eq!((&read["spec"]["colour"], &read["metadata"]["resourceVersion"]), (&json!("grey"), &stored["metadata"]["resourceVersion"]));
    assert_eq!(fixture.get(WIDGETS).await.body["items"][0]["spec"]["colour"], "grey");
    let watch = fixture.get(&format!("{WIDGETS}?watch=true&timeoutSeconds=1")).await.body;
    assert_eq!(watch["object"]["spec"]["colour"], "grey");
}

#[tokio::test]
async fn every_served_version_shows_the_same_object() {
    let (fixture, _) = with_widgets().await;
    fixture
        .post(WIDGETS, &json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 5}}))
        .await;
    let mut version = widget_definition()["spec"]["versions"][0].clone();
    let mut versions = vec![version.clone()];
    version["name"] = "v2".into();
    version["storage"] = false.into();
    versions.push(version);
    assert_eq!(fixture.merge(DEFINITION, &json!({"spec": {"versions": versions}})).await.code, 200);
    let v2 = "/apis/judge.example/v2/namespaces/default/widgets";
    let read = fixture.get(&format!("{v2}/w")).await.body;
    assert_eq!((&read["apiVersion"], &read["spec"]["size"]), (&json!("judge.example/v2"), &json!(5)));
    assert_eq!(fixture.merge(&format!("{v2}/w"), &json!({"spec": {"size": 6}})).await.code, 200);
    let read = fixture.get(&format!("{WIDGETS}/w")).await.body;
    assert_eq!((&read["apiVersion"], &read["spec"]["size"]), (&json!("judge.example/v1"), &json!(6)));
    assert_eq!(fixture.get("/apis/judge.example").await.body["preferredVersion"]["version"], "v2");
}

#[tokio::test]
async fn a_definition_is_established_from_birth_and_a_malformed_one_refused() {
    let fixture = server().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let created = fixture.post(path, &widget_definition()).await.body;
    let conditions: Vec<_> =
        created["status"]["conditions"].as_array().unwrap().iter().map(|condition| (&condition["type"], &condition["status"])).collect();
    assert_eq!(conditions, [(&json!("NamesAccepted"), &json!("True")), (&json!("Established"), &json!("True"))]);
    assert_eq!(
        (&created["status"]["storedVersions"], &created["status"]["acceptedNames"]["listKind"]),
        (&json!(["v1"]), &json!("WidgetList"))
    );
    let mut bad = widget_definition();
    bad["metadata"]["name"] = "gadgets.judge.example".into();
    assert_eq!(fixture.post(path, &bad).await.code, 422);
    let mut bad = widget_definition();
    bad["metadata"]["name"] = "gadgets.judge.example".into();
    bad["spec"]["names"]["plural"] = "gadgets".into();
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = "nonsense".into();
    let refused = fixture.post(path, &bad).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    assert!(refused.body["message"].as_str().unwrap().contains("spec.versions[0].schema.openAPIV3Schema."), "{}", refused.text);
}

#[tokio::test]
async fn a_status_apply_owns_status_only_and_a_main_apply_none_of_it() {
    let (_fixture, widgets) = with_widgets().await;
    let object = json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 5}, "status": {"phase": "Up"}});
    let main = widgets.patch("w", &PatchParams::apply("main").force(), &Patch::Apply(&object)).await.unwrap();
    assert_eq!(main.data.get("status"), None);
    let status = widgets.patch_status("w", &PatchParams::apply("status").force(), &Patch::Apply(&object)).await.unwrap();
    assert_eq!((&status.data["status"]["phase"], status.metadata.generation), (&json!("Up"), Some(1)));
    let entries: Vec<_> = status
        .managed_fields()
        .iter()
        .map(|entry| (entry.manager.clone().unwrap(), entry.subresource.clone(), serde_json::to_value(&entry.fields_v1).unwrap()))
        .collect();
    assert_eq!(
        entries,
        [
            ("main".to_owned(), None, json!({"f:spec": {"f:size": {}}})),
            ("status".to_owned(), Some("status".to_owned()), json!({"f:status": {"f:phase": {}}})),
        ]
    );
    let again = widgets.patch_status("w", &PatchParams::apply("status").force(), &Patch::Apply(&object)).await.unwrap();
    assert_eq!(again.resource_version(), status.resource_version());
}

#[tokio::test]
async fn two_managers_conflict_until_one_forces() {
    let (fixture, widgets) = with_widgets().await;
    let object = |size: u8| json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": size}});
    widgets.patch("w", &PatchParams::apply("a"), &Patch::Apply(object(1))).await.unwrap();
    let conflict = widgets.patch("w", &PatchParams::apply("b"), &Patch::Apply(object(2))).await.unwrap_err();
    assert_eq!((code(&conflict), conflict.to_string().contains("conflict with \"a\": .spec.size")), (409, true));
    widgets.patch("w", &PatchParams::apply("b").force(), &Patch::Apply(object(2))).await.unwrap();
    let header = [("content-type", "application/apply-patch+yaml")];
    let unnamed = fixture.ask("PATCH", &format!("{WIDGETS}/w"), &header, object(3).to_string()).await;
    assert_eq!((unnamed.code, &unnamed.body["details"]["causes"][0]["field"]), (422, &json!("fieldManager")));
}

#[tokio::test]
async fn concurrent_patches_without_a_revision_all_land() {
    let (fixture, widgets) = with_widgets().await;
    widgets.create(&PostParams::default(), &widget("w", &json!({}))).await.unwrap();
    let patches = (0..30).map(|n| {
        let widgets = widgets.clone();
        async move {
            let patch = json!({"metadata": {"labels": {format!("l{n}"): "x"}}});
            widgets.patch("w", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
        }
    });
    futures::future::join_all(patches).await;
    assert_eq!(widgets.get("w").await.unwrap().labels().len(), 30);
    let stale = fixture.merge(&format!("{WIDGETS}/w"), &json!({"metadata": {"resourceVersion": "1"}, "spec": {"size": 1}})).await;
    assert_eq!(stale.code, 409);
}

#[tokio::test]
async fn names_that_another_definition_has_are_not_given_away_until_it_is_gone() {
    let (fixture, _) = with_widgets().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut second = widget_definition();
    second["metadata"]["name"] = "gadgets.judge.example".into();
    second["spec"]["names"] = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["wd"]});
    let conditions = |definition: &Value| -> Vec<Value> {
        definition["status"]["conditions"].as_array().unwrap().iter().map(|condition| condition["reason"].clone()).collect()
    };
    let created = fixture.post(path, &second).await.body;
    assert_eq!(conditions(&created), ["ShortNamesConflict", "NotAccepted"]);
    assert_eq!(created["status"]["conditions"][0]["message"], "\"wd\" is already in use");
    let gadgets = "/apis/judge.example/v1/namespaces/default/gadgets";
    assert_eq!(fixture.get(gadgets).await.code, 404);
    fixture.delete(DEFINITION, &json!({})).await;
    eventually("gadgets to be served", async || (fixture.get(gadgets).await.code == 200).then_some(())).await;
    assert_eq!(conditions(&fixture.get(&format!("{path}/gadgets.judge.example")).await.body), ["NoConflicts", "InitialNamesAccepted"]);
}

#[tokio::test]
async fn an_established_definition_that_asks_for_a_taken_name_keeps_its_own() {
    let (fixture, _) = with_widgets().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut second = widget_definition();
    second["metadata"]["name"] = "gadgets.judge.example".into();
    second["spec"]["names"] = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["gd"]});
    assert_eq!(fixture.post(path, &second).await.code, 201);
    let changed = fixture.merge(&format!("{path}/gadgets.judge.example"), &json!({"spec": {"names": {"shortNames": ["wd"]}}})).await.body;
    assert_eq!(changed["status"]["acceptedNames"]["shortNames"], json!(["gd"]));
    let status: Vec<_> = changed["status"]["conditions"].as_array().unwrap().iter().map(|condition| condition["status"].clone()).collect();
    assert_eq!(status, ["False", "True"]);
    assert_eq!(fixture.get("/apis/judge.example/v1/namespaces/default/gadgets").await.code, 200);
}

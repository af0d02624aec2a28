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

#[tokio::test]
async fn a_definition_whose_paths_lead_nowhere_is_refused() {
    let fixture = server().await;
    let mut bad = widget_definition();
    bad["spec"]["versions"][0]["subresources"]["scale"]["specReplicasPath"] = "replicas".into();
    bad["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.nope"}, {"jsonPath": ".spec"}, {"jsonPath": ".spec.size"}]);
    let refused = fixture.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &bad).await;
    let causes: Vec<_> = refused.body["details"]["causes"].as_array().unwrap().iter().map(|cause| cause["field"].clone()).collect();
    let expected = ["subresources.scale.specReplicasPath", "selectableFields[0].jsonPath", "selectableFields[1].jsonPath"]
        .map(|field| format!("spec.versions[0].{field}"));
    assert_eq!((refused.code, causes), (422, expected.map(Value::from).to_vec()), "{}", refused.text);
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn defining(group: &str, plural: &str, kind: &str) -> Value {
    let mut definition = widget_definition();
    definition["metadata"]["name"] = format!("{plural}.{group}").into();
    definition["spec"]["group"] = group.into();
    definition["spec"]["names"] = json!({"plural": plural, "kind": kind});
    definition
}

#[tokio::test]
async fn no_definition_takes_the_place_of_what_is_built_in() {
    let fixture = server().await;
    let lease = json!({"metadata": {"name": "held"}, "spec": {"holderIdentity": "a"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_eq!(fixture.post(leases, &lease).await.code, 201);
    let mut takes = defining("coordination.k8s.io", "leases", "Lease");
    takes["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/1111"});
    let refused = fixture.post(DEFINITIONS, &takes).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["field"]), (422, &json!("spec.group")), "{}", refused.text);
    assert!(refused.text.contains("is served by this API itself"), "{}", refused.text);
    assert_eq!(fixture.get(&format!("{leases}/held")).await.body["spec"]["holderIdentity"], "a");
}

#[tokio::test]
async fn a_definition_in_a_group_of_kubernetes_says_who_approved_it() {
    let fixture = server().await;
    let mut gateways = defining("gateway.networking.k8s.io", "gateways", "Gateway");
    let refused = fixture.post(DEFINITIONS, &gateways).await;
    let field = &refused.body["details"]["causes"][0]["field"];
    assert_eq!((refused.code, field), (422, &json!("metadata.annotations[api-approved.kubernetes.io]")), "{}", refused.text);
    gateways["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/4538"});
    assert_eq!(fixture.post(DEFINITIONS, &gateways).await.code, 201);
}

#[tokio::test]
async fn rules_that_could_hold_the_api_up_are_refused_with_the_definition() {
    let fixture = server().await;
    let mut dear = widget_definition();
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let rule = "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c > 0)))";
    let spec = &mut dear["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["list"] = list;
    spec["x-kubernetes-validations"] = json!([{"rule": rule}]);
    let refused = fixture.post(DEFINITIONS, &dear).await;
    let field = refused.body["details"]["causes"][0]["field"].as_str().unwrap_or_default().to_owned();
    assert_eq!(refused.code, 422, "{}", refused.text);
    assert_eq!(field, "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule");
    assert!(refused.text.contains("maxItems"), "{}", refused.text);
    dear["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["list"]["maxItems"] = 20.into();
    let taken = fixture.post(DEFINITIONS, &dear).await;
    assert_eq!(taken.code, 201, "{}", taken.text);
}

#[tokio::test]
async fn items_that_cannot_be_told_apart_are_the_requests_fault_whichever_way_it_is_sent() {
    let (fixture, _) = with_widgets().await;
    let map = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "twice"}, "spec": {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}});
    let path = "/api/v1/namespaces/default/services/twice?fieldManager=test";
    let refused = fixture.ask("PATCH", path, &[("content-type", "application/apply-patch+yaml")], map.to_string()).await;
    assert_eq!((refused.code, &refused.body["reason"]), (422, &json!("Invalid")), "{}", refused.text);
    assert!(refused.text.contains("duplicate entries for key"), "{}", refused.text);
}

#[tokio::test]
async fn two_variables_of_one_name_are_the_requests_fault_by_the_path_whichever_way_it_is_sent() {
    let fixture = server().await;
    for definition in mesh_api::crds::all() {
        assert_eq!(fixture.post(DEFINITIONS, &serde_json::to_value(definition).unwrap()).await.code, 201);
    }
    let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "A", "value": "3"}]);
    let service = json!({"apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": "web"}, "spec": {"command": ["web"], "env": env}});
    let services = "/apis/mesh-controller.dev/v1alpha1/namespaces/default/meshservices";
    let posted = fixture.post(services, &service).await;
    assert_eq!((posted.code, &posted.body["details"]["causes"][0]["field"]), (422, &json!("spec.env[2]")), "{}", posted.text);
    let apply = [("content-type", "application/apply-patch+yaml")];
    let applied = fixture.ask("PATCH", &format!("{services}/web?fieldManager=test"), &apply, service.to_string()).await;
    assert_eq!(applied.code, 422, "{}", applied.text);
    assert!(applied.text.contains("spec.env"), "{}", applied.text);
    assert_eq!(fixture.get(&format!("{services}/web")).await.code, 404);
}

#[tokio::test]
async fn an_object_whose_rules_take_too_long_is_refused_and_others_are_answered_meanwhile() {
    let fixture = server().await;
    let mut dear = widget_definition();
    let spec = &mut dear["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    // Nearly as much as a definition may cost, which takes many seconds.
    let rules: Vec<_> = (0..10).map(|n| json!({"rule": format!("self.all(a, self.all(b, a + b > {n}))")})).collect();
    let numbers = json!({"type": "array", "maxItems": 100, "items": {"type": "integer"}, "x-kubernetes-validations": rules});
    spec["properties"]["lists"] = json!({"type": "array", "maxItems": 100, "items": numbers});
    let taken = fixture.post(DEFINITIONS, &dear).await;
    assert_eq!(taken.code, 201, "{}", taken.text);
    let lists = vec![vec![100; 100]; 100];
    let object = json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"lists": lists}});
    let mut refused = std::pin::pin!(fixture.post(WIDGETS, &object));
    let mut answered = 0;
    let refused = loop {
        let name = format!("m{answered}");
        tokio::select! {
            biased;
            refused = &mut refused => break refused,
            _ = fixture.map(&name, json!({})) => answered += 1,
        }
    };
    assert_eq!(refused.code, 422, "{}", refused.text);
    let words = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert!(refused.text.contains(words), "{}", refused.text);
    assert!(answered > 20, "only {answered} others were answered meanwhile");
}

//! Deletion: finalizers, preconditions, owners, namespaces, definitions.
use super::*;

fn owned_by(owner: &Value, blocks: bool) -> Value {
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks});
    json!({"ownerReferences": [reference]})
}

#[tokio::test]
async fn without_finalizers_it_is_gone_and_the_answer_names_it() {
    let fixture = server().await;
    let map = fixture.map("a", json!({})).await;
    let answer = fixture.delete(&format!("{MAPS}/a"), &json!({"propagationPolicy": "Background"})).await;
    let expected = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": map["metadata"]["uid"]}});
    assert_eq!((answer.code, answer.body), (200, expected));
    let again = fixture.delete(&format!("{MAPS}/a"), &json!({})).await;
    assert_eq!((again.code, again.body["message"].as_str()), (404, Some("configmaps \"a\" not found")));
}

#[tokio::test]
async fn a_finalizer_holds_it_and_the_last_one_to_go_ends_it() {
    let (fixture, _) = with_widgets().await;
    let object =
        json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w", "finalizers": ["test/hold"]}, "spec": {}});
    fixture.post(WIDGETS, &object).await;
    let dying = fixture.delete(&format!("{WIDGETS}/w"), &json!({})).await.body;
    let metadata = &dying["metadata"];
    assert_eq!((&metadata["deletionGracePeriodSeconds"], &metadata["generation"]), (&json!(0), &json!(2)));
    let mut more = dying.clone();
    more["metadata"]["finalizers"] = json!(["test/hold", "test/more"]);
    let refused = fixture.put(&format!("{WIDGETS}/w"), &more).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    let mut free = dying.clone();
    free["metadata"]["finalizers"] = json!([]);
    assert_eq!(fixture.put(&format!("{WIDGETS}/w"), &free).await.code, 200);
    assert_eq!(fixture.get(&format!("{WIDGETS}/w")).await.code, 404);
}

#[tokio::test]
async fn who_changes_what_is_being_deleted_is_warned_that_the_change_goes_with_it() {
    let (fixture, _) = with_widgets().await;
    let object =
        json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w", "finalizers": ["test/hold"]}, "spec": {}});
    fixture.post(WIDGETS, &object).await;
    let warned = async |kind: &'static str, path: &str, body: Value| {
        let answer = fixture.ask("PATCH", path, &[("content-type", kind)], body.to_string()).await;
        assert_eq!(answer.code, 200, "{}", answer.text);
        answer.headers.get("warning").map(|warning| warning.to_str().unwrap().to_owned())
    };
    let (merge, path) = ("application/merge-patch+json", format!("{WIDGETS}/w"));
    assert_eq!(warned(merge, &path, json!({"spec": {"size": 1}})).await, None);
    let dying = fixture.delete(&path, &json!({})).await.body;
    let since = dying["metadata"]["deletionTimestamp"].as_str().unwrap();
    let text = format!(
        "299 - \"Widget w is being deleted since {since}, and this change goes with it: apply it again once it is gone (kubectl wait --for=delete widgets.judge.example/w)\""
    );
    assert_eq!(warned(merge, &path, json!({"spec": {"size": 2}})).await, Some(text.clone()));
    let apply = json!({"apiVersion": "judge.example/v1", "kind": "Widget", "spec": {"size": 3}});
    let ours = format!("{path}?fieldManager=me&force=true");
    assert_eq!(warned("application/apply-patch+yaml", &ours, apply).await, Some(text));
    // Those that end it are not meant, nor those that tell how far it is.
    assert_eq!(warned(merge, &format!("{path}/status"), json!({"status": {"phase": "Ending"}})).await, None);
    assert_eq!(warned(merge, &path, json!({"metadata": {"finalizers": []}})).await, None);
}

#[tokio::test]
async fn preconditions_name_the_object_that_is_meant() {
    let fixture = server().await;
    let map = fixture.map("a", json!({})).await;
    let other = fixture.delete(&format!("{MAPS}/a"), &json!({"preconditions": {"uid": "other"}})).await;
    assert_eq!((other.code, &other.body["reason"], &other.body["details"]["kind"]), (409, &json!("Conflict"), &json!("ConfigMap")));
    let stale = fixture.delete(&format!("{MAPS}/a"), &json!({"preconditions": {"resourceVersion": "1"}})).await;
    assert_eq!(stale.code, 409);
    let right = json!({"preconditions": {"uid": map["metadata"]["uid"], "resourceVersion": map["metadata"]["resourceVersion"]}});
    assert_eq!(fixture.delete(&format!("{MAPS}/a"), &right).await.code, 200);
}

#[tokio::test]
async fn what_is_owned_goes_after_its_owner_and_its_own_after_it() {
    let fixture = server().await;
    let owner = fixture.map("owner", json!({})).await;
    let child = fixture.map("child", owned_by(&owner, false)).await;
    fixture.map("grandchild", owned_by(&child, false)).await;
    let stays = fixture.map("second", json!({})).await;
    let mut both = owned_by(&owner, false);
    both["ownerReferences"].as_array_mut().unwrap().push(owned_by(&stays, false)["ownerReferences"][0].clone());
    fixture.map("shared", both).await;
    fixture.delete(&format!("{MAPS}/owner"), &json!({})).await;
    fixture.gone(&format!("{MAPS}/child")).await;
    fixture.gone(&format!("{MAPS}/grandchild")).await;
    let left = eventually("one owner left", async || {
        let shared = fixture.get(&format!("{MAPS}/shared")).await.body;
        (shared["metadata"]["ownerReferences"].as_array().unwrap().len() == 1).then_some(shared)
    });
    assert_eq!(left.await["metadata"]["ownerReferences"][0]["name"], "second");
}

#[tokio::test]
async fn an_object_whose_owner_never_was_is_collected() {
    let fixture = server().await;
    let ghost = json!({"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}});
    fixture.map("child", owned_by(&ghost, false)).await;
    fixture.gone(&format!("{MAPS}/child")).await;
}

#[tokio::test]
async fn orphans_stay_without_owner() {
    let fixture = server().await;
    let owner = fixture.map("owner", json!({})).await;
    fixture.map("child", owned_by(&owner, true)).await;
    let dying = fixture.delete(&format!("{MAPS}/owner"), &json!({"propagationPolicy": "Orphan"})).await;
    assert_eq!(dying.body["metadata"]["finalizers"], json!(["orphan"]));
    fixture.gone(&format!("{MAPS}/owner")).await;
    assert_eq!(fixture.get(&format!("{MAPS}/child")).await.body["metadata"].get("ownerReferences"), None);
}

#[tokio::test]
async fn in_the_foreground_the_owner_waits_for_what_blocks_it() {
    let fixture = server().await;
    let owner = fixture.map("owner", json!({})).await;
    let mut held = owned_by(&owner, true);
    held["finalizers"] = json!(["test/hold"]);
    fixture.map("child", held).await;
    fixture.delete(&format!("{MAPS}/owner"), &json!({"propagationPolicy": "Foreground"})).await;
    let mut child = eventually("child dying", async || {
        let child = fixture.get(&format!("{MAPS}/child")).await.body;
        child["metadata"].get("deletionTimestamp").is_some().then_some(child)
    })
    .await;
    let owner = fixture.get(&format!("{MAPS}/owner")).await.body;
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    child["metadata"]["finalizers"] = json!([]);
    child["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(fixture.put(&format!("{MAPS}/child"), &child).await.code, 200);
    fixture.gone(&format!("{MAPS}/child")).await;
    fixture.gone(&format!("{MAPS}/owner")).await;
}

#[tokio::test]
async fn a_namespace_takes_its_content_with_it_and_admits_nothing_meanwhile() {
    let fixture = server().await;
    let path = "/api/v1/namespaces/other";
    let created = fixture.post("/api/v1/namespaces", &json!({"metadata": {"name": "other"}})).await.body;
    assert_eq!((&created["status"]["phase"], &created["spec"]["finalizers"]), (&json!("Active"), &json!(["kubernetes"])));
    assert_eq!(created["metadata"]["labels"]["kubernetes.io/metadata.name"], "other");
    for born in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
        eventually(born, async || (fixture.get(&format!("{path}/{born}")).await.code == 200).then_some(())).await;
    }
    let held = json!({"metadata": {"name": "held", "finalizers": ["test/hold"]}});
    assert_eq!(fixture.post(&format!("{path}/configmaps"), &held).await.code, 201);
    let dying = fixture.delete(path, &json!({})).await;
    assert_eq!((dying.code, &dying.body["status"]["phase"]), (200, &json!("Terminating")));
    let refused = fixture.post(&format!("{path}/secrets"), &json!({"metadata": {"name": "late"}})).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    let free = json!({"metadata": {"name": "held"}});
    assert_eq!(fixture.put(&format!("{path}/configmaps/held"), &free).await.code, 200);
    fixture.gone(path).await;
    assert_eq!(fixture.server.store().list("configmaps", Some("other")).entries.len(), 0);
    let nowhere = fixture.post(&format!("{path}/secrets"), &json!({"metadata": {"name": "late"}})).await;
    assert_eq!((nowhere.code, nowhere.body["message"].as_str()), (404, Some("namespaces \"other\" not found")));
    assert_eq!(fixture.delete("/api/v1/namespaces/default", &json!({})).await.code, 403);
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let (fixture, widgets) = with_widgets().await;
    widgets.create(&PostParams::default(), &widget("w", &json!({}))).await.unwrap();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.judge.example";
    assert_eq!(fixture.delete(path, &json!({})).await.code, 200);
    fixture.gone(path).await;
    let unknown = fixture.get(WIDGETS).await;
    assert_eq!((unknown.code, unknown.text.as_str()), (404, "404 page not found\n"));
    assert!(fixture.server.store().list("widgets.judge.example", None).entries.is_empty());
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let fixture = server().await;
    fixture.map("a", json!({"labels": {"x": "1"}})).await;
    fixture.map("b", json!({})).await;
    let answer = fixture.delete(&format!("{MAPS}?labelSelector=x%3D1"), &json!({})).await;
    assert_eq!((answer.code, names(&answer.body)), (200, vec!["a"]));
    assert_eq!(names(&fixture.get(MAPS).await.body), ["b", "kube-root-ca.crt"]);
}

#[tokio::test]
async fn a_namespaces_custom_objects_go_before_what_they_may_still_need() {
    let (fixture, _) = with_widgets().await;
    fixture.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    let widgets = "/apis/judge.example/v1/namespaces/n/widgets";
    let held =
        json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w", "finalizers": ["test/hold"]}, "spec": {}});
    assert_eq!(fixture.post(widgets, &held).await.code, 201);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/n/endpointslices";
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []});
    assert_eq!(fixture.post(slices, &slice).await.code, 201);
    fixture.delete("/api/v1/namespaces/n", &json!({})).await;
    let dying = async || fixture.get(&format!("{widgets}/w")).await.body["metadata"].get("deletionTimestamp").cloned();
    eventually("the widget to be dying", dying).await;
    assert_eq!(fixture.merge(&format!("{slices}/s"), &json!({"metadata": {"labels": {"still": "there"}}})).await.code, 200);
    fixture.merge(&format!("{widgets}/w"), &json!({"metadata": {"finalizers": null}})).await;
    fixture.gone("/api/v1/namespaces/n").await;
}

#[tokio::test]
async fn an_object_that_owns_itself_or_is_owned_in_a_circle_goes_in_the_foreground_too() {
    let fixture = server().await;
    for name in ["alone", "a", "b"] {
        fixture.map(name, json!({})).await;
    }
    for (owned, owner) in [("alone", "alone"), ("a", "b"), ("b", "a")] {
        let owner = fixture.get(&format!("{MAPS}/{owner}")).await.body;
        assert_eq!(fixture.merge(&format!("{MAPS}/{owned}"), &json!({"metadata": owned_by(&owner, true)})).await.code, 200);
    }
    for name in ["alone", "a"] {
        fixture.delete(&format!("{MAPS}/{name}"), &json!({"propagationPolicy": "Foreground"})).await;
    }
    for name in ["alone", "a", "b"] {
        fixture.gone(&format!("{MAPS}/{name}")).await;
    }
}

#[tokio::test]
async fn what_is_protected_is_not_deleted_by_its_name_nor_among_all() {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (shutdown, supervisor) = Shutdown::new();
    let protected = |resource, name: &str| Protected { resource, name: name.to_owned(), why: format!("{name} is needed") };
    let kind = "customresourcedefinitions.apiextensions.k8s.io";
    let protected = vec![protected("namespaces", "mesh-system"), protected(kind, "widgets.judge.example")];
    let server = ApiServer::start(Store::memory().unwrap(), Options { protected, ..Options::default() }, &shutdown).await.unwrap();
    let fixture = Fixture { client: Client::new(server.service(), "default"), server, _supervisor: supervisor };
    fixture.post("/api/v1/namespaces", &json!({"metadata": {"name": "mesh-system"}})).await;
    fixture.post(DEFINITIONS, &widget_definition()).await;
    let other = serde_json::to_string(&widget_definition()).unwrap().replace("widget", "gadget").replace("Widget", "Gadget");
    fixture.post(DEFINITIONS, &serde_json::from_str(&other).unwrap()).await;
    fixture
        .post(WIDGETS, &json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}))
        .await;
    for (path, why) in [
        ("/api/v1/namespaces/mesh-system", "mesh-system is needed"),
        ("/api/v1/namespaces/default", "this namespace may not be deleted"),
        ("/api/v1/namespaces/kube-system", "this namespace may not be deleted"),
        (&format!("{DEFINITIONS}/widgets.judge.example"), "widgets.judge.example is needed"),
        (DEFINITIONS, "widgets.judge.example is needed"),
    ] {
        let refused = fixture.delete(path, &json!({})).await;
        assert_eq!(refused.code, 403, "{path}: {}", refused.text);
        assert!(refused.text.contains(why), "{path}: {}", refused.text);
    }
    assert_eq!(fixture.get(&format!("{WIDGETS}/w")).await.code, 200);
    let other = fixture.get(&format!("{DEFINITIONS}/gadgets.judge.example")).await;
    assert!(other.code == 200 && other.body["metadata"].get("deletionTimestamp").is_none(), "all or none: {}", other.text);
}

//! Lists: pages, selectors, revisions, forms.
use super::*;

#[tokio::test]
async fn pages_show_the_first_pages_revision_whatever_happens_meanwhile() {
    let fixture = server().await;
    for name in ["a", "b", "c", "d"] {
        fixture.map(name, json!({"labels": {"x": "y"}})).await;
    }
    let first = fixture.get(&format!("{MAPS}?limit=2")).await.body;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    fixture.delete(&format!("{MAPS}/c"), &json!({})).await;
    fixture.map("bb", json!({})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = fixture.get(&format!("{MAPS}?limit=500&continue={token}")).await.body;
    assert_eq!(names(&second), ["c", "d", "kube-root-ca.crt"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"].get("continue"), None);
    assert_eq!(fixture.get(&format!("{MAPS}?continue=garbage")).await.code, 400);
}

#[tokio::test]
async fn a_token_older_than_what_is_kept_is_expired() {
    let fixture = server_on(&mesh_store::Options { ring_events: 20, ..Default::default() }).await;
    for n in 0..3 {
        fixture.map(&format!("m{n}"), json!({})).await;
    }
    let first = fixture.get(&format!("{MAPS}?limit=1")).await.body;
    for n in 0..30 {
        let key = mesh_store::Key::new("leases.coordination.k8s.io", "default", format!("l{n}"));
        fixture
            .server
            .store()
            .write(mesh_store::Write { key, change: mesh_store::Change::Create(json!({"metadata": {}})), guard: None })
            .await
            .unwrap();
    }
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = fixture.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((expired.code, &expired.body["reason"]), (410, &json!("Expired")));
    let start = &first["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = fixture.get(&format!("{MAPS}?watch=1&resourceVersion={start}")).await;
    assert_eq!((watch.code, &watch.body["type"], &watch.body["object"]["code"]), (200, &json!("ERROR"), &json!(410)), "{}", watch.text);
    assert!(watch.body["object"]["message"].as_str().unwrap().starts_with(&format!("too old resource version: {start} (")));
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let fixture = server().await;
    for (name, labels) in [("a", json!({"tier": "web", "n": "5"})), ("b", json!({"tier": "db"})), ("c", json!({}))] {
        fixture.map(name, json!({"labels": labels})).await;
    }
    for (selector, chosen) in [
        ("labelSelector=tier%3Dweb", vec!["a"]),
        ("labelSelector=tier%3D%3Dweb", vec!["a"]),
        ("labelSelector=tier%21%3Dweb", vec!["b", "c", "kube-root-ca.crt"]),
        ("labelSelector=tier+in+%28web%2Cdb%29", vec!["a", "b"]),
        ("labelSelector=tier+notin+%28web%29%2Ctier", vec!["b"]),
        ("labelSelector=%21tier", vec!["c", "kube-root-ca.crt"]),
        ("labelSelector=n%3E4", vec!["a"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name%21%3Db,metadata.namespace%3Ddefault", vec!["a", "c", "kube-root-ca.crt"]),
    ] {
        assert_eq!(names(&fixture.get(&format!("{MAPS}?{selector}")).await.body), chosen, "{selector}");
    }
    let refused = fixture.get(&format!("{MAPS}?fieldSelector=data.x%3D1")).await;
    let message = "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(message)));
    assert_eq!(fixture.get(&format!("{MAPS}?labelSelector=a%20b%20c")).await.code, 400);
}

#[tokio::test]
async fn a_definitions_selectable_fields_select() {
    let (fixture, widgets) = with_widgets().await;
    for (name, colour) in [("r", "red"), ("g", "green")] {
        widgets.create(&PostParams::default(), &widget(name, &json!({"colour": colour}))).await.unwrap();
    }
    assert_eq!(names(&fixture.get(&format!("{WIDGETS}?fieldSelector=spec.colour%3Dred")).await.body), ["r"]);
    let refused = fixture.get(&format!("{WIDGETS}?fieldSelector=spec.nope%3D1")).await;
    assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some("field label not supported: spec.nope")));
}

#[tokio::test]
async fn a_future_revision_is_a_timeout_and_an_exact_one_is_that_one() {
    let fixture = server().await;
    let a = fixture.map("a", json!({})).await;
    fixture.map("b", json!({})).await;
    let future = fixture.get(&format!("{MAPS}?resourceVersion=99999")).await;
    assert_eq!((future.code, &future.body["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
    assert_eq!(future.headers["retry-after"], "1");
    let revision = a["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = fixture.get(&format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).await.body;
    assert_eq!((names(&exact), &exact["metadata"]["resourceVersion"]), (vec!["a", "kube-root-ca.crt"], &json!(revision)));
    assert_eq!(fixture.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code, 422);
    assert_eq!(fixture.get(&format!("{MAPS}?resourceVersion=x")).await.code, 400);
}

#[tokio::test]
async fn lists_carry_their_kind_and_only_custom_items_theirs() {
    let (fixture, widgets) = with_widgets().await;
    assert_eq!(fixture.get(WIDGETS).await.body["items"], json!([]));
    widgets.create(&PostParams::default(), &widget("w", &json!({}))).await.unwrap();
    let list = fixture.get(WIDGETS).await.body;
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"], &list["items"][0]["apiVersion"]),
        (&json!("WidgetList"), &json!("Widget"), &json!("judge.example/v1"))
    );
    let list = fixture.get(MAPS).await.body;
    assert_eq!((&list["kind"], list["items"][0].get("kind")), (&json!("ConfigMapList"), None));
    assert_eq!(fixture.get(&format!("{MAPS}/kube-root-ca.crt")).await.body["kind"], "ConfigMap");
}

#[tokio::test]
async fn metadata_and_tables_are_forms_of_every_list() {
    let fixture = server().await;
    let accept = |accept: &'static str| [("accept", accept)];
    let metadata = accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = fixture.ask("GET", MAPS, &metadata, "").await.body;
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata")));
    assert_eq!(list["items"][0].get("data"), None);
    let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let list = fixture.ask("GET", &format!("{MAPS}?includeObject=Object"), &table, "").await.body;
    assert_eq!(
        (&list["kind"], &list["apiVersion"], &list["rows"][0]["object"]["kind"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"), &json!("ConfigMap"))
    );
    let error = fixture.ask("GET", &format!("{MAPS}/nope"), &table, "").await;
    assert_eq!((error.code, &error.body["kind"]), (404, &json!("Status")));
    assert_eq!(fixture.ask("GET", MAPS, &accept("application/vnd.kubernetes.protobuf"), "").await.code, 406);
    let yaml = fixture.ask("GET", &format!("{MAPS}/kube-root-ca.crt"), &accept("application/yaml"), "").await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert!(yaml.text.contains("kind: ConfigMap"), "{}", yaml.text);
}

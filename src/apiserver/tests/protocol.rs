//! Discovery, OpenAPI, health, reviews, and paths that nothing is served at.
use super::*;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn aggregated_discovery_is_cached_until_a_definition_changes() {
    let fixture = server().await;
    let accept = format!("{AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json");
    let first = fixture.ask("GET", "/apis", &[("accept", &accept)], "").await;
    assert_eq!((first.code, first.headers["content-type"].to_str().unwrap()), (200, AGGREGATED));
    let etag = first.headers["etag"].to_str().unwrap().to_owned();
    let cached = fixture.ask("GET", "/apis", &[("accept", &accept), ("if-none-match", &etag)], "").await;
    assert_eq!((cached.code, cached.text.as_str()), (304, ""));
    assert_eq!(fixture.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &widget_definition()).await.code, 201);
    let changed = fixture.ask("GET", "/apis", &[("accept", &accept), ("if-none-match", &etag)], "").await;
    assert_eq!(changed.code, 200);
    let groups = changed.body["items"].as_array().unwrap();
    let group = groups.iter().find(|group| group["metadata"]["name"] == "judge.example").unwrap();
    let resource = &group["versions"][0]["resources"][0];
    assert_eq!(
        (&resource["resource"], &resource["singularResource"], &resource["shortNames"]),
        (&json!("widgets"), &json!("widget"), &json!(["wd"]))
    );
    let subresources: Vec<_> =
        resource["subresources"].as_array().unwrap().iter().map(|sub| sub["subresource"].as_str().unwrap()).collect();
    assert_eq!(subresources, ["status", "scale"]);
}

#[tokio::test]
async fn plain_discovery_names_groups_resources_and_subresources() {
    let (fixture, _) = with_widgets().await;
    assert_eq!(fixture.get("/api").await.body["versions"], json!(["v1"]));
    let groups = fixture.get("/apis").await.body;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["preferredVersion"]["groupVersion"] == "judge.example/v1"));
    let resources = fixture.get("/apis/judge.example/v1").await.body;
    let names: Vec<_> = resources["resources"].as_array().unwrap().iter().map(|resource| resource["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(fixture.get("/apis/judge.example").await.body["kind"], "APIGroup");
    assert_eq!(fixture.get("/apis/nope.example/v1").await.code, 404);
}

#[tokio::test]
async fn an_openapi_document_lives_under_its_hash() {
    let (fixture, _) = with_widgets().await;
    let index = fixture.get("/openapi/v3").await.body;
    let url = index["paths"]["apis/judge.example/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = fixture.get(&url).await;
    assert_eq!(document.code, 200);
    assert!(document.headers["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(document.body["components"]["schemas"].is_object());
    let old = fixture.get("/openapi/v3/apis/judge.example/v1?hash=OLD").await;
    assert_eq!((old.code, old.headers["location"].to_str().unwrap()), (301, url.as_str()));
    assert_eq!(fixture.get("/openapi/v3/apis/judge.example/v1").await.code, 200);
}

#[tokio::test]
async fn health_answers_ok_and_lists_its_checks() {
    let fixture = server().await;
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(fixture.get(path).await.text, "ok");
    }
    let verbose = fixture.get("/readyz?verbose").await.text;
    assert_eq!(verbose, "[+]ping ok\n[+]store ok\nreadyz check passed\n");
}

#[tokio::test]
async fn whoever_is_in_may_do_everything_and_is_told_who_it_is() {
    let fixture = server().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "get"}}});
    let allowed = fixture.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
    assert_eq!((allowed.code, &allowed.body["status"]["allowed"]), (201, &json!(true)));
    let who = fixture.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await;
    assert_eq!(who.body["status"]["userInfo"]["username"], "system:mesh-controller");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let (fixture, _) = with_widgets().await;
    for (method, path, code, message) in [
        ("GET", "/api/v1/namespaces/default/nothings", 404, "the server could not find the requested resource"),
        ("GET", "/apis/judge.example/v1/namespaces/default/widgets/w/nope", 404, "the server could not find the requested resource"),
        ("POST", "/api/v1/namespaces/default/pods", 405, "the server does not allow this method on the requested resource"),
        ("PUT", MAPS, 405, "the server does not allow this method on the requested resource"),
    ] {
        let answer = fixture.ask(method, path, &[("content-type", "application/json")], "{}").await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (code, Some(message)), "{method} {path}");
    }
    assert_eq!(fixture.get("/nope").await.text, "404 page not found\n");
    let patch = fixture.ask("PATCH", &format!("{WIDGETS}/w"), &[("content-type", "application/strategic-merge-patch+json")], "{}").await;
    assert_eq!(patch.code, 415);
    let big = fixture.ask("POST", MAPS, &[("content-type", "application/json")], vec![b' '; 4 << 20]).await;
    assert_eq!(big.code, 413);
    for list in ["nodes", "pods", "namespaces/default/resourcequotas", "namespaces/default/limitranges"] {
        assert_eq!(fixture.get(&format!("/api/v1/{list}")).await.body["items"], json!([]));
    }
}

#[tokio::test]
async fn openapi_v2_is_there_and_describes_nothing() {
    let fixture = server().await;
    let plain = fixture.get("/openapi/v2").await;
    assert_eq!((plain.code, &plain.body["swagger"], &plain.body["definitions"]), (200, &json!("2.0"), &json!({})));
    let accept = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let answer = fixture.ask("GET", "/openapi/v2", &accept, "").await;
    // swagger, then info: a length and so many bytes, then the two empty messages.
    assert_eq!((answer.code, answer.text.as_bytes()[..5].to_vec()), (200, b"\x0a\x032.0".to_vec()));
    assert_eq!((answer.text.len(), answer.text.as_bytes()[6]), (5 + 2 + 21 + 4, 21));
}

#[tokio::test]
async fn a_scale_as_a_table_shows_replicas_whatever_columns_its_kind_has() {
    let (fixture, widgets) = with_widgets().await;
    widgets.create(&PostParams::default(), &widget("w", &json!({"replicas": 2}))).await.unwrap();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = fixture.ask("GET", &format!("{WIDGETS}/w/scale"), &accept, "").await.body;
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("w"), json!(2), json!(0)]);
}

#[tokio::test]
async fn who_asks_for_a_service_accounts_token_is_told_what_to_use() {
    let fixture = server().await;
    let answer = fixture.post("/api/v1/namespaces/default/serviceaccounts/default/token", &json!({})).await;
    assert_eq!((answer.code, answer.text.contains("kubeconfig")), (501, true), "{}", answer.text);
}

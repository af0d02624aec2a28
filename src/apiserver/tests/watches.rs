//! Watches: initial events, bookmarks, selectors, the end.
use super::*;

/// Reads lines of a watch until there are so many.
async fn lines(response: http::Response<Body>, count: usize) -> Vec<Value> {
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut text = String::new();
    let read = async {
        while text.lines().count() < count {
            let Some(frame) = body.frame().await else { break };
            text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the events come");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or(""))).collect()
}

#[tokio::test]
async fn a_streaming_list_ends_with_the_annotated_bookmark() {
    let fixture = server().await;
    let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let response = fixture.open("GET", &format!("{MAPS}?{query}"), &[], "").await;
    let events = lines(response, 2).await;
    assert_eq!(kinds(&events), [("ADDED", "kube-root-ca.crt"), ("BOOKMARK", "")]);
    let bookmark = &events[1]["object"];
    assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["metadata"]["resourceVersion"], fixture.server.store().revision().to_string());
    assert_eq!(fixture.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await.code, 422);
}

#[tokio::test]
async fn without_a_revision_what_exists_comes_first_and_bookmarks_do_not_come_unasked() {
    let fixture = server().await;
    let response = fixture.open("GET", &format!("{MAPS}?&watch=true&timeoutSeconds=1"), &[], "").await;
    fixture.map("a", json!({})).await;
    let events = lines(response, 99).await;
    assert_eq!(kinds(&events), [("ADDED", "kube-root-ca.crt"), ("ADDED", "a")]);
}

#[tokio::test]
async fn a_watch_may_ask_for_any_time_that_is_a_number() {
    let fixture = server().await;
    let open = async |query: &str| fixture.open("GET", &format!("{MAPS}?watch=true&{query}"), &[], "").await.status().as_u16();
    assert_eq!(open("timeoutSeconds=9223372036854775807").await, 200);
    assert_eq!(open("timeoutSeconds=18446744073709551615").await, 400);
    assert_eq!(open("timeoutSeconds=18446744073709551616").await, 400);
    assert_eq!(open("resourceVersion=18446744073709551615").await, 200);
    let limited = fixture.get(&format!("{MAPS}?limit=9223372036854775807")).await;
    assert_eq!((limited.code, names(&limited.body)), (200, vec!["kube-root-ca.crt"]));
}

#[tokio::test]
async fn the_last_line_of_a_watch_that_ends_is_a_bookmark_if_asked_for() {
    let fixture = server().await;
    let revision = fixture.server.store().revision();
    let query = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={revision}");
    let response = fixture.open("GET", &format!("/api/v1/namespaces/default/secrets?{query}"), &[], "").await;
    fixture.map("a", json!({})).await;
    let events = lines(response, 99).await;
    assert_eq!(kinds(&events), [("BOOKMARK", "")]);
    assert_eq!(events[0]["object"]["metadata"]["resourceVersion"], fixture.server.store().revision().to_string());
}

#[tokio::test]
async fn entering_and_leaving_a_selector_are_added_and_deleted() {
    let fixture = server().await;
    let revision = fixture.server.store().revision();
    for labels in [json!({"in": "no"}), json!({"in": "yes"}), json!({"in": "yes", "more": "1"}), json!({})] {
        let object = json!({"metadata": {"name": "a", "labels": labels}});
        if fixture.put(&format!("{MAPS}/a"), &object).await.code == 404 {
            fixture.post(MAPS, &object).await;
        }
    }
    let response = fixture.open("GET", &format!("{MAPS}?watch=true&labelSelector=in%3Dyes&resourceVersion={revision}"), &[], "").await;
    let events = lines(response, 3).await;
    assert_eq!(kinds(&events), [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]);
    assert_eq!(events[2]["object"]["metadata"]["labels"]["more"], "1");
    assert_eq!(events[2]["object"]["metadata"]["resourceVersion"], fixture.server.store().revision().to_string());
}

#[tokio::test]
async fn each_event_of_a_table_watch_is_a_table_of_one_row() {
    let fixture = server().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let response = fixture.open("GET", &format!("{MAPS}?watch=true"), &accept, "").await;
    fixture.map("a", json!({})).await;
    let events = lines(response, 2).await;
    for event in &events {
        assert_eq!((&event["object"]["kind"], event["object"]["rows"].as_array().unwrap().len()), (&json!("Table"), 1));
    }
    assert!(events[0]["object"]["columnDefinitions"].is_array() && events[1]["object"]["columnDefinitions"].is_null());
}

#[tokio::test]
async fn a_watch_of_a_definitions_objects_ends_with_the_definition() {
    let (fixture, _) = with_widgets().await;
    let response = fixture.open("GET", &format!("{WIDGETS}?watch=true"), &[], "").await;
    fixture.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.judge.example", &json!({})).await;
    assert_eq!(lines(response, 1).await, Vec::<Value>::new());
}

#[tokio::test]
async fn kube_runtimes_watcher_follows() {
    use kube::runtime::{WatchStreamExt, watcher};
    let fixture = server().await;
    for strategy in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let api: Api<ConfigMap> = Api::default_namespaced(fixture.client.clone());
        let mut objects = std::pin::pin!(watcher(api, strategy).applied_objects());
        assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), "kube-root-ca.crt");
        fixture.map("seen", json!({})).await;
        assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), "seen");
        fixture.delete(&format!("{MAPS}/seen"), &json!({})).await;
    }
}

#[tokio::test]
async fn a_watch_from_a_revision_of_another_life_of_the_store_has_expired() {
    let fixture = server().await;
    let future = fixture.server.store().revision() + 1;
    let response = fixture.open("GET", &format!("{MAPS}?watch=true&resourceVersion={future}"), &[], "").await;
    let events = lines(response, 99).await;
    assert_eq!((events.len(), &events[0]["type"], &events[0]["object"]["code"]), (1, &json!("ERROR"), &json!(410)));
}

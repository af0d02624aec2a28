//! The server in process: through `kube::Client` here, by plain requests in the modules.
mod deletion;
mod lists;
mod network;
mod protocol;
mod schemas;
mod watches;
mod writes;

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use super::*;
use mesh_kit::shutdown::{Shutdown, Supervisor};
use mesh_store::Store;

/// A server on a store in memory, and a client of it.
pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) server: ApiServer,
    _supervisor: Supervisor,
}

pub(crate) async fn server() -> Fixture {
    server_on(&mesh_store::Options::default()).await
}

async fn server_on(options: &mesh_store::Options) -> Fixture {
    let (shutdown, supervisor) = Shutdown::new();
    let server = ApiServer::start(Store::memory_with(options).unwrap(), Options::default(), &shutdown).await.unwrap();
    Fixture { client: Client::new(server.service(), "default"), server, _supervisor: supervisor }
}

/// An answer, read to its end.
struct Answer {
    code: u16,
    headers: http::HeaderMap,
    body: Value,
    text: String,
}

impl Fixture {
    async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> http::Response<Body> {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        tower::ServiceExt::oneshot(self.server.service(), request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
        let (head, body) = self.open(method, path, headers, body).await.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Answer { code: head.status.as_u16(), headers: head.headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, object: &Value) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], object.to_string()).await
    }

    async fn put(&self, path: &str, object: &Value) -> Answer {
        self.ask("PUT", path, &[("content-type", "application/json")], object.to_string()).await
    }

    async fn merge(&self, path: &str, change: &Value) -> Answer {
        self.ask("PATCH", path, &[("content-type", "application/merge-patch+json")], change.to_string()).await
    }

    async fn delete(&self, path: &str, options: &Value) -> Answer {
        self.ask("DELETE", path, &[("content-type", "application/json")], options.to_string()).await
    }

    /// Waits until nothing is at the path.
    async fn gone(&self, path: &str) {
        eventually(&format!("{path} gone"), async || (self.get(path).await.code == 404).then_some(())).await;
    }

    /// A ConfigMap in `default`, with these parts of metadata.
    async fn map(&self, name: &str, metadata: Value) -> Value {
        let mut object = json!({"metadata": metadata, "data": {"of": name}});
        object["metadata"]["name"] = name.into();
        let answer = self.post(MAPS, &object).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
        answer.body
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WIDGETS: &str = "/apis/judge.example/v1/namespaces/default/widgets";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"key": value}})).unwrap()
}

fn widget_definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.judge.example"}, "spec": {
        "group": "judge.example", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}, "scale": {
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.colour"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"size": {"type": "integer", "maximum": 100, "default": 7}, "colour": {"type": "string"}, "replicas": {"type": "integer"}}},
                "status": {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}}}}}}]}})
}

fn definitions(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "apiextensions.k8s.io".into(),
        version: "v1".into(),
        api_version: "apiextensions.k8s.io/v1".into(),
        kind: "CustomResourceDefinition".into(),
        plural: "customresourcedefinitions".into(),
    };
    Api::all_with(client.clone(), &resource)
}

fn widgets(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "judge.example".into(),
        version: "v1".into(),
        api_version: "judge.example/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    Api::default_namespaced_with(client.clone(), &resource)
}

fn widget(name: &str, spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})).unwrap()
}

async fn with_widgets() -> (Fixture, Api<DynamicObject>) {
    let fixture = server().await;
    let definition: DynamicObject = serde_json::from_value(widget_definition()).unwrap();
    definitions(&fixture.client).create(&PostParams::default(), &definition).await.unwrap();
    let widgets = widgets(&fixture.client);
    (fixture, widgets)
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

/// Waits until a condition holds.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "did not come: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_config_map_is_created_read_listed_merged_applied_and_deleted() {
    let fixture = server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(fixture.client.clone());
    let created = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert!(created.uid().is_some() && created.resource_version().is_some() && created.metadata.generation.is_none());
    assert_eq!(maps.get("a").await.unwrap().data, created.data);
    assert_eq!(code(&maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err()), 409);
    let selected = maps.list(&ListParams::default().labels("app=a")).await.unwrap();
    assert_eq!(selected.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["a"]);
    let merged = maps.patch("a", &PatchParams::apply("m"), &Patch::Merge(json!({"data": {"other": "2"}}))).await.unwrap();
    assert_eq!(merged.data.unwrap(), BTreeMap::from([("key".to_owned(), "1".to_owned()), ("other".to_owned(), "2".to_owned())]));
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "v"}});
    let first = maps.patch("b", &PatchParams::apply("m").force(), &Patch::Apply(&applied)).await.unwrap();
    let again = maps.patch("b", &PatchParams::apply("m").force(), &Patch::Apply(&applied)).await.unwrap();
    assert_eq!(first.resource_version(), again.resource_version());
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(&maps.get("a").await.unwrap_err()), 404);
}

#[tokio::test]
async fn a_watch_resumes_from_a_revision_and_sees_each_change() {
    let fixture = server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(fixture.client.clone());
    let start = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let created = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let events: Vec<_> = maps.watch(&WatchParams::default(), &start).await.unwrap().take(2).try_collect().await.unwrap();
    match events.as_slice() {
        [WatchEvent::Added(added), WatchEvent::Deleted(deleted)] => {
            assert_eq!(added.resource_version(), created.resource_version());
            let number = |map: &ConfigMap| map.resource_version().unwrap().parse::<u64>().unwrap();
            assert_eq!(number(deleted), number(added) + 1);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_definition_is_served_at_once_with_defaults_status_and_scale() {
    let (fixture, widgets) = with_widgets().await;
    let created = widgets.create(&PostParams::default(), &widget("w", &json!({"replicas": 2}))).await.unwrap();
    assert_eq!((&created.data["spec"]["size"], created.metadata.generation), (&json!(7), Some(1)));
    let error = widgets.create(&PostParams::default(), &widget("big", &json!({"size": 300}))).await.unwrap_err();
    assert_eq!(code(&error), 422, "{error}");
    let status = json!({"status": {"phase": "Fine"}, "metadata": {"labels": {"not": "stored"}}});
    let patched = widgets.patch_status("w", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_eq!((&patched.data["status"]["phase"], patched.metadata.generation, patched.labels().len()), (&json!("Fine"), Some(1), 0));
    let scaled = widgets.patch_scale("w", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 5}}))).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(5));
    let after = widgets.get("w").await.unwrap();
    assert_eq!((&after.data["spec"]["replicas"], after.metadata.generation), (&json!(5), Some(2)));
    drop(fixture);
}

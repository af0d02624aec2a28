//! What a change costs a router that has a thousand services with five thousand endpoints: from the event to the table, and what follows of it.
use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mesh_controller::{
    api::MeshService,
    router::{
        drain::Drains,
        settings::Settings,
        table::{
            RouteTable,
            build::{Carry, build},
        },
    },
};
use serde_json::json;
use tokio::time::Instant;

use crate::table::{Table, percentile};

const SERVICES: usize = 1000;
const ENDPOINTS: usize = 5;
const ROUNDS: usize = 200;

pub(crate) fn run() -> Result<Table> {
    let mut table = Table::new("route table of 1,000 services with 5 endpoints each");
    let services: Vec<MeshService> = (0..SERVICES).map(service).collect::<Result<_>>()?;
    let mut slices: Vec<EndpointSlice> = (0..SERVICES).map(|n| slice(n, 1)).collect::<Result<_>>()?;
    let settings = Arc::new(Settings::default());
    let mut carry = Carry::new(Arc::default(), Arc::default());
    let mut whole = times(ROUNDS / 10, |_| drop(build(&services, &slices, settings.clone(), &mut carry)));
    table.row("everything anew, p50 and p99", said(&mut whole), "at a start and at a new MeshRouter only");
    for (n, slice) in slices.iter_mut().enumerate() {
        *slice = self::slice(n, 2)?;
    }
    let mut last = RouteTable::default();
    let mut change = times(ROUNDS, |n| {
        let n = n % SERVICES;
        let key = ("default".to_owned(), format!("web-{n}"));
        carry.remake(&key, services.get(n), slices.get(n), &settings);
        last = carry.table(settings.clone());
    });
    table.row("one slice changed, p50 and p99", said(&mut change), "under 3 ms");
    let mut drains = Drains::default();
    let mut looked = times(ROUNDS, |_| drains.update(&last, Instant::now()));
    table.row("a look for endpoints that end, p50 and p99", said(&mut looked), "");
    Ok(table)
}

/// How long each of so many rounds took, in milliseconds.
fn times(rounds: usize, mut act: impl FnMut(usize)) -> Vec<f64> {
    let one = |n| {
        let begun = Instant::now();
        act(n);
        begun.elapsed().as_secs_f64() * 1000.0
    };
    (0..rounds).map(one).collect()
}

fn said(times: &mut [f64]) -> String {
    format!("{:.3} ms, {:.3} ms", percentile(times, 0.5), percentile(times, 0.99))
}

fn service(n: usize) -> Result<MeshService> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService",
        "metadata": { "name": format!("web-{n}"), "namespace": "default", "uid": format!("uid-{n}"), "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "image": "web", "replicas": ENDPOINTS, "routes": [{ "path": format!("/web/{n}"), "hostnames": [format!("web-{n}.example")] }] },
    }))?)
}

fn slice(n: usize, revision: u64) -> Result<EndpointSlice> {
    let endpoint = |e: usize| {
        json!({
            "addresses": [format!("10.{}.{}.{}", n / 250, n % 250, e + 1)],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": "node-1", "zone": "zone-a",
            "targetRef": { "kind": "Pod", "namespace": "default", "name": format!("web-{n}-{e}"), "uid": format!("{n:08}-0000-4000-8000-{e:012}") },
        })
    };
    Ok(serde_json::from_value(json!({
        "addressType": "IPv4",
        "metadata": { "name": format!("web-{n}-x"), "namespace": "default", "resourceVersion": revision.to_string(), "labels": { "kubernetes.io/service-name": format!("web-{n}") } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
    }))?)
}

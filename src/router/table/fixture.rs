//! Services and endpoints for the tests of pure parts.
use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::sync::Notify;

use super::{Cookie, Departed, RouteTable, Service};
use crate::{
    affinity::{Scope, Token},
    endpoint::{Condition, Endpoint, InstanceRef, Live},
};
use mesh_api::service::Strategy;

pub(crate) fn endpoint(name: &str, id: u64) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        instance: InstanceRef { namespace: "default".into(), name: name.into(), uid: format!("uid-{name}-{id}"), acknowledged: true },
        address: ([127, 0, 0, 1], 1).into(),
        condition: Condition::Ready,
        token: Token::new("uid", name),
        slice_revision: "1".into(),
        live: Arc::new(Live::new(id, Arc::new(Notify::new()))),
    })
}

pub(crate) fn ending(of: &Endpoint) -> Arc<Endpoint> {
    Arc::new(Endpoint { condition: Condition::Terminating, ..of.clone() })
}

pub(crate) fn service(strategy: Strategy, ready: Vec<Arc<Endpoint>>, terminating: Vec<Arc<Endpoint>>) -> Service {
    Service {
        namespace: "default".into(),
        name: "web".into(),
        label: HeaderValue::from_static("default/web"),
        strategy,
        cookie: Cookie { name: "s".into(), lifetime: None, scope: Scope { uid: "uid".into(), name: "default/web".into() } },
        request_limit: None,
        resend: true,
        drain_timeout: Duration::from_secs(30),
        last_resort: false,
        endpoints: ready.iter().chain(&terminating).cloned().collect(),
        by_token: ready.iter().chain(&terminating).map(|e| (e.token, e.clone())).collect(),
        ready,
        stranded: Vec::new(),
        terminating,
        turn: Arc::default(),
        cells: Arc::default(),
    }
}

/// A table of these services, and of endpoints that left theirs.
pub(crate) fn table(services: Vec<Service>, departed: &[&Arc<Endpoint>]) -> RouteTable {
    let departed = departed.iter().map(|endpoint| Departed {
        endpoint: (*endpoint).clone(),
        service: ("default".into(), "web".into()),
        drain_timeout: Duration::from_secs(30),
    });
    RouteTable {
        synced: true,
        services: services.into_iter().map(Arc::new).collect(),
        departed: departed.collect(),
        ..RouteTable::default()
    }
}

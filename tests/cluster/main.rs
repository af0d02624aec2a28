//! mesh-controller in a real Kubernetes: etcd, kube-apiserver, its controllers, and a node on which pods run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::await_holding_lock,
    reason = "these tests drive kubectl and real processes: they block, by real time, and hold the one cluster while they do"
)]
mod agent;
mod audit;
mod cli;
mod export;
mod helm;
mod leaders;
mod machine;
mod objects;
mod outage;
mod partition;
mod product;
mod refusals;
mod rollouts;
mod services;
mod shop;
mod tasks;

//! mesh-controller in a real Kubernetes: etcd, kube-apiserver, its controllers, and a node on which pods run.
mod audit;
mod export;
mod leaders;
mod machine;
mod objects;
mod outage;
mod product;
mod refusals;
mod rollouts;
mod services;
mod shop;

//! mesh-controller: one declarative `MeshService` says what should run; controllers bring it about; a router sends traffic to what is ready.
//!
//! # How data flows (one direction)
//! ```text
//!  kubectl / mesh CLI
//!         │ MeshService (spec)
//!         ▼
//!  API: embedded (redb)  or  a cluster's kube-apiserver        ← one kube::Client; nothing below knows which
//!         │ watch
//!         ▼
//!  controller::mesh_service   dereference → validate → plan → apply → update_status
//!         │ MeshInstance objects (like Pods); controller::mesh_task makes those that come to an end, at their times or when asked
//!         ▼ watch (own node only)
//!  controller::mesh_instance  observe → plan → execute on a Backend (process | podman | quadlet)
//!         │ MeshInstance.status (state, address, probes)
//!         ▼
//!  controller::endpoints      → discovery.k8s.io/v1 EndpointSlice (ready, serving, terminating)
//!         │ watch
//!         ▼
//!  router                     RouteTable snapshot → pick → proxy; reports drain back into MeshInstance.status
//! ```
//! In a cluster the same two ends meet, and the middle is Kubernetes' own:
//! ```text
//!  controller::cluster_service   MeshService → render → Deployment, Service, … by server-side apply (only the leader writes: coordination)
//!         ▼                      Deployment, pods, EndpointSlices → MeshService.status
//!  controller::cluster_task      MeshTask → render → CronJob; Jobs, pods → MeshTask.status
//!         ▼
//!  Kubernetes                    pods, and the EndpointSlices of the Service
//!         │ watch
//!         ▼
//!  router                        the same; a pod's preStop hook (mesh-drain) asks it whether the pod has been let go
//!  agent                         the same door for programs; whose a token is says the API (TokenReview), which runs live the pods
//! ```
//! The router and the controllers meet only in API objects. A backend is told nothing about routing, and the router nothing about backends.
//!
//! # Crates, and what each may use
//! Each folder of `src/` is a crate (`mesh-kit`, `mesh-api`, …; `src/controller` is `mesh-controllers`), so the compiler holds the rule; this one has
//! the programs, and gives all of them under one name. They use each other from left to right only (`tests/packaging/imports.rs` holds the order):
//! `base` ← {`kit`, `shim`} ← `api` ← `plan` ← {`store`, `backend`} ← {`apiserver`, `coordination`} ← {`router`, `convert`, `agent`} ← `controller` ← `cli`;
//! the router and the controllers never use each other. Within a crate no files import each other in a circle; what is in `foo/` is a part of `foo.rs`.
//!
//! | crate | owns |
//! |---|---|
//! | `base` | what even the smallest program needs: wall time, values that are never printed, and files that are replaced as a whole |
//! | [`kit`] | clock, shutdown (named tasks), backoff, watches, telemetry, metrics |
//! | [`shim`] | holds one program, its log and its exit status; small, because there is one for each instance |
//! | [`api`] | the CRD types, conditions and reasons, names; no IO |
//! | [`plan`] | the pure core: validate, desired, observed, actions, rollout, endpoints, status |
//! | [`store`] | the durable object store and its ring of events |
//! | [`apiserver`] | the embedded Kubernetes-compatible API |
//! | [`backend`] | what runs instances: processes (each under a shim), containers of an engine, units of systemd, a fake for tests; and a service as Kubernetes' own objects |
//! | [`coordination`] | who leads, among controllers and among programs; their locks; when tasks run: decisions as values, and what carries them out |
//! | [`agent`] | the door for programs: one HTTP API over what is decided elsewhere |
//! | [`router`] | HTTP and WebSocket to ready endpoints; acknowledged drain |
//! | [`controller`] | one driver per kind and its steps |
//! | [`convert`] | files of other tools as MeshServices, and MeshServices as plain manifests of Kubernetes; texts only |
//! | [`cli`] | a file per verb, and the wiring of the whole |
pub use mesh_agent as agent;
pub use mesh_api as api;
pub use mesh_apiserver as apiserver;
pub use mesh_backend as backend;
pub use mesh_cli as cli;
pub use mesh_controllers as controller;
pub use mesh_convert as convert;
pub use mesh_coordination as coordination;
pub use mesh_kit as kit;
pub use mesh_plan as plan;
pub use mesh_router as router;
pub use mesh_shim as shim;
pub use mesh_store as store;

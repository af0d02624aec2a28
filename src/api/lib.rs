//! The objects of `mesh-controller.dev/v1alpha1`, their conditions and reasons, labels and names; no IO.
//! Everything a user can write in YAML is typed here once; the CRDs in `crds/` are made from it.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct in a hidden scope of its own")]
pub mod conditions;
pub mod container;
pub mod crds;
pub mod duration;
pub mod env;
pub mod http;
pub mod instance;
pub mod kubernetes;
pub mod labels;
pub mod names;
pub mod node;
pub mod probe;
pub mod router;
pub mod service;
pub mod task;

pub use instance::{MeshInstance, MeshInstanceSpec, MeshInstanceStatus};
pub use node::{MeshNode, MeshNodeSpec, MeshNodeStatus};
pub use router::{MeshRouter, MeshRouterSpec};
pub use service::{MeshService, MeshServiceSpec, MeshServiceStatus};
pub use task::{MeshTask, MeshTaskSpec, MeshTaskStatus};

/// The API group of every object here.
pub const GROUP: &str = "mesh-controller.dev";
/// The one version there is.
pub const VERSION: &str = "v1alpha1";

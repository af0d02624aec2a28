//! Services and tasks as plain manifests of Kubernetes, which need nothing of ours in the cluster. What could not be carried over stands beside the object as a
//! comment, and is in the summary.
//!
//! [`native`] makes a service's objects, [`of_task`] a task's, by the same render as `--backend kubernetes`; [`Bundle`] puts together what is printed; `lost` knows what is lost.
mod bundle;
mod config;
mod ingress;
mod lost;
mod native;
mod references;
mod text;

pub use self::{
    bundle::{Bundle, Wishes},
    native::{Native, native, of_task},
    references::References,
};

//! Pods of a cluster: its API issues their tokens.
use tokio::time::timeout;

use super::PATIENCE;
use crate::problem::Problem;
use mesh_coordination::{
    pods::Pods,
    review::{Error, Reviews},
    token::Caller,
};

const REMEDY: &str = "send the content of the file that MESH_TOKEN_FILE names, as it is now: the token of a projected volume with the audience mesh-controller.dev";

/// Whose their tokens are, and which of them live.
#[derive(Debug, Clone)]
pub(super) struct PodsOfCluster {
    pub(super) reviews: Reviews,
    pub(super) pods: Pods,
}

impl PodsOfCluster {
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let pod = self.reviews.pod(token).await.map_err(|error| match error {
            Error::NotValid(_) | Error::OfNoPod(_) => Problem::unauthorized(error.to_string(), REMEDY),
            Error::Away(_) => Problem::unavailable(error.to_string()),
        })?;
        if !self.pods.ready(PATIENCE).await {
            return Err(Problem::unavailable("the pods were not read yet: the API does not answer this agent"));
        }
        // A token is good for all runs of its pod: where the last one has ended, this is the next.
        timeout(PATIENCE, self.pods.caller(&pod)).await.map_err(|_| {
            let name = &pod.name;
            if self.pods.has(&pod) {
                Problem::unauthorized(
                    format!("pod {name} is not known to run its container app"),
                    "a token is good while that container runs, and as soon as the kubelet has said so",
                )
            } else {
                Problem::unauthorized(
                    format!("pod {name} is none of a MeshService or a MeshTask, or is gone"),
                    "the agent answers the pods that the controller makes, by their labels app.kubernetes.io/managed-by and mesh-controller.dev/service",
                )
            }
        })
    }
}

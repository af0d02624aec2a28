//! Instances on a machine: their tokens are its agent's own.
use tokio::time::timeout;

use super::PATIENCE;
use crate::problem::Problem;
use mesh_coordination::{
    session::{Sessions, Standing},
    token::{Caller, Tokens},
};

/// Their tokens, and which of them live.
#[derive(Debug, Clone)]
pub(super) struct Instances {
    pub(super) tokens: Tokens,
    pub(super) sessions: Sessions,
}

impl Instances {
    /// Whose token it is.
    pub(super) fn known(&self, token: &str) -> Result<Caller, Problem> {
        self.tokens.verify(token).ok_or_else(|| {
            Problem::unauthorized(
                "the token was not made by this agent",
                "send the content of the file that MESH_TOKEN_FILE names, as it is now",
            )
        })
    }

    /// The same, if that run lives.
    pub(super) async fn lives(&self, caller: Caller) -> Result<Caller, Problem> {
        let mut changes = self.sessions.changes();
        let known = async {
            loop {
                match self.sessions.standing(&caller.session) {
                    Standing::Unknown if changes.changed().await.is_ok() => {}
                    standing => return standing,
                }
            }
        };
        let run = || format!("run {} of instance {}", caller.session.attempt, caller.session.instance);
        match timeout(PATIENCE, known).await {
            Ok(Standing::Lives) => Ok(caller),
            Ok(Standing::Ended) => {
                let remedy = "a token is good while its run lives; each run reads the one that MESH_TOKEN_FILE names";
                Err(Problem::unauthorized(format!("{} has ended", run()), remedy))
            }
            Ok(Standing::Unknown) | Err(_) => Err(Problem::unauthorized(
                format!("{} does not run here", run()),
                "a token is good on the node where its instance runs, while it runs",
            )),
        }
    }
}

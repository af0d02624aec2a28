//! Who asks: the token, and whether what it is of still lives.
use std::time::Duration;

use http::{HeaderMap, header};
use tokio::time::timeout;

use crate::problem::Problem;
use mesh_coordination::{
    session::{Sessions, Standing},
    token::{Caller, Tokens},
};

/// A program may ask before its agent has seen it run; and after a start of the agent all have to be seen first.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets programs in.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Knows tokens again.
    pub tokens: Tokens,
    /// Knows who lives.
    pub sessions: Sessions,
}

impl Gate {
    /// Who sends these headers.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let token = bearer(headers)?;
        let caller = self.tokens.verify(token).ok_or_else(|| {
            Problem::unauthorized(
                "the token was not made by this agent",
                "send the content of the file that MESH_TOKEN_FILE names, as it is now",
            )
        })?;
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

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing =
        || Problem::unauthorized("there is no token", "send Authorization: Bearer with the content of the file that MESH_TOKEN_FILE names");
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() { Ok(token.trim()) } else { Err(missing()) }
}

//! `mesh lock` and `mesh leader`: who holds what, and a command that runs only while it holds a key.
mod guard;
mod held;
mod list;
mod program;
mod signals;

use clap::{Args, Subcommand};
use serde_json::Map;

use self::{guard::Guarded, list::List};
use super::{
    coordination::CoordinationArgs,
    exit::{Code, Failure, Result},
    target::Target,
};
use mesh_api::duration::Duration;
use mesh_coordination::locks::{Kind, MAX_KEY, MAX_TTL, is_ttl, redis::Redis, wrong_name};

/// What stands after the `--help` of `run`.
const OF_COMMAND: &str = "Exit codes: that of the command; 126 it cannot be executed, 127 it is not there, 128 and the signal that ended it. \
6 it did not get what it asks for (then the command was not started), or has lost it: standard error says which. A script that must tell this from a command's own 6 \
lets the command end with another code. 1, 2 and 5 are as with every verb.";

/// Locks: run a command under one, or list them.
#[derive(Debug, Args)]
pub struct Lock {
    #[command(subcommand)]
    verb: LockVerb,
}

#[derive(Debug, Subcommand)]
enum LockVerb {
    /// Run a command while a lock is held.
    ///
    /// The command and all that it started is ended when the lock is lost or this program is killed or stopped, before another can have it. Only a lock whose Lease is
    /// removed is another's at once: the command is killed when that is seen, a moment later. MESH_FENCE is a number that grows with every acquisition: a store that
    /// refuses writes with a lower one than it has seen is safe from whoever is late. Signals are passed on, and a second SIGINT or SIGTERM kills.
    #[command(after_help = OF_COMMAND)]
    Run(Run),
    /// List what is held.
    #[command(visible_alias = "list")]
    Ls(List),
    /// The process that `run` starts between itself and its command.
    #[command(hide = true)]
    Guard(Guarded),
}

/// Leaders: run a command while it leads a group, or list them.
#[derive(Debug, Args)]
pub struct Leader {
    #[command(subcommand)]
    verb: LeaderVerb,
}

#[derive(Debug, Subcommand)]
enum LeaderVerb {
    /// Run a command while this leads a group; waits for it without an end if no --wait is given.
    ///
    /// The command and all that it started is ended when the lead is lost or this program is killed or stopped, before another can have it. MESH_FENCE is a number that
    /// grows with every leader. The rest is as with `mesh lock run`.
    #[command(after_help = OF_COMMAND)]
    Run(Run),
    /// List who leads.
    #[command(visible_alias = "list")]
    Ls(List),
}

/// What is run, and under what.
#[derive(Debug, Args)]
struct Run {
    /// What it is called; names count in the namespace.
    #[arg(value_name = "NAME", value_parser = key)]
    name: String,
    /// For so long after each renewal nobody else gets it, even if this machine is stopped: whole seconds, 1s to 24h.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = ttl)]
    ttl: Duration,
    /// How long to wait for it, in turn; if this is not given, a lock is not waited for, and a lead without an end.
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    wait: Option<Duration>,
    #[command(flatten)]
    coordination: CoordinationArgs,
    /// The command, as a vector; no shell.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

fn key(text: &str) -> Result<String, String> {
    let wrong = |why| format!("{why}; 1 to {MAX_KEY} bytes without control characters are possible");
    wrong_name(text).map_or_else(|| Ok(text.to_owned()), |why| Err(wrong(why)))
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl: Duration = text.parse().map_err(|error: mesh_api::duration::ParseDuration| error.to_string())?;
    if is_ttl(ttl.get()) {
        return Ok(ttl);
    }
    let seconds = ttl.get().as_millis().div_ceil(1000).clamp(1, MAX_TTL.as_secs().into());
    Err(format!("a ttl is whole seconds, from 1s to 24h: {} is the nearest", Duration::from_secs(u64::try_from(seconds).unwrap_or(1))))
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait: Duration = text.parse().map_err(|error: mesh_api::duration::ParseDuration| error.to_string())?;
    if wait.get() <= MAX_TTL { Ok(wait) } else { Err("at most 24h are possible".to_owned()) }
}

impl Lock {
    /// Does it.
    pub async fn run(self, target: Target) -> Result {
        match self.verb {
            LockVerb::Run(run) => run.run(target, Kind::Lock).await,
            LockVerb::Ls(list) => list.run(target, Kind::Lock).await,
            LockVerb::Guard(guarded) => guarded.run(),
        }
    }
}

impl Leader {
    /// Does it.
    pub async fn run(self, target: Target) -> Result {
        match self.verb {
            LeaderVerb::Run(run) => run.run(target, Kind::Leader).await,
            LeaderVerb::Ls(list) => list.run(target, Kind::Leader).await,
        }
    }
}

/// `mesh locks`, as the first seed has it: the same as `mesh lock ls`.
#[derive(Debug, Args)]
pub struct Locks {
    #[command(flatten)]
    list: List,
}

impl Locks {
    /// Lists locks.
    pub async fn run(self, target: Target) -> Result {
        self.list.run_as_seed(target, Kind::Lock).await
    }

    /// Lists leaders: `mesh leaders`.
    pub async fn leaders(self, target: Target) -> Result {
        self.list.run_as_seed(target, Kind::Leader).await
    }
}

impl Run {
    async fn run(self, target: Target, kind: Kind) -> Result {
        let wait = match (kind, self.wait) {
            (_, Some(wait)) => Some(wait.get()),
            (Kind::Lock, None) => Some(std::time::Duration::ZERO),
            (Kind::Leader, None) => None,
        };
        let wanted = held::Wanted { kind, name: self.name, ttl: self.ttl.get(), wait, metadata: about(&self.command) };
        if let Some(redis) = in_redis(&self.coordination, &target).await? {
            return program::run(held::of_redis(redis, namespace(&target), &wanted).await?, &wanted, &self.command).await;
        }
        match held::agent(&target).await? {
            Some(mesh) => program::run(held::of_agent(&mesh, &wanted).await?, &wanted, &self.command).await,
            None => target.with(async |api| program::run(held::of_api(api, &wanted).await?, &wanted, &self.command).await).await,
        }
    }
}

/// The Redis that was named; none: the API is meant.
async fn in_redis(coordination: &CoordinationArgs, target: &Target) -> Result<Option<Redis>> {
    let redis = coordination.open().await?;
    if redis.is_some() && target.is_said() {
        return Err(Failure::new(Code::Usage, "--coordination names a Redis, and another flag an API: leave one of them out"));
    }
    Ok(redis)
}

/// Names in a Redis count in a namespace too.
fn namespace(target: &Target) -> String {
    target.namespace().unwrap_or_else(|| "default".to_owned())
}

/// What is told to whoever lists it.
fn about(command: &[String]) -> Map<String, serde_json::Value> {
    // Arguments may be secret, and others can read this.
    let program = command.first().map(|program| program.chars().take(200).collect::<String>());
    Map::from_iter(program.map(|program| ("command".to_owned(), program.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_that_is_none_is_refused_with_the_nearest_that_is_one() {
        for (text, near) in [("500ms", "1s"), ("0s", "1s"), ("1500ms", "2s"), ("25h", "24h")] {
            let said = ttl(text).unwrap_err();
            assert!(said.ends_with(&format!("24h: {near} is the nearest")), "{text}: {said}");
        }
        assert!(ttl("1s").is_ok() && ttl("24h").is_ok());
    }
}

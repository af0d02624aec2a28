//! Why a start did not come about: what Podman said in the journal.
use std::process::Stdio;

use jiff::Timestamp;
use tokio::process::Command;

use super::Made;
use crate::{
    Error,
    quadlet::live::{place::Manager, podman},
};

/// The error; none if Podman did not complain: then the program ran, and ended at once.
pub(super) async fn why(manager: Manager, made: &Made, dependency: bool, since: Timestamp) -> Option<Error> {
    let network = format!("{}-network.service", made.network);
    let unit = if dependency { network.as_str() } else { made.unit.as_str() };
    let mut command = Command::new("journalctl");
    command.args(manager.flag()).args(["--no-pager", "--quiet", "--output=cat", "--lines=50"]);
    command.arg(format!("--since=@{}.{:06}", since.as_second(), since.subsec_microsecond()));
    command.args(["--unit", unit, "_COMM=podman"]).stdin(Stdio::null()).kill_on_drop(true);
    let said = command.output().await.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let port = made.port;
    match said.lines().rev().find(|line| line.contains("Error:")) {
        Some(line) => Some(refusal(unit, port, line)),
        None if dependency => Some(Error::Refused {
            act: format!("start {unit}, which {} needs", made.unit),
            why: format!("it failed; {} says why", manager.status_command(unit)),
        }),
        None => None,
    }
}

/// Podman's words, and what they mean.
fn refusal(unit: &str, port: Option<u16>, line: &str) -> Error {
    let said = line.split_once("Error:").map_or(line, |(_, said)| said).trim();
    match port {
        Some(port) if said.contains("address already in use") => Error::PortTaken { port },
        _ => Error::Refused { act: format!("start {unit}"), why: format!("podman says: {}{}", podman::told(said), remedy(said)) },
    }
}

fn remedy(said: &str) -> &'static str {
    let has = |words: &str| said.contains(words);
    if has("executable file") && has("not found") {
        "; look at spec.command: its first word must be a program in the image"
    } else if has("permission denied") {
        "; look at spec.securityContext and at what the image's program needs"
    } else if has("no command or entrypoint") {
        "; the image has no program of its own: give spec.command"
    } else if has("no space left") {
        "; the disk is full: make room (podman system df, podman image prune)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_words_become_errors_with_a_remedy() {
        let error = |line: &str| refusal("u.service", Some(20_000), line).to_string();
        for (line, expected) in [
            ("Error: rootlessport listen tcp 127.0.0.1:20000: bind: address already in use", "port 20000 of this machine is taken"),
            (
                "Error: crun: executable file `nope` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found",
                "spec.command",
            ),
            ("Error: no command or entrypoint provided, and no CMD or ENTRYPOINT from image", "give spec.command"),
            ("Error: something else", "start u.service: podman says: something else"),
        ] {
            assert!(error(line).contains(expected), "{}", error(line));
        }
    }
}

//! The container engine, and Podman's generator of units.
use std::path::Path;

use super::{as_root, needed_by};
use crate::doctor::{
    Purpose,
    facts::{Engine, EngineKind, Facts, Version},
    finding::{Finding, Level},
};
use mesh_api::labels;
use mesh_backend::podman::left::What;

/// The first Podman whose API and networks are those that are used.
const OLDEST_PODMAN: Version = (4, 0);
/// The first Podman with Quadlet.
const OLDEST_QUADLET: Version = (4, 4);

/// Whether there is an engine, and whether it will do.
pub(super) fn engine(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "engine";
    let missing = needed_by(facts, &[Purpose::Podman])?;
    let bad = |text: String, fix: String| Some(Finding::of(missing, CHECK, text, fix));
    match &facts.engine {
        Engine::NotUnix(named) => bad(
            format!("{named}: only engines on this machine can be used, by a Unix socket"),
            "unset CONTAINER_HOST DOCKER_HOST, or --engine-socket /run/podman/podman.sock".to_owned(),
        ),
        Engine::Absent { podman: false, .. } => {
            bad("no container engine is installed".to_owned(), as_root(facts, "apt-get install podman"))
        }
        Engine::Absent { looked, podman: true } => {
            let looked = looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            bad(
                format!("no socket of a container engine (looked for {looked})"),
                start(facts, looked.split(", ").next().unwrap_or_default()),
            )
        }
        Engine::Denied(socket) => bad(format!("{} may not be opened by {}", socket.display(), facts.user.name), permit(facts, socket)),
        Engine::Silent(socket, why) => {
            bad(format!("nobody answers at {}: {why}", socket.display()), start(facts, &socket.display().to_string()))
        }
        Engine::Failing(why) => bad(format!("the engine answers with an error: {why}"), "podman info".to_owned()),
        Engine::Answers { socket, kind, version } => Some(answers(CHECK, missing, &socket.display().to_string(), kind, *version)),
    }
}

fn answers(check: &'static str, missing: Level, socket: &str, kind: &EngineKind, version: Option<Version>) -> Finding {
    let number = version.map_or_else(|| "of an unknown version".to_owned(), |(major, minor)| format!("{major}.{minor}"));
    match kind {
        EngineKind::Podman if version.is_some_and(|version| version < OLDEST_PODMAN) => Finding::of(
            missing,
            check,
            format!("Podman {number} at {socket} is too old: 4.0 is the oldest that works"),
            "a newer distribution (Debian 12 has 4.3, Debian 13 has 5.4)",
        ),
        EngineKind::Podman => Finding::ok(check, format!("Podman {number} at {socket}")),
        EngineKind::Docker => Finding::ok(check, format!("Docker {number} at {socket}; Quadlet needs Podman")),
        EngineKind::Other(why) => {
            Finding::of(missing, check, format!("what answers at {socket} is no engine: {why}"), "--engine-socket /run/podman/podman.sock")
        }
    }
}

/// Containers that the controller of this state directory leaves alone, because another one made them.
pub(super) fn leftovers(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "other controllers";
    needed_by(facts, &[Purpose::Podman])?;
    let others: Vec<_> = facts.leftovers.iter().filter(|made| made.what == What::Container && !made.gone).collect();
    let controller = &others.first()?.controller;
    let names: Vec<&str> = others.iter().filter(|made| made.controller == *controller).map(|made| made.name.as_str()).collect();
    let program = if matches!(facts.engine, Engine::Answers { kind: EngineKind::Docker, .. }) { "docker" } else { "podman" };
    let text = format!(
        "{} containers are of controllers with other state directories than {} ({} of {controller}: {}); this one leaves them alone",
        others.len(),
        facts.state_dir.path.display(),
        names.len(),
        names.join(", ")
    );
    let fix = format!(
        "{program} rm -f $({program} ps -aq --filter label={}={controller})   (if that controller is gone for good)",
        labels::CONTROLLER
    );
    Some(Finding::warning(CHECK, text, fix))
}

/// What nobody owns: the state directory of its maker is gone.
pub(super) fn unowned(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "left behind";
    needed_by(facts, &[Purpose::Podman, Purpose::Quadlet])?;
    let left: Vec<String> = facts.leftovers.iter().filter(|made| made.gone).map(ToString::to_string).collect();
    if left.is_empty() {
        return None;
    }
    let text = format!("the state directories of the controllers that made these are gone: {}", left.join(", "));
    let volumes = facts.leftovers.iter().any(|made| made.gone && made.what == What::Volume);
    let fix = if volumes {
        "mesh doctor --remove-unowned (with --volumes also the volumes, with their data)"
    } else {
        "mesh doctor --remove-unowned"
    };
    Some(Finding::warning(CHECK, text, fix))
}

/// The command that makes an engine listen.
fn start(facts: &Facts, socket: &str) -> String {
    match (facts.systemd.booted, facts.user.is_root()) {
        _ if socket.ends_with("docker.sock") => as_root(facts, "systemctl enable --now docker.socket"),
        (true, true) => "systemctl enable --now podman.socket".to_owned(),
        (true, false) => "systemctl --user enable --now podman.socket".to_owned(),
        (false, _) => format!("podman system service --time=0 unix://{socket} &"),
    }
}

/// The command that lets the user in; an engine of the user's own is better than the rights of root.
fn permit(facts: &Facts, socket: &Path) -> String {
    if socket.ends_with("docker.sock") {
        return format!("sudo usermod -aG docker {}   (and log in again; that equals root)", facts.user.name);
    }
    "systemctl --user enable --now podman.socket   (an engine of your own; CONTAINER_HOST and DOCKER_HOST unset)".to_owned()
}

/// Whether Quadlet is there.
pub(super) fn generator(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "quadlet";
    let missing = needed_by(facts, &[Purpose::Quadlet])?;
    let Some(generator) = &facts.generator else {
        let text = "Podman's generator of units is not installed: Quadlet came with Podman 4.4 (Debian 13 and Ubuntu 24.04 have it; where there is an older one, use --backend podman)";
        return Some(Finding::of(missing, CHECK, text, as_root(facts, "apt-get install podman")));
    };
    let path = generator.path.display();
    Some(match generator.version {
        Some(version) if version < OLDEST_QUADLET => Finding::of(
            missing,
            CHECK,
            format!("Podman {}.{} is older than Quadlet, which came with 4.4", version.0, version.1),
            "mesh-controller --backend podman, or a newer distribution",
        ),
        Some((major, minor)) => Finding::ok(CHECK, format!("Podman {major}.{minor}, {path}")),
        None => Finding::warning(CHECK, format!("{path} is there, but `podman --version` says no version"), "podman --version"),
    })
}

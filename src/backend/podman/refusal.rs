//! From what an engine says to what a person is told: the thing, what is wrong, and the remedy.
use std::{io, path::PathBuf};

use crate::{
    Error,
    engine::{self, Engine},
    images,
};
use mesh_plan::container::Container;

/// Any refusal, with a hint where one is known.
pub(crate) fn refused(engine: &Engine, act: String, error: &engine::Error) -> Error {
    if error.is_unreachable() {
        return Error::EngineUnreachable { engine: engine.name(), why: error.why() };
    }
    let hint = hint(engine, error).map(|hint| format!("; {hint}")).unwrap_or_default();
    Error::Refused { act, why: format!("{error}{hint}") }
}

fn hint(engine: &Engine, error: &engine::Error) -> Option<String> {
    if error.says("no space left on device") {
        return Some(format!("make room: {} system prune, or a larger disk for {}", engine.program(), storage(engine)));
    }
    if error.says("setrlimit") {
        return Some(
            "the engine gives containers higher limits than it may itself: start it with a higher hard limit (ulimit -H), or lower \
             default_ulimits in containers.conf"
                .to_owned(),
        );
    }
    let lacks =
        |word: &str| error.says(&format!("`{word}.")) || error.says(&format!("/{word}.")) || error.says(&format!("{word} controller"));
    ["memory", "cpu", "pids"].into_iter().find(|word| lacks(word)).map(|word| {
        format!(
            "the engine may not use the cgroup controller {word}, so leave resources.limits out, or delegate it (for a user's engine: \
             systemctl edit user@.service, Delegate={word})"
        )
    })
}

fn storage(engine: &Engine) -> &'static str {
    match (engine.kind(), engine.info().rootless) {
        (engine::Kind::Docker, _) => "/var/lib/docker",
        (engine::Kind::Podman, false) => "/var/lib/containers",
        (engine::Kind::Podman, true) => "~/.local/share/containers",
    }
}

/// Why a container did not start.
pub(super) fn not_started(engine: &Engine, container: &Container, error: &engine::Error) -> Error {
    if let Some(port) = container.port.filter(|_| error.says("address already in use") || error.says("port is already allocated")) {
        return Error::PortTaken { port: port.host };
    }
    let text = error.to_string();
    let missing = error.says("executable file") || (error.says("no such file or directory") && error.says("exec"));
    if missing {
        return Error::CommandNotFound { program: format!("{} in image {}", program(container, &text), container.image), path: None };
    }
    if let Some(error) = not_executable(error, container) {
        return error;
    }
    refused(engine, format!("start container {}", container.name), error)
}

/// That its program may not be executed. Runtimes end every refusal of the system with "OCI permission denied", whatever it was about.
fn not_executable(error: &engine::Error, container: &Container) -> Option<Error> {
    let is_it = error.says("permission denied") && error.says("exec");
    let text = error.to_string();
    is_it.then(|| Error::CommandNotExecutable {
        program: PathBuf::from(program(container, &text)),
        source: io::Error::new(io::ErrorKind::PermissionDenied, text),
    })
}

/// The program that the engine names (in quotes of one kind or another), else the first of the command.
fn program(container: &Container, text: &str) -> String {
    let quoted = ['`', '"'].into_iter().find_map(|quote| {
        let (_, rest) = text.split_once("executable file").and_then(|(_, rest)| rest.split_once(quote)).or_else(|| {
            // runc: exec: "x": executable file not found in $PATH
            text.split_once("exec: \"")
        })?;
        rest.split(['`', '"']).next().map(str::to_owned)
    });
    let of_spec = container.command.first().or(container.args.first()).cloned();
    quoted.filter(|name| !name.is_empty()).or(of_spec).unwrap_or_else(|| "the image's entrypoint".to_owned())
}

/// Why an image was not pulled.
pub(super) fn not_pulled(engine: &Engine, image: &str, error: &engine::Error) -> Error {
    if error.is_unreachable() {
        return Error::EngineUnreachable { engine: engine.name(), why: error.why() };
    }
    images::not_pulled(image, engine.program(), &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_was_not_found_is_named() {
        let container = |command: &[&str]| {
            let mut container = super::super::start::tests::container();
            container.command = command.iter().map(ToString::to_string).collect();
            container
        };
        for (text, named) in [
            ("crun: executable file `nope` not found in $PATH: No such file or directory: OCI runtime attempted", "nope"),
            ("runc create failed: exec: \"nope\": executable file not found in $PATH", "nope"),
            ("crun: cannot find it", "mine"),
        ] {
            assert_eq!(program(&container(&["mine"]), text), named, "{text}");
        }
        assert_eq!(program(&container(&[]), "x"), "the image's entrypoint");
    }

    #[test]
    fn what_the_system_forbids_the_engine_is_told_in_its_words_and_is_no_fault_of_the_program() {
        let container = super::super::start::tests::container();
        let told = |text: &str| {
            let error = engine::Error::Answer { status: 500, message: text.to_owned() };
            not_executable(&error, &container).map(|error| error.to_string())
        };
        assert_eq!(told("crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied"), None);
        let said = told("crun: open executable: Permission denied: OCI permission denied").unwrap();
        assert!(said.contains("crun: open executable") && said.contains("chmod +x"), "{said}");
    }
}

//! The engine's secrets: values go in by standard input, and those of instances that are gone go.
use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{
    exit::{Code, Failure, Result},
    quadlet::{
        disk::{Change, Disk, State},
        plan::Plan,
    },
};
use mesh_backend::quadlet::render::EngineSecret;

/// Gives a secret to the engine, unless it has it with this value; whether it had another. Containers keep the value that they were made with.
pub(super) fn give(secret: &EngineSecret) -> Result<bool> {
    let there = podman(&["secret", "inspect", "--format", "{{.Spec.Name}}", &secret.name]).is_some();
    // Podman before 4.7 does not show it; then it is replaced, and whoever has changed it restarts the instances.
    let shown = podman(&["secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", &secret.name]);
    let known = shown.as_deref().map(|shown| shown.strip_suffix(b"\n").unwrap_or(shown));
    if known == Some(secret.reveal()) {
        return Ok(false);
    }
    if there && podman(&["secret", "rm", &secret.name]).is_none() {
        return Err(Failure::new(
            Code::Failed,
            format!("podman secret rm {}: it is there with another value and cannot be removed", secret.name),
        ));
    }
    create(secret)?;
    Ok(known.is_some())
}

fn create(secret: &EngineSecret) -> Result {
    let failed = |why: String| Failure::new(Code::Failed, format!("podman secret create {}: {why}", secret.name));
    let mut child = Command::new("podman")
        .args(["secret", "create", &secret.name, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(secret.reveal()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())) }
}

/// Removes the secrets of revisions whose units go, and of a task's revisions that it no longer has.
pub(super) fn take_back(disk: &Disk<'_>, plan: &Plan) -> Result {
    let name = |change: &Change| change.path.rsplit('/').next().unwrap_or_default().to_owned();
    let files: Vec<String> = disk.in_state(&[State::Unwanted]).map(name).collect();
    let revisions: Vec<&str> = files.iter().filter_map(|file| file.split_once('@').map(|(stem, _)| stem)).collect();
    // The file of a task stays the same where its revision changes.
    let changed: Vec<String> = disk.in_state(&[State::Unwanted, State::Changed]).map(name).collect();
    let unit = |file: &str| file.strip_suffix(".container").or_else(|| file.strip_suffix(".service")).map(ToOwned::to_owned);
    let tasks: Vec<String> = changed.iter().filter(|file| !file.contains('@')).filter_map(|file| unit(file)).collect();
    if revisions.is_empty() && tasks.is_empty() {
        return Ok(());
    }
    let Some(names) = podman(&["secret", "ls", "--format", "{{.Name}}"]) else { return Ok(()) };
    let names = String::from_utf8_lossy(&names).into_owned();
    let is_kind = |rest: &str| rest.starts_with("env-") || rest.starts_with("file-");
    let of_revision = |name: &str, stem: &str| name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_kind);
    let of_task = |name: &str, stem: &str| {
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.split_once('-'));
        rest.is_some_and(|(revision, rest)| is_revision(revision) && is_kind(rest))
    };
    let ours = |name: &&str| revisions.iter().any(|stem| of_revision(name, stem)) || tasks.iter().any(|stem| of_task(name, stem));
    for name in names.lines().filter(ours).filter(|name| plan.secrets.iter().all(|secret| secret.name != **name)) {
        if podman(&["secret", "rm", name]).is_none() {
            return Err(Failure::new(
                Code::Failed,
                format!("podman secret rm {name}: it could not be removed; `podman secret ls` lists them"),
            ));
        }
    }
    Ok(())
}

fn is_revision(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What `podman` printed; none if it failed.
fn podman(args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("podman").args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

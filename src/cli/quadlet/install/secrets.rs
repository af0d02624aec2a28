//! The engine's secrets: values go in by standard input, and those of instances that are gone go.
use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{
    exit::{Code, Failure, Result},
    quadlet::{
        disk::{Disk, State},
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

/// Removes the secrets of revisions whose units go.
pub(super) fn take_back(disk: &Disk<'_>, plan: &Plan) -> Result {
    let gone: Vec<&str> = disk
        .in_state(&[State::Unwanted])
        .filter_map(|change| change.path.rsplit('/').next()?.split_once('@').map(|(stem, _)| stem))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let Some(names) = podman(&["secret", "ls", "--format", "{{.Name}}"]) else { return Ok(()) };
    let names = String::from_utf8_lossy(&names).into_owned();
    let ours = |name: &&str| gone.iter().any(|stem| ["env", "file"].iter().any(|kind| name.starts_with(&format!("{stem}-{kind}-"))));
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

/// What `podman` printed; none if it failed.
fn podman(args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("podman").args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

//! Starts the program and writes down that it runs.
use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixListener, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{cgroup::Cgroup, control, failed};
use crate::instance::{LogLimits, ProcessLaunch};
use crate::{
    dir::{LOG, RECORD},
    identity,
    log::writer::LogWriter,
    record::{self, Containment, NONCE_VARIABLE, Record},
    tree,
    wire::{Reply, ShimSpec},
};
use mesh_base::clock;

/// Rounds of SIGKILL for a program that was just started.
const ROUNDS: usize = 1000;

/// A program that runs, and all that the shim holds of it.
#[derive(Debug)]
pub(crate) struct Launched {
    /// What was written down.
    pub record: Record,
    /// The program.
    pub child: Child,
    /// A hold on it that becomes readable when it ends.
    pub pidfd: OwnedFd,
    /// Its log.
    pub log: LogWriter,
    /// Where controllers connect.
    pub listener: UnixListener,
}

/// Starts the program. The record without a process id is written first: if this shim is killed in between, the nonce in it finds the program.
pub(crate) fn launch(spec: ShimSpec) -> Result<Launched, Reply> {
    let mut record = first_record(&spec).map_err(|error| failed("identify the shim", &error))?;
    let limits: LogLimits = spec.launch.log;
    let cgroup = spec.cgroup.as_ref().and_then(|delegated| Cgroup::enter(delegated, &record.nonce).ok());
    record.cgroup = cgroup.as_ref().map(|cgroup| cgroup.path().to_owned());
    save(&record)?;
    let child = command(spec.launch, &spec.program, spec.nonce).spawn();
    if let Some(cgroup) = cgroup
        && cgroup.leave().is_ok()
    {
        record.containment = Containment::Cgroup;
    }
    let child = child.map_err(|error| refused(&error, &record))?;
    let running = complete(&mut record, &child);
    let (pidfd, listener) = running.map_err(|error| failed("write down the start", &error)).inspect_err(|_| end())?;
    Ok(Launched { record, child, pidfd, log: LogWriter::open(LOG.into(), limits), listener })
}

fn first_record(spec: &ShimSpec) -> io::Result<Record> {
    Ok(Record {
        key: spec.launch.key.clone(),
        attempt: spec.launch.attempt,
        port: spec.launch.port,
        nonce: spec.nonce.clone(),
        boot_id: identity::boot_id()?,
        shim: identity::identify(rustix::process::getpid().as_raw_nonzero().get())?,
        child: None,
        since: clock::now(),
        containment: Containment::Subreaper,
        cgroup: None,
        stopping: None,
    })
}

fn save(record: &Record) -> Result<(), Reply> {
    record::write(RECORD.as_ref(), record).map_err(|error| failed("write the record", &error))
}

/// The secrets in the launch end with this command.
pub(crate) fn command(launch: ProcessLaunch, program: &Path, nonce: String) -> Command {
    let mut argv = launch.argv.into_iter();
    let mut command = Command::new(program);
    if let Some(name) = argv.next() {
        command.arg0(name);
    }
    command.args(argv).env_clear().current_dir(launch.working_dir).process_group(0);
    command.envs(launch.env.iter().map(|(name, value)| (name, value.reveal()))).env(NONCE_VARIABLE, nonce);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn complete(record: &mut Record, child: &Child) -> io::Result<(OwnedFd, UnixListener)> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let pidfd = identity::hold(pid)?.ok_or_else(|| io::Error::other("no pidfd"))?;
    record.child = Some(identity::identify(pid)?);
    record::write(RECORD.as_ref(), record)?;
    Ok((pidfd, control::listen()?))
}

fn refused(error: &io::Error, record: &Record) -> Reply {
    if let Some(group) = &record.cgroup {
        super::cgroup::remove(group);
    }
    not_executed(error)
}

/// What the system said against executing a program.
pub(crate) fn not_executed(error: &io::Error) -> Reply {
    match error.raw_os_error() {
        Some(errno) => Reply::Exec { errno },
        None => failed("start the program", error),
    }
}

/// Nobody would know of it: everything below this shim is ended with it.
fn end() {
    let shim = rustix::process::getpid().as_raw_nonzero().get();
    for _ in 0..ROUNDS {
        if tree::kill_below(shim).is_ok_and(|alive| alive == 0) {
            break;
        }
    }
}

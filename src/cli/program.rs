//! The two programs as a whole, and what both do around their work: the TLS provider, the runtime, and the exit code at the end.
use std::{future::Future, io::ErrorKind, process::ExitCode};

use clap::Parser;

use super::{
    Mesh, Verb,
    daemon::Daemon,
    exit::{Code, Failure, Result},
    output,
};
use mesh_kit::{
    descriptors,
    telemetry::{self, LogFormat},
};
use mesh_router::listener::passed::Passed;

/// All of `mesh-controller`: parse → telemetry → run → exit code.
pub fn controller() -> ExitCode {
    // First of all: it changes the environment, which only a process of one thread may do.
    let passed = Passed::take();
    raise_descriptors();
    let daemon = match Daemon::try_parse() {
        Ok(daemon) => daemon,
        Err(error) => return said(&error),
    };
    let (format, filter) = daemon.telemetry();
    run("mesh-controller", format, &filter, async { daemon.run(passed.map_err(anyhow::Error::from)?).await })
}

/// All of `mesh`.
pub fn mesh() -> ExitCode {
    let mesh = match Mesh::try_parse() {
        Ok(mesh) => mesh,
        Err(error) => return said(&error),
    };
    // The other verbs hold a few connections.
    if matches!(mesh.verb, Verb::Run(_)) {
        raise_descriptors();
    }
    let (format, filter) = mesh.telemetry();
    run("mesh", format, &filter, mesh.run())
}

/// Without it there is room for fewer connections, which the router takes into account.
fn raise_descriptors() {
    if let Err(error) = descriptors::raise() {
        output::complain("mesh", &format!("the limit of file descriptors stays as it is: {error}"));
    }
}

/// Runs the work to its end on a small runtime; prints why it failed, and gives the exit code.
fn run(name: &str, log_format: LogFormat, log_filter: &str, work: impl Future<Output = Result>) -> ExitCode {
    let end = prepare(log_format, log_filter).and_then(|()| runtime()).and_then(|runtime| {
        let end = runtime.block_on(work);
        // Whatever still blocks (a read from a terminal) must not keep the process.
        runtime.shutdown_background();
        end
    });
    match end {
        Ok(()) => Code::Ok.into(),
        Err(failure) => {
            output::complain(name, &failure.text());
            failure.code.into()
        }
    }
}

/// Help, the version, or what is wrong with the arguments.
fn said(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(failed) if !error.use_stderr() && failed.kind() != ErrorKind::BrokenPipe => {
            output::complain("mesh", &output::failure(failed).text());
            Code::Failed.into()
        }
        Ok(()) | Err(_) if error.use_stderr() => Code::Usage.into(),
        Ok(()) | Err(_) => Code::Ok.into(),
    }
}

fn prepare(log_format: LogFormat, log_filter: &str) -> Result {
    telemetry::init(log_format, log_filter).map_err(|text| Failure::new(Code::Usage, text))?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Failure::new(Code::Failed, "another TLS provider is installed already"))
}

/// Two workers: the work is waiting, and every further thread costs memory.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

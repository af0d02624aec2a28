//! What both binaries do around their work: the shim before all else, the TLS provider, the runtime, and the exit code at the end.
use std::{ffi::OsStr, future::Future, process::ExitCode};

use super::exit::{Code, Failure, Result};
use crate::{
    backend::process::shim,
    kit::telemetry::{self, LogFormat},
};

/// The hidden verb by which the process backend starts the holder of an instance from either binary.
const SHIM: &str = "shim";

/// The end of the shim, if this process was started as one. Asked before anything else: a shim has no runtime and opens nothing of its own.
pub fn shim() -> Option<ExitCode> {
    (std::env::args_os().nth(1).as_deref() == Some(OsStr::new(SHIM))).then(shim::main)
}

/// Runs the work to its end on a small runtime; prints why it failed, and gives the exit code.
pub fn run(name: &str, log_format: LogFormat, log_filter: &str, work: impl Future<Output = Result>) -> ExitCode {
    let end = prepare(log_format, log_filter).and_then(|()| runtime()).and_then(|runtime| {
        let end = runtime.block_on(work);
        // Whatever still blocks (a read from a terminal) must not keep the process.
        runtime.shutdown_background();
        end
    });
    match end {
        Ok(()) => Code::Ok.into(),
        Err(failure) => {
            for line in failure.text().lines() {
                eprintln!("{name}: {line}");
            }
            failure.code.into()
        }
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

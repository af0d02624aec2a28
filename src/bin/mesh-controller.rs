//! The controller process: parse → telemetry → run → exit code.
use std::process::ExitCode;

use clap::Parser;
use mesh_controller::cli::{daemon::Daemon, program};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(end) = program::shim() {
        return end;
    }
    let daemon = Daemon::parse();
    let (format, filter) = daemon.telemetry();
    program::run("mesh-controller", format, &filter, daemon.run())
}

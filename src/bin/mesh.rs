//! The command line for people: parse → telemetry → run → exit code.
use std::process::ExitCode;

use clap::Parser;
use mesh_controller::cli::{Mesh, program};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(end) = program::shim() {
        return end;
    }
    let mesh = Mesh::parse();
    let (format, filter) = mesh.telemetry();
    program::run("mesh", format, &filter, mesh.run())
}

//! The controller process. All of it is in the library, so that it is compiled once.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mesh_cli::program::controller()
}

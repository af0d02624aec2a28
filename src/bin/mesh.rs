//! The command line for people. All of it is in the library, so that it is compiled once.
use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_cli::program::mesh()
}

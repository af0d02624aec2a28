//! Holds one instance's program, its log and its exit status; started by mesh-controller only. A program of its own, because there is one
//! for each instance: it has a twentieth of the controller's pages.
use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_shim::main()
}

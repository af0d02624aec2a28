//! The controller process.
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "shim") {
        return mesh_controller::backend::process::shim::main();
    }
    ExitCode::SUCCESS
}

//! `mesh completion`: a script that teaches a shell the verbs and flags.
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Mesh, exit::Result, output};

/// Print a completion script, for example: source <(mesh completion bash)
#[derive(Debug, Args)]
pub struct Completion {
    /// For which shell.
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    pub fn run(self) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Mesh::command(), "mesh", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}

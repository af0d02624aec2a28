//! Runs a command beside an instance (an `exec` probe), under a shim of its own: that is the reaper of all the command starts, whatever session it has
//! made for itself, and ends it with the command, with its time, and with the controller.
use std::{io, time::Duration};

use super::{
    Inner, program,
    start::{ask, new_nonce, said},
    system,
};
use crate::{Error, ExecOutput};
use mesh_plan::instance::ProcessLaunch;
use mesh_shim::wire::{CommandEnd, CommandSpec, Order, Reply};

/// A shim that answers later than this after the command's time does not answer at all.
const SLACK: Duration = Duration::from_secs(10);

impl Inner {
    /// Runs it. If nobody waits for it any more, the end of the connection tells its shim to end it.
    pub(crate) async fn exec(&self, launch: &ProcessLaunch, argv: &[String], limit: Duration) -> Result<ExecOutput, Error> {
        let launch = ProcessLaunch { argv: argv.to_vec(), ..launch.clone() };
        let (key, program) = (launch.key.clone(), program::resolve(&launch)?);
        let (nonce, limit_ms) = (new_nonce(), u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let spec = CommandSpec { program: program.clone(), launch, limit_ms, nonce: nonce.clone(), cgroup: self.cgroup.clone() };
        let (mut shim, mut socket) = self.spawn().map_err(system("start the shim", &self.shim))?;
        let reply = match ask(&mut socket, &Order::Run(Box::new(spec)), limit.saturating_add(SLACK)).await {
            Ok(reply) => reply,
            Err(error) => {
                self.end_shim(&mut shim, &nonce).await;
                return Err(system("execute under the shim", &program)(error));
            }
        };
        // It has nothing more to do; its status says nothing that the reply does not.
        let _ = shim.wait().await;
        match reply {
            Reply::Ended(CommandEnd { code, timed_out, output }) => Ok(ExecOutput { code, output, timed_out }),
            Reply::Exec { errno } => Err(program::refusal(program, errno)),
            Reply::Failed { act, error, errno } => Err(system(&format!("{act} for {key}:"), &program)(said(error, errno))),
            Reply::Started(_) | Reply::Held => Err(system("execute", &program)(io::ErrorKind::InvalidData.into())),
        }
    }
}

//! Runs a command in an instance's container (an `exec` probe): bounded in time and in what is kept of its output.
use std::{sync::Arc, time::Duration};

use super::{Inner, process, refusal::refused};
use crate::{Error, ExecOutput, output::KEPT};
use mesh_plan::instance::{InstanceKey, Observed};

impl Inner {
    pub(super) async fn exec(self: &Arc<Self>, key: &InstanceKey, argv: &[String], limit: Duration) -> Result<ExecOutput, Error> {
        let slot = self.slots.of(key);
        let held = {
            let mut state = slot.state.lock().await;
            match self.look(&slot, &mut state).await? {
                Observed::Running(_) => state.held.clone(),
                Observed::Absent | Observed::Exited(_) => None,
            }
        };
        let act = || format!("execute {} in {key}", argv.first().map(String::as_str).unwrap_or_default());
        let Some(held) = held else { return Err(Error::Refused { act: act(), why: "it does not run".to_owned() }) };
        let ended = match self.engine.exec(&held.id, argv, limit, KEPT).await {
            Err(error) if error.says("executable file") || error.says("no such file or directory") => {
                return Err(Error::CommandNotFound { program: argv.first().cloned().unwrap_or_default(), path: None });
            }
            ended => ended.map_err(|error| refused(&self.engine, act(), &error))?,
        };
        let output = String::from_utf8_lossy(&ended.output).into_owned();
        // Podman 4 says so in the output, where the program's own words would stand.
        if matches!(ended.code, Some(126 | 127)) && output.contains("OCI runtime") && output.contains("executable file") {
            return Err(Error::CommandNotFound { program: argv.first().cloned().unwrap_or_default(), path: None });
        }
        if let Some(pid) = ended.runs_on {
            process::kill(pid, &held.id).map_err(|source| Error::System { act: act(), source })?;
        }
        let code = ended.code.and_then(|code| i32::try_from(code).ok());
        let timed_out = ended.runs_on.is_some() || ended.code.is_none();
        Ok(ExecOutput { code, output, timed_out })
    }
}

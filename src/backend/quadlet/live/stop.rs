//! Telling an instance to end: systemd does it, also when this process is gone.
use std::{sync::Arc, time::Duration};

use super::{Inner, state::Phase};
use crate::Error;
use mesh_plan::instance::InstanceKey;

impl Inner {
    /// Asks it to end, and returns. The unit has the grace of the spec; a shorter one is kept from here.
    pub(super) async fn stop(self: &Arc<Self>, key: &InstanceKey, grace: Duration) -> Result<(), Error> {
        let lock = self.index.lock(&key.uid);
        let _one = lock.lock().await;
        let Some((record, state)) = self.look(&key.uid).await? else { return Ok(()) };
        let unit = record.unit();
        if matches!(state.phase(), Phase::Idle | Phase::Ended) && !state.waits() {
            return Ok(());
        }
        if state.phase() != Phase::Stopping {
            self.bus.stop(&unit).await?;
        }
        if grace.is_zero() {
            return self.bus.kill(&unit).await;
        }
        if grace < Duration::from_secs(record.grace) {
            let (inner, run) = (Arc::clone(self), state.invocation);
            self.shutdown.spawn_work(async move {
                tokio::select! {
                    () = tokio::time::sleep(grace) => inner.cut_short(&unit, &run).await,
                    () = inner.shutdown.triggered() => {}
                }
            });
        }
        Ok(())
    }

    /// Kills a run that is still on its way down.
    async fn cut_short(&self, unit: &str, run: &str) {
        let still = self.bus.state(unit).await.is_ok_and(|state| state.phase() == Phase::Stopping && state.invocation == run);
        if still && let Err(error) = self.bus.kill(unit).await {
            tracing::warn!(unit, %error, "could not be killed after its grace; systemd does it later");
        }
    }
}

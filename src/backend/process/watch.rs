//! Goes round the instances that run: has somebody else got an instance's port, is there anybody in its tree whom nothing but its shim holds?
//! What is found is told as "look again".
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Inner, slot::Held};

/// Between two rounds: for so long at most a program that took over an instance's port gets its requests. A round is one reading of the kernel's
/// table of listening sockets, for all of them.
const ROUND: Duration = Duration::from_millis(200);
/// Between two looks at the tree of an instance.
const TREE: Duration = Duration::from_secs(5);

impl Inner {
    /// Begins with the first instance, and goes on until shutdown.
    pub(crate) fn watch(self: &Arc<Self>) {
        if self.watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::clone(self);
        self.shutdown.spawn_work(async move {
            let mut rounds = interval(ROUND);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut end = std::pin::pin!(inner.shutdown.triggered());
            loop {
                tokio::select! {
                    () = &mut end => return,
                    now = rounds.tick() => inner.round(now),
                }
            }
        });
    }

    fn round(&self, now: Instant) {
        for slot in self.slots.all() {
            // One that is being started, stopped or looked at is in good hands.
            let Ok(mut slot) = slot.try_lock() else { continue };
            let Some(held) = slot.as_mut().filter(|held| held.lives()) else { continue };
            if self.has_changed_hands(held) {
                self.subscribers.tell(&held.record.key);
            }
            self.look_for_strays(held, now);
        }
    }

    fn look_for_strays(&self, held: &mut Held, now: Instant) {
        if held.strays.is_due(now, TREE)
            && let Ok(dir) = self.dir(&held.record.key)
        {
            held.strays.look(&held.record, &dir);
        }
    }
}

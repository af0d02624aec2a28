//! Pulls of images that are under way: one per reference, however many instances wait for it.
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// So long a start waits for a pull before it says that it is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a pull is.
#[derive(Debug, Clone)]
pub(crate) enum Progress<E> {
    /// It goes on; what the engine said last.
    Going(String),
    /// It is over.
    Over(Result<(), E>),
}

/// Which start asks: a start that waited for a pull has its outcome, even if it comes back after the end.
pub(crate) type Claim = (String, u32);

#[derive(Debug)]
struct Pull<E> {
    progress: watch::Receiver<Progress<E>>,
    claims: HashSet<Claim>,
}

/// All of them, by reference.
#[derive(Debug)]
pub(crate) struct Pulls<E>(Mutex<HashMap<String, Pull<E>>>);

impl<E> Default for Pulls<E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<E: Clone> Pulls<E> {
    /// How far the pull is that this start waits for, once it has waited a little; if there is none, `begin` is told to begin it.
    pub(crate) async fn wait(&self, image: &str, claim: &Claim, begin: impl FnOnce(watch::Sender<Progress<E>>)) -> Progress<E> {
        let mut progress = self.join(image, claim, begin);
        // Not over in time, or cut off by the end of this process: then it counts as going on.
        let _ = timeout(PATIENCE, progress.wait_for(|progress| matches!(progress, Progress::Over(_)))).await;
        let now = progress.borrow().clone();
        if matches!(now, Progress::Over(_)) {
            self.leave(image, claim);
        }
        now
    }

    /// The pull that this start waits for; if there is none, `begin` is told to begin it.
    fn join(&self, image: &str, claim: &Claim, begin: impl FnOnce(watch::Sender<Progress<E>>)) -> watch::Receiver<Progress<E>> {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pull) = pulls.get_mut(image) {
            let goes_on = matches!(*pull.progress.borrow(), Progress::Going(_)) && pull.progress.has_changed().is_ok();
            if goes_on || pull.claims.contains(claim) {
                pull.claims.insert(claim.clone());
                return pull.progress.clone();
            }
        }
        let (sender, progress) = watch::channel(Progress::Going(String::new()));
        pulls.insert(image.to_owned(), Pull { progress: progress.clone(), claims: HashSet::from([claim.clone()]) });
        drop(pulls);
        begin(sender);
        progress
    }

    /// A start has taken note of the outcome: the next one pulls anew.
    fn leave(&self, image: &str, claim: &Claim) {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pull) = pulls.get_mut(image) {
            pull.claims.remove(claim);
            if pull.claims.is_empty() && matches!(*pull.progress.borrow(), Progress::Over(_)) {
                pulls.remove(image);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_waited_has_the_outcome_and_the_next_one_pulls_anew() {
        let pulls: Pulls<String> = Pulls::default();
        let mut begun = Vec::new();
        let claim = |uid: &str, attempt| (uid.to_owned(), attempt);
        pulls.join("web", &claim("a", 0), |sender| begun.push(sender));
        pulls.join("web", &claim("b", 0), |sender| begun.push(sender));
        assert_eq!(begun.len(), 1, "one pull for both");
        begun[0].send_replace(Progress::Over(Ok(())));
        let a = pulls.join("web", &claim("a", 0), |sender| begun.push(sender));
        assert!(matches!(*a.borrow(), Progress::Over(Ok(()))) && begun.len() == 1);
        pulls.leave("web", &claim("a", 0));
        assert!(matches!(*pulls.join("web", &claim("b", 0), |sender| begun.push(sender)).borrow(), Progress::Over(Ok(()))));
        pulls.join("web", &claim("a", 1), |sender| begun.push(sender));
        assert_eq!(begun.len(), 2, "another start follows a tag that may have moved");
    }
}

//! The connections of a port of which there may be so many: where one more comes, the first on which nothing is asked gives way.
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::AbortHandle;

/// The connections, in the order in which they came.
#[derive(Debug)]
pub struct Guests {
    most: usize,
    all: VecDeque<(AbortHandle, Asked)>,
}

/// How much was asked on a connection and is not answered yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<AtomicUsize>);

/// Something is being answered, for as long as this is kept.
#[derive(Debug)]
pub struct Answering(Asked);

impl Asked {
    /// One request more.
    pub fn begin(&self) -> Answering {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guests {
    /// None yet, and so many at the most.
    pub fn new(most: usize) -> Self {
        Self { most, all: VecDeque::new() }
    }

    /// A new one, which a task serves. If there are too many then, another gives way, if there is one on which nothing is asked; true if one does.
    pub fn enter(&mut self, task: AbortHandle, asked: Asked) -> bool {
        self.all.retain(|(task, _)| !task.is_finished());
        let idle = |(_, asked): &(AbortHandle, Asked)| asked.0.load(Ordering::Relaxed) == 0;
        let first = self.all.iter().position(idle).filter(|_| self.all.len() >= self.most);
        let gives_way = first.and_then(|first| self.all.remove(first)).map(|(task, _)| task.abort()).is_some();
        self.all.push_back((task, asked));
        gives_way
    }

    /// Whether there is no place even so.
    pub fn are_too_many(&mut self) -> bool {
        self.all.retain(|(task, _)| !task.is_finished());
        self.all.len() >= self.most && self.all.iter().all(|(_, asked)| asked.0.load(Ordering::Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn the_first_on_which_nothing_is_asked_gives_way_and_none_that_waits_for_its_answer() {
        let (mut tasks, mut guests) = (JoinSet::new(), Guests::new(2));
        let asked: Vec<Asked> = (0..4).map(|_| Asked::default()).collect();
        let answering = asked[0].begin();
        for asked in asked.iter().take(3) {
            guests.enter(tasks.spawn(std::future::pending::<()>()), asked.clone());
        }
        // The second: it had asked nothing.
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(tasks.len(), 2);
        let other = asked[2].begin();
        assert!(guests.are_too_many());
        drop(other);
        assert!(!guests.are_too_many());
        drop(answering);
        guests.enter(tasks.spawn(std::future::pending::<()>()), asked[3].clone());
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    }
}

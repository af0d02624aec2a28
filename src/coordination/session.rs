//! Who asks: one run of an instance, from its start to its end. Locks are bound to it, and end with it.
//!
//! The node's agent says which runs live; whoever decides about locks reads it here and is woken by changes. Bounded by what runs: one entry for each instance.
use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// One run of an instance. Written as `<instance>_<uid>_<attempt>`: so it stands in a Lease as its holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// The instance's name.
    pub instance: String,
    /// Its uid.
    pub uid: String,
    /// Which start of it.
    pub attempt: u32,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.instance, self.uid, self.attempt)
    }
}

/// A holder that is no run of an instance: somebody else takes part, such as a program with a Kubernetes client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a run")]
pub struct NoSession;

impl FromStr for Session {
    type Err = NoSession;

    fn from_str(text: &str) -> Result<Self, NoSession> {
        let mut parts = text.rsplitn(3, '_');
        let (attempt, uid, instance) = (parts.next(), parts.next(), parts.next());
        let attempt = attempt.and_then(|attempt| attempt.parse().ok()).ok_or(NoSession)?;
        let plain = |part: Option<&str>| part.filter(|part| !part.is_empty()).map(str::to_owned).ok_or(NoSession);
        Ok(Self { instance: plain(instance)?, uid: plain(uid)?, attempt })
    }
}

/// What is known here of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs here.
    Lives,
    /// It ran here, and has ended.
    Ended,
    /// Nothing: it runs elsewhere, or was not looked at yet.
    Unknown,
}

/// Which runs live. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: Mutex<Runs>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Runs {
    /// By uid: the newest attempt that was seen, and whether it lives.
    by_uid: HashMap<String, (Session, Standing)>,
    /// Those that may live and were not looked at yet; none while that is not known.
    listed: Option<HashSet<String>>,
    news: News,
}

/// What changed since it was last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// What is known now of the newest run, by uid; none where nothing of it is left.
    by_uid: HashMap<String, Option<(Session, Standing)>>,
    /// It is known now what may live.
    listed: bool,
}

impl News {
    /// What is to be told of a run; none if nothing changed that concerns it.
    pub fn of(&self, session: &Session) -> Option<Standing> {
        match self.by_uid.get(&session.uid) {
            Some(Some(known)) => Some(of_newest(known, session)),
            Some(None) => Some(Standing::Ended),
            None => self.listed.then_some(Standing::Unknown),
        }
    }
}

/// What is known of a run, where this is known of the newest of its instance.
fn of_newest((newest, standing): &(Session, Standing), session: &Session) -> Standing {
    match newest.attempt.cmp(&session.attempt) {
        Ordering::Equal => *standing,
        // It has ended, whoever saw it.
        Ordering::Greater => Standing::Ended,
        Ordering::Less => Standing::Unknown,
    }
}

impl Runs {
    /// Takes note that an instance was looked at; true if that is the first time.
    fn looked_at(&mut self, uid: &str) -> bool {
        self.listed.as_mut().is_some_and(|listed| listed.remove(uid))
    }
}

impl Sessions {
    /// It was seen to run.
    pub fn lives(&self, session: Session) {
        self.note(session, Standing::Lives);
    }

    /// It was seen to have ended.
    pub fn ended(&self, session: Session) {
        self.note(session, Standing::Ended);
    }

    fn note(&self, session: Session, standing: Standing) {
        self.change(|runs| {
            if let Some((known, stands)) = runs.by_uid.get(&session.uid) {
                // A run that has ended does not begin again, and what is older than another has ended.
                if known.attempt > session.attempt || (known.attempt == session.attempt && [standing, Standing::Ended].contains(stands)) {
                    return false;
                }
            }
            runs.looked_at(&session.uid);
            runs.news.by_uid.insert(session.uid.clone(), Some((session.clone(), standing)));
            runs.by_uid.insert(session.uid.clone(), (session, standing));
            true
        });
    }

    /// None of its runs goes on: the newest that was seen has ended.
    pub fn stopped(&self, uid: &str) {
        self.change(|runs| match runs.by_uid.get_mut(uid) {
            Some((session, standing @ (Standing::Lives | Standing::Unknown))) => {
                *standing = Standing::Ended;
                runs.news.by_uid.insert(uid.to_owned(), Some((session.clone(), Standing::Ended)));
                true
            }
            Some((_, Standing::Ended)) | None => false,
        });
    }

    /// Nothing is left of the instance: whatever ran of it has ended.
    pub fn gone(&self, uid: &str) {
        self.change(|runs| {
            // Not looked at before: what ran has ended while nobody looked.
            let known = runs.looked_at(uid) | runs.by_uid.remove(uid).is_some();
            if known {
                runs.news.by_uid.insert(uid.to_owned(), None);
            }
            known
        });
    }

    /// Nothing lives here but of these, and of what was seen.
    pub fn listed(&self, uids: HashSet<String>) {
        self.change(|runs| {
            runs.listed = Some(uids.into_iter().filter(|uid| !runs.by_uid.contains_key(uid)).collect());
            runs.news.listed = true;
            true
        });
    }

    /// Whether it is known that nothing of its instance lives here.
    pub fn is_missing(&self, session: &Session) -> bool {
        let runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        !runs.by_uid.contains_key(&session.uid) && runs.listed.as_ref().is_some_and(|listed| !listed.contains(&session.uid))
    }

    fn change(&self, change: impl FnOnce(&mut Runs) -> bool) {
        if change(&mut self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.0.changed.send_replace(());
        }
    }

    /// What is known of a run.
    pub fn standing(&self, session: &Session) -> Standing {
        let runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.by_uid.get(&session.uid).map_or(Standing::Unknown, |known| of_newest(known, session))
    }

    /// The newest run that was seen of the instance, and what is known of it.
    pub fn newest(&self, uid: &str) -> Option<(Session, Standing)> {
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner).by_uid.get(uid).cloned()
    }

    /// Woken whenever something changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// What has begun or ended since this was last asked; for the one who decides about locks.
    pub fn take_news(&self) -> News {
        std::mem::take(&mut self.0.runs.lock().unwrap_or_else(PoisonError::into_inner).news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(attempt: u32) -> Session {
        Session { instance: "web-1a-0".into(), uid: "u-1".into(), attempt }
    }

    #[test]
    fn a_holder_is_a_run_only_if_it_reads_as_one() {
        assert_eq!("web-1a-0_u-1_7".parse(), Ok(run(7)));
        assert_eq!(run(7).to_string().parse(), Ok(run(7)));
        for other in ["", "host", "host_3fd1", "_u_1", "web__1", "web_u_x", "host_3fd1-2c_-1"] {
            assert_eq!(other.parse::<Session>(), Err(NoSession), "{other}");
        }
    }

    #[test]
    fn a_run_that_ended_does_not_begin_again_and_a_newer_one_ends_those_before() {
        let sessions = Sessions::default();
        assert_eq!(sessions.standing(&run(0)), Standing::Unknown);
        sessions.lives(run(0));
        sessions.ended(run(0));
        sessions.lives(run(0));
        assert_eq!(sessions.standing(&run(0)), Standing::Ended);
        sessions.lives(run(1));
        // Nobody saw it end.
        sessions.lives(run(3));
        sessions.ended(run(1));
        assert_eq!([0, 1, 2, 3, 4].map(|attempt| sessions.standing(&run(attempt))), {
            use Standing::{Ended, Lives, Unknown};
            [Ended, Ended, Ended, Lives, Unknown]
        });
        let of_all = || {
            let news = sessions.take_news();
            [0, 3, 4].map(|attempt| news.of(&run(attempt)))
        };
        assert_eq!(of_all(), [Some(Standing::Ended), Some(Standing::Lives), Some(Standing::Unknown)]);
        assert_eq!(of_all(), [None; 3]);
        sessions.stopped("u-1");
        sessions.stopped("u-1");
        assert_eq!(of_all(), [Some(Standing::Ended), Some(Standing::Ended), Some(Standing::Unknown)]);
        assert_eq!(sessions.newest("u-1"), Some((run(3), Standing::Ended)));
        sessions.lives(run(4));
        sessions.gone("u-1");
        assert_eq!((of_all(), sessions.newest("u-1")), ([Some(Standing::Ended); 3], None));
    }

    #[test]
    fn once_it_is_known_what_may_live_all_else_is_missing_and_what_is_not_found_of_that_has_ended() {
        let sessions = Sessions::default();
        let other = Session { uid: "u-2".into(), ..run(0) };
        sessions.gone("u-1");
        assert!(!sessions.is_missing(&other) && sessions.take_news().of(&run(0)).is_none());
        sessions.listed(["u-1".to_owned()].into());
        assert_eq!([run(0), other].map(|session| sessions.is_missing(&session)), [false, true]);
        assert_eq!(sessions.take_news().of(&run(0)), Some(Standing::Unknown));
        sessions.gone("u-1");
        assert_eq!(sessions.take_news().of(&run(0)), Some(Standing::Ended));
        sessions.lives(run(1));
        assert_eq!(sessions.take_news().of(&run(0)), Some(Standing::Ended), "an older run of which nobody here knew");
    }
}

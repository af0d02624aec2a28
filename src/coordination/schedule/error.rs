//! What can be wrong with a schedule, said to the one who wrote it.
use mesh_api::duration::Duration;
use mesh_kit::meant::did_you_mean;

const FORMS: &str = "write five fields (minute hour day-of-month month day-of-week) or six with the second first, \
                     or @every 10m, @hourly, @daily, @weekly, @monthly, @yearly";

/// A schedule that cannot be read. Trying again does not help; the spec must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field is wrong, there are too few or too many, or there is no such short name.
    #[error("spec.schedule: {text:?}: {wrong}; {}", FORMS)]
    Fields {
        /// The schedule.
        text: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// What stands behind `@every` is no interval.
    #[error(
        "spec.schedule: {text:?}: the interval is a duration of whole seconds, at least 1s; write for example @every 30s, @every 1h30m"
    )]
    Interval {
        /// The schedule.
        text: String,
    },
    /// `TZ=` or `CRON_TZ=`, which Kubernetes refuses too.
    #[error("spec.schedule: {text:?}: the time zone does not stand in the schedule; write it as spec.timeZone")]
    ZoneInSchedule {
        /// The schedule.
        text: String,
    },
    /// No day is as the schedule wants it.
    #[error("spec.schedule: {text:?} never comes: none of its months has such a day; write a day that there is")]
    Never {
        /// The schedule.
        text: String,
    },
    /// Runs would be spread over more time than there is.
    #[error("spec.jitter: {jitter} is longer than the shortest time between two runs of the schedule: write at most {shortest}")]
    Jitter {
        /// The jitter.
        jitter: Duration,
        /// The shortest time.
        shortest: Duration,
    },
    /// The time zone database of this machine does not have the zone.
    #[error("spec.timeZone: {name:?} is not in the time zone database of this machine; write a name like Europe/Berlin or UTC{meant}")]
    UnknownZone {
        /// The zone.
        name: String,
        /// Which one was meant, if one is near.
        meant: String,
    },
}

impl Error {
    pub(super) fn unknown_zone(name: &str) -> Self {
        let known: Vec<_> = jiff::tz::db().available().collect();
        let meant = did_you_mean(name, known.iter().map(jiff::tz::TimeZoneName::as_str));
        Self::UnknownZone { name: name.to_owned(), meant }
    }
}

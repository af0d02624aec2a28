//! When a task runs: the clock of a `MeshTask`, in the meaning of Kubernetes' `CronJob`. Pure; called by the reconcile of tasks.
//!
//! A [`Schedule`] is read from `spec.schedule` and `spec.timeZone`. The moments that it names are its slots, each a whole second;
//! [`decide`] says for each slot once whether its run is to start or why it is missed. The run of a slot is called [`slot_name`]:
//! whoever decides the same slot again after a crash finds its object there already.
mod cron;
mod decide;
mod error;
mod name;

#[cfg(test)]
mod daylight;
#[cfg(test)]
mod model;

use jiff::{Timestamp, tz::TimeZone};

use self::cron::Cron;
use mesh_api::duration::Duration;

pub use self::{
    cron::Fields,
    decide::{ConcurrencyPolicy, Decision, Missed, Policy, Reason, Run, State, decide},
    error::Error,
    name::slot_name,
};

/// The year that stands for all where a schedule is looked at as a whole.
const LOOKED_AT: (Timestamp, Timestamp) = (Timestamp::constant(1_704_067_200, 0), Timestamp::constant(1_735_689_600, 0));

/// Which moments a task is to run at.
#[derive(Debug, Clone)]
pub struct Schedule {
    rule: Rule,
    anchor: Timestamp,
}

/// What a schedule says, for whoever says it to another clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Local times in the schedule's zone.
    Cron(Fields),
    /// Every so many seconds, at least one.
    Every(i64),
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>),
    /// Every so many seconds, at least one.
    Every(i64),
}

impl Schedule {
    /// Reads `spec.schedule` and `spec.timeZone`. An error is the user's to mend: it stays until the spec changes.
    ///
    /// The schedule is one of
    /// - five fields, minute hour day-of-month month day-of-week, or six with the second first. A field is `*` or a list of numbers and
    ///   ranges, each with a step if wanted: `0,30`, `9-17`, `*/15`, `8-18/2`, `5/20` (from 5 on). Months and weekdays have names, `JAN`
    ///   and `MON`; Sunday is 0 or 7; `?` is `*`. As in a CronJob, where both day fields are restricted (neither is `*`) a day of either is meant;
    /// - `@hourly`, `@daily` or `@midnight`, `@weekly` (Sunday), `@monthly`, `@yearly` or `@annually`, each at its first moment;
    /// - `@every` and a duration in the Gateway API's form, `@every 1h30m`, of whole seconds. It knows no time zone; where it counts from
    ///   says [`Self::anchored_at`].
    ///
    /// The time zone is a name of the IANA database, UTC if there is none. (A CronJob's is then the one of the controller's machine.)
    /// What happens where the clocks of the zone are changed stands at [`Self::next_after`].
    pub fn parse(schedule: &str, time_zone: Option<&str>) -> Result<Self, Error> {
        let zone = time_zone.map_or(Ok(TimeZone::UTC), zone)?;
        let text = schedule.trim();
        if text.contains("TZ=") {
            return Err(Error::ZoneInSchedule { text: text.to_owned() });
        }
        let rule = match text.strip_prefix("@every ") {
            Some(interval) => Rule::Every(seconds(interval.trim()).ok_or_else(|| Error::Interval { text: text.to_owned() })?),
            None => Rule::Cron(Box::new(Cron::parse(text, zone)?)),
        };
        Ok(Self { rule, anchor: Timestamp::UNIX_EPOCH })
    }

    /// The same for a task that was created then: its `@every` slots are whole intervals from that second, whenever the controller starts
    /// or looks. Without it they are from 1970.
    #[must_use]
    pub fn anchored_at(self, created: Timestamp) -> Self {
        Self { anchor: Timestamp::from_second(created.as_second()).unwrap_or(created), ..self }
    }

    /// The first slot after a moment.
    ///
    /// Where clocks are changed, it is the hour field that counts.
    /// - It names certain hours (`30 2 * * *`, `*/10 2-4 * * *`): every local time of the day has its slot once. One that is skipped in
    ///   spring is moved to the first moment after the gap; slots that meet in that moment, moved there or named so, are one. A local time
    ///   that comes twice in autumn is its first occurrence.
    /// - It names all 24 (`*`, `*/1`, `0-23`): what counts is the time that passes. Each hour that is lived through has its slots, the
    ///   repeated one again; an hour that is skipped has none.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => cron.next_after(moment),
            Rule::Every(interval) => {
                let passed = moment.duration_since(self.anchor).as_nanos().div_euclid(i128::from(*interval) * 1_000_000_000);
                let since = interval.checked_mul(i64::try_from(passed + 1).ok()?)?;
                Timestamp::from_second(self.anchor.as_second().checked_add(since)?).ok()
            }
        }
    }

    /// Whether runs can be spread over so much time: the shortest between two slots gives room for it. Of cron's forms those of 2024 are looked at, a leap
    /// year, or the first thousand of them.
    pub fn check_jitter(&self, jitter: Duration) -> Result<(), Error> {
        let shortest = match &self.rule {
            Rule::Every(interval) => Some(*interval),
            Rule::Cron(_) => {
                let slots: Vec<_> = self.slots(LOOKED_AT.0, LOOKED_AT.1).take(1000).collect();
                slots.iter().zip(slots.iter().skip(1)).map(|(one, next)| next.duration_since(*one).as_secs()).min()
            }
        };
        let shortest = shortest.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        shortest.filter(|shortest| *shortest < jitter).map_or(Ok(()), |shortest| Err(Error::Jitter { jitter, shortest }))
    }

    /// What it says.
    pub fn form(&self) -> Form {
        match &self.rule {
            Rule::Cron(cron) => Form::Cron(cron.fields()),
            Rule::Every(interval) => Form::Every(*interval),
        }
    }

    /// The slots after a moment until another, that one included.
    fn slots(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |slot| self.next_after(*slot)).take_while(move |slot| *slot <= until)
    }
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    // jiff takes Etc/Unknown as UTC; nobody who writes that means it.
    TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| Error::unknown_zone(name))
}

/// The length of an interval: whole seconds, at least one.
fn seconds(text: &str) -> Option<i64> {
    let interval = text.parse::<Duration>().ok()?.get();
    i64::try_from(interval.as_secs()).ok().filter(|seconds| *seconds > 0 && interval.subsec_nanos() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule, Some(zone)).unwrap();
        let after: Timestamp = after.parse().unwrap();
        schedule.slots(after, Timestamp::MAX).take(count).map(|slot| slot.to_string()).collect()
    }

    fn utc(schedule: &str, count: usize) -> Vec<String> {
        // A Saturday.
        next(schedule, "UTC", "2026-11-28T13:37:11Z", count)
    }

    fn refused(schedule: &str, zone: Option<&str>) -> String {
        Schedule::parse(schedule, zone).unwrap_err().to_string()
    }

    #[test]
    fn fields_are_read_as_cron_reads_them() {
        for (schedule, expected) in [
            ("* * * * *", ["2026-11-28T13:38:00Z", "2026-11-28T13:39:00Z"]),
            ("*/20 * * * * *", ["2026-11-28T13:37:20Z", "2026-11-28T13:37:40Z"]),
            ("0,30 9-17 * * *", ["2026-11-28T14:00:00Z", "2026-11-28T14:30:00Z"]),
            ("0 8-18/5 * * *", ["2026-11-28T18:00:00Z", "2026-11-29T08:00:00Z"]),
            ("5/20 * * * *", ["2026-11-28T13:45:00Z", "2026-11-28T14:05:00Z"]),
            ("0 0 * * MON-fri", ["2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"]),
            ("0 0 * * SAT-SUN", ["2026-11-29T00:00:00Z", "2026-12-05T00:00:00Z"]),
            ("0 0 * * 4/2", ["2026-12-03T00:00:00Z", "2026-12-05T00:00:00Z"]),
            ("0 0 * * 7", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
            ("0 0 * * SUN", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
            ("0 12 1 JAN,jul ?", ["2027-01-01T12:00:00Z", "2027-07-01T12:00:00Z"]),
            ("0 0 13 * FRI", ["2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z"]),
            ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("  0  0\t1 * * ", ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        ] {
            assert_eq!(utc(schedule, 2), expected, "{schedule}");
        }
    }

    #[test]
    fn where_both_day_fields_are_restricted_a_day_of_either_is_meant_as_in_a_cron_job() {
        for (schedule, expected) in [
            ("0 0 13 * FRI", ["2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z"]),
            ("0 0 */10 * SUN", ["2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z"]),
            ("0 0 13 * */2", ["2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z"]),
            ("0 0 1-31 * SUN", ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"]),
            ("0 0 13 * 0-6", ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"]),
            ("0 0 */1 * SUN", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
            ("0 0 13 * */1", ["2026-12-13T00:00:00Z", "2027-01-13T00:00:00Z"]),
            ("0 0 5,* * SUN", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
            ("0 0 ? * SUN", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
        ] {
            assert_eq!(utc(schedule, 2), expected, "{schedule}");
        }
    }

    #[test]
    fn short_names_stand_for_the_first_moment_of_what_they_name() {
        for (schedule, expected) in [
            ("@hourly", ["2026-11-28T14:00:00Z", "2026-11-28T15:00:00Z"]),
            ("@daily", ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"]),
            ("@midnight", ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"]),
            ("@weekly", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
            ("@monthly", ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
            ("@yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
            ("@annually", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
        ] {
            assert_eq!(utc(schedule, 2), expected, "{schedule}");
        }
    }

    #[test]
    fn intervals_count_from_the_creation_of_the_task_however_late_they_are_asked_for() {
        let created: Timestamp = "2026-01-01T00:00:07.5Z".parse().unwrap();
        let schedule = Schedule::parse("@every 1h30m", None).unwrap().anchored_at(created);
        for (after, expected) in [
            ("2025-12-31T23:00:00Z", "2026-01-01T00:00:07Z"),
            ("2026-01-01T00:00:07.5Z", "2026-01-01T01:30:07Z"),
            ("2026-01-01T01:30:06.9Z", "2026-01-01T01:30:07Z"),
            ("2026-01-01T01:30:07Z", "2026-01-01T03:00:07Z"),
            ("2026-11-28T13:37:11Z", "2026-11-28T15:00:07Z"),
        ] {
            assert_eq!(schedule.next_after(after.parse().unwrap()).unwrap().to_string(), expected, "{after}");
        }
        assert_eq!(utc("@every 10m", 2), ["2026-11-28T13:40:00Z", "2026-11-28T13:50:00Z"], "without a task they count from 1970");
    }

    #[test]
    fn an_error_names_the_field_what_is_wrong_and_what_would_be_right() {
        let forms = "; write five fields (minute hour day-of-month month day-of-week) or six with the second first, \
                     or @every 10m, @hourly, @daily, @weekly, @monthly, @yearly";
        for (schedule, expected) in [
            ("61 * * * *", "minute 61 is not in 0-59"),
            ("60 * * * * *", "second 60 is not in 0-59"),
            ("* 24 * * *", "hour 24 is not in 0-23"),
            ("* * 0 * *", "day-of-month 0 is not in 1-31"),
            ("* * * 13 *", "month 13 is not in 1-12"),
            ("* * * FOO *", "month \"FOO\" is not in 1-12 or JAN-DEC"),
            ("* * * * 8", "day-of-week 8 is not in 0-7"),
            ("* * * * JAN", "day-of-week \"JAN\" is not in 0-7 or SUN-SAT"),
            ("+5 * * * *", "minute \"+5\" is not in 0-59"),
            ("*/+5 * * * *", "the step of minute, \"+5\", is not in 1-59"),
            ("* MON * * *", "hour \"MON\" is not in 0-23"),
            ("* * L * *", "day-of-month \"L\" is not in 1-31"),
            ("1,,2 * * * *", "minute \"\" is not in 0-59"),
            ("/5 * * * *", "minute \"\" is not in 0-59"),
            ("30-10 * * * *", "minute 30-10 goes backwards"),
            ("*/0 * * * *", "the step of minute, \"0\", is not in 1-59"),
            ("*/x * * * *", "the step of minute, \"x\", is not in 1-59"),
            ("*/5/5 * * * *", "the step of minute, \"5/5\", is not in 1-59"),
            ("* * * *", "it has 4 fields"),
            ("* * * * * * *", "it has 7 fields"),
            ("", "it has 0 fields"),
            ("@reboot", "there is no @reboot"),
            ("@every", "there is no @every"),
        ] {
            assert_eq!(refused(schedule, None), format!("spec.schedule: {schedule:?}: {expected}{forms}"));
        }
    }

    #[test]
    fn an_interval_is_of_whole_seconds() {
        for schedule in ["@every 500ms", "@every 0s", "@every 1s500ms", "@every 10", "@every 1d", "@every -5m", "@every 10m 5m"] {
            assert_eq!(refused(schedule, None), Error::Interval { text: schedule.to_owned() }.to_string());
        }
        assert_eq!(
            refused("@every 500ms", None),
            "spec.schedule: \"@every 500ms\": the interval is a duration of whole seconds, at least 1s; \
             write for example @every 30s, @every 1h30m"
        );
    }

    #[test]
    fn a_jitter_that_is_longer_than_the_time_between_two_runs_is_refused() {
        for (schedule, zone, most, more) in [
            ("@every 10m", "UTC", "10m", "10m1s"),
            ("*/40 * * * * *", "UTC", "20s", "21s"),
            ("0 9,17 * * *", "UTC", "8h", "8h1s"),
            ("@daily", "Europe/Berlin", "23h", "24h"),
            ("@monthly", "UTC", "696h", "697h"),
        ] {
            let schedule_in = Schedule::parse(schedule, Some(zone)).unwrap();
            let check = |jitter: &str| schedule_in.check_jitter(jitter.parse().unwrap());
            assert_eq!(check(most), Ok(()), "{schedule}");
            let text =
                format!("spec.jitter: {more} is longer than the shortest time between two runs of the schedule: write at most {most}");
            assert_eq!(check(more).unwrap_err().to_string(), text, "{schedule}");
        }
        assert_eq!(Schedule::parse("@yearly", None).unwrap().check_jitter("9000h".parse().unwrap()), Ok(()), "it comes once in a year");
    }

    #[test]
    fn a_schedule_that_never_comes_is_refused() {
        assert_eq!(
            refused("0 0 30 2 *", None),
            "spec.schedule: \"0 0 30 2 *\" never comes: none of its months has such a day; write a day that there is"
        );
        assert_eq!(refused("0 0 31 4,6,9,11 *", None), Error::Never { text: "0 0 31 4,6,9,11 *".to_owned() }.to_string());
        assert!(Schedule::parse("0 0 30 2 MON", None).is_ok(), "a Monday in February is as good");
    }

    #[test]
    fn a_zone_is_a_name_of_the_iana_database_in_its_own_field() {
        assert_eq!(
            refused("CRON_TZ=Asia/Tokyo 0 3 * * *", None),
            "spec.schedule: \"CRON_TZ=Asia/Tokyo 0 3 * * *\": the time zone does not stand in the schedule; write it as spec.timeZone"
        );
        assert_eq!(refused("TZ=UTC @daily", None), Error::ZoneInSchedule { text: "TZ=UTC @daily".to_owned() }.to_string());
        assert_eq!(
            refused("@daily", Some("Europe/Berln")),
            "spec.timeZone: \"Europe/Berln\" is not in the time zone database of this machine; \
             write a name like Europe/Berlin or UTC; did you mean \"Europe/Berlin\"?"
        );
        for name in ["", "Local", "CET-1CEST", "+02:00", "Etc/Unknown", "../UTC"] {
            assert!(matches!(Schedule::parse("@daily", Some(name)), Err(Error::UnknownZone { .. })), "{name:?}");
        }
        assert_eq!(next("@daily", "Asia/Tokyo", "2026-11-28T13:37:11Z", 1), ["2026-11-28T15:00:00Z"]);
        assert!(Schedule::parse("@every 10m", Some("Nowhere/Else")).is_err());
    }
}

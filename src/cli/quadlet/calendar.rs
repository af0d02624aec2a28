//! A task's schedule in the words of systemd.time(7). Pure.
//!
//! A cron schedule becomes calendar events in its time zone, two where both day fields are given: cron means a day of either, systemd one of both.
//! An interval becomes one where it divides a day into equal parts of the clock; any other is counted from start to start.
use std::time::Duration;

use mesh_backend::quadlet::render::Times;
use mesh_coordination::schedule::{Fields, Form};

const DAY: i64 = 24 * 60 * 60;
/// From the day on that is cron's 0.
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// When a timer is to start its service. `zone` is that of a cron schedule.
pub(super) fn times(form: &Form, zone: &str) -> Times {
    match form {
        Form::Cron(fields) => Times::Calendar(events(fields, zone)),
        Form::Every(seconds) => match parts_of_a_day(*seconds) {
            Some(time) => Times::Calendar(vec![format!("*-*-* {time} UTC")]),
            None => Times::Every(Duration::from_secs(seconds.unsigned_abs())),
        },
    }
}

fn events(fields: &Fields, zone: &str) -> Vec<String> {
    let Fields { seconds, minutes, hours, days, months, weekdays } = fields;
    let time = format!("{}:{}:{}", numbers(hours, 0, 23), numbers(minutes, 0, 59), numbers(seconds, 0, 59));
    let month = numbers(months, 1, 12);
    let event = |weekdays: Option<&Vec<u16>>, days: Option<&Vec<u16>>| {
        let weekdays = weekdays.map(|list| format!("{} ", names(list))).unwrap_or_default();
        let days = days.map_or_else(|| "*".to_owned(), |list| numbers(list, 1, 31));
        format!("{weekdays}*-{month}-{days} {time} {zone}")
    };
    match (days, weekdays) {
        (Some(_), Some(_)) => vec![event(None, days.as_ref()), event(weekdays.as_ref(), None)],
        _ => vec![event(weekdays.as_ref(), days.as_ref())],
    }
}

/// `*`, `0/15` from a number on to the end, or a list.
fn numbers(named: &[u16], first: u16, last: u16) -> String {
    if named.len() == usize::from(last - first) + 1 {
        return "*".to_owned();
    }
    if let [from, second, _, ..] = named {
        let step = second - from;
        let stepped: Vec<u16> = (*from..=last).step_by(usize::from(step)).collect();
        if step > 1 && stepped == named {
            return format!("{from:02}/{step}");
        }
    }
    ranges(named, |number| format!("{number:02}"))
}

/// A week of systemd begins on Monday.
fn names(list: &[u16]) -> String {
    let mut from_monday: Vec<u16> = list.iter().map(|day| (day + 6) % 7).collect();
    from_monday.sort_unstable();
    ranges(&from_monday, |day| WEEKDAYS.iter().cycle().nth(usize::from(day) + 1).copied().unwrap_or_default().to_owned())
}

/// `1,3..5`: what follows each other, from three on, is a range.
fn ranges(list: &[u16], name: impl Fn(u16) -> String) -> String {
    let runs = list.chunk_by(|one, next| one + 1 == *next);
    let texts = runs.flat_map(|run| match run {
        [from, _, .., to] => vec![format!("{}..{}", name(*from), name(*to))],
        few => few.iter().map(|number| name(*number)).collect(),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// The times of day of an interval that divides a day, an hour or a minute, where they can be said by one step.
fn parts_of_a_day(seconds: i64) -> Option<String> {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        DAY => Some("00:00:00".to_owned()),
        3600 => Some("*:00:00".to_owned()),
        60 => Some("*:*:00".to_owned()),
        1 => Some("*:*:*".to_owned()),
        _ if seconds % 3600 == 0 && 24 % hours == 0 => Some(format!("00/{hours}:00:00")),
        _ if seconds % 60 == 0 && minutes < 60 && 60 % minutes == 0 => Some(format!("*:00/{minutes}:00")),
        _ if seconds < 60 && 60 % seconds == 0 => Some(format!("*:*:00/{seconds}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use jiff::Timestamp;
    use mesh_coordination::schedule::Schedule;
    use mesh_gear::machine::there;

    use super::*;

    fn calendar(schedule: &str, zone: &str) -> Vec<String> {
        match times(&Schedule::parse(schedule, Some(zone)).unwrap().form(), zone) {
            Times::Calendar(events) => events,
            Times::Every(interval) => vec![format!("every {interval:?}")],
        }
    }

    const EVENTS: [(&str, &str, &[&str]); 24] = [
        ("* * * * *", "UTC", &["*-*-* *:*:00 UTC"]),
        ("* * * * * *", "UTC", &["*-*-* *:*:* UTC"]),
        ("*/20 * * * * *", "UTC", &["*-*-* *:*:00/20 UTC"]),
        ("30 2 * * *", "Europe/Berlin", &["*-*-* 02:30:00 Europe/Berlin"]),
        ("0,30 9-17 * * *", "UTC", &["*-*-* 09..17:00,30:00 UTC"]),
        ("5/20 * * * *", "UTC", &["*-*-* *:05/20:00 UTC"]),
        ("*/7 8-18/5 * * *", "UTC", &["*-*-* 08,13,18:00/7:00 UTC"]),
        ("0 0 1,2,10-12 * *", "UTC", &["*-*-01,02,10..12 00:00:00 UTC"]),
        ("0 0 * * MON-fri", "Asia/Tokyo", &["Mon..Fri *-*-* 00:00:00 Asia/Tokyo"]),
        ("0 0 * * SAT-SUN", "UTC", &["Sat,Sun *-*-* 00:00:00 UTC"]),
        ("0 0 * * 0,3", "UTC", &["Wed,Sun *-*-* 00:00:00 UTC"]),
        ("0 0 * * 7", "UTC", &["Sun *-*-* 00:00:00 UTC"]),
        ("0 0 * * */2", "UTC", &["Tue,Thu,Sat,Sun *-*-* 00:00:00 UTC"]),
        ("0 12 1 JAN,jul ?", "UTC", &["*-01,07-01 12:00:00 UTC"]),
        ("0 0 13 2-4 FRI", "UTC", &["*-02..04-13 00:00:00 UTC", "Fri *-02..04-* 00:00:00 UTC"]),
        ("@hourly", "UTC", &["*-*-* *:00:00 UTC"]),
        ("@weekly", "UTC", &["Sun *-*-* 00:00:00 UTC"]),
        ("@monthly", "UTC", &["*-*-01 00:00:00 UTC"]),
        ("@yearly", "UTC", &["*-01-01 00:00:00 UTC"]),
        ("@every 24h", "Asia/Tokyo", &["*-*-* 00:00:00 UTC"]),
        ("@every 6h", "UTC", &["*-*-* 00/6:00:00 UTC"]),
        ("@every 1h", "UTC", &["*-*-* *:00:00 UTC"]),
        ("@every 15m", "UTC", &["*-*-* *:00/15:00 UTC"]),
        ("@every 20s", "UTC", &["*-*-* *:*:00/20 UTC"]),
    ];

    #[test]
    fn a_schedule_becomes_events_of_the_calendar() {
        for (schedule, zone, expected) in EVENTS {
            assert_eq!(calendar(schedule, zone), expected, "{schedule}");
        }
    }

    #[test]
    fn an_interval_that_divides_no_day_is_counted_from_start_to_start() {
        for (schedule, expected) in [("@every 7m", "every 420s"), ("@every 1h30m", "every 5400s"), ("@every 48h", "every 172800s")] {
            assert_eq!(calendar(schedule, "UTC"), [expected], "{schedule}");
        }
    }

    /// systemd's own reading of the events is the schedule, where no clock is changed.
    #[test]
    fn systemd_elapses_when_the_controller_would_start() {
        let is_there = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success());
        if !there(is_there, "it takes systemd-analyze: `apt install systemd`") {
            return;
        }
        let base = "2026-11-28 13:37:11 UTC";
        for (text, zone, _) in EVENTS {
            let mut elapses: Vec<Timestamp> = Vec::new();
            for event in calendar(text, zone) {
                let output = Command::new("systemd-analyze")
                    .env("TZ", "UTC")
                    .args(["calendar", "--iterations=8", &format!("--base-time={base}"), &event])
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{text}: {said}");
                elapses.extend(said.lines().filter_map(elapse));
            }
            elapses.sort_unstable();
            elapses.dedup();
            let schedule = Schedule::parse(text, Some(zone)).unwrap();
            let mut slot: Timestamp = "2026-11-28T13:37:11Z".parse().unwrap();
            for elapse in elapses.iter().take(8) {
                slot = schedule.next_after(slot).unwrap();
                assert_eq!(*elapse, slot, "{text}");
            }
            assert!(elapses.len() >= 8, "{text}: {elapses:?}");
        }
    }

    /// The time in `Next elapse: Sat 2026-11-28 14:00:00 UTC` and in `Iter. #2: …`.
    fn elapse(line: &str) -> Option<Timestamp> {
        let (title, time) = line.split_once(": ")?;
        let mut words = time.split(' ').skip(1);
        let is_elapse = title.trim() == "Next elapse" || title.trim().starts_with("Iter. #");
        is_elapse.then(|| format!("{}T{}Z", words.next().unwrap(), words.next().unwrap()).parse().unwrap())
    }
}

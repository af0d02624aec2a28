//! What becomes of slots where clocks are changed: written out for zones that do so in different ways, and held against the definition.
use std::collections::BTreeSet;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use proptest::prelude::*;

use super::Schedule;

/// The slots of a day before 05:00 local time, with the offset of each.
fn night(schedule: &str, zone: &str, day: &str) -> Vec<String> {
    let day: Date = day.parse().unwrap();
    let tz = TimeZone::get(zone).unwrap();
    let moment = |local: DateTime| local.to_zoned(tz.clone()).unwrap().timestamp();
    let (begin, end) = (moment(day.at(0, 0, 0, 0)) - 1.second(), moment(day.at(4, 59, 59, 0)));
    let slots = Schedule::parse(schedule, Some(zone)).unwrap();
    slots.slots(begin, end).map(|slot| slot.to_zoned(tz.clone()).strftime("%H:%M%:z").to_string()).collect()
}

fn check(zone: &str, days: [&str; 2], expected: &[(&str, &[&str])]) {
    for day in days {
        for (schedule, slots) in expected {
            assert_eq!(night(schedule, zone, day), *slots, "{schedule} in {zone} on {day}");
        }
    }
}

#[test]
fn in_berlin_02_00_to_03_00_is_skipped_in_spring() {
    check(
        "Europe/Berlin",
        ["2026-03-29", "2027-03-28"],
        &[
            ("30 2 * * *", &["03:00+02:00"]),
            ("*/10 2 * * *", &["03:00+02:00"]),
            ("0 2,3 * * *", &["03:00+02:00"]),
            ("30 1-4 * * *", &["01:30+01:00", "03:00+02:00", "03:30+02:00", "04:30+02:00"]),
            ("0 */2 * * *", &["00:00+01:00", "03:00+02:00", "04:00+02:00"]),
            ("59 1 * * *", &["01:59+01:00"]),
            ("0 3 * * *", &["03:00+02:00"]),
            ("30 * * * *", &["00:30+01:00", "01:30+01:00", "03:30+02:00", "04:30+02:00"]),
            ("0 0-23 * * *", &["00:00+01:00", "01:00+01:00", "03:00+02:00", "04:00+02:00"]),
            (
                "*/30 */1 * * *",
                &["00:00+01:00", "00:30+01:00", "01:00+01:00", "01:30+01:00", "03:00+02:00", "03:30+02:00", "04:00+02:00", "04:30+02:00"],
            ),
        ],
    );
}

#[test]
fn in_berlin_02_00_to_03_00_comes_twice_in_autumn() {
    check(
        "Europe/Berlin",
        ["2026-10-25", "2027-10-31"],
        &[
            ("30 2 * * *", &["02:30+02:00"]),
            ("*/20 2 * * *", &["02:00+02:00", "02:20+02:00", "02:40+02:00"]),
            ("0 1-3 * * *", &["01:00+02:00", "02:00+02:00", "03:00+01:00"]),
            ("0 */2 * * *", &["00:00+02:00", "02:00+02:00", "04:00+01:00"]),
            ("0 3 * * *", &["03:00+01:00"]),
            ("30 * * * *", &["00:30+02:00", "01:30+02:00", "02:30+02:00", "02:30+01:00", "03:30+01:00", "04:30+01:00"]),
            ("0 0-23 * * *", &["00:00+02:00", "01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00", "04:00+01:00"]),
        ],
    );
}

#[test]
fn in_new_york_02_00_to_03_00_is_skipped_in_spring() {
    check(
        "America/New_York",
        ["2026-03-08", "2027-03-14"],
        &[
            ("30 2 * * *", &["03:00-04:00"]),
            ("0,15,30 2,3 * * *", &["03:00-04:00", "03:15-04:00", "03:30-04:00"]),
            ("0 1-3 * * *", &["01:00-05:00", "03:00-04:00"]),
            ("30 * * * *", &["00:30-05:00", "01:30-05:00", "03:30-04:00", "04:30-04:00"]),
        ],
    );
}

#[test]
fn in_new_york_01_00_to_02_00_comes_twice_in_autumn() {
    check(
        "America/New_York",
        ["2026-11-01", "2027-11-07"],
        &[
            ("30 1 * * *", &["01:30-04:00"]),
            ("30 0-2 * * *", &["00:30-04:00", "01:30-04:00", "02:30-05:00"]),
            ("0 2 * * *", &["02:00-05:00"]),
            ("30 * * * *", &["00:30-04:00", "01:30-04:00", "01:30-05:00", "02:30-05:00", "03:30-05:00", "04:30-05:00"]),
        ],
    );
}

#[test]
fn on_lord_howe_the_half_hour_from_02_00_is_skipped_in_october() {
    check(
        "Australia/Lord_Howe",
        ["2026-10-04", "2027-10-03"],
        &[
            ("15 2 * * *", &["02:30+11:00"]),
            ("*/15 2 * * *", &["02:30+11:00", "02:45+11:00"]),
            ("0 1-3 * * *", &["01:00+10:30", "02:30+11:00", "03:00+11:00"]),
            ("0 * * * *", &["00:00+10:30", "01:00+10:30", "03:00+11:00", "04:00+11:00"]),
            ("30 * * * *", &["00:30+10:30", "01:30+10:30", "02:30+11:00", "03:30+11:00", "04:30+11:00"]),
        ],
    );
}

#[test]
fn on_lord_howe_the_half_hour_from_01_30_comes_twice_in_april() {
    check(
        "Australia/Lord_Howe",
        ["2026-04-05", "2027-04-04"],
        &[
            ("45 1 * * *", &["01:45+11:00"]),
            ("*/15 1 * * *", &["01:00+11:00", "01:15+11:00", "01:30+11:00", "01:45+11:00"]),
            ("0 2 * * *", &["02:00+10:30"]),
            ("45 * * * *", &["00:45+11:00", "01:45+11:00", "01:45+10:30", "02:45+10:30", "03:45+10:30", "04:45+10:30"]),
            ("0 * * * *", &["00:00+11:00", "01:00+11:00", "02:00+10:30", "03:00+10:30", "04:00+10:30"]),
        ],
    );
}

#[test]
fn in_tokyo_a_day_is_as_any_other() {
    check(
        "Asia/Tokyo",
        ["2026-03-29", "2027-10-31"],
        &[("30 2 * * *", &["02:30+09:00"]), ("0 * * * *", &["00:00+09:00", "01:00+09:00", "02:00+09:00", "03:00+09:00", "04:00+09:00"])],
    );
}

/// Some days in which clocks are changed: forward and back, by an hour and by half of one, at midnight, and not at all.
const CHANGES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2027-03-14"),
    ("America/New_York", "2027-11-07"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Australia/Lord_Howe", "2027-04-04"),
    ("Africa/Cairo", "2026-04-24"),
    ("Asia/Tokyo", "2026-03-29"),
];

/// The slots by their definition, from the day before until the day after: each minute is looked at.
fn defined(zone: &TimeZone, day: Date, hours: &BTreeSet<i8>, minutes: &BTreeSet<i8>) -> BTreeSet<Timestamp> {
    let begin = (day - 1.day()).to_zoned(zone.clone()).unwrap().timestamp();
    let passing: Vec<(Timestamp, DateTime)> =
        (0..72 * 60).map(|minute| begin + minute.minutes()).map(|moment| (moment, zone.to_datetime(moment))).collect();
    let is_meant = |local: &DateTime| hours.contains(&local.hour()) && minutes.contains(&local.minute());
    if hours.len() == 24 {
        return passing.iter().filter(|(_, local)| is_meant(local)).map(|(moment, _)| *moment).collect();
    }
    let on_the_clock = (0..48 * 60).map(|minute| (day - 1.day()).at(0, 0, 0, 0) + minute.minutes());
    let first = |wanted: DateTime| passing.iter().find(|(_, local)| *local >= wanted).unwrap().0;
    on_the_clock.filter(is_meant).map(first).collect()
}

fn list(numbers: &BTreeSet<i8>) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn slots_are_what_the_definition_says_from_wherever_they_are_asked_for(
        change in 0..CHANGES.len(),
        some_hours in prop::collection::btree_set(0_i8..6, 1..5),
        minutes in prop::collection::btree_set(0_i8..60, 1..4),
        every_hour in any::<bool>(),
        asked in prop::collection::vec(0_i64..48 * 3600, 8),
    ) {
        let (name, day) = CHANGES[change];
        let (zone, day): (TimeZone, Date) = (TimeZone::get(name).unwrap(), day.parse().unwrap());
        let hours = if every_hour { (0..24).collect() } else { some_hours };
        let schedule = Schedule::parse(&format!("{} {} * * *", list(&minutes), list(&hours)), Some(name)).unwrap();
        let defined = defined(&zone, day, &hours, &minutes);
        let begin = (day - 1.day()).to_zoned(zone).unwrap().timestamp();
        let last = *defined.last().unwrap();
        for seconds in asked {
            let moment = begin + seconds.seconds();
            if let Some(expected) = defined.iter().find(|slot| **slot > moment) {
                prop_assert_eq!(schedule.next_after(moment), Some(*expected), "{} after {}", name, moment);
            }
        }
        let walked: BTreeSet<Timestamp> = schedule.slots(begin - 1.second(), last).collect();
        prop_assert_eq!(walked, defined);
    }
}

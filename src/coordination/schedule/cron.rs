//! The cron form of a schedule. `croner` knows the calendar: which local times a pattern means. Here stand the grammar, so that an error
//! can name its field, and what becomes of a local time where the clocks of the zone are changed.
use std::collections::BTreeSet;

use croner::{CronPattern, parser::CronParser};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use super::error::Error;

/// Local times in a zone.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
    /// The hour field names all 24.
    every_hour: bool,
}

/// The numbers that each field names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// 0-59.
    pub seconds: Vec<u16>,
    /// 0-59.
    pub minutes: Vec<u16>,
    /// 0-23.
    pub hours: Vec<u16>,
    /// 1-31; none if the field is `*`.
    pub days: Option<Vec<u16>>,
    /// 1-12.
    pub months: Vec<u16>,
    /// 0-6, from Sunday on; none if the field is `*`. Where the days of the month are given as well, a day of either is meant.
    pub weekdays: Option<Vec<u16>>,
}

/// What a field may hold. Names stand for the numbers from `first` on.
struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FIELDS: [Field; 6] = [
    Field { name: "second", first: 0, last: 59, names: &[] },
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day-of-month", first: 1, last: 31, names: &[] },
    Field { name: "month", first: 1, last: 12, names: MONTHS },
    Field { name: "day-of-week", first: 0, last: 7, names: WEEKDAYS },
];

impl Cron {
    pub(super) fn parse(text: &str, zone: TimeZone) -> Result<Self, Error> {
        let wrong = |wrong: String| Error::Fields { text: text.to_owned(), wrong };
        let numbers = spell_out(text).map_err(wrong)?;
        let pattern = CronParser::new().parse(&numbers).map_err(|error| wrong(error.to_string()))?;
        if !comes(&pattern.pattern) {
            return Err(Error::Never { text: text.to_owned() });
        }
        let every_hour = pattern.pattern.hours.values().len() == 24;
        Ok(Self { pattern, zone, every_hour })
    }

    /// The first slot after a moment; the rules stand at [`super::Schedule::next_after`].
    pub(super) fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        if self.every_hour { self.next_as_time_passes(moment) } else { self.next_on_the_clock(moment) }
    }

    pub(super) fn fields(&self) -> Fields {
        let pattern = &self.pattern.pattern;
        // Sunday is 0 and 7.
        let weekdays: BTreeSet<u16> = pattern.days_of_week.values().into_iter().map(|day| day % 7).collect();
        Fields {
            seconds: pattern.seconds.values(),
            minutes: pattern.minutes.values(),
            hours: pattern.hours.values(),
            days: (!pattern.is_dom_wildcard()).then(|| pattern.days.values()),
            months: pattern.months.values(),
            weekdays: (!pattern.is_dow_wildcard()).then(|| weekdays.into_iter().collect()),
        }
    }

    /// Goes through the local times. Their moments come in the same order, so the first one that is later is the next.
    fn next_on_the_clock(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.to_datetime(moment);
        loop {
            local = self.pattern.find_next_occurrence(&local, false).ok()?;
            let slot = self.moment_of(local)?;
            if slot > moment {
                return Some(slot);
            }
        }
    }

    /// When a local time is: the first of two, or the end of the gap that it falls in.
    fn moment_of(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => offset.to_timestamp(local).ok(),
            // By the later offset it would be just before the change.
            AmbiguousOffset::Gap { after, .. } => Some(self.zone.following(after.to_timestamp(local).ok()?).next()?.timestamp()),
        }
    }

    /// Goes through the stretches of time between two changes of the clocks. Within one the local time runs as any clock does.
    fn next_as_time_passes(&self, moment: Timestamp) -> Option<Timestamp> {
        let (mut begin, mut offset, mut begin_counts) = (moment, self.zone.to_offset(moment), false);
        let mut changes = self.zone.following(moment);
        loop {
            let local = self.pattern.find_next_occurrence(&offset.to_datetime(begin), begin_counts).ok()?;
            let slot = offset.to_timestamp(local).ok()?;
            match changes.next() {
                Some(change) if change.timestamp() <= slot => {
                    (begin, offset, begin_counts) = (change.timestamp(), change.offset(), true);
                }
                _ => return Some(slot),
            }
        }
    }
}

/// Whether there is such a day at all. A weekday, given alone or beside days of the month, always comes.
fn comes(pattern: &CronPattern) -> bool {
    let (months, days) = (pattern.months.values(), pattern.days.values());
    let narrow = |number: &u16| i8::try_from(*number).unwrap_or(i8::MAX);
    let is_there = |month: &u16, day: &u16| Date::new(2000, narrow(month), narrow(day)).is_ok();
    !pattern.is_dow_wildcard() || months.iter().any(|month| days.iter().any(|day| is_there(month, day)))
}

/// The six fields in numbers only, as croner is to read them; or what is wrong.
fn spell_out(text: &str) -> Result<String, String> {
    let text = match text {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        name if name.starts_with('@') => return Err(format!("there is no {name}")),
        fields => fields,
    };
    let given: Vec<&str> = text.split_whitespace().collect();
    let fields = match given.len() {
        5 => [&["0"], given.as_slice()].concat(),
        6 => given,
        count => return Err(format!("it has {count} fields")),
    };
    let spelt: Result<Vec<String>, String> = FIELDS.iter().zip(fields).map(|(field, text)| field.spell_out(text)).collect();
    Ok(spelt?.join(" "))
}

impl Field {
    /// Its list in numbers only.
    fn spell_out(&self, list: &str) -> Result<String, String> {
        let items = list.split(',').map(|item| self.item(item)).collect::<Result<Vec<_>, _>>()?;
        // As in a CronJob, a field that says `*` anywhere is not restricted, nor by steps of one.
        let is_any = items.iter().any(|item| item == "*" || item == "*/1");
        Ok(if is_any { "*".to_owned() } else { items.join(",") })
    }

    /// `*`, a number or a range, perhaps with a step.
    fn item(&self, item: &str) -> Result<String, String> {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let step = step.map(|step| self.step(step)).transpose()?;
        let range = match (range, range.split_once('-'), step) {
            ("*" | "?", _, _) => "*".to_owned(),
            (_, Some((from, to)), _) => self.range(from, to)?,
            // From a number on. 7 is Sunday once more, not a day after Saturday.
            (_, None, Some(_)) => format!("{}-{}", self.number(range)?, if self.last == 7 { 6 } else { self.last }),
            (_, None, None) => self.number(range)?.to_string(),
        };
        Ok(step.map_or(range.clone(), |step| format!("{range}/{step}")))
    }

    fn range(&self, from: &str, to: &str) -> Result<String, String> {
        let (first, last) = (self.number(from)?, self.number(to)?);
        // A week that ends on Sunday.
        let last = if last == 0 && first > 0 && !self.names.is_empty() { 7 } else { last };
        if first > last { Err(format!("{} {from}-{to} goes backwards", self.name)) } else { Ok(format!("{first}-{last}")) }
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        let step = text.parse().ok().filter(|step| (1..=self.last).contains(step) && !text.starts_with('+'));
        step.ok_or_else(|| format!("the step of {}, {text:?}, is not in 1-{}", self.name, self.last))
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let named = || (self.first..).zip(self.names).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| number);
        let number = if digits { text.parse().ok() } else { named() };
        number.filter(|number| (self.first..=self.last).contains(number)).ok_or_else(|| {
            let (first, last, name) = (self.first, self.last, self.name);
            match (digits, self.names) {
                (true, _) => format!("{name} {text} is not in {first}-{last}"),
                (false, [from, .., to]) => format!("{name} {text:?} is not in {first}-{last} or {from}-{to}"),
                (false, _) => format!("{name} {text:?} is not in {first}-{last}"),
            }
        })
    }
}

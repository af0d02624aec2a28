//! Durations as kubectl shows them: two units at the most, the coarser the longer.
use jiff::Timestamp;

/// The time since then: `3d4h`; `<unknown>` without a time, `<invalid>` for what is none.
pub(super) fn since(time: Option<&str>, now: Timestamp) -> String {
    match time.filter(|time| !time.is_empty()).map(str::parse::<Timestamp>) {
        None => "<unknown>".to_owned(),
        Some(Err(_)) => "<invalid>".to_owned(),
        Some(Ok(time)) => duration(now.as_second() - time.as_second()),
    }
}

/// A duration in seconds. A clock that is up to a second behind makes `0s`.
pub(super) fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, 'd', hours % 24, 'h'),
        _ if years < 2 => format!("{days}d"),
        _ if years < 8 => two(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

fn two(large: i64, unit: char, small: i64, below: char) -> String {
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{below}") }
}

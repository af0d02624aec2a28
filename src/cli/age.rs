//! Ages as people read them: `45s`, `3m10s`, `5h`, `12d`.
use jiff::Timestamp;

/// How long ago `then` was, in at most two units, as kubectl prints it. A time in the future is `0s`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_get_coarser_as_they_grow() {
        let at = |seconds: i32| Timestamp::from_second(1_000_000 + i64::from(seconds)).unwrap();
        let ages = [-5, 0, 119, 120, 190, 601, 10_799, 10_860, 90_000, 176_400, 1_000_000].map(|s| age(at(0), at(s)));
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "3m10s", "10m", "179m", "3h1m", "25h", "2d1h", "11d"]);
    }
}

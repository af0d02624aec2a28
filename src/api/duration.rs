//! Gateway API durations (GEP-2257): `1h30m`, `500ms`, `0s`; units h, m, s, ms; at most five digits each, no fractions, no sign.
use std::{borrow::Cow, fmt, str::FromStr, time::Duration as StdDuration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The pattern of a duration, as in the Gateway API's CRDs.
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration as written by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(StdDuration);

impl Duration {
    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(StdDuration::from_millis(millis))
    }

    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(StdDuration::from_secs(secs))
    }

    /// As the standard library's type.
    pub const fn get(self) -> StdDuration {
        self.0
    }
}

/// Text that is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no duration: write for example 500ms, 30s, 5m or 1h30m")]
pub struct ParseDuration(String);

impl FromStr for Duration {
    type Err = ParseDuration;

    fn from_str(text: &str) -> Result<Self, ParseDuration> {
        let error = || ParseDuration(text.to_owned());
        let mut total = StdDuration::ZERO;
        let mut rest = text;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| (1..=5).contains(n)).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| error())?;
            let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            total += match unit {
                "h" => StdDuration::from_secs(number * 3600),
                "m" => StdDuration::from_secs(number * 60),
                "s" => StdDuration::from_secs(number),
                "ms" => StdDuration::from_millis(number),
                _ => return Err(error()),
            };
            rest = tail;
            parts += 1;
        }
        if (1..=4).contains(&parts) { Ok(Self(total)) } else { Err(error()) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (size, unit) in [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
            let count = match size {
                3_600_000 => millis / size,
                60_000 => millis % 3_600_000 / size,
                1000 => millis % 60_000 / size,
                _ => millis % 1000,
            };
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_the_gateway_api_does() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("1m1s1ms", 61_001)] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.get().as_millis(), millis, "{text}");
            assert_eq!(duration.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "1.5s", "-1s", "1d", "123456s", "1s2s3s4s5s", "1 s", "1S"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }
}

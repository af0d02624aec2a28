//! Versions of engines, by which it is decided what they can.
use std::{fmt, str::FromStr};

/// `major.minor.patch`; what stands behind that (`-dev`, `-rc1`) counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third; 0 if it is not given.
    pub patch: u32,
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.trim().trim_start_matches('v');
        let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
        let mut numbers = digits.get(..end).unwrap_or_default().split('.').map(|part| part.parse::<u32>().map_err(drop));
        let major = numbers.next().ok_or(())??;
        let minor = numbers.next().ok_or(())??;
        let patch = numbers.next().unwrap_or(Ok(0))?;
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        let of = |text: &str| text.parse::<Version>();
        assert_eq!(of("4.3.1"), Ok(Version { major: 4, minor: 3, patch: 1 }));
        assert_eq!(of("v5.4-rc1").unwrap().to_string(), "5.4.0");
        assert!(of("4.10.0").unwrap() > of("4.9.5").unwrap());
        for wrong in ["", "4", "x.y", "4.x"] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}

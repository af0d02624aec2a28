//! Versions of Podman and systemd, and what the ones we meet can do beyond single keys.
use std::{fmt, str::FromStr};

/// A version of Podman: major and minor, which is all that keys depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Podman {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

impl Podman {
    /// The first that has Quadlet; before it there are plain services only.
    pub const QUADLET: Self = Self::new(4, 4);
    /// Instances by symbolic link with drop-ins; before it each instance is a whole file.
    pub const INSTANCE_LINKS: Self = Self::new(5, 3);
    /// From here on Quadlet itself orders units behind the machine's network (and has a key against it, `DefaultDependencies=`). Some versions
    /// before do it for some kinds; to say it twice costs nothing.
    pub const NETWORK_ONLINE: Self = Self::new(5, 3);
    /// The first whose `Environment=` takes a name without a value: the variable of the service.
    pub const ENVIRONMENT_NAMES: Self = Self::new(5, 6);
    /// The newest whose keys are known here.
    pub const NEWEST: Self = Self::new(5, 8);

    /// From its two numbers.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Podman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of Podman: write for example 5.4")]
pub struct NoVersion(String);

impl FromStr for Podman {
    type Err = NoVersion;

    /// `5.4`, `5.4.2`, `v5.4.2-rc1` or what `podman --version` prints.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let error = || NoVersion(text.to_owned());
        let word = text.split_whitespace().last().ok_or_else(error)?;
        let mut numbers = word.strip_prefix('v').unwrap_or(word).split('.');
        let number = |part: Option<&str>| {
            let digits: String = part?.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        let (major, minor) = (number(numbers.next()), number(numbers.next()));
        Ok(Self { major: major.ok_or_else(error)?, minor: minor.ok_or_else(error)? })
    }
}

/// A version of systemd, which has one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Systemd(pub u32);

impl Systemd {
    /// `RestartSteps=` and `RestartMaxDelaySec=`.
    pub const RESTART_STEPS: Self = Self(254);

    /// `FixedRandomDelay=`.
    pub const FIXED_RANDOM_DELAY: Self = Self(247);

    /// `Type=notify-reload`.
    pub const NOTIFY_RELOAD: Self = Self(253);

    /// From what `systemctl --version` prints: `systemd 257 (257.9-1~deb13u1)`.
    pub fn from_output(text: &str) -> Option<Self> {
        let word = text.split_whitespace().nth(1)?;
        let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_print_them() {
        for (text, expected) in [
            ("5.4", Some(Podman::new(5, 4))),
            ("5.4.2", Some(Podman::new(5, 4))),
            ("podman version 4.3.1\n", Some(Podman::new(4, 3))),
            ("v6.0.0-rc1", Some(Podman::new(6, 0))),
            ("5", None),
            ("", None),
            ("five.four", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        assert_eq!(Systemd::from_output("systemd 257 (257.9-1~deb13u1)\n+PAM"), Some(Systemd(257)));
        assert!(Podman::new(5, 10) > Podman::new(5, 4));
    }
}

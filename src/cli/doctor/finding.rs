//! What a check found.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Nothing is wrong.
    Ok,
    /// It works, but not as one may expect.
    Warning,
    /// It does not work.
    Error,
}

impl Level {
    /// As it is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What it is like.
    pub(super) text: String,
    /// The command that mends it.
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, text: text.into(), fix: None }
    }

    pub(super) fn warning(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, text: text.into(), fix: Some(fix.into()) }
    }

    pub(super) fn error(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Error, text: text.into(), fix: Some(fix.into()) }
    }

    /// An error or a warning.
    pub(super) fn of(level: Level, check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level, text: text.into(), fix: Some(fix.into()) }
    }
}

//! Logging of the process itself: text for a terminal, JSON lines otherwise, to standard error. Never a secret.
use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt, prelude::*};

use super::meant::did_you_mean;

/// How the process's own log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// The client of the API tells of each failed request as an error, and whoever made the request tells of it too, with what was being done.
const QUIET: &str = "kube_client::client::builder=off";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A word alone is a level: taken for a target, a mistyped one would silence everything else.
fn check_levels(filter: &str) -> Result<(), String> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let wrong = filter.split(',').map(str::trim).find(|part| !part.contains(['=', '[']) && !is_level(part));
    let told = |word| {
        let meant = did_you_mean(word, LEVELS);
        format!(
            "log filter {filter:?}: {word:?} is no level{meant}; write one of {}, or TARGET=LEVEL, with commas between them",
            LEVELS.join(", ")
        )
    };
    wrong.map_or(Ok(()), |word| Err(told(word)))
}

/// The filter without what is told twice, unless it asks for it.
fn with_quiet(filter: &str) -> String {
    if filter.contains("kube_client") || filter.is_empty() { filter.to_owned() } else { format!("{QUIET},{filter}") }
}

/// Installs the subscriber; called once, by `main`. `filter` is a `tracing` filter such as `info,mesh_router=debug`.
///
/// # Errors
/// A filter that does not parse, or a second call.
pub fn init(format: LogFormat, filter: &str) -> Result<(), String> {
    check_levels(filter)?;
    let filter = EnvFilter::try_new(with_quiet(filter)).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let registry = tracing_subscriber::registry().with(filter);
    let result = if text {
        registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr)).try_init()
    };
    result.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_is_told_and_is_no_target() {
        let told = check_levels("wran").unwrap_err();
        assert!(told.contains("\"wran\" is no level; did you mean \"warn\"?"), "{told}");
        assert!(check_levels("mesh_router=debug,blah").is_err());
        for filter in ["", "info", "WARN", "3", "info,mesh_router=debug", "off, [span]=info"] {
            assert_eq!(check_levels(filter), Ok(()), "{filter}");
        }
    }
}

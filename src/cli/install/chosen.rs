//! The daemon's flags, both parsed (so that a wrong one is refused now) and as words for the unit: only those that were given, whichever the daemon has.
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind, parser::ValueSource};

use crate::daemon::serve::Serve;

/// Flags that the units say in another way.
const ELSEWHERE: [&str; 3] = ["backend", "state_dir", "router_listen"];

/// The daemon's flags as they were given, on the command line or in `MESH_*` variables.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Parsed.
    pub(super) serve: Serve,
    /// As words, with absolute paths; without backend, state directory and the router's address.
    pub(super) flags: Vec<String>,
}

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = Serve::augment_args(Command::new("")).get_arguments().map(|arg| words(arg, matches)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { serve: Serve::from_arg_matches(matches)?, flags: flags.concat() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Chosen {
    fn augment_args(command: Command) -> Command {
        Serve::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Serve::augment_args_for_update(command)
    }
}

fn words(arg: &Arg, matches: &ArgMatches) -> Result<Vec<String>, clap::Error> {
    let id = arg.get_id().as_str();
    let given = matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    let Some(long) = arg.get_long().filter(|_| given && !ELSEWHERE.contains(&id)) else { return Ok(Vec::new()) };
    if !arg.get_action().takes_values() {
        return Ok(if matches.get_flag(id) { vec![format!("--{long}")] } else { Vec::new() });
    }
    let is_path = matches.try_get_one::<PathBuf>(id).is_ok();
    let mut words = Vec::new();
    for value in matches.get_raw(id).into_iter().flatten() {
        let value = if is_path { std::path::absolute(value).map_err(clap::Error::from)?.into_os_string() } else { value.to_owned() };
        let value = value.into_string().map_err(|bad| {
            clap::Error::raw(ErrorKind::InvalidUtf8, format!("--{long} {}: a unit file can only hold UTF-8\n", bad.display()))
        })?;
        words.extend([format!("--{long}"), value]);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Vec<String> {
        let matches = Chosen::augment_args(Command::new("install").no_binary_name(true)).get_matches_from(words);
        Chosen::from_arg_matches(&matches).unwrap().flags
    }

    #[test]
    fn only_what_was_given_is_passed_on_and_paths_are_absolute() {
        assert_eq!(flags(&["--backend", "podman", "--state-dir", "s", "--router-listen", "127.0.0.1:1"]), [""; 0]);
        assert_eq!(flags(&["--port-range", "1-2", "--log-level=debug"]), ["--log-level", "debug", "--port-range", "1-2"]);
        let here = std::env::current_dir().unwrap();
        assert_eq!(flags(&["--project-dir", "a b"]), ["--project-dir", here.join("a b").to_str().unwrap()]);
    }
}

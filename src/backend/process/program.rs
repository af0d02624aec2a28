//! Finds the program before anything is started, so that what is wrong is said precisely: by the file's name and the remedy.
use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use crate::Error;
use mesh_base::exhausted::is_exhausted;
use mesh_plan::instance::ProcessLaunch;

/// The program's file, absolute, after the working directory was checked.
pub(crate) fn resolve(launch: &ProcessLaunch) -> Result<PathBuf, Error> {
    check_dir(&launch.working_dir).map_err(|source| Error::WorkingDir { dir: launch.working_dir.clone(), source })?;
    let program = launch.argv.first().map_or("", String::as_str);
    if program.contains('/') {
        let file = launch.working_dir.join(program);
        return match check_program(&file) {
            Ok(()) => Ok(file),
            Err(error) if missing(&error) => Err(Error::CommandNotFound { program: program.to_owned(), path: None }),
            Err(source) => Err(Error::CommandNotExecutable { program: file, source }),
        };
    }
    let path = search_path(launch);
    search(program, &path, &launch.working_dir)
}

/// `PATH` of the program's environment, else the controller's: a later name wins, as in the environment itself.
fn search_path(launch: &ProcessLaunch) -> String {
    let own = launch.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.reveal().to_owned());
    own.or_else(|| std::env::var("PATH").ok()).unwrap_or_default()
}

fn search(program: &str, path: &str, working_dir: &Path) -> Result<PathBuf, Error> {
    let mut denied = None;
    let places = if program.is_empty() { None } else { Some(std::env::split_paths(path)) };
    for dir in places.into_iter().flatten() {
        let file = working_dir.join(dir).join(program);
        match check_program(&file) {
            Ok(()) => return Ok(file),
            Err(error) if missing(&error) => {}
            Err(source) => denied = denied.or(Some(Error::CommandNotExecutable { program: file, source })),
        }
    }
    Err(denied.unwrap_or_else(|| Error::CommandNotFound { program: program.to_owned(), path: Some(path.to_owned()) }))
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn check_dir(dir: &Path) -> io::Result<()> {
    if !dir.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(dir, Access::EXEC_OK)?)
}

fn check_program(file: &Path) -> io::Result<()> {
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(rustix::fs::access(file, Access::EXEC_OK)?)
}

/// What the system's refusal to execute a file that is there and executable means.
pub(crate) fn refusal(program: PathBuf, errno: i32) -> Error {
    let system = io::Error::from_raw_os_error(errno);
    let explain = |text: &str| io::Error::new(system.kind(), text.to_owned());
    let source = match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::NOENT => explain(
            "the interpreter that it names (its #! line or its loader) is not there: install it, or name another one first in `command`",
        ),
        rustix::io::Errno::NOEXEC => {
            explain("not a program that this machine can execute, and no #! line names an interpreter: name one first in `command`")
        }
        rustix::io::Errno::TOOBIG => {
            explain("arguments and environment together are longer than the system allows: shorten `args` or `env`")
        }
        _ if is_exhausted(&system) => return Error::System { act: format!("start {}", program.display()), source: system },
        _ => system,
    };
    Error::CommandNotExecutable { program, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_kit::redact::Redacted;
    use mesh_plan::instance::{InstanceKey, LogLimits};

    fn launch(program: &str, dir: &Path, path: &str) -> ProcessLaunch {
        ProcessLaunch {
            key: InstanceKey { namespace: "default".into(), name: "web".into(), uid: "1".into() },
            attempt: 0,
            argv: vec![program.into()],
            env: vec![("PATH".into(), Redacted::new("/nowhere")), ("PATH".into(), Redacted::new(path))],
            working_dir: dir.to_owned(),
            port: None,
            log: LogLimits { max_bytes: 1 << 20, max_files: 2 },
        }
    }

    fn error(program: &str, dir: &Path, path: &str) -> String {
        resolve(&launch(program, dir, path)).unwrap_err().to_string()
    }

    #[test]
    fn a_program_is_found_in_the_last_path_or_beside_the_working_directory() {
        assert_eq!(resolve(&launch("sh", Path::new("/"), "/usr/bin")).unwrap(), Path::new("/usr/bin/sh"));
        assert_eq!(resolve(&launch("bin/sh", Path::new("/usr"), "")).unwrap(), Path::new("/usr/bin/sh"));
        assert_eq!(resolve(&launch("/bin/sh", Path::new("/usr"), "")).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn each_way_to_be_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("text"), "hello").unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(error("nope", dir.path(), path), format!("nope: no such program in PATH {path}"));
        assert_eq!(error("./nope", dir.path(), path), "./nope: no such program");
        assert!(error("text", dir.path(), path).contains("Permission denied"), "{}", error("text", dir.path(), path));
        assert!(error("./text", dir.path(), path).contains("chmod +x"));
        assert!(error("/usr", dir.path(), path).contains("is a directory"));
        assert!(error("sh", Path::new("/nope"), "/bin").starts_with("workingDir /nope: No such file"));
        assert!(error("sh", &dir.path().join("text"), "/bin").contains("not a directory"));
        assert!(error("", dir.path(), path).contains("no such program"));
        assert_eq!(
            error("sleep 100", dir.path(), path),
            format!("sleep 100: no such program in PATH {path}; no shell splits it, so write each word by itself: [\"sleep\", \"100\"]")
        );
        let in_image = Error::CommandNotFound { program: "serve in image web:1".to_owned(), path: None };
        assert_eq!(in_image.to_string(), "serve in image web:1: no such program");
        for (errno, remedy) in [(2, "install it"), (8, "name one first in `command`"), (7, "shorten `args`"), (13, "chmod +x")] {
            let text = refusal("/app/run".into(), errno).to_string();
            assert!(text.contains(remedy) && (errno == 13 || !text.contains("chmod")), "{text}");
        }
    }
}

//! How a command ends: one exit code per kind of end, and the error that carries it. Nothing else decides an exit code.
use std::process::ExitCode;

use kube::core::Status;
use mesh_kit::status::said;

/// How a command ended, as its exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Ok,
    /// It failed, for a cause that has no code of its own.
    Failed,
    /// The arguments are wrong.
    Usage,
    /// It did not become ready (or did not end) in time.
    NotReady,
    /// A manifest, or what is in it, is wrong.
    Invalid,
    /// No API answers.
    Unreachable,
    /// Another has it, or changed it first.
    Conflict,
    /// Some of it was done, some of it failed.
    Partial,
    /// SIGINT ended it.
    Interrupted,
    /// SIGTERM ended it.
    Terminated,
    /// As a command ended that was run.
    Program(u8),
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::Ok => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NotReady => 3,
            Code::Invalid => 4,
            Code::Unreachable => 5,
            Code::Conflict => 6,
            Code::Partial => 7,
            Code::Interrupted => 130,
            Code::Terminated => 143,
            Code::Program(code) => code,
        })
    }
}

/// An end that is not well: what to say, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What to say; nothing if all has been said.
    pub error: Option<anyhow::Error>,
}

/// What verbs return.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with a text of its own.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, error: Some(anyhow::Error::msg(text.into())) }
    }

    /// A failure of which the user has read already.
    pub fn said(code: Code) -> Self {
        Self { code, error: None }
    }

    /// The same with words before it that say what was being done.
    #[must_use]
    pub fn context(self, act: impl std::fmt::Display) -> Self {
        Self { code: self.code, error: self.error.map(|error| error.context(act.to_string())) }
    }

    /// Whether an API answered, and cannot do it now.
    pub fn is_unavailable(&self) -> bool {
        self.error.as_ref().is_some_and(anyhow::Error::is::<Unavailable>)
    }

    /// The text for the user, with its causes, each told once: some errors tell theirs themselves.
    pub fn text(&self) -> String {
        let causes = self.error.iter().flat_map(anyhow::Error::chain).map(ToString::to_string);
        causes.reduce(|told, cause| if told.contains(&cause) { told } else { format!("{told}: {cause}") }).unwrap_or_default()
    }
}

/// Does all, one after the other, whatever becomes of each. [`Code::Partial`] if some of it was done; else the code of the first failure.
/// Where no API answers, nothing more is tried, and the code says so.
///
/// # Errors
/// What failed, a line each.
pub async fn each<T>(all: impl IntoIterator<Item = T>, mut act: impl AsyncFnMut(T) -> Result) -> Result {
    let (mut done, mut failed) = (0, Vec::new());
    for one in all {
        match act(one).await {
            Ok(()) => done += 1,
            Err(failure) => {
                let stop = failure.code == Code::Unreachable;
                failed.push(failure);
                if stop {
                    break;
                }
            }
        }
    }
    let (Some(first), Some(last)) = (failed.first(), failed.last()) else { return Ok(()) };
    let code = match last.code {
        Code::Unreachable => Code::Unreachable,
        _ if done > 0 => Code::Partial,
        _ => first.code,
    };
    match <[Failure; 1]>::try_from(failed) {
        Ok([only]) => Err(Failure { code, ..only }),
        Err(several) => Err(Failure::new(code, several.iter().map(Failure::text).collect::<Vec<_>>().join("\n"))),
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: Code::Failed, error: Some(error) }
    }
}

impl From<mesh_convert::Error> for Failure {
    fn from(error: mesh_convert::Error) -> Self {
        let code = match error {
            mesh_convert::Error::NoInput(_) => Code::Usage,
            mesh_convert::Error::Invalid(_) => Code::Invalid,
        };
        Self { code, error: Some(error.into()) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 503 => {
                Self { code: Code::Unreachable, error: Some(Unavailable(text_of(&status)).into()) }
            }
            kube::Error::Api(status) => Self::new(code_of(&status), text_of(&status)),
            kube::Error::Service(source) => Self { code: Code::Unreachable, error: Some(anyhow::anyhow!(source)) },
            error @ (kube::Error::HyperError(_) | kube::Error::ReadEvents(_)) => {
                Self { code: Code::Unreachable, error: Some(error.into()) }
            }
            error => Self { code: Code::Failed, error: Some(error.into()) },
        }
    }
}

/// An API is there, and cannot do it now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

fn code_of(status: &Status) -> Code {
    match status.code {
        400 | 422 => Code::Invalid,
        409 => Code::Conflict,
        503 => Code::Unreachable,
        _ => Code::Failed,
    }
}

fn text_of(status: &Status) -> String {
    let said = said(status);
    // `storage is (re)initializing`, for example, where definitions have just been installed.
    if status.code == 429 { format!("the API is not ready for this yet ({said}): try again in a moment") } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn some_done_and_some_failed_is_partial_and_without_an_api_nothing_more_is_tried() {
        let run = async |codes: &[Code]| {
            let mut tried = 0;
            let end = each(codes.to_vec(), async |code| {
                tried += 1;
                if code == Code::Ok { Ok(()) } else { Err(Failure::new(code, format!("{code:?}"))) }
            });
            let end = end.await.map_err(|failure| (failure.code, failure.text()));
            (tried, end)
        };
        let failed = |code, text: &str| Err((code, text.to_owned()));
        assert_eq!(run(&[Code::Ok, Code::Ok]).await, (2, Ok(())));
        assert_eq!(run(&[Code::Failed, Code::Ok, Code::Conflict]).await, (3, failed(Code::Partial, "Failed\nConflict")));
        assert_eq!(run(&[Code::Conflict, Code::Failed]).await, (2, failed(Code::Conflict, "Conflict\nFailed")));
        assert_eq!(run(&[Code::Ok, Code::Unreachable, Code::Ok]).await, (2, failed(Code::Unreachable, "Unreachable")));
        assert_eq!(run(&[Code::Unreachable, Code::Ok]).await, (1, failed(Code::Unreachable, "Unreachable")));
    }

    #[test]
    fn a_cause_is_told_once() {
        let no_room = std::io::Error::other("no room");
        let told = |failure: Failure| failure.context("store").text();
        assert_eq!(told(Failure::from(anyhow::Error::from(no_room).context("write x"))), "store: write x: no room");
        assert_eq!(
            told(Failure::from(anyhow::Error::from(std::io::Error::other("no room")).context("write x: no room"))),
            "store: write x: no room"
        );
    }

    #[test]
    fn what_the_api_refuses_becomes_the_exit_code_of_its_kind() {
        let code =
            |http: u16| Failure::from(kube::Error::Api(Status { code: http, message: "m".into(), ..Status::default() }.boxed())).code;
        assert_eq!(
            [400, 422, 409, 404, 500, 503].map(code),
            [Code::Invalid, Code::Invalid, Code::Conflict, Code::Failed, Code::Failed, Code::Unreachable]
        );
    }

    #[test]
    fn an_api_that_wants_to_be_asked_later_is_told_so() {
        let status = Status { code: 429, message: "storage is (re)initializing".into(), ..Status::default() };
        let text = "the API is not ready for this yet (storage is (re)initializing): try again in a moment";
        assert_eq!(Failure::from(kube::Error::Api(status.boxed())).text(), text);
    }

    #[test]
    fn an_api_that_is_there_and_cannot_do_it_is_told_from_none() {
        let status = Status { code: 503, message: "the store cannot be written".into(), ..Status::default() };
        let failure = Failure::from(kube::Error::Api(status.boxed())).context("mesh.yaml:3");
        assert_eq!(failure.text(), "mesh.yaml:3: the store cannot be written");
        assert!(failure.is_unavailable() && !Failure::new(Code::Unreachable, "refused").is_unavailable());
    }

    #[test]
    fn context_stands_before_the_cause_and_keeps_the_code() {
        let failure = Failure::new(Code::Invalid, "unknown field \"foo\"").context("mesh.yaml:3");
        assert_eq!((failure.code, failure.text().as_str()), (Code::Invalid, "mesh.yaml:3: unknown field \"foo\""));
    }
}

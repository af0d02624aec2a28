//! An instance's output, from the journal: `journalctl` as a child for as long as somebody reads.
use std::{process::Stdio, sync::Arc};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use super::{Inner, journal::Lines, record::Record};
use crate::{Error, LogQuery};
use mesh_plan::instance::InstanceKey;

impl Inner {
    /// The instance's output; following ends when the instance is removed.
    pub(super) fn logs(self: &Arc<Self>, key: &InstanceKey, query: &LogQuery) -> BoxStream<'static, Result<Bytes, Error>> {
        let Some(record) = self.index.get(&key.uid) else { return stream::empty().boxed() };
        let mut removed = self.removed.subscribe();
        let (inner, uid, follow) = (Arc::clone(self), key.uid.clone(), query.follow);
        let gone = async move {
            while follow && inner.index.get(&uid).is_some() {
                if let Err(tokio::sync::broadcast::error::RecvError::Closed) = removed.recv().await {
                    return;
                }
            }
            if !follow {
                std::future::pending::<()>().await;
            }
        };
        let mut command = Command::new("journalctl");
        command.args(self.place.manager.flag()).args(arguments(&record, query));
        let pieces = stream::try_unfold(Reader::New(command, Lines::new(query.timestamps)), Reader::next);
        pieces.take_until(gone).boxed()
    }
}

/// What journalctl is asked for.
fn arguments(record: &Record, query: &LogQuery) -> Vec<String> {
    let since = query.since.unwrap_or(record.made).max(record.made);
    let mut args: Vec<String> = ["--no-pager", "--quiet", "--all", "--output=json"].map(ToOwned::to_owned).to_vec();
    args.push(format!("--since=@{}.{:06}", since.as_second(), since.subsec_microsecond()));
    args.push(query.tail_lines.map_or_else(|| "--lines=all".to_owned(), |lines| format!("--lines={lines}")));
    if query.follow {
        args.push("--follow".to_owned());
    }
    args.push(format!("CONTAINER_NAME={}", record.container));
    args
}

enum Reader {
    New(Command, Lines),
    Open(Box<Child>, BufReader<ChildStdout>, Lines),
}

impl Reader {
    async fn next(self) -> Result<Option<(Bytes, Self)>, Error> {
        let (mut child, mut stdout, mut lines) = match self {
            Self::Open(child, stdout, lines) => (child, stdout, lines),
            Self::New(mut command, lines) => {
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
                let mut child = command.spawn().map_err(|source| Error::System { act: "run journalctl".to_owned(), source })?;
                let Some(stdout) = child.stdout.take() else { return Ok(None) };
                (Box::new(child), BufReader::new(stdout), lines)
            }
        };
        loop {
            let mut json = Vec::new();
            let read =
                stdout.read_until(b'\n', &mut json).await.map_err(|source| Error::System { act: "read the journal".to_owned(), source })?;
            if read == 0 {
                return ended(&mut child).await.map(|()| None);
            }
            let bytes = lines.add(&json);
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), Self::Open(child, stdout, lines))));
            }
        }
    }
}

/// Says why it ended, if not because all was read.
async fn ended(child: &mut Child) -> Result<(), Error> {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // What it cannot say is not missed.
        let _ = stderr.read_to_string(&mut said).await;
    }
    match child.wait().await {
        Ok(status) if !status.success() && !said.trim().is_empty() => {
            let remedy = "a user sees the journal as a member of the group systemd-journal";
            Err(Error::Refused { act: "read the journal".to_owned(), why: format!("{}; {remedy}", said.trim()) })
        }
        _ => Ok(()),
    }
}

//! Gives an instance's log as a stream, and goes on with it across rotations. Wakes when the directory changes; never polls.
use std::{io, mem::MaybeUninit, os::fd::OwnedFd};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::cursor::Cursor;
use crate::{Error, LogQuery, process::system, ready};
use mesh_shim::dir::InstanceDir;

/// The log, oldest first, in pieces that end where a line ends.
pub(crate) fn read(dir: InstanceDir, query: LogQuery) -> BoxStream<'static, Result<Bytes, Error>> {
    let name = dir.path().to_owned();
    let pieces = stream::try_unfold(Reader::New(dir, query), Reader::next);
    Box::pin(futures::TryStreamExt::map_err(pieces, move |error| system("read the log in", &name)(error)))
}

enum Reader {
    New(InstanceDir, LogQuery),
    Open(Box<Cursor>, Option<Watch>),
}

impl Reader {
    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        let (mut cursor, watch) = match self {
            Self::Open(cursor, watch) => (cursor, watch),
            Self::New(dir, _) if !dir.path().exists() => return Ok(None),
            Self::New(dir, query) => {
                // Watched before it is read, so that nothing is written in between.
                let watch = if query.follow { Some(Watch::new(&dir)?) } else { None };
                (off_the_runtime(move || Cursor::open(dir, query)).await.map(Box::new)?, watch)
            }
        };
        loop {
            let (piece, back) = off_the_runtime(move || cursor.next().map(|piece| (piece, cursor))).await?;
            cursor = back;
            match (piece, &watch) {
                (Some(piece), _) => return Ok(Some((piece, Self::Open(cursor, watch)))),
                (None, Some(watch)) if cursor.dir_exists() => watch.changed().await?,
                (None, _) => return Ok(cursor.unfinished().map(|piece| (piece, Self::Open(cursor, None)))),
            }
        }
    }
}

/// Disks can be slow.
async fn off_the_runtime<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(read).await?
}

/// Watches one directory.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(dir: &InstanceDir) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::DELETE_SELF;
        inotify::add_watch(&watch, dir.path(), flags)?;
        Ok(Self(ready::watch(watch)?))
    }

    /// Waits for a change, and takes all that there were.
    async fn changed(&self) -> io::Result<()> {
        let mut sink = [MaybeUninit::uninit(); 4096];
        self.0.readable().await?.clear_ready();
        while rustix::io::read(&self.0, &mut sink).is_ok() {}
        Ok(())
    }
}

//! Prints the lines of many instances, each behind its coloured name. On a thread of its own: a terminal that is held (Ctrl-S, a pager)
//! must not hold the controllers and the router that share the process.
use std::{
    io::{self, ErrorKind, Write},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{exit::Result, output, paint::Paint};

/// Something to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A line that an instance wrote.
    Log {
        /// The instance.
        id: String,
        /// When it was written.
        at: Option<Timestamp>,
        /// As it was written, without its end.
        line: Vec<u8>,
    },
    /// What we say ourselves.
    Own(String),
}

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Colours.
    pub paint: Paint,
    /// The instance's name before each line.
    pub names: bool,
    /// The time before each line.
    pub times: bool,
    /// Lines for which there is no room on the disk are left out, which is said: what runs matters more than what is read of it.
    pub lossy: bool,
}

/// Sends messages to the thread that prints them.
#[derive(Debug, Clone)]
pub struct Printer(mpsc::Sender<Message>);

/// The thread's end, for the one who started it.
#[derive(Debug)]
pub struct Printed(oneshot::Receiver<io::Result<()>>);

/// What waits to be printed; then those who write logs wait.
const WAITING: usize = 256;
/// Bytes that are written at once at the most, and one message.
const AT_ONCE: usize = 64 * 1024;
/// How long a terminal that is held (Ctrl-S) holds what we say ourselves, and the end of a run.
const PATIENCE: Duration = Duration::from_secs(1);

impl Printer {
    /// Starts the thread.
    pub fn start(style: Style) -> io::Result<(Self, Printed)> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (done, printed) = oneshot::channel();
        std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
            // Nobody may be waiting for it.
            let _ = done.send(print(receiver, style, io::stdout()));
        })?;
        Ok((Self(sender), Printed(printed)))
    }

    /// Prints; waits while too much waits already. False once nobody reads what is printed.
    pub async fn print(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Prints something of our own. It is lost where there is nobody to tell: no reader, or a terminal that is held for long.
    pub async fn say(&self, text: impl Into<String>) {
        let _ = tokio::time::timeout(PATIENCE, self.print(Message::Own(text.into()))).await;
    }

    /// Ends when nobody reads what is printed, even if nothing is: the reader has gone, or writing has failed.
    pub async fn unread(&self) {
        tokio::select! {
            () = self.0.closed() => {}
            () = output::reader_gone() => {}
        }
    }
}

impl Printed {
    /// Waits until everything is printed. All printers must have been dropped.
    ///
    /// # Errors
    /// It could not be written. A reader that has gone (`mesh logs api | head`) is no failure.
    pub async fn finish(self) -> Result {
        match self.0.await {
            Ok(Err(error)) => Err(output::failure(error)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// The same, but not for a terminal that is held.
    ///
    /// # Errors
    /// See [`Printed::finish`].
    pub async fn finish_soon(self) -> Result {
        tokio::time::timeout(PATIENCE, self.finish()).await.unwrap_or(Ok(()))
    }
}

fn print(mut messages: mpsc::Receiver<Message>, style: Style, mut out: impl Write) -> io::Result<()> {
    let (mut text, mut width, mut lost) = (String::new(), 0, 0_usize);
    while let Some(message) = messages.blocking_recv() {
        text.push_str(&render(&message, style, &mut width));
        if !messages.is_empty() && text.len() < AT_ONCE {
            continue;
        }
        if lost > 0 {
            text.insert_str(0, &render(&Message::Own(format!("lines left out here for want of room: {lost}")), style, &mut width));
        }
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => lost = 0,
            Err(error) if style.lossy && error.kind() == ErrorKind::StorageFull => {
                if lost == 0 {
                    output::complain("mesh", &format!("standard output: {error}; lines are left out until there is room"));
                }
                // The one that says so is none of them.
                lost += text.lines().count() - usize::from(lost > 0);
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
        text.clear();
    }
    Ok(())
}

/// A message as lines of text; `width` is that of the widest name so far.
fn render(message: &Message, style: Style, width: &mut usize) -> String {
    let Style { paint, names, times, lossy: _ } = style;
    match message {
        Message::Own(text) if names => {
            let name = paint.bold(&prefix("mesh", width));
            text.lines().flat_map(|line| [&name, " ", line, "\n"]).collect()
        }
        Message::Own(text) => format!("{text}\n"),
        Message::Log { id, at, line } => {
            let name = if names { paint.by_key(id, &prefix(id, width)) + " " } else { String::new() };
            let time = at.filter(|_| times).map(|at| format!("{at:.3} ")).unwrap_or_default();
            format!("{name}{time}{}\n", paint.line(line))
        }
    }
}

fn prefix(name: &str, width: &mut usize) -> String {
    *width = name.len().max(*width);
    format!("{name:<width$} |", width = *width)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use super::*;

    const PLAIN: Style = Style { paint: Paint::OFF, names: true, times: false, lossy: false };

    fn log(id: &str, line: &str) -> Message {
        Message::Log { id: id.to_owned(), at: Some("2026-01-01T00:00:00.123456Z".parse().unwrap()), line: line.into() }
    }

    #[test]
    fn lines_stand_behind_names_of_one_width() {
        let mut width = 0;
        let lines: Vec<_> =
            [log("api-0", "one"), Message::Own("two\nthree".into()), log("frontend-0", "\x1b[2Jfour"), log("api-0", "five")]
                .iter()
                .map(|message| render(message, PLAIN, &mut width))
                .collect();
        assert_eq!(lines, ["api-0 | one\n", "mesh  | two\nmesh  | three\n", "frontend-0 | four\n", "api-0      | five\n"]);
    }

    /// Takes no bytes, with this error.
    struct Refuses(ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn what_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
        for (kind, expected) in [(ErrorKind::StorageFull, Some(ErrorKind::StorageFull)), (ErrorKind::BrokenPipe, None)] {
            let (sender, receiver) = mpsc::channel(1);
            sender.blocking_send(log("api-0", "one")).unwrap();
            let end = print(receiver, PLAIN, Refuses(kind));
            assert_eq!(end.err().map(|error| error.kind()), expected);
            assert!(sender.is_closed(), "those who write are told");
        }
    }

    /// A disk that is full for as long as it is told.
    struct Disk<'a> {
        full: &'a AtomicBool,
        refused: &'a AtomicUsize,
        has: &'a Mutex<String>,
    }

    impl Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full.load(Ordering::SeqCst) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return Err(ErrorKind::StorageFull.into());
            }
            self.has.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_is_full_for_a_while_costs_lines_which_is_said_and_ends_nothing() {
        let (full, refused, has) = (AtomicBool::new(true), AtomicUsize::new(0), Mutex::default());
        let (sender, receiver) = mpsc::channel(1);
        std::thread::scope(|scope| {
            let printing =
                scope.spawn(|| print(receiver, Style { lossy: true, ..PLAIN }, Disk { full: &full, refused: &refused, has: &has }));
            sender.blocking_send(log("api-0", "one")).unwrap();
            while refused.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            full.store(false, Ordering::SeqCst);
            sender.blocking_send(log("api-0", "five")).unwrap();
            drop(sender);
            printing.join().unwrap().unwrap();
        });
        let has = has.into_inner().unwrap();
        assert_eq!(has, "mesh  | lines left out here for want of room: 1\napi-0 | five\n");
    }

    #[test]
    fn times_stand_before_the_line() {
        assert_eq!(render(&log("a", "x"), Style { names: false, times: true, ..PLAIN }, &mut 0), "2026-01-01T00:00:00.123Z x\n");
    }
}

//! Prints the lines of many instances, each behind its coloured name. On a thread of its own: a terminal that is held (Ctrl-S, a pager)
//! must not hold the controllers and the router that share the process.
use std::io::Write;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::paint::Paint;

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
}

/// Sends messages to the thread that prints them.
#[derive(Debug, Clone)]
pub struct Printer(mpsc::Sender<Message>);

/// The thread's end, for the one who started it.
#[derive(Debug)]
pub struct Printed(oneshot::Receiver<()>);

/// What waits to be printed; then those who write logs wait.
const WAITING: usize = 1024;

impl Printer {
    /// Starts the thread.
    pub fn start(style: Style) -> std::io::Result<(Self, Printed)> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (done, printed) = oneshot::channel();
        std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
            print(receiver, style);
            // Nobody may be waiting for it.
            let _ = done.send(());
        })?;
        Ok((Self(sender), Printed(printed)))
    }

    /// Prints; waits while too much waits already. False once nobody reads what is printed.
    pub async fn print(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Prints something of our own.
    pub async fn say(&self, text: impl Into<String>) {
        // Without a reader there is nobody to tell.
        let _ = self.print(Message::Own(text.into())).await;
    }

    /// Ends when nobody reads what is printed.
    pub async fn unread(&self) {
        self.0.closed().await;
    }
}

impl Printed {
    /// Waits until everything is printed, but not for a terminal that is held. All printers must have been dropped.
    pub async fn finish(self) {
        // Late or gone: both are the end.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.0).await;
    }
}

fn print(mut messages: mpsc::Receiver<Message>, style: Style) {
    let (mut out, mut width) = (std::io::BufWriter::new(std::io::stdout()), 0);
    while let Some(message) = messages.blocking_recv() {
        let text = render(&message, style, &mut width);
        let written = out.write_all(text.as_bytes()).and_then(|()| if messages.is_empty() { out.flush() } else { Ok(()) });
        if written.is_err() {
            // The reader has gone: `mesh logs -f api | head`.
            return;
        }
    }
    // The reader may have gone just now.
    let _ = out.flush();
}

/// A message as lines of text; `width` is that of the widest name so far.
fn render(message: &Message, style: Style, width: &mut usize) -> String {
    let Style { paint, names, times } = style;
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
    use super::*;

    const PLAIN: Style = Style { paint: Paint::OFF, names: true, times: false };

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

    #[test]
    fn times_stand_before_the_line() {
        assert_eq!(render(&log("a", "x"), Style { names: false, times: true, ..PLAIN }, &mut 0), "2026-01-01T00:00:00.123Z x\n");
    }
}

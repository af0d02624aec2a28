//! A client's connection below hyper: every byte passes the [`Gate`], and time limits end what stalls.
pub mod body;
pub mod cell;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::gate::{Gate, MAX_HEAD, Reject};
pub use cell::Cell;
use cell::Upgrade;

/// How long, and for how many bytes, a client that still sends is listened to after the last answer, so that a reset does not take the answer from it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// What hyper gets to read in place of a refused head; the request that it makes of it is answered by the refusal.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n\r\n";

/// What came of a look at the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Something for hyper.
    Some,
    /// Nothing that may pass yet.
    Nothing,
    /// The client has ended its side.
    End,
}

/// A client's socket behind the gate.
#[derive(Debug)]
pub struct Gated {
    io: TcpStream,
    gate: Gate,
    /// Came and has not passed: an incomplete head, or what followed an upgrade request.
    held: Vec<u8>,
    /// Passed and has not been read by hyper.
    passed: Vec<u8>,
    read: usize,
    shut: bool,
    /// A chunk of the body is framed wrongly: what came before it passes, and then that error.
    broken: bool,
    /// Bytes that may still be thrown away, once our side has ended.
    linger: Option<usize>,
    cell: Arc<Cell>,
}

impl Gated {
    /// Puts a gate before a socket.
    pub fn new(io: TcpStream, cell: Arc<Cell>) -> Self {
        Self { io, gate: Gate::default(), held: Vec::new(), passed: Vec::new(), read: 0, shut: false, broken: false, linger: None, cell }
    }

    /// Moves what passed into hyper's buffer; says whether there was something.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.passed.get(self.read..).unwrap_or_default();
        let part = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
        let some = !part.is_empty();
        buf.put_slice(part);
        self.read += part.len();
        if self.read >= self.passed.len() {
            self.passed = Vec::new();
            self.read = 0;
        }
        some
    }

    /// Hyper gets a stand-in for the head that was refused, and nothing after it.
    fn refuse(&mut self, reject: Reject) {
        self.held = Vec::new();
        if reject == Reject::Chunk {
            self.broken = true;
            return;
        }
        self.shut = true;
        self.cell.refuse(self.gate.heads(), reject);
        self.passed.extend_from_slice(STAND_IN);
    }

    /// Lets pass what may of the bytes held.
    fn pass_held(&mut self) {
        let fed = self.gate.feed(&self.held);
        if fed.pass > 0 {
            let rest = self.held.split_off(fed.pass);
            self.passed.append(&mut self.held);
            self.held = rest;
        }
        self.after_feed(fed.reject);
    }

    fn after_feed(&mut self, reject: Option<Reject>) {
        if self.gate.is_held() {
            self.cell.ask_upgrade(self.gate.heads());
        }
        if let Some(reject) = reject {
            self.refuse(reject);
        }
    }

    /// While an upgrade is undecided nothing is read. False: wait.
    fn settle_upgrade(&mut self) -> bool {
        if !self.gate.is_held() {
            return true;
        }
        match self.cell.upgrade() {
            Upgrade::Made => self.gate.open(),
            Upgrade::Declined => self.gate.resume(),
            Upgrade::Undecided => return false,
        }
        self.pass_held();
        true
    }

    /// The client was waited for long enough. True: the stream is to end.
    fn out_of_time(&mut self) -> bool {
        if !self.cell.has_waited() {
            return false;
        }
        if self.held.is_empty() {
            return true;
        }
        self.gate.give_up();
        self.refuse(Reject::TooSlow);
        false
    }

    /// Reads into hyper's buffer and takes back what may not pass yet.
    fn read_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Read>> {
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
            return Poll::Ready(Err(error));
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            return Poll::Ready(Ok(Read::End));
        }
        let fed = self.gate.feed(new);
        self.held.extend_from_slice(new.get(fed.pass..).unwrap_or_default());
        if !self.held.is_empty() && self.gate.is_between() {
            self.cell.head_began();
        }
        buf.set_filled(before + fed.pass);
        self.after_feed(fed.reject);
        Poll::Ready(Ok(if fed.pass > 0 { Read::Some } else { Read::Nothing }))
    }

    /// Reads behind an incomplete head.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut space = [0; 4096];
        let mut more = ReadBuf::new(&mut space);
        if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(cx, &mut more)) {
            return Poll::Ready(Err(error));
        }
        if more.filled().is_empty() {
            return Poll::Ready(Ok(Read::End));
        }
        // Looks for an end only where one can have come, so that a slow head costs no more than a quick one.
        let tail = self.held.len().saturating_sub(3);
        self.held.extend_from_slice(more.filled());
        let ended = self.held.get(tail..).unwrap_or_default().windows(2).any(|w| w == b"\n\r" || w == b"\n\n");
        if ended || self.held.len() > MAX_HEAD {
            self.pass_held();
        }
        Poll::Ready(Ok(Read::Nothing))
    }
}

impl AsyncRead for Gated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Reject::Chunk)));
            }
            if this.shut || !this.settle_upgrade() {
                return Poll::Pending;
            }
            if !this.passed.is_empty() {
                continue;
            }
            if this.out_of_time() {
                return Poll::Ready(Ok(()));
            }
            if this.shut {
                continue;
            }
            let read = if this.held.is_empty() { this.read_direct(cx, buf)? } else { this.read_behind(cx)? };
            match read {
                // It wants no more than its answers: hyper would take the end of its side for the end of all.
                Poll::Ready(Read::End) if this.owes_answers() && !this.cell.is_gone() => {
                    this.cell.half_closed();
                    return Poll::Pending;
                }
                Poll::Ready(Read::End | Read::Some) => return Poll::Ready(Ok(())),
                Poll::Ready(Read::Nothing) => {}
                // Nothing has come, nothing is under way, and the router is to end.
                Poll::Pending if this.cell.is_closing() && this.is_idle() => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Gated {
    /// Whether whole requests have come, and nothing else, of which some are not answered to their end.
    fn owes_answers(&self) -> bool {
        self.gate.is_between() && self.held.is_empty() && self.gate.heads() > self.cell.finished()
    }

    fn is_idle(&self) -> bool {
        self.gate.is_between() && self.held.is_empty() && self.cell.is_between()
    }
}

impl Gated {
    /// Ends our side; what a client still sends of a request that was answered early, or refused, is thrown away for a moment.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unread = self.shut || !(self.gate.is_between() || self.gate.is_open());
        let mut left = if let Some(left) = self.linger {
            left
        } else {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.cell.wait(Some(LINGER));
            if unread { LINGER_BYTES } else { 0 }
        };
        let mut space = [0; 4096];
        while left > 0 && !self.cell.has_waited() {
            self.linger = Some(left);
            let mut more = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut more)) {
                Ok(()) if !more.filled().is_empty() => left = left.saturating_sub(more.filled().len()),
                _ => left = 0,
            }
        }
        self.linger = Some(0);
        Poll::Ready(Ok(()))
    }
}

impl Gated {
    /// Notes whether the client takes what it is sent; ends the wait for one that does not.
    fn sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &sent {
            Poll::Pending if self.cell.is_stuck() => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => self.cell.send_waits(),
            Poll::Ready(Ok(sent)) => self.cell.sent(*sent),
            Poll::Ready(Err(_)) => {}
        }
        sent
    }
}

impl AsyncWrite for Gated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = Pin::new(&mut this.io).poll_write(cx, buf);
        this.sent(sent)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().end(cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

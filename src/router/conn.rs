//! A client's connection below hyper: every byte passes the [`Gate`], and time limits end what stalls.
//! [`Cell`] is what the IO, the requests and the worker's sweeper know of one connection together.
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::gate::{Gate, MAX_HEAD, Reject};

/// What hyper gets to read in place of a refused head; the request that it makes of it is answered by the refusal.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n\r\n";
const NONE: u8 = 0;
const DECLINED: u8 = 1;
const MADE: u8 = 2;

/// What is known of one connection. Atomics only because hyper moves an upgraded connection as `Send`; one thread uses them.
#[derive(Debug)]
pub struct Cell {
    clock: Arc<AtomicU64>,
    /// For a head to come, from its first byte.
    head_limit: Option<Duration>,
    waker: OnceLock<Waker>,
    /// Milliseconds of the worker's clock at which the connection has waited long enough for its client; 0: it does not wait.
    waits_until: AtomicU64,
    waited: AtomicBool,
    /// The same for the response to the request under way.
    answer_until: AtomicU64,
    late: AtomicBool,
    /// The connection is to end after what is under way.
    closing: AtomicBool,
    refused: OnceLock<(u64, Reject)>,
    upgrade_at: AtomicU64,
    upgrade: AtomicU8,
}

impl Cell {
    /// A new connection, which waits for its first request. `clock` is the worker's, in milliseconds.
    pub fn new(clock: Arc<AtomicU64>, head_limit: Option<Duration>) -> Self {
        let cell = Self {
            clock,
            head_limit,
            waker: OnceLock::new(),
            waits_until: AtomicU64::new(0),
            waited: AtomicBool::new(false),
            answer_until: AtomicU64::new(0),
            late: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            refused: OnceLock::new(),
            upgrade_at: AtomicU64::new(0),
            upgrade: AtomicU8::new(NONE),
        };
        cell.wait(head_limit);
        cell
    }

    /// A head has begun.
    fn head_began(&self) {
        let (at, head) = (self.waits_until.load(Relaxed), self.until(self.head_limit));
        if head != 0 && (at == 0 || head < at) {
            self.waits_until.store(head, Relaxed);
        }
    }

    fn until(&self, limit: Option<Duration>) -> u64 {
        limit.map_or(0, |limit| self.clock.load(Relaxed).saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)).max(1))
    }

    /// Whom to wake; the connection's one task.
    pub fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The connection waits for its client.
    pub fn wait(&self, limit: Option<Duration>) {
        self.waits_until.store(self.until(limit), Relaxed);
    }

    /// It does not wait any more.
    pub fn go_on(&self) {
        self.waits_until.store(0, Relaxed);
    }

    /// The response to the request under way is waited for.
    pub fn expect_answer(&self, limit: Option<Duration>) {
        self.late.store(false, Relaxed);
        self.answer_until.store(self.until(limit), Relaxed);
    }

    /// It came, or is not waited for.
    pub fn answered(&self) {
        self.answer_until.store(0, Relaxed);
    }

    /// Whether it did not come in time.
    pub fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Wakes the connection if one of its times has come.
    pub fn sweep(&self, now: u64) {
        for (until, flag) in [(&self.waits_until, &self.waited), (&self.answer_until, &self.late)] {
            let at = until.load(Relaxed);
            if at != 0 && at <= now {
                until.store(0, Relaxed);
                flag.store(true, Relaxed);
                self.wake();
            }
        }
    }

    /// Asks the connection to end after what is under way.
    pub fn close(&self) {
        self.closing.store(true, Relaxed);
        self.wake();
    }

    /// Whether that was asked.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Why the request of this number was refused by the gate, if it was.
    pub fn refusal(&self, number: u64) -> Option<Reject> {
        self.refused.get().filter(|(at, _)| *at == number).map(|(_, reject)| *reject)
    }

    /// Whether the request of this number may become an upgrade.
    pub fn may_upgrade(&self, number: u64) -> bool {
        self.upgrade_at.load(Relaxed) == number
    }

    /// Decides the upgrade that [`Cell::may_upgrade`] was true for.
    pub fn decide(&self, made: bool) {
        self.upgrade.store(if made { MADE } else { DECLINED }, Relaxed);
        self.wake();
    }
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
    cell: Arc<Cell>,
}

impl Gated {
    /// Puts a gate before a socket.
    pub fn new(io: TcpStream, cell: Arc<Cell>) -> Self {
        Self { io, gate: Gate::default(), held: Vec::new(), passed: Vec::new(), read: 0, shut: false, cell }
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
    fn refuse(&mut self, reject: Reject) -> io::Result<()> {
        self.shut = true;
        self.held = Vec::new();
        if reject == Reject::Chunk {
            return Err(io::Error::new(io::ErrorKind::InvalidData, reject));
        }
        // The first refusal stays: nothing is read after it.
        let _ = self.cell.refused.set((self.gate.heads(), reject));
        self.passed.extend_from_slice(STAND_IN);
        Ok(())
    }

    /// Lets pass what may of the bytes held.
    fn pass_held(&mut self) -> io::Result<()> {
        let fed = self.gate.feed(&self.held);
        if fed.pass > 0 {
            let rest = self.held.split_off(fed.pass);
            self.passed.append(&mut self.held);
            self.held = rest;
        }
        self.after_feed(fed.reject)
    }

    fn after_feed(&mut self, reject: Option<Reject>) -> io::Result<()> {
        if self.gate.is_held() {
            self.cell.upgrade.store(NONE, Relaxed);
            self.cell.upgrade_at.store(self.gate.heads(), Relaxed);
        }
        reject.map_or(Ok(()), |reject| self.refuse(reject))
    }

    /// While an upgrade is undecided nothing is read. False: wait.
    fn settle_upgrade(&mut self) -> io::Result<bool> {
        if !self.gate.is_held() {
            return Ok(true);
        }
        match self.cell.upgrade.load(Relaxed) {
            MADE => self.gate.open(),
            DECLINED => self.gate.resume(),
            _ => return Ok(false),
        }
        self.pass_held()?;
        Ok(true)
    }

    /// The client was waited for long enough. True: the stream is to end.
    fn out_of_time(&mut self) -> io::Result<bool> {
        if !self.cell.waited.swap(false, Relaxed) {
            return Ok(false);
        }
        if self.held.is_empty() {
            return Ok(true);
        }
        self.gate.give_up();
        self.refuse(Reject::TooSlow)?;
        Ok(false)
    }

    /// Reads into hyper's buffer and takes back what may not pass yet.
    fn read_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        if let Err(error) = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
            return Poll::Ready(Err(error));
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let fed = self.gate.feed(new);
        self.held.extend_from_slice(new.get(fed.pass..).unwrap_or_default());
        if !self.held.is_empty() && self.gate.is_between() {
            self.cell.head_began();
        }
        buf.set_filled(before + fed.pass);
        Poll::Ready(self.after_feed(fed.reject).map(|()| fed.pass > 0))
    }

    /// Reads behind an incomplete head. True: the stream ended.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; 4096];
        let mut more = ReadBuf::new(&mut space);
        if let Err(error) = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut more)) {
            return Poll::Ready(Err(error));
        }
        if more.filled().is_empty() {
            return Poll::Ready(Ok(true));
        }
        // Looks for an end only where one can have come, so that a slow head costs no more than a quick one.
        let tail = self.held.len().saturating_sub(3);
        self.held.extend_from_slice(more.filled());
        let ended = self.held.get(tail..).unwrap_or_default().windows(2).any(|w| w == b"\n\r" || w == b"\n\n");
        if ended || self.held.len() > MAX_HEAD { Poll::Ready(self.pass_held().map(|()| false)) } else { Poll::Ready(Ok(false)) }
    }
}

impl AsyncRead for Gated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.shut || !this.settle_upgrade()? {
                return Poll::Pending;
            }
            if !this.passed.is_empty() {
                continue;
            }
            if this.out_of_time()? {
                return Poll::Ready(Ok(()));
            }
            if this.shut {
                continue;
            }
            let read = if this.held.is_empty() {
                this.read_direct(cx, buf)?.map(|some| some.then_some(()))
            } else {
                this.read_behind(cx)?.map(|ended| ended.then_some(()))
            };
            match read {
                Poll::Ready(Some(())) => return Poll::Ready(Ok(())),
                Poll::Ready(None) => {}
                // Nothing has come, nothing is under way, and the router is to end.
                Poll::Pending if this.cell.is_closing() && this.is_idle() => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Gated {
    fn is_idle(&self) -> bool {
        self.gate.is_between() && self.held.is_empty() && self.cell.waits_until.load(Relaxed) != 0
    }
}

impl AsyncWrite for Gated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

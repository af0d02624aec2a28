"""Locks and leaderships that are held, with threads that renew them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Optional, Type, TypeVar

from ._claim import GRACE, RELEASE, RETRY, Claim, Term, backoff
from ._door import Door, Events
from ._errors import LockError, MeshError, is_passing, unreachable
from ._signal import Signal
from ._wire import FAREWELL

L = TypeVar("L", bound="Lease")


class Lease:
    """What is held. It renews itself until it is released or lost.

    As a context manager it is released at the end, where `LockLost` is raised if it was lost meanwhile. A process that is forked
    meanwhile does not hold it, and releases nothing.
    """

    def __init__(self, door: Door, claim: Claim, fence: int, sent: float, events: Events) -> None:
        self._door = door
        self._url = claim.subject.url
        self._events = events
        self._ended = threading.Event()
        self._term = Term(claim.subject, fence, claim.ttl, sent, self._end)
        self._lost = Signal(look=lambda: self.held)
        self._releasing = threading.Lock()
        self._released: Optional[bool] = None
        for name, target in (("renew", self._keep), ("listen", self._listen)):
            threading.Thread(target=target, name=f"mesh-{name}", daemon=True).start()

    @property
    def fence(self) -> int:
        """Grows with every holder.

        Send it with each write to what the lease protects, and let that refuse a fence lower than one it has seen: only that
        stops a process which was paused between its last look and its write.
        """
        return self._term.fence

    @property
    def held(self) -> bool:
        """Whether it is held now, by the clock."""
        return self._term.held

    @property
    def lost(self) -> threading.Event:
        """Set when it is lost."""
        return self._lost

    def check(self) -> None:
        """Raises `LockLost` if it is not held any more."""
        self._term.check()

    def renew(self) -> None:
        """Renews now, beside the renewals that happen anyway; raises `LockLost` if it is not held any more."""
        while self.held:
            sent = monotonic()
            try:
                self._door.json("PUT", self._url, {"fence": self.fence}, self._term.limit(sent))
                if self.held:
                    self._term.extend(sent)
                    return
            except MeshError as error:
                self._term.failed(error)
                self._ended.wait(min(RETRY, self._term.limit(monotonic())))
        self.check()

    def release(self) -> bool:
        """True if this ended it, false if it had been lost or the agent could not be told; raises nothing."""
        if not self._term.is_own:
            return False
        with self._releasing:
            if self._released is None:
                self._released = self._give_back()
            return self._released

    def __enter__(self: L) -> L:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if self._term.is_own:
            self.release()
            self._term.raise_loss(error)

    def _keep(self) -> None:
        while not self._ended.wait(max(0.0, self._term.renewal_at - monotonic())):
            try:
                self.renew()
            except LockError:
                return

    def _listen(self) -> None:
        """Hears of a loss from the agent; a stream that broke is opened again, as long as there is hope."""
        tries = 0
        while self.held:
            try:
                for said in iter(self._events.next, None):
                    tries = 0
                    self._term.hear(said)
            except MeshError as error:
                self._term.failed(error)
            if self._ended.wait(backoff(tries)):
                return
            tries += 1
            self._events.close()
            self._events = self._door.events("GET", f"{self._url}?fence={self.fence}")

    def _end(self) -> None:
        self._ended.set()
        if self._term.loss is not None:
            self._lost.set()
        self._events.hang_up()

    # Also after a loss: the agent may hold it for us until the ttl is over, and nobody needs to wait for that.
    def _give_back(self) -> bool:
        was_held = self.held and self._term.close()
        end = min(self._term.deadline, monotonic() + RELEASE)
        while True:
            try:
                self._door.json("DELETE", f"{self._url}?fence={self.fence}", limit=RELEASE)
                return was_held
            except MeshError as error:
                if not is_passing(error) or monotonic() + RETRY >= end:
                    return False
            time.sleep(RETRY)


class Lock(Lease):
    """A lock that is held."""

    @property
    def key(self) -> str:
        return self._term.subject.name


class Leadership(Lease):
    """A group that is led."""

    @property
    def group(self) -> str:
        return self._term.subject.name


def acquire(door: Door, kind: Type[L], claim: Claim) -> L:
    """Waits until the lease is ours."""
    while True:
        try:
            return _ask(door, kind, claim)
        except MeshError as error:
            time.sleep(claim.pause_after(error))


def _ask(door: Door, kind: Type[L], claim: Claim) -> L:
    """One request for the lease. When it fails, nothing stays held that nobody knows of."""
    sent = monotonic()
    events = door.events("POST", claim.subject.url, claim.body())
    granted: Future[int] = Future()
    # A thread of its own, as http.client cannot go on after an interrupted read.
    threading.Thread(target=_grant, args=(events, claim, granted), name="mesh-ask", daemon=True).start()
    left = claim.left()
    try:
        if not wait([granted], None if left is None else left + GRACE).done:
            raise unreachable(f"it was silent for {GRACE} s after the end of the wait")
        fence = granted.result()
    except BaseException:
        _leave(door, events, claim, granted)
        raise
    renew_first = claim.is_renewal_due(sent)
    lease = kind(door, claim, fence, monotonic() if renew_first else sent, events)
    try:
        if renew_first:
            lease.renew()
        return lease
    except BaseException:
        lease.release()
        raise


def _grant(events: Events, claim: Claim, granted: Future[int]) -> None:
    try:
        for event in iter(events.next, None):
            fence = claim.hear(event)
            if fence is not None:
                return granted.set_result(fence)
        raise unreachable("the connection ended")
    except Exception as error:
        events.close()
        granted.set_exception(error)


def _leave(door: Door, events: Events, claim: Claim, granted: Future[int]) -> None:
    events.hang_up()
    if wait([granted], FAREWELL).done and granted.exception() is None:
        with suppress(MeshError):
            door.json("DELETE", f"{claim.subject.url}?fence={granted.result()}", limit=RELEASE)
        events.close()

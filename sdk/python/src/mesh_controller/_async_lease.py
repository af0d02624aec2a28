"""Locks and leaderships that are held, with asyncio tasks that renew them."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Coroutine, Iterator, Optional, Set, Type, TypeVar

from ._async_door import AsyncDoor, AsyncEvents
from ._claim import GRACE, RELEASE, RETRY, Claim, Term, backoff
from ._errors import LockError, MeshError, is_passing, unreachable
from ._wire import FAREWELL

L = TypeVar("L", bound="AsyncLease")
T = TypeVar("T")

_background: Set["asyncio.Task[Any]"] = set()


class AsyncLease:
    """What is held. It renews itself until it is released or lost.

    As a context manager it is released at the end. If it is lost meanwhile, the task that runs the block is cancelled, and the
    `async with` raises `LockLost`; a cancellation from outside stays a `CancelledError`.
    """

    def __init__(self, door: AsyncDoor, claim: Claim, fence: int, sent: float, events: AsyncEvents) -> None:
        self._door = door
        self._url = claim.subject.url
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._term = Term(claim.subject, fence, claim.ttl, sent, self._end)
        self._releasing: Optional["asyncio.Task[bool]"] = None
        self._keeping = _in_background(self._keep())
        _in_background(self._listen())

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

    def check(self) -> None:
        """Raises `LockLost` if it is not held any more."""
        self._term.check()

    async def renew(self) -> None:
        """Renews now, beside the renewals that happen anyway; raises `LockLost` if it is not held any more."""
        while self.held:
            sent = monotonic()
            try:
                await self._door.json("PUT", self._url, {"fence": self.fence}, self._term.limit(sent))
                if self.held:
                    self._term.extend(sent)
                    return
            except MeshError as error:
                self._term.failed(error)
                await asyncio.sleep(min(RETRY, self._term.limit(monotonic())))
        self.check()

    async def release(self) -> bool:
        """True if this ended it, false if it had been lost or the agent could not be told; a cancellation waits for it."""
        if not self._term.is_own:
            return False
        if self._releasing is None:
            self._releasing = _in_background(self._give_back())
        try:
            await asyncio.wait({self._releasing})
        except asyncio.CancelledError:
            await asyncio.wait({self._releasing})
            raise
        return self._releasing.result()

    async def __aenter__(self: L) -> L:
        self._guard = cancelled_by_loss(self._term)
        self._guard.__enter__()
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        try:
            self._guard.__exit__(kind, error, trace)
        finally:
            await self.release()

    async def _keep(self) -> None:
        while self.held:
            await asyncio.sleep(max(0.0, self._term.renewal_at - monotonic()))
            try:
                await self.renew()
            except LockError:
                return

    async def _listen(self) -> None:
        """Hears of a loss from the agent; a stream that broke is opened again, as long as there is hope."""
        tries = 0
        while self.held:
            try:
                while (said := await self._events.next()) is not None:
                    tries = 0
                    self._term.hear(said)
            except MeshError as error:
                self._term.failed(error)
            finally:
                self._events.close()
            if self.held:
                await asyncio.sleep(backoff(tries))
                tries += 1
                self._events = self._door.events("GET", f"{self._url}?fence={self.fence}")

    # Another thread may have learnt of the end, by `held`.
    def _end(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._keeping.cancel()
        self._events.hang_up()

    # Also after a loss: the agent may hold it for us until the ttl is over, and nobody needs to wait for that.
    async def _give_back(self) -> bool:
        was_held = self.held and self._term.close()
        end = min(self._term.deadline, monotonic() + RELEASE)
        while True:
            try:
                await self._door.json("DELETE", f"{self._url}?fence={self.fence}", limit=RELEASE)
                return was_held
            except MeshError as error:
                if not is_passing(error) or monotonic() + RETRY >= end:
                    return False
            await asyncio.sleep(RETRY)


class AsyncLock(AsyncLease):
    """A lock that is held."""

    @property
    def key(self) -> str:
        return self._term.subject.name


class AsyncLeadership(AsyncLease):
    """A group that is led."""

    @property
    def group(self) -> str:
        return self._term.subject.name


async def acquire(door: AsyncDoor, kind: Type[L], claim: Claim) -> L:
    """Waits until the lease is ours."""
    while True:
        try:
            return await _ask(door, kind, claim)
        except MeshError as error:
            await asyncio.sleep(claim.pause_after(error))


async def _ask(door: AsyncDoor, kind: Type[L], claim: Claim) -> L:
    """One request for the lease. When it fails, nothing stays held that nobody knows of."""
    sent = monotonic()
    events = door.events("POST", claim.subject.url, claim.body())
    granted = _in_background(_grant(events, claim))
    left = claim.left()
    try:
        await asyncio.wait({granted}, timeout=None if left is None else left + GRACE)
        if not granted.done():
            raise unreachable(f"it was silent for {GRACE} s after the end of the wait")
        fence = granted.result()
    except BaseException:
        await _leave(door, events, claim, granted)
        raise
    renew_first = claim.is_renewal_due(sent)
    lease = kind(door, claim, fence, monotonic() if renew_first else sent, events)
    try:
        if renew_first:
            await lease.renew()
        return lease
    except BaseException:
        await lease.release()
        raise


async def _grant(events: AsyncEvents, claim: Claim) -> int:
    try:
        while (event := await events.next()) is not None:
            fence = claim.hear(event)
            if fence is not None:
                return fence
        raise unreachable("the connection ended")
    except BaseException:
        events.close()
        raise


async def _leave(door: AsyncDoor, events: AsyncEvents, claim: Claim, granted: "asyncio.Task[int]") -> None:
    events.hang_up()
    await asyncio.wait({granted}, timeout=FAREWELL)
    if not granted.done():
        granted.cancel()
    elif granted.exception() is None:
        events.close()
        with suppress(MeshError):
            await door.json("DELETE", f"{claim.subject.url}?fence={granted.result()}", limit=RELEASE)


@contextmanager
def cancelled_by_loss(term: Term) -> Iterator[None]:
    """Cancels the task that runs the block when the lease is lost, and raises the loss; a cancellation from outside stays one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "a block of `async with` is run by a task"
    before = task.cancelling() if sys.version_info >= (3, 11) else 0
    is_inside, is_cancelled = True, False

    def cancel() -> None:
        nonlocal is_cancelled
        if is_inside and term.loss is not None:
            is_cancelled = task.cancel()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(cancel)

    error: Optional[BaseException] = None
    try:
        with term.telling(tell):
            yield
    except BaseException as raised:
        error = raised
    is_inside = False
    is_cancelled_by_others = isinstance(error, asyncio.CancelledError) and not is_cancelled
    if is_cancelled and sys.version_info >= (3, 11):
        is_cancelled_by_others = task.uncancel() > before
    if not term.held and not is_cancelled_by_others:
        term.raise_loss(error)
    if error is not None:
        raise error


def _in_background(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """The event loop itself does not hold on to its tasks."""
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task

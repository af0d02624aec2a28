"""What a lease needs besides IO: how it is asked for, and until when it is held."""

from __future__ import annotations

import os
import random
import threading
from contextlib import contextmanager
from time import monotonic
from typing import Any, Callable, Dict, Iterator, Optional

from ._errors import LockError, LockLost, LockTimeout, MeshError, is_passing, refused
from ._wire import Event, Subject, checked_metadata, checked_ttl, checked_wait, duration

RETRY = 0.25
"""How soon a renewal or a release that failed is tried again."""

RELEASE = 5.0
"""How long a release is tried; after that the lease ends with its ttl."""

PATIENCE = 5.0
"""How long an agent that does not answer is asked again."""

GRACE = 5.0
"""How much later than the end of a wait the agent may say so."""


class Claim:
    """Asking for a lease. The place in the queue is kept while connections break and the agent restarts."""

    def __init__(self, subject: Subject, ttl: float, wait: Optional[float], metadata: Optional[Dict[str, Any]]) -> None:
        self.subject = subject
        self.ttl = checked_ttl(ttl)
        self._body: Dict[str, Any] = {"ttl": duration("ttl", ttl)}
        if metadata is not None:
            self._body["metadata"] = checked_metadata(metadata)
        self._wait = wait
        self._end = None if wait is None else monotonic() + checked_wait(wait)
        self._ticket: Optional[str] = None
        self._tries = 0

    def left(self) -> Optional[float]:
        """What is left of the wait; None is without end."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    def body(self) -> Dict[str, Any]:
        body, left = dict(self._body), self.left()
        if left is not None:
            body["wait"] = duration("wait", left)
        if self._ticket is not None:
            body["ticket"] = self._ticket
        return body

    def hear(self, event: Event) -> Optional[int]:
        """The fence, once it is granted."""
        if event.name == "acquired":
            return int(event.data["fence"])
        if event.name == "queued":
            self._ticket = event.data["ticket"]
            self._tries = 0
        if event.name == "problem":
            raise refused(event.data)
        return None

    def pause_after(self, error: MeshError) -> float:
        """How long to wait before asking again; raises if that is of no use."""
        if error.type == "held":
            raise self._timed_out(error) from error
        if error.type == "lost":
            self._ticket = None
        elif not is_passing(error):
            raise error
        left = self.left()
        if left == 0:
            if self._wait == 0:
                raise error
            raise self._timed_out(error) from error
        pause = backoff(self._tries)
        self._tries += 1
        return pause if left is None else min(pause, left)

    def is_renewal_due(self, sent: float) -> bool:
        """After a time in the queue only a renewal tells how long it is ours."""
        return monotonic() - sent >= self.ttl / 3

    def _timed_out(self, cause: MeshError) -> LockTimeout:
        name, _, title = self.subject
        message = f"{title} could not be had within {self._wait} s: {cause.detail}" if self._wait else f"{title} is held by somebody else"
        return LockTimeout(message, key=name, type=cause.type, status=cause.status, detail=cause.detail, problem=cause.problem)


class Patience:
    """For questions to an agent that may be restarting: so long they are asked again when there is no answer."""

    def __init__(self) -> None:
        self._end = monotonic() + PATIENCE
        self._tries = 0

    def pause_after(self, error: MeshError) -> float:
        """How long to wait before asking again; raises if that is of no use."""
        if error.type != "unreachable" or monotonic() >= self._end:
            raise error
        self._tries += 1
        return backoff(self._tries - 1)


class Term:
    """How long a lease is held, by a monotonic clock, and how that ends. Safe between threads.

    A process that was forked from the one that acquired it does not hold it.
    """

    def __init__(self, subject: Subject, fence: int, ttl: float, sent: float, on_end: Callable[[], None]) -> None:
        self.subject = subject
        self.fence = fence
        self.ttl = ttl
        self.loss: Optional[LockLost] = None
        self._listeners = [on_end]
        self._trouble: Optional[MeshError] = None
        self._open = True
        self._guard = threading.Lock()
        self._process = os.getpid()
        self.extend(sent)

    def extend(self, sent: float) -> None:
        self.renewal_at = sent + self.ttl / 3
        self.deadline = sent + self.ttl

    def limit(self, sent: float) -> float:
        """How long a renewal that is sent now may take."""
        return max(0.001, min(self.ttl / 3, self.deadline - sent))

    @property
    def held(self) -> bool:
        """Reads the clock: timers are late in a process that was stopped."""
        if not self.is_own:
            return False
        if self._open and monotonic() >= self.deadline:
            why = f": {self._trouble}" if self._trouble else ""
            self._lose("NotRenewed", f"no renewal was confirmed within its ttl of {self.ttl} s{why}", self._trouble)
        return self._open

    @property
    def is_own(self) -> bool:
        """Whether this process acquired it."""
        return self._process == os.getpid()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Calls `tell` when it ends, in whichever thread learns of that; at once if it has ended."""
        self._listeners.append(tell)
        try:
            if not self.held:
                tell()
            yield
        finally:
            self._listeners.remove(tell)

    def check(self) -> None:
        if not self.is_own:
            raise LockError(f"{self.subject.title} is not held by this process, which was forked", key=self.subject.name, type="forked")
        if not self.held:
            raise self.loss or LockError(f"{self.subject.title} was released", key=self.subject.name, type="released")

    def raise_loss(self, error: Optional[BaseException]) -> None:
        """Raises the loss, if there was one, instead of what the work raised; but not instead of an end of the program."""
        if self.loss is None or self.loss is error:
            return
        if error is None:
            raise self.loss
        if not isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise self.loss from error

    def hear(self, event: Event) -> None:
        if event.name == "lost":
            self._lose(event.data.get("reason"), event.data.get("detail"), None)
        if event.name == "released":
            self._lose("Released", "it was released by another request", None)
        if event.name == "problem":
            raise refused(event.data)

    def failed(self, error: MeshError) -> None:
        """The agent's word that it is lost ends it; everything else may pass before the deadline."""
        if error.type in ("lost", "not-found"):
            self._lose((error.problem or {}).get("reason"), error.detail, error)
        else:
            self._trouble = error

    def close(self) -> bool:
        """Ends it; false if it had ended already."""
        return self._end(None)

    def _lose(self, reason: Optional[str], detail: Optional[str], cause: Optional[MeshError]) -> None:
        reason = reason or "NotRenewed"
        name, _, title = self.subject
        loss = LockLost(f"{title} was lost ({reason}): {detail}", key=name, fence=self.fence, reason=reason, detail=detail)
        loss.__cause__ = cause
        self._end(loss)

    def _end(self, loss: Optional[LockLost]) -> bool:
        with self._guard:
            if not self._open:
                return False
            self.loss, self._open = loss, False
        for tell in list(self._listeners):
            tell()
        return True


def backoff(tries: int) -> float:
    """How long to wait before the next of several tries: from 50 ms, doubling to 500 ms, less up to a half by chance."""
    return min(0.5, 0.05 * (1 << min(tries, 4))) * random.uniform(0.5, 1)

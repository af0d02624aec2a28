"""Cleanup tasks, without IO: when they come, and what became of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any, Optional, Union

from ._errors import invalid
from ._wire import checked

__all__ = ["CleanupSnapshot", "Task", "utc_now"]


@dataclass(frozen=True)
class CleanupSnapshot:
    """How a cleanup task goes. Times are in seconds and in UTC.

    `status` is `idle`, `running`, `succeeded`, `failed`, `stopped`, or `skipped`: another instance leads or has the lock, which
    is no run.
    """

    name: str
    interval: float
    status: str = "idle"
    last_run_at: Optional[datetime] = None
    next_run_at: Optional[datetime] = None
    last_duration: Optional[float] = None
    last_error: Optional[str] = None
    runs: int = 0
    failures: int = 0


class Task:
    """One cleanup task."""

    def __init__(
        self,
        name: str,
        run: Any,
        *,
        interval: float,
        initial_delay: float,
        jitter: float,
        leader: Union[bool, str],
        lock_key: Optional[str],
        max_runtime: Optional[float],
    ) -> None:
        if checked("interval", interval) == 0:
            raise invalid("interval", "it is more than 0 s")
        if not callable(run):
            raise invalid("run", f"it is a function, not {run!r}")
        self.name = name
        self.run = run
        self.max_runtime = None if max_runtime is None else checked("max_runtime", max_runtime)
        self.group = f"cleanup:{name}" if leader is True else leader or None
        self.lock_key = lock_key or (None if self.group else f"cleanup:{name}")
        self.snapshot = CleanupSnapshot(name, interval)
        self._interval = interval
        self._delay = checked("initial_delay", initial_delay)
        self._jitter = checked("jitter", jitter)

    def next_delay(self) -> float:
        """How long to wait for the next run."""
        delay = self._delay + random.uniform(0, self._jitter)
        self._delay = self._interval
        self._set(next_run_at=utc_now() + timedelta(seconds=delay))
        return delay

    def due(self) -> None:
        self._set(next_run_at=None)

    def began(self) -> datetime:
        self._start = monotonic()
        started_at = utc_now()
        self._set(status="running", last_run_at=started_at, runs=self.snapshot.runs + 1)
        return started_at

    def ended(self) -> None:
        self._set(last_duration=monotonic() - self._start)

    def succeeded(self) -> None:
        self._set(status="succeeded", last_error=None)

    def skipped(self) -> None:
        self._set(status="skipped")

    def failed(self, error: BaseException) -> None:
        self._set(status="failed", failures=self.snapshot.failures + 1, last_error=str(error) or type(error).__name__)

    def stopped(self) -> None:
        self._set(status="stopped", next_run_at=None)

    def _set(self, **changes: Any) -> None:
        self.snapshot = replace(self.snapshot, **changes)


def utc_now() -> datetime:
    return datetime.now(timezone.utc)

"""Cleanup tasks with asyncio."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Awaitable, Callable, Coroutine, Dict, List, NamedTuple, Optional, Union

from ._async_lease import AsyncLeadership, AsyncLease, AsyncLock, cancelled_by_loss
from ._errors import invalid
from ._tasks import CleanupSnapshot, Task


class AsyncCleanupRun(NamedTuple):
    """One run of a task. `fence` is that of the lock; without one, of the leadership."""

    task: str
    fence: int
    started_at: datetime


class AsyncCleanup:
    """Tasks that come again and again, each run by one instance at a time."""

    def __init__(
        self,
        try_acquire: Callable[[str], Awaitable[Optional[AsyncLock]]],
        try_elect: Callable[[str], Awaitable[Optional[AsyncLeadership]]],
    ) -> None:
        self._try_acquire = try_acquire
        self._try_elect = try_elect
        self._tasks: Dict[str, Task] = {}
        self._loops: Optional[List["asyncio.Task[None]"]] = None
        self._leaderships: Dict[str, AsyncLeadership] = {}
        self._electing: Dict[str, asyncio.Lock] = {}

    def task(
        self,
        name: str,
        run: Callable[[AsyncCleanupRun], Coroutine[Any, Any, object]],
        *,
        interval: float,
        initial_delay: float = 0,
        jitter: float = 0,
        leader: Union[bool, str] = False,
        lock_key: Optional[str] = None,
        max_runtime: Optional[float] = None,
    ) -> None:
        """Adds a task; times are in seconds.

        `interval` is from the end of a run to the start of the next, `jitter` up to so much longer before each. With `leader`
        only the leader runs it: of that group, or (True) of `cleanup:NAME`; it leads from its first run to `stop()`.
        `lock_key` is held during a run, by default `cleanup:NAME`, or none with `leader`. A run is cancelled by a loss, after
        `max_runtime` and by `stop()`.
        """
        if name in self._tasks:
            raise invalid("name", f'there is a cleanup task "{name}" already')
        task = Task(
            name, run, interval=interval, initial_delay=initial_delay, jitter=jitter, leader=leader, lock_key=lock_key, max_runtime=max_runtime
        )
        self._tasks[name] = task
        if self._loops is not None:
            self._loops.append(asyncio.ensure_future(self._repeat(task)))

    def start(self) -> None:
        """Starts every task, also those that are added later."""
        if self._loops is None:
            self._loops = [asyncio.ensure_future(self._repeat(task)) for task in self._tasks.values()]

    async def stop(self) -> None:
        """Cancels what runs; returns once it has ended and nothing is held any more."""
        if self._loops is None:
            return
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await asyncio.gather(*(leadership.release() for leadership in self._leaderships.values()))
        self._loops, self._leaderships = None, {}

    def snapshots(self) -> List[CleanupSnapshot]:
        """By name."""
        return [self._tasks[name].snapshot for name in sorted(self._tasks)]

    async def _repeat(self, task: Task) -> None:
        try:
            while True:
                await asyncio.sleep(task.next_delay())
                task.due()
                try:
                    await self._attempt(task)
                except Exception as error:
                    task.failed(error)
        finally:
            task.stopped()

    async def _attempt(self, task: Task) -> None:
        leases: List[AsyncLease] = []
        async with AsyncExitStack() as stack:
            if task.group:
                leadership = await self._lead(task.group)
                if leadership is None:
                    return task.skipped()
                stack.enter_context(cancelled_by_loss(leadership._term))
                leases.append(leadership)
            if task.lock_key:
                lock = await self._try_acquire(task.lock_key)
                if lock is None:
                    return task.skipped()
                leases.insert(0, await stack.enter_async_context(lock))
            stack.callback(task.ended)
            await _limited(task.run(AsyncCleanupRun(task.name, leases[0].fence, task.began())), task.max_runtime)
        task.succeeded()

    async def _lead(self, group: str) -> Optional[AsyncLeadership]:
        """The leadership is kept until `stop()`, so that the task stays with one instance; tasks of one group share it."""
        async with self._electing.setdefault(group, asyncio.Lock()):
            leadership = self._leaderships.get(group)
            if leadership is not None and leadership.held:
                return leadership
            elected = await self._try_elect(group)
            if elected is not None:
                self._leaderships[group] = elected
            return elected


async def _limited(run: Coroutine[Any, Any, object], seconds: Optional[float]) -> None:
    """Cancels the run after so long, and waits for its end in any case."""
    task = asyncio.ensure_future(run)
    try:
        await asyncio.wait({task}, timeout=seconds)
        is_over = not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled():
        raise TimeoutError(f"it ran for longer than {seconds} s") if is_over else RuntimeError("it cancelled itself")
    task.result()

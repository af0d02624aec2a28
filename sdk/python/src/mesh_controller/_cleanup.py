"""Cleanup tasks in threads."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Callable, Dict, List, Optional, Set, Union

from ._errors import MeshError, invalid
from ._lease import Leadership, Lease, Lock
from ._signal import Signal
from ._tasks import CleanupSnapshot, Task


class CleanupRun:
    """One run of a task. `fence` is that of the lock; without one, of the leadership."""

    def __init__(self, task: str, leases: List[Lease], started_at: datetime) -> None:
        self.task = task
        self.fence = leases[0].fence
        self.started_at = started_at
        self._reason: Optional[Exception] = None
        self._cancelled = Signal(look=lambda: [lease.held for lease in leases])

    @property
    def cancelled(self) -> threading.Event:
        """Set by a loss, by `max_runtime` and by `stop()`."""
        return self._cancelled

    def check(self) -> None:
        """Raises why the run is to end: `LockLost`, `TimeoutError`, or a `MeshError` of type `stopped`."""
        if self._cancelled.is_set() and self._reason is not None:
            raise self._reason

    def _ended(self, lease: Lease) -> None:
        if lease._term.loss is not None:
            self._cancel(lease._term.loss)

    def _cancel(self, reason: Exception) -> None:
        self._reason = self._reason or reason
        self._cancelled.set()


class Cleanup:
    """Tasks that come again and again, each run by one instance at a time."""

    def __init__(self, try_acquire: Callable[[str], Optional[Lock]], try_elect: Callable[[str], Optional[Leadership]]) -> None:
        self._try_acquire = try_acquire
        self._try_elect = try_elect
        self._tasks: Dict[str, Task] = {}
        self._threads: List[threading.Thread] = []
        self._runs: Set[CleanupRun] = set()
        self._leaderships: Dict[str, Leadership] = {}
        self._electing = threading.Lock()
        self._stop: Optional[threading.Event] = None

    def task(
        self,
        name: str,
        run: Callable[[CleanupRun], object],
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
        `lock_key` is held during a run, by default `cleanup:NAME`, or none with `leader`. After `max_runtime` the run is told.
        """
        if name in self._tasks:
            raise invalid("name", f'there is a cleanup task "{name}" already')
        task = Task(
            name, run, interval=interval, initial_delay=initial_delay, jitter=jitter, leader=leader, lock_key=lock_key, max_runtime=max_runtime
        )
        self._tasks[name] = task
        if self._stop is not None:
            self._begin(task, self._stop)

    def start(self) -> None:
        """Starts every task, also those that are added later; their threads do not keep the program running."""
        if self._stop is None:
            self._stop = threading.Event()
            for task in self._tasks.values():
                self._begin(task, self._stop)

    def stop(self) -> None:
        """Tells what runs; returns once it has ended and nothing is held any more."""
        if self._stop is None:
            return
        self._stop.set()
        for run in list(self._runs):
            run._cancel(_stopped())
        for thread in self._threads:
            thread.join()
        for leadership in self._leaderships.values():
            leadership.release()
        self._threads, self._leaderships, self._stop = [], {}, None

    def snapshots(self) -> List[CleanupSnapshot]:
        """By name."""
        return [self._tasks[name].snapshot for name in sorted(self._tasks)]

    def _begin(self, task: Task, stop: threading.Event) -> None:
        thread = threading.Thread(target=self._repeat, args=(task, stop), name=f"mesh-cleanup-{task.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _repeat(self, task: Task, stop: threading.Event) -> None:
        while not stop.wait(task.next_delay()):
            task.due()
            try:
                self._attempt(task, stop)
            except Exception as error:
                if not stop.is_set():
                    task.failed(error)
        task.stopped()

    def _attempt(self, task: Task, stop: threading.Event) -> None:
        leases: List[Lease] = []
        with ExitStack() as stack:
            if task.group:
                leadership = self._lead(task.group)
                if leadership is None:
                    return task.skipped()
                leases.append(leadership)
            if task.lock_key:
                lock = self._try_acquire(task.lock_key)
                if lock is None:
                    return task.skipped()
                leases.insert(0, stack.enter_context(lock))
            self._work(task, leases, stop)

    def _work(self, task: Task, leases: List[Lease], stop: threading.Event) -> None:
        run = CleanupRun(task.name, leases, task.began())
        with ExitStack() as stack:
            for lease in leases:
                stack.enter_context(lease._term.telling(partial(run._ended, lease)))
            if task.max_runtime is not None:
                timer = threading.Timer(task.max_runtime, run._cancel, [TimeoutError(f"it ran for longer than {task.max_runtime} s")])
                timer.daemon = True
                timer.start()
                stack.callback(timer.cancel)
            self._runs.add(run)
            stack.callback(self._runs.discard, run)
            if stop.is_set():
                run._cancel(_stopped())
            stack.callback(task.ended)
            task.run(run)
            for lease in leases:
                lease.check()
            task.succeeded()

    def _lead(self, group: str) -> Optional[Leadership]:
        """The leadership is kept until `stop()`, so that the task stays with one instance; tasks of one group share it."""
        with self._electing:
            leadership = self._leaderships.get(group)
            if leadership is not None and leadership.held:
                return leadership
            elected = self._try_elect(group)
            if elected is not None:
                self._leaderships[group] = elected
            return elected


def _stopped() -> MeshError:
    return MeshError("cleanup was stopped", type="stopped")

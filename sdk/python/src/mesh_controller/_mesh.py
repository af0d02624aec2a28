"""The API for programs with threads."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, TypeVar, cast

from ._claim import Claim, backoff
from ._cleanup import Cleanup
from ._door import Door
from ._errors import LockTimeout, MeshError, is_passing, refused
from ._lease import Leadership, Lock, acquire
from ._wire import Agent, Identity, LeaderInfo, LockInfo, leadership_of, lock_of

T = TypeVar("T")


class Mesh:
    """The agent of this machine, as one instance of a service sees it. May be used by several threads.

    `agent` is `unix:///path/agent.sock` or `http://host:port`, by default `MESH_AGENT`; `token_file` is read for each request,
    by default `MESH_TOKEN_FILE`. Raises a `MeshError` that says what to set if one is missing or wrong.
    """

    def __init__(self, agent: Optional[str] = None, token_file: Optional[str] = None) -> None:
        self._door = Door(Agent(agent, token_file))
        self.locks = Locks(self._door)
        self.leader = Leaders(self._door)
        self.cleanup = Cleanup(self.locks.try_acquire, self.leader.try_elect)

    def self(self) -> Identity:
        """Who this program is, as the agent knows it by its token."""
        return cast(Identity, self._door.get("/v1/self"))


class Locks:
    """Locks of the namespace. They are not re-entrant: who asks for a key that it holds waits for itself."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def acquire(self, key: str, *, ttl: float = 30, wait: float = 0, metadata: Optional[Dict[str, Any]] = None) -> Lock:
        """Waits in a queue, first come, first served; raises `LockTimeout` when the wait is over.

        `ttl` (whole seconds) is how long it stays held when this process or its agent falls silent; `metadata` (at most 4096
        bytes of JSON) is told to everybody who lists or gets it.
        """
        return acquire(self._door, Lock, Claim(lock_of(key), ttl, wait, metadata))

    def try_acquire(self, key: str, *, ttl: float = 30, metadata: Optional[Dict[str, Any]] = None) -> Optional[Lock]:
        """None if somebody holds it."""
        try:
            return self.acquire(key, ttl=ttl, metadata=metadata)
        except LockTimeout:
            return None

    @contextmanager
    def hold(self, key: str, *, ttl: float = 30, wait: float = 0, metadata: Optional[Dict[str, Any]] = None) -> Iterator[Lock]:
        """Acquires, and always releases. A loss sets `lock.lost`, and raises `LockLost` when the block ends."""
        with self.acquire(key, ttl=ttl, wait=wait, metadata=metadata) as lock:
            yield lock

    def list(self) -> List[LockInfo]:
        return cast("List[LockInfo]", self._door.get("/v1/locks")["items"])

    def get(self, key: str) -> Optional[LockInfo]:
        """None if nobody holds it."""
        try:
            return cast(LockInfo, self._door.get(lock_of(key).url))
        except MeshError as error:
            if error.type == "not-found":
                return None
            raise


class Leaders:
    """Who leads a group, of all instances of the namespace."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def elect(
        self, group: str, *, ttl: float = 30, wait: Optional[float] = None, metadata: Optional[Dict[str, Any]] = None
    ) -> Leadership:
        """Campaigns until this instance leads; without `wait` that is without end."""
        return acquire(self._door, Leadership, Claim(leadership_of(group), ttl, wait, metadata))

    def try_elect(self, group: str, *, ttl: float = 30, metadata: Optional[Dict[str, Any]] = None) -> Optional[Leadership]:
        """None if another leads."""
        try:
            return self.elect(group, ttl=ttl, wait=0, metadata=metadata)
        except LockTimeout:
            return None

    def run_when_leader(
        self,
        group: str,
        work: Callable[[Leadership], T],
        *,
        wait: bool = False,
        ttl: float = 30,
        metadata: Optional[Dict[str, Any]] = None,
    ) -> Optional[T]:
        """Leads, works, and always resigns; returns None at once if another leads, or campaigns with `wait`.

        A loss sets the leadership's `lost`, and raises `LockLost` when the work ends.
        """
        elect = self.elect if wait else self.try_elect
        leadership = elect(group, ttl=ttl, metadata=metadata)
        if leadership is None:
            return None
        with leadership:
            return work(leadership)

    def list(self) -> List[LeaderInfo]:
        return cast("List[LeaderInfo]", self._door.get("/v1/leaders")["items"])

    def observe(self, group: str) -> Iterator[Optional[LeaderInfo]]:
        """Who leads now, then each change; None while nobody does."""
        url = leadership_of(group).url
        seen: object = "nothing yet"
        tries = 0
        while True:
            events = self._door.events("GET", url)
            try:
                for event in iter(events.next, None):
                    tries = 0
                    if event.name == "problem":
                        raise refused(event.data)
                    leader: Optional[LeaderInfo] = event.data if event.name == "leader" else None
                    fence = leader and leader["fence"]
                    # A stream that was opened again begins with what has been told.
                    if fence != seen:
                        seen = fence
                        yield leader
            except MeshError as error:
                if not is_passing(error):
                    raise
            finally:
                events.close()
            time.sleep(backoff(tries))
            tries += 1

"""The API for programs with asyncio."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Optional, TypeVar, cast

from ._async_cleanup import AsyncCleanup
from ._async_door import AsyncDoor
from ._async_lease import AsyncLeadership, AsyncLock, acquire
from ._claim import Claim, backoff
from ._errors import LockTimeout, MeshError, is_passing, refused
from ._wire import Agent, Identity, LeaderInfo, LockInfo, leadership_of, lock_of

T = TypeVar("T")


class AsyncMesh:
    """The agent of this machine, as one instance of a service sees it. For one event loop.

    `agent` is `unix:///path/agent.sock` or `http://host:port`, by default `MESH_AGENT`; `token_file` is read for each request,
    by default `MESH_TOKEN_FILE`. Raises a `MeshError` that says what to set if one is missing or wrong.
    """

    def __init__(self, agent: Optional[str] = None, token_file: Optional[str] = None) -> None:
        self._door = AsyncDoor(Agent(agent, token_file))
        self.locks = AsyncLocks(self._door)
        self.leader = AsyncLeaders(self._door)
        self.cleanup = AsyncCleanup(self.locks.try_acquire, self.leader.try_elect)

    async def self(self) -> Identity:
        """Who this program is, as the agent knows it by its token."""
        return cast(Identity, await self._door.get("/v1/self"))


class AsyncLocks:
    """Locks of the namespace. They are not re-entrant: who asks for a key that it holds waits for itself."""

    def __init__(self, door: AsyncDoor) -> None:
        self._door = door

    async def acquire(self, key: str, *, ttl: float = 30, wait: float = 0, metadata: Optional[Dict[str, Any]] = None) -> AsyncLock:
        """Waits in a queue, first come, first served; raises `LockTimeout` when the wait is over.

        `ttl` (whole seconds) is how long it stays held when this process or its agent falls silent; `metadata` (at most 4096
        bytes of JSON) is told to everybody who lists or gets it.
        """
        return await acquire(self._door, AsyncLock, Claim(lock_of(key), ttl, wait, metadata))

    async def try_acquire(self, key: str, *, ttl: float = 30, metadata: Optional[Dict[str, Any]] = None) -> Optional[AsyncLock]:
        """None if somebody holds it."""
        try:
            return await self.acquire(key, ttl=ttl, metadata=metadata)
        except LockTimeout:
            return None

    @asynccontextmanager
    async def hold(self, key: str, *, ttl: float = 30, wait: float = 0, metadata: Optional[Dict[str, Any]] = None) -> AsyncIterator[AsyncLock]:
        """Acquires, and always releases. A loss cancels the task that runs the block, and `async with` raises `LockLost`."""
        async with await self.acquire(key, ttl=ttl, wait=wait, metadata=metadata) as lock:
            yield lock

    async def list(self) -> List[LockInfo]:
        return cast("List[LockInfo]", (await self._door.get("/v1/locks"))["items"])

    async def get(self, key: str) -> Optional[LockInfo]:
        """None if nobody holds it."""
        try:
            return cast(LockInfo, await self._door.get(lock_of(key).url))
        except MeshError as error:
            if error.type == "not-found":
                return None
            raise


class AsyncLeaders:
    """Who leads a group, of all instances of the namespace."""

    def __init__(self, door: AsyncDoor) -> None:
        self._door = door

    async def elect(
        self, group: str, *, ttl: float = 30, wait: Optional[float] = None, metadata: Optional[Dict[str, Any]] = None
    ) -> AsyncLeadership:
        """Campaigns until this instance leads; without `wait` that is without end."""
        return await acquire(self._door, AsyncLeadership, Claim(leadership_of(group), ttl, wait, metadata))

    async def try_elect(self, group: str, *, ttl: float = 30, metadata: Optional[Dict[str, Any]] = None) -> Optional[AsyncLeadership]:
        """None if another leads."""
        try:
            return await self.elect(group, ttl=ttl, wait=0, metadata=metadata)
        except LockTimeout:
            return None

    async def run_when_leader(
        self,
        group: str,
        work: Callable[[AsyncLeadership], Awaitable[T]],
        *,
        wait: bool = False,
        ttl: float = 30,
        metadata: Optional[Dict[str, Any]] = None,
    ) -> Optional[T]:
        """Leads, works, and always resigns; returns None at once if another leads, or campaigns with `wait`.

        A loss cancels the work and raises `LockLost`.
        """
        elect = self.elect if wait else self.try_elect
        leadership = await elect(group, ttl=ttl, metadata=metadata)
        if leadership is None:
            return None
        async with leadership:
            return await work(leadership)

    async def list(self) -> List[LeaderInfo]:
        return cast("List[LeaderInfo]", (await self._door.get("/v1/leaders"))["items"])

    async def observe(self, group: str) -> AsyncIterator[Optional[LeaderInfo]]:
        """Who leads now, then each change; None while nobody does."""
        url = leadership_of(group).url
        seen: object = "nothing yet"
        tries = 0
        while True:
            events = self._door.events("GET", url)
            try:
                while (event := await events.next()) is not None:
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
            await asyncio.sleep(backoff(tries))
            tries += 1

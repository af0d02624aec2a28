"""Locks with fences, leaders and cleanup tasks for programs that mesh-controller runs: `Mesh` for threads, `AsyncMesh` for asyncio."""

from ._async_cleanup import AsyncCleanup, AsyncCleanupRun
from ._async_lease import AsyncLeadership, AsyncLock
from ._async_mesh import AsyncLeaders, AsyncLocks, AsyncMesh
from ._cleanup import Cleanup, CleanupRun
from ._errors import LockError, LockLost, LockTimeout, MeshError
from ._lease import Leadership, Lock
from ._mesh import Leaders, Locks, Mesh
from ._tasks import CleanupSnapshot
from ._wire import Identity, LeaderInfo, LockInfo

__all__ = [
    "AsyncCleanup",
    "AsyncCleanupRun",
    "AsyncLeaders",
    "AsyncLeadership",
    "AsyncLock",
    "AsyncLocks",
    "AsyncMesh",
    "Cleanup",
    "CleanupRun",
    "CleanupSnapshot",
    "Identity",
    "LeaderInfo",
    "Leaders",
    "Leadership",
    "Lock",
    "LockError",
    "LockInfo",
    "LockLost",
    "LockTimeout",
    "Locks",
    "Mesh",
    "MeshError",
]

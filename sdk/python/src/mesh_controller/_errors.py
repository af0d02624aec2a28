"""What can go wrong."""

from __future__ import annotations

from typing import Any, Dict, Optional

__all__ = ["MeshError", "LockError", "LockTimeout", "LockLost", "refused", "unreachable", "invalid", "is_passing"]


class MeshError(Exception):
    """What the agent refused, or what kept it from being asked.

    `type` is the last part of the problem's type, such as `unauthorized`, `invalid` or `unavailable`; `unreachable` if there
    was no answer. `problem` is the agent's answer, whole (RFC 9457).
    """

    def __init__(
        self,
        message: str,
        *,
        type: str,
        status: Optional[int] = None,
        detail: Optional[str] = None,
        field: Optional[str] = None,
        problem: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.status = status
        self.detail = message if detail is None else detail
        self.field = field
        self.problem = problem


class LockError(MeshError):
    """A lock or a leadership that could not be had or kept; `key` is the lock's key or the leader's group."""

    def __init__(self, message: str, *, key: str, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.key = key


class LockTimeout(LockError):
    """It was not free before the wait was over."""


class LockLost(LockError):
    """It is not held any more: what it protects must not be touched now.

    `reason` is `NotRenewed` (also when this side's own deadline is over), `InstanceEnded`, `TakenAway`, `Unavailable`, `Released`, or
    `NotHeld`: the agent does not know that it ever was this program's, or no longer.
    """

    def __init__(self, message: str, *, reason: str, fence: int, **rest: Any) -> None:
        super().__init__(message, type="lost", **rest)
        self.reason = reason
        self.fence = fence


def refused(problem: Dict[str, Any]) -> MeshError:
    """The error for a problem of the agent."""
    kind = problem.get("type", "about:blank").rpartition("/")[2]
    detail = problem.get("detail", problem.get("title", kind))
    field, remedy = problem.get("field"), problem.get("remedy")
    message = f"{detail} ({remedy})" if remedy else detail
    return MeshError(message, type=kind, status=problem.get("status"), detail=detail, field=field, problem=problem)


def unreachable(detail: object) -> MeshError:
    """The error for an agent that did not answer, or not in its own words."""
    return MeshError(f"the agent did not answer: {detail}", type="unreachable", detail=str(detail))


def invalid(field: str, detail: str) -> MeshError:
    """The error for an argument that needs no agent to be refused."""
    return MeshError(f"{field}: {detail}", type="invalid", field=field)


def is_passing(error: MeshError) -> bool:
    """Whether asking again later may help."""
    return error.type == "unreachable" or (error.status is not None and (error.status == 429 or error.status >= 500))

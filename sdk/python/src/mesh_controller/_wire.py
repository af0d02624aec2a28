"""The agent's wire, without IO: where it is, what is sent, and what comes back."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, TypedDict, cast
from urllib.parse import quote, urlsplit

from ._errors import MeshError, invalid, refused, unreachable

SILENCE = 30.0
"""No stream is silent for longer than this (the agent writes a comment every 10 s), and no answer takes longer."""

FAREWELL = 1.0
"""How long the agent is listened to after hanging up."""

LONGEST = 86_400
"""The longest `ttl` and the longest `wait`, in seconds."""

SOCKET_PATH_BYTES = 107
"""The longest path that the address of a Unix socket holds."""


class Identity(TypedDict):
    """Who a program is, as the agent knows it by its token."""

    namespace: str
    service: str
    instance: str
    attempt: int


class LeaseInfo(TypedDict):
    """A held lease as the agent tells it; times are RFC 3339 in UTC, `ttl` is a duration such as `30s`."""

    fence: int
    holder: str
    ttl: str
    acquiredAt: str
    renewedAt: str
    expiresAt: str
    metadata: Dict[str, Any]


class LockInfo(LeaseInfo):
    key: str


class LeaderInfo(LeaseInfo):
    group: str


class Event(NamedTuple):
    name: str
    data: Any


class Subject(NamedTuple):
    """What a lease is of, and where the agent has it."""

    name: str
    url: str
    title: str


def lock_of(key: str) -> Subject:
    return _subject("key", key, "/v1/locks", "lock")


def leadership_of(group: str) -> Subject:
    return _subject("group", group, "/v1/leaders", "leadership of")


def _subject(noun: str, name: str, path: str, title: str) -> Subject:
    if not isinstance(name, str) or not name:
        raise invalid(noun, f"it is a text that is not empty, not {name!r}")
    try:
        return Subject(name, f"{path}/{quote(name, safe='')}", f'{title} "{name}"')
    except UnicodeEncodeError as error:
        raise invalid(noun, f"it has no UTF-8: {error}") from error


class Agent:
    """Where the agent is, and the token for it."""

    def __init__(self, agent: Optional[str], token_file: Optional[str]) -> None:
        for name, value in (("agent", agent), ("token_file", token_file)):
            if value is not None and not isinstance(value, (str, os.PathLike)):
                raise invalid(name, f"it is a text, not {value!r}")
        agent = str(agent or os.environ.get("MESH_AGENT") or _unset("agent", "MESH_AGENT"))
        self._token_file = Path(token_file or os.environ.get("MESH_TOKEN_FILE") or _unset("token_file", "MESH_TOKEN_FILE"))
        self.socket_path: Optional[str] = None
        self.address: Tuple[str, int] = ("localhost", 80)
        url = urlsplit(agent)
        if agent.startswith("unix:///"):
            self.socket_path = agent[len("unix://") :]
            size = len(os.fsencode(self.socket_path))
            if size > SOCKET_PATH_BYTES:
                raise invalid("agent", f"the path of a socket has at most {SOCKET_PATH_BYTES} bytes, {self.socket_path} has {size}")
        elif url.scheme == "http" and url.hostname:
            self.address = (url.hostname, url.port or 80)
        else:
            raise invalid("agent", f"it is unix:///path or http://host:port, not {agent}")

    def headers(self, accept: str, content: Optional[bytes]) -> Dict[str, str]:
        """The token is read for each request, as it may have been rotated."""
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            message = f"the token file cannot be read: {error} (MESH_TOKEN_FILE names it)"
            raise MeshError(message, type="unauthorized", field="token_file") from error
        headers = {"Host": "agent", "Accept": accept, "Authorization": f"Bearer {token}", "Connection": "close"}
        if content is not None:
            headers.update({"Content-Type": "application/json", "Content-Length": str(len(content))})
        return headers


def _unset(argument: str, variable: str) -> str:
    detail = f"{variable} is not set. mesh-controller sets it for the programs that it starts; elsewhere set it, or give {argument}"
    raise invalid(argument, detail)


class EventParser:
    """Parses `text/event-stream` (HTML Living Standard, 9.2.6), as far as the agent uses it."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: List[str] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = line.decode().rstrip("\r")
            if text.startswith("event:"):
                self._name = text[len("event:") :].strip()
            elif text.startswith("data:"):
                self._data.append(text[len("data:") :])
            elif not text:
                name, data = self._name, self._data
                self._name, self._data = "", []
                if data:
                    yield Event(name, parsed("\n".join(data)))


def encoded(body: Optional[Dict[str, Any]]) -> Optional[bytes]:
    return None if body is None else json.dumps(body).encode()


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise unreachable(f"what it said is not JSON: {text[:80]}") from error


def answer(status: int, content: bytes) -> Any:
    """The JSON of an answer; raises what it refuses."""
    if status >= 300:
        raise refusal(status, content)
    return parsed(content.decode()) if content else None


def refusal(status: int, content: bytes) -> MeshError:
    try:
        return refused({"status": status, **json.loads(content)})
    except (ValueError, TypeError):
        return refused({"status": status, "detail": f"HTTP status {status}"})


def checked(field: str, seconds: float) -> float:
    if _is_number(seconds) and seconds >= 0 and math.isfinite(seconds):
        return seconds
    raise invalid(field, f"{seconds!r} is not a number of seconds from 0")


def checked_ttl(seconds: float) -> float:
    if _is_number(seconds) and 1 <= seconds <= LONGEST and seconds == int(seconds):
        return seconds
    raise invalid("ttl", f"{seconds!r} is not a number of whole seconds from 1 to {LONGEST}")


def checked_wait(seconds: float) -> float:
    if checked("wait", seconds) <= LONGEST:
        return seconds
    raise invalid("wait", f"{seconds!r} is more than {LONGEST} seconds")


def checked_metadata(metadata: Any) -> Dict[str, Any]:
    if not isinstance(metadata, dict):
        raise invalid("metadata", f"it is a dict, not {metadata!r}")
    try:
        return cast("Dict[str, Any]", json.loads(json.dumps(metadata, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("metadata", f"it cannot be written as JSON: {error}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def duration(field: str, seconds: float) -> str:
    """`90.5` as the wire has it: `1m30s500ms`."""
    rest = math.ceil(round(checked(field, seconds) * 1000, 3))
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            text += f"{count}{unit}"
    return text or "0s"

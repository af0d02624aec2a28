"""HTTP to the agent with asyncio."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from http.client import HTTPException, parse_headers
from typing import Any, AsyncIterator, Callable, Coroutine, Dict, NamedTuple, Optional, Tuple, TypeVar

from ._claim import Patience
from ._errors import MeshError, unreachable
from ._wire import SILENCE, Agent, Event, EventParser, answer, encoded, refusal

T = TypeVar("T")
Connection = Tuple[asyncio.StreamReader, asyncio.StreamWriter]
FAILURES = (OSError, EOFError, ValueError, HTTPException, asyncio.LimitOverrunError)


class AsyncDoor:
    """One answer, or a stream of events; each on a connection of its own."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def json(self, method: str, path: str, body: Optional[Dict[str, Any]] = None, limit: float = SILENCE) -> Any:
        try:
            return await within(limit, self._answer(method, path, body))
        except FAILURES as error:
            raise unreachable(error) from error

    async def get(self, path: str) -> Any:
        """What the agent says; it may be restarting."""
        patience = Patience()
        while True:
            try:
                return await self.json("GET", path)
            except MeshError as error:
                await asyncio.sleep(patience.pause_after(error))

    def events(self, method: str, path: str, body: Optional[Dict[str, Any]] = None) -> AsyncEvents:
        return AsyncEvents(lambda: self._send(method, path, "text/event-stream", body))

    async def _answer(self, method: str, path: str, body: Optional[Dict[str, Any]]) -> Any:
        reader, writer = await self._send(method, path, "application/json", body)
        try:
            response = await _response(reader)
            return answer(response.status, await response.content())
        finally:
            writer.close()

    async def _send(self, method: str, path: str, accept: str, body: Optional[Dict[str, Any]]) -> Connection:
        content = encoded(body)
        headers = self._agent.headers(accept, content)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if self._agent.socket_path is None:
            reader, writer = await asyncio.open_connection(*self._agent.address)
        else:
            reader, writer = await asyncio.open_unix_connection(self._agent.socket_path)
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (content or b""))
        return reader, writer


class AsyncEvents:
    """Events of one answer, read by `next()`, which asks for it first: None at the end."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, Connection]]) -> None:
        self._writer: Optional[asyncio.StreamWriter] = None
        self._left = False
        self._events = self._read(connect)

    async def next(self) -> Optional[Event]:
        try:
            return await within(SILENCE, self._next())
        except FAILURES as error:
            raise unreachable(error) from error

    def hang_up(self) -> None:
        """Closes our half of the connection: what the agent said before it saw that can still be read."""
        self._left = True
        if self._writer is not None:
            with suppress(OSError, RuntimeError):
                self._writer.write_eof()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def _next(self) -> Optional[Event]:
        async for event in self._events:
            return event
        return None

    async def _read(self, connect: Callable[[], Coroutine[Any, Any, Connection]]) -> AsyncIterator[Event]:
        reader, self._writer = await connect()
        try:
            if self._left:
                self.hang_up()
            response = await _response(reader)
            if response.status != 200:
                raise refusal(response.status, await response.content())
            parser = EventParser()
            async for chunk in response.chunks():
                for event in parser.feed(chunk):
                    yield event
        finally:
            self.close()


class _Response(NamedTuple):
    status: int
    length: Optional[int]
    is_chunked: bool
    reader: asyncio.StreamReader

    async def content(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, by RFC 9112, section 6.3."""
        if self.is_chunked:
            while True:
                size = int((await self.reader.readline()).partition(b";")[0], 16)
                if size == 0:
                    return
                yield await self.reader.readexactly(size)
                await self.reader.readline()
        elif self.length is not None:
            yield await self.reader.readexactly(self.length)
        else:
            while True:
                chunk = await self.reader.read(65536)
                if not chunk:
                    return
                yield chunk


async def _response(reader: asyncio.StreamReader) -> _Response:
    head = await reader.readuntil(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    status = int(first.split(b" ")[1])
    headers = parse_headers(io.BytesIO(rest))
    length = "0" if status == 204 else headers.get("Content-Length")
    is_chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
    return _Response(status, None if length is None else int(length), is_chunked, reader)


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; `asyncio.wait_for` before Python 3.12 may lose a cancellation that comes with it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        raise unreachable(f"it was silent for {seconds:.3g} s")
    finally:
        task.cancel()

"""HTTP to the agent with blocking sockets."""

from __future__ import annotations

import http.client
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Deque, Dict, Optional

from ._claim import Patience
from ._errors import MeshError, unreachable
from ._wire import SILENCE, Agent, Event, EventParser, answer, encoded, refusal


class Door:
    """One answer, or a stream of events; each on a connection of its own."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def json(self, method: str, path: str, body: Optional[Dict[str, Any]] = None, limit: float = SILENCE) -> Any:
        try:
            connection = self._send(method, path, "application/json", body, limit)
            try:
                response = connection.getresponse()
                return answer(response.status, response.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(error) from error

    def get(self, path: str) -> Any:
        """What the agent says; it may be restarting."""
        patience = Patience()
        while True:
            try:
                return self.json("GET", path)
            except MeshError as error:
                time.sleep(patience.pause_after(error))

    def events(self, method: str, path: str, body: Optional[Dict[str, Any]] = None) -> Events:
        return Events(lambda: self._send(method, path, "text/event-stream", body, SILENCE))

    def _send(self, method: str, path: str, accept: str, body: Optional[Dict[str, Any]], limit: float) -> http.client.HTTPConnection:
        content = encoded(body)
        headers = self._agent.headers(accept, content)
        connection = _Connection(self._agent, limit)
        try:
            connection.request(method, path, content, headers)
        except BaseException:
            connection.close()
            raise
        return connection


class Events:
    """Events of one answer, read by `next()`, which asks for it first: None at the end."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._connection: Optional[http.client.HTTPConnection] = None
        self._socket: Optional[socket.socket] = None
        self._response: Optional[http.client.HTTPResponse] = None
        self._parser = EventParser()
        self._heard: Deque[Event] = deque()
        self._left = False

    def next(self) -> Optional[Event]:
        try:
            response = self._opened()
            while not self._heard:
                chunk = response.read1(65536)
                if not chunk:
                    self.close()
                    return None
                self._heard.extend(self._parser.feed(chunk))
            return self._heard.popleft()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.close()
            raise unreachable(error) from error
        except MeshError:
            self.close()
            raise

    def hang_up(self) -> None:
        """Closes our half of the connection: what the agent said before it saw that can still be read."""
        self._left = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> http.client.HTTPResponse:
        if self._connection is None or self._socket is None:
            self._connection = self._connect()
            self._socket = self._connection.sock
            if self._left:
                self.hang_up()
        if self._response is None:
            self._response = self._connection.getresponse()
            if self._response.status != 200:
                raise refusal(self._response.status, self._response.read())
        return self._response


class _Connection(http.client.HTTPConnection):
    def __init__(self, agent: Agent, limit: float) -> None:
        host, port = agent.address
        super().__init__(host, port, timeout=limit)
        self._socket_path = agent.socket_path

    def connect(self) -> None:
        if self._socket_path is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)

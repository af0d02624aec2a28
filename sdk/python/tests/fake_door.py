"""A door that says what a test tells it to: for what a real agent cannot be made to do on demand."""

import json
import socket
import socketserver
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List
from urllib.parse import urlsplit


class FakeDoor:
    """Answers each request with the first rule that matches; a rule is used `times` times."""

    def __init__(self, test) -> None:
        self.requests: List[SimpleNamespace] = []
        self._rules: List[SimpleNamespace] = []
        self._guard = threading.Lock()
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.agent = f"unix://{folder.name}/s"
        self.token_file = f"{folder.name}/token"
        self.set_token("first")
        server = _Server(f"{folder.name}/s", _handler(self))
        test.addCleanup(server.server_close)
        test.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def set_token(self, token: str) -> None:
        Path(self.token_file).write_text(f"{token}\n")

    def on(self, method: str, path: str, answer: Callable[["Exchange"], None], times: float = float("inf")) -> None:
        self._rules.append(SimpleNamespace(method=method, path=path, answer=answer, times=times))

    def seen(self, method: str) -> List[SimpleNamespace]:
        return [request for request in self.requests if request.method == method]

    def rule(self, request: SimpleNamespace) -> Callable[["Exchange"], None]:
        with self._guard:
            self.requests.append(request)
            for rule in self._rules:
                if rule.times > 0 and (rule.method, rule.path) == (request.method, request.path):
                    rule.times -= 1
                    return rule.answer
        return problem(404, "not-found")


class Exchange:
    """One request and what is said to it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def send(self, status: int, content: bytes = b"", content_type: str = "application/json") -> None:
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", content_type)
        self._handler.send_header("Content-Length", str(len(content)))
        self._handler.end_headers()
        self._handler.wfile.write(content)

    def begin(self) -> None:
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "text/event-stream")
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()

    def write(self, content: bytes) -> None:
        with suppress(OSError):
            self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def say(self, event: str, data: Any) -> None:
        self.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())

    def end(self) -> None:
        self.write(b"")

    def cut(self) -> None:
        with suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)

    def until_left(self) -> None:
        """Waits until the client has hung up."""
        with suppress(OSError):
            self._handler.rfile.read(1)


def send(status: int, value: Any = None) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send(status, b"" if value is None else json.dumps(value).encode())


def problem(status: int, slug: str, **more: Any) -> Callable[[Exchange], None]:
    return send(status, problem_of(status, slug, **more))


def problem_of(status: int, slug: str, **more: Any) -> dict:
    return {"type": f"https://mesh-controller.dev/problems/{slug}", "title": slug, "status": status, "detail": f"it is {slug}", **more}


def silent(exchange: Exchange) -> None:
    exchange.until_left()


def broken(exchange: Exchange) -> None:
    exchange.cut()


def events(*said: Any, then: Callable[[Exchange], None] = Exchange.until_left) -> Callable[[Exchange], None]:
    """Says these events, (name, data) each, and then leaves the stream open."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for event in said:
            exchange.say(*event)
        then(exchange)

    return answer


def grant(fence: int) -> dict:
    return {"fence": fence, "holder": "web-1", "ttl": "30s", "metadata": {}}


def until(condition: Callable[[], Any]) -> Any:
    """Waits for a condition, with a deadline."""
    end = time.monotonic() + 10
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError("it is still not so")
        time.sleep(0.01)
    return value


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 50

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def _handler(door: FakeDoor) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            request = SimpleNamespace(
                method=self.command,
                path=url.path,
                query=url.query,
                token=self.headers["Authorization"],
                body=json.loads(content) if content else None,
                at=time.monotonic(),
                is_over=False,
            )
            try:
                door.rule(request)(Exchange(self))
            finally:
                request.is_over = True
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler

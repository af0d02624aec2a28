"""A store that checks fences: it refuses a write with a lower one than it has seen, however late that comes."""
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

state = {"fence": 0, "writer": None, "writes": 0, "refused": 0}
lock = threading.Lock()


class Ledger(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with lock:
            self.answer(200, state)

    def do_POST(self):
        write = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            taken = write["fence"] >= state["fence"]
            if taken:
                state.update(fence=write["fence"], writer=write["writer"], writes=state["writes"] + 1)
            else:
                state["refused"] += 1
            self.answer(200 if taken else 409, state)

    def answer(self, status, value):
        body = (json.dumps(value) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Ledger).serve_forever()

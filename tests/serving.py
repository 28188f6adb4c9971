"""A small server of models that misbehaves on command, and counts which rows it answered."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass
class Call:
    """One call as it came: its number from 0 on, headers by lower-case names, JSON, and the rows in it."""

    number: int
    path: str
    headers: Mapping[str, str]
    content: Any
    rows: Sequence[Any] = ()


@dataclass
class Said:
    """A reply: JSON, or bytes of any kind; ``raw`` ones go out as they are, without status or headers."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    raw: bool = False


class Gone:
    """The connection is cut, after the rows were answered and paid for where ``paid``."""

    def __init__(self, paid: bool = False):
        self.paid = paid


@dataclass
class Dripping:
    """Bytes without end, so many at a time with so many seconds between."""

    head: bytes
    piece: bytes
    pause: float


Misbehaviour = Callable[[Call], Said | Gone | Dripping | None]


class Served:
    """``answer`` behind HTTP on this machine. ``misbehave`` may say something else to a call, or nothing.

    ``paid`` counts how often each row (as JSON text) was answered; a call with the idempotency key of an earlier one is
    answered from memory and not paid again, as services do.
    """

    def __init__(self, answer: Answer, misbehave: Misbehaviour | None = None, rows: Callable[[Any], Any] | None = None):
        self.answer, self.misbehave = answer, misbehave or (lambda call: None)
        self.rows = rows or (lambda content: content["instances"])
        self.calls: list[Call] = []
        self.paid: Counter[str] = Counter()
        self.sent = 0
        self._done: dict[str, Any] = {}
        self._gate = threading.Lock()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                served._handle(self)

            do_PUT = do_POST  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1/model"

    def __enter__(self) -> Served:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def file(self, **fields: Any) -> dict[str, Any]:
        """The endpoint's file for this server."""
        usual = {"url": self.url, "private": True, "request": {"instances": "$rows"}, "answer": "predictions"}
        return usual | {"backoff": 0.001, "timeout": 5.0, **fields}

    @property
    def twice(self) -> dict[str, int]:
        """Rows that were paid more than once."""
        return {row: count for row, count in self.paid.items() if count > 1}

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        content = json.loads(handler.rfile.read(int(handler.headers.get("content-length", 0))) or b"null")
        with self._gate:
            headers = {name.lower(): value for name, value in handler.headers.items()}
            call = Call(len(self.calls), handler.path, headers, content)
            call.rows = self.rows(content)
            self.calls.append(call)
        said = self.misbehave(call)
        if isinstance(said, Gone):
            if said.paid:
                self._paid(call)
            handler.close_connection = True
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
        elif isinstance(said, Dripping):
            self._drip(handler, said)
        else:
            self._say(handler, said or Said({"predictions": self._paid(call)}))

    def _paid(self, call: Call) -> Any:
        key = call.headers.get("idempotency-key", "")
        with self._gate:
            known = self._done.get(key) if key else None
            if known is None or call.headers.get("x-again"):
                known = list(self.answer(call.rows))
                self._done[key] = known
                self.paid.update(json.dumps(row) for row in call.rows)
        return known

    def _say(self, handler: BaseHTTPRequestHandler, said: Said) -> None:
        content = said.content if isinstance(said.content, bytes) else json.dumps(said.content).encode()
        if said.raw:
            handler.wfile.write(content)
            handler.close_connection = True
            return
        handler.send_response(said.status)
        for name, value in {"Content-Type": said.kind, "Content-Length": str(len(content)), **said.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _drip(self, handler: BaseHTTPRequestHandler, dripping: Dripping) -> None:
        handler.close_connection = True
        try:
            handler.wfile.write(dripping.head)
            while True:
                handler.wfile.write(dripping.piece)
                self.sent += len(dripping.piece)
                time.sleep(dripping.pause)
        except OSError:
            pass

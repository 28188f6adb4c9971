"""Is an endpoint that fails and limits its callers explained as a healthy one is, and is nothing paid twice?

    python benchmarks/endpoints.py [--write] [--rows 100]

A model of ten columns is served by a process of its own, over HTTP. Exact Shapley values of 100 rows ask it 1,024
coalitions each, 102,400 rows in calls of 100. The bad line fails one call in twenty (errors, cut connections before and
after the work, pages with status 200, halves of a reply) and limits the pace by 429 with Retry-After. One run is killed
half-way and goes on from its folder. The server counts how often each row was answered; a call with an idempotency key
that it knows is answered from memory, as services do.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import versions

import pellucid
from pellucid.backends.endpoint import Endpoint
from pellucid.backends.endpoint_file import endpoint_settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "endpoints.md"
COLUMNS, HIDDEN, A_CALL, AT_ONCE = 10, 32, 100, 8
FAULTS = ("status 500", "status 503", "cut before the work", "cut after the work", "a page with 200", "half a reply")
SHARE, LATENCY = 0.05, 0.01
PACE, BURST = 40, 40
"""Calls a second that the bad line allows, and how many may come together."""


def model(rows: np.ndarray) -> np.ndarray:
    """Two numbers for each row, which do not depend on its neighbours to the last bit."""
    draw = np.random.default_rng(0)
    first, last = draw.normal(size=(COLUMNS, HIDDEN)), draw.normal(size=(HIDDEN, 2))
    hidden = np.tanh(sum(rows[:, [place]] * first[place] for place in range(COLUMNS)))
    return sum(hidden[:, [place]] * last[place] for place in range(HIDDEN))


# The server ----------------------------------------------------------------------------------


@dataclass
class Line:
    """What the server does and counts. ``bad`` lines fail and limit the pace."""

    bad: bool
    paid: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    done: dict[str, Any] = field(default_factory=dict)
    gate: threading.Lock = field(default_factory=threading.Lock)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    room: float = BURST
    last: float = 0.0

    def fault(self) -> str:
        """What goes wrong with the next call; empty where nothing does."""
        with self.gate:
            now = time.monotonic()
            self.room, self.last = min(BURST, self.room + PACE * (now - (self.last or now))), now
            self.said["calls"] += 1
            if self.bad and self.room < 1:
                fault = "status 429"
            else:
                self.room -= 1
                fault = self.chance.choice(FAULTS) if self.bad and self.chance.random() < SHARE else ""
            self.said[fault or "answered"] += 1
            return fault

    def answers(self, key: str, rows: list[list[float]]) -> Any:
        """The answers to rows, paid for unless this very call was paid before."""
        with self.gate:
            if key not in self.done:
                self.done[key] = model(np.array(rows)).tolist()
                self.paid.update(map(json.dumps, rows))
            else:
                self.said["answered from memory"] += 1
            return self.done[key]


class Handler(BaseHTTPRequestHandler):
    """One connection to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    line: Line

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fault, key = self.line.fault(), self.headers["idempotency-key"]
        if fault == "status 429":
            return self._say(429, b"{}", {"Retry-After": "1"})
        time.sleep(LATENCY)
        if fault.startswith("status"):
            return self._say(int(fault[-3:]), b"{}")
        if fault == "cut before the work":
            return self._cut()
        if fault == "a page with 200":
            return self._say(200, b"<html>maintenance</html>", {"Content-Type": "text/html"})
        body = json.dumps({"predictions": self.line.answers(key, content["instances"])}).encode()
        if fault == "cut after the work":
            return self._cut()
        return self._say(200, body[: len(body) // 2] if fault else body)

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        common = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**common, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of clients that were killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def serve(bad: bool, pipe: Connection) -> None:
    """Serve until told to stop; then say what was counted."""
    line = Line(bad)
    server = Server(("127.0.0.1", 0), type("Own", (Handler,), {"line": line}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    pipe.send(server.server_address[1])
    while pipe.recv() == "how many?":
        pipe.send(len(line.paid))
    pipe.send((dict(line.said), len(line.paid), {row: count for row, count in line.paid.items() if count > 1}))


# The client ----------------------------------------------------------------------------------


def question(rows: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(rows, COLUMNS)))


def explained(found: Any, rows: int) -> np.ndarray:
    return pellucid.explain(found, question(rows), "exact_shapley", target=0).values


def endpoint(port: int, folder: str = "") -> Endpoint:
    file = {
        "url": f"http://127.0.0.1:{port}/", "private": True, "request": {"instances": "$rows"}, "answer": "predictions",
        "rows": A_CALL, "concurrency": AT_ONCE, "backoff": 0.05, "timeout": 10, "cache": folder,
    }  # fmt: skip
    return Endpoint(endpoint_settings(file), name="endpoint")


def run(port: int, folder: str, rows: int, out: str) -> None:
    np.save(out, explained(endpoint(port, folder), rows))


@dataclass
class Result:
    """One line of the table."""

    title: str
    seconds: float
    said: dict[str, int]
    paid: int
    twice: dict[str, int]
    gap: float

    def row(self) -> str:
        said, twice = self.said, len(self.twice) - (len(self.twice) > 0)
        lost = sum(count for name, count in said.items() if name in FAULTS)
        counts = (said["calls"], lost, said.get("status 429", 0), said.get("answered from memory", 0), self.paid, twice)
        canary = max(self.twice.values(), default=1)
        told = " | ".join(f"{count:,}" for count in (*counts, canary))
        return f"| {self.title} | {self.seconds:.1f} | {told} | {self.gap:g} |"


def measured(title: str, rows: int, wanted: np.ndarray, *, bad: bool, kill: bool = False) -> Result:
    """The question asked of a new server by a process of its own, killed half-way and started again where ``kill``."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(bad, there), daemon=True)
    server.start()
    port = here.recv()
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/values.npy"
        client = context.Process(target=run, args=(port, folder if bad else "", rows, out))
        began = time.perf_counter()
        client.start()
        while kill:
            here.send("how many?")
            if here.recv() > rows * 2**COLUMNS / 2:
                client.kill()
                client.join()
                client = context.Process(target=run, args=(port, folder, rows, out))
                client.start()
                kill = False
            time.sleep(0.05)
        client.join()
        seconds = time.perf_counter() - began
        values = np.load(out, allow_pickle=False)
    here.send("stop")
    said, paid, twice = here.recv()
    server.join()
    result = Result(title, seconds, said, paid, twice, float(np.abs(values - wanted).max()))
    print(result.row(), flush=True)
    return result


HEAD = """# A bad line to an endpoint

Exact Shapley values of {rows} rows of {columns} columns: {evaluations:,} rows of the model in calls of {call},
{at_once} at once, over HTTP on this machine. The bad line fails {share:.0%} of the calls (status 500 and 503,
connections cut before and after the work, pages with status 200, halves of a reply, in equal parts) and allows {pace}
calls a second, which it says by 429 with `Retry-After: 1`. Both bad runs keep their answers in a folder; the last is
killed half-way and started again. Seconds include starting Python and, on the bad line, waiting for the pace:
{calls:,} calls need {least:.1f} s at it.

“Paid twice”: rows that the server answered more than once, beside the canary, which is asked again on purpose. “From
memory”: calls whose idempotency key the server knew, since the reply before was lost on the way. “Gap”: the largest
difference from the values of the same function asked in this process.

{when}, {machine}; {versions}.

| line | seconds | calls | lost | told to wait | from memory | rows paid | paid twice | canary asked | gap |
|---|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rows", type=int, default=100)
    asked = parser.parse_args()
    wanted = explained(pellucid.wrap(model), asked.rows)
    results = [
        measured("healthy", asked.rows, wanted, bad=False),
        measured("bad", asked.rows, wanted, bad=True),
        measured("bad, killed half-way", asked.rows, wanted, bad=True, kill=True),
    ]
    calls = results[1].said["calls"] - results[1].said.get("status 429", 0)
    head = HEAD.format(
        rows=asked.rows,
        columns=COLUMNS,
        evaluations=asked.rows * 2**COLUMNS,
        call=A_CALL,
        at_once=AT_ONCE,
        share=SHARE,
        pace=PACE,
        calls=calls,
        least=(calls - BURST) / PACE,
        when=date.today().isoformat(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        versions=versions(),
    )
    page = head + "\n".join(result.row() for result in results) + "\n"
    print(page)
    if asked.write:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

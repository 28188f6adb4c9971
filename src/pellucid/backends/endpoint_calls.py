"""Patience with an endpoint: tries, waits, the pace that is kept, and which failures may be the rows' own fault."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from secrets import token_hex
from typing import Any, TypeVar

from ..records.errors import Cancelled, ModelError
from .endpoint_file import Common
from .endpoint_form import Garbled, canonical
from .web import Failed, Reply, Web

LONGEST_WAIT = 60.0
"""Seconds between two tries at most, where the server does not ask for more."""
BUSY = (429, 503)
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
OF_SECRET = (401, 403, 407)
OF_ROWS = (400, 413, 422)
USUAL = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
T = TypeVar("T")


class CallFailed(Exception):
    """A call that was given up. ``rows`` says whether its rows may be at fault, so that fewer of them may succeed."""

    def __init__(self, what: str, why: str, fix: str, *, rows: bool, certain: bool = False):
        super().__init__(what)
        self.what, self.why, self.fix, self.rows, self.certain = what, why, fix, rows, certain


class Calls:
    """Calls one endpoint as often as is needed, and no faster than allowed.

    ``headers`` is a function, so that nothing which shows this object shows a secret. Waits are spread by a generator
    of each request's own, so that calls which failed together do not return together.
    """

    def __init__(self, web: Web, file: Common, headers: Callable[[], Mapping[str, str]], where: str):
        self._web, self._file, self._headers, self._where = web, file, headers, where
        self._gate, self._stopped = threading.Lock(), threading.Event()
        self._next = 0.0  # the moment from which on the next call may be made
        self.made = 0

    def ask(self, request: Any, read: Callable[[Any], T], *, anew: bool = False) -> T:
        """What ``read`` makes of the reply to ``request``; a reply that it calls garbled is asked for again.

        Equal requests have equal idempotency keys, so that a service which remembers them does not charge twice for a
        reply that was lost. One that is asked ``anew`` has a key of its own: it is to be answered by the model.
        Raises :class:`CallFailed`; :class:`ModelError` where no call can succeed.
        """
        body = canonical(request).encode("utf-8", "surrogatepass")
        key = token_hex(16) if anew else blake2b(body, digest_size=16).hexdigest()
        headers, chance = {**USUAL, **self._headers(), "Idempotency-Key": key}, random.Random(key)
        began, tries = time.monotonic(), 0
        while True:
            self._wait_for_turn()
            asked, rows = None, True
            try:
                reply = self._web.call(self._file.method, body, headers, self._file.timeout)
                if 200 <= reply.status < 300:
                    return read(_json(reply))
                why, asked = self._refusal(reply)
            except Garbled as error:
                why = str(error)
            except Failed as error:
                why, rows = str(error), error.reached
            if asked is None:
                tries += 1
                wait = min(self._file.backoff * 2 ** (tries - 1), LONGEST_WAIT) * chance.uniform(0.5, 1.0)
            else:
                wait = asked + self._file.backoff * chance.uniform(0.0, 0.5)
            if tries > self._file.retries:
                raise CallFailed(f"the endpoint failed {tries} times", f"the last time: {why}", "", rows=rows)
            if time.monotonic() + wait > began + self._file.patience:
                raise CallFailed(
                    "the endpoint asks for more patience than it is given",
                    f"{why}; the next try would be in {wait:.0f} s",
                    f"patience: is {self._file.patience:g} seconds; keep answers with cache: and go on later",
                    rows=False,
                )
            self._pause(wait, everyone=asked is not None)

    def stop(self) -> None:
        """Let no further try begin."""
        self._stopped.set()

    def resume(self) -> None:
        self._stopped.clear()

    def _refusal(self, reply: Reply) -> tuple[str, float | None]:
        """Why a reply is no answer, and for how long the server asks to be left alone; raises where that is final."""
        status = reply.status
        if status in TRY_AGAIN:
            return f"status {status}", _retry_after(reply) if status in BUSY else None
        if status in OF_ROWS:
            raise CallFailed(
                f"the endpoint refuses the rows (status {status})",
                "",
                "is request: the form that it takes?",
                rows=True,
                certain=True,
            )
        raise self._final(status)

    def _final(self, status: int) -> ModelError:
        """The error for a status after which no other call can succeed."""
        what, why, fix = f"the endpoint answers with status {status}", "", "are url: and method: right?"
        if 300 <= status < 400:
            what = f"the endpoint answers with a redirect (status {status}), which is not followed"
            why, fix = "it could lead to an address that nobody checked", "write the final address into url:"
        elif status in OF_SECRET:
            named = ", ".join(self._file.secrets)
            what = f"the endpoint does not let us in (status {status})"
            fix = f"is the secret in {named} right?" if named else 'name it: headers: {Authorization: "Bearer ${NAME}"}'
        return ModelError(what, where=self._where, why=why, fix=fix)

    def _wait_for_turn(self) -> None:
        """Wait until a call may be made: the pace, and a pause that the server asked all for."""
        while True:
            with self._gate:
                now = time.monotonic()
                left = self._next - now
                if left <= 0:
                    self._next = now + (1 / self._file.rate if self._file.rate else 0.0)
                    self.made += 1
                    break
            self._sleep(left)
        self._sleep(0.0)

    def _pause(self, seconds: float, everyone: bool) -> None:
        if everyone:
            with self._gate:
                self._next = max(self._next, time.monotonic() + seconds)
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds) if seconds > 0 else self._stopped.is_set():
            raise Cancelled("another call failed")


def _json(reply: Reply) -> Any:
    """The JSON of a reply; NaN and infinity in it become numbers that no answer may hold."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in ("application/json", "text/json") and not kind.endswith("+json"):
        page = " (a page for people)" if "html" in kind else ""
        raise Garbled(f"status {reply.status}, but no JSON{page}")
    if reply.headers.get("content-encoding", "identity").lower() != "identity":
        raise Garbled("the reply is compressed, which was not asked for")
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise Garbled("the reply is not valid JSON") from error


def _retry_after(reply: Reply) -> float | None:
    """For how many seconds the server asks to be left alone; None where it does not say."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    until, now = _moment(text), _moment(reply.headers.get("date", ""))
    if until is None:
        return None
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

"""A model behind an HTTP endpoint: each row is asked once, several calls at a time, and a changed model is noticed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.model import Model, Rows
from ..records.errors import Cancelled, LoadError, ModelError
from ..records.files import digest
from ..records.messages import Caution
from .completions import ChatForm, CompletionsForm
from .endpoint_answers import Answers, Canary, Opened
from .endpoint_calls import CallFailed, Calls
from .endpoint_file import NAMED, ChatFile, CompletionsFile, EndpointFile
from .endpoint_form import Form, Garbled, JsonForm, canonical, excerpt, told_rows
from .web import Web

OF_ANSWERS = {
    "url", "method", "headers", "kind", "request", "answer", "outputs", "columns", "send", "version",
    "model", "answers", "before", "after", "top", "extra", "scoring", "messages",
}  # fmt: skip
"""The settings that an answer depends on; the others say how patiently it is asked for."""
WAVES = 8
"""So many rounds of calls at once are asked for together, so that few of them wait for the slowest of a round."""
AGAIN = 3
"""How often more a canary is asked that does not repeat itself, to learn how far its answers lie apart."""
NOISE = 3.0
"""A noisy canary counts as changed from so many times its own spread on."""
Lacking = list[tuple[bytes, Any]]
"""Rows that nobody knows the answer to: key, and the row as it is sent."""


class Endpoint(Model):
    """A model that is asked over HTTP, as an endpoint's file says.

    Every distinct row is sent once, in calls of ``rows`` rows, ``concurrency`` of them at a time; a failing call is
    halved down to the guilty row. The first row ever sent is the canary: it is asked alone and beside another row, then
    again every ``check_every`` calls and at the end of each explanation. Not sent anywhere: the raw rows, the question.

    ``secrets`` are the values of the environment variables that the file names; whoever makes the endpoint reads them.
    """

    reason = "it answers over HTTP, which gives outputs only"

    def __init__(self, file: EndpointFile, secrets: Mapping[str, str] | None = None, *, name: str = ""):
        self.file, self.name = file, name or "endpoint"
        web = Web(
            file.url, private=file.private, allow_http=file.allow_http, certificate=file.certificate,
            largest=file.largest_reply,
        )  # fmt: skip
        self._where = f"{self.name} ({web.host})"
        self._web, self._form = web, _form(file)
        headers = _headers(file, secrets or {}, self._where)
        self._calls = Calls(web, file, lambda: headers, self._where)
        self.labels, self.columns, self.scale = self._form.labels, self._form.columns, self._form.scale
        said = file.model_dump(mode="json", include=OF_ANSWERS)
        self._memory = Answers(digest(canonical(said)), remember=file.remember, folder=file.cache)
        self._state = _State(min(file.rows, self._form.most or file.rows))
        self.best_batch = max(256, WAVES * self._state.rows * file.concurrency)

    @property
    def identity(self) -> object:
        return self._memory  # shared by copies of this object

    @property
    def version(self) -> tuple[int, ...]:
        return (self._state.changes,)

    def outputs(self, rows: Rows) -> Tensor:
        sent = self._form.rows(rows, self.encoding)
        keys = [self._memory.key(text) for text in told_rows(sent)]
        with self._kept() as kept:
            found = {} if self._state.afresh else kept.look(keys)
            lacking = [(key, row) for key, row in dict(zip(keys, sent, strict=True)).items() if key not in found]
            if lacking:
                found.update(self._paid(lacking, kept))
        self._refuse_other_width(found[key] for key in keys)
        values, cautions = self._form.outputs(np.stack([found[key] for key in keys]))
        self._state.noticed.extend(cautions)
        return torch.from_numpy(values)

    @contextmanager
    def _kept(self) -> Generator[Opened]:
        """The answers so far; where it is found meanwhile that the model changed, the unsure ones are dropped."""
        before = self._state.changes
        with self._memory.opened() as kept:
            try:
                yield kept
            finally:
                if self._state.changes != before:
                    kept.doubt()

    @property
    def manners(self) -> tuple[float, float]:
        canary, tolerance = self._state.canary, self.file.tolerance
        if canary is None:
            return 0.0, 0.0
        return canary.noise * (canary.noise > tolerance), canary.coupled * (canary.coupled > tolerance)

    def cautions(self) -> list[Caution]:
        return list(self._state.noticed)

    def untouched(self) -> AbstractContextManager[None]:
        return self._checked()

    @contextmanager
    def _checked(self) -> Generator[None]:
        """In the end the canary is asked once more, where answers came since; no connection stays open."""
        self._state.noticed.clear()
        try:
            yield
            if self.file.check_every:
                with self._kept() as kept:
                    if kept.unsure and kept.canary is not None:
                        self._check(kept)
        finally:
            self._web.close()

    @contextmanager
    def afresh(self) -> Generator[None]:
        """Nothing that is remembered is given for an answer."""
        before, self._state.afresh = self._state.afresh, True
        try:
            yield
        finally:
            self._state.afresh = before

    # Asking -------------------------------------------------------------------------------

    def _paid(self, lacking: Lacking, kept: Opened) -> dict[bytes, np.ndarray]:
        """The answers to rows that are not known yet; kept as they come."""
        state, found = self._state, {}
        if self.file.check_every and state.canary is None:
            found = self._begin(lacking, kept)
        elif state.canary is not None and not state.canary.paired:
            found = self._paired(lacking[:1], kept)
            kept.settle(state.canary)
        lacking = [(key, row) for key, row in lacking if key not in found]
        while lacking:
            room = len(lacking)
            if self.file.check_every:
                if state.since >= self.file.check_every:
                    self._check(kept)
                room = (self.file.check_every - state.since) * state.rows
            now, lacking = lacking[:room], lacking[room:]
            chunks = [now[start : start + state.rows] for start in range(0, len(now), state.rows)]
            found.update(self._together(chunks, kept))
            state.since += len(chunks)
        return found

    def _together(self, chunks: Sequence[Lacking], kept: Opened) -> dict[bytes, np.ndarray]:
        """The answers to several chunks, some calls at a time; the first failure stops the rest."""
        found: dict[bytes, np.ndarray] = {}
        if len(chunks) == 1:
            return self._served(chunks[0], kept)
        pool = ThreadPoolExecutor(min(self.file.concurrency, len(chunks)), thread_name_prefix="endpoint")
        try:
            asked = [pool.submit(self._served, chunk, kept) for chunk in chunks]
            wait(asked, return_when=FIRST_EXCEPTION)
            failures = [error for call in asked if call.done() and (error := call.exception()) is not None]
            if failures:
                raise next((error for error in failures if not isinstance(error, Cancelled)), failures[0])
            for call in asked:
                found.update(call.result())
        finally:
            self._calls.stop()  # after Ctrl-C, too, what waits for its next try ends at once
            pool.shutdown(cancel_futures=True)
            self._calls.resume()
        return found

    def _served(self, chunk: Lacking, kept: Opened) -> dict[bytes, np.ndarray]:
        """The answers to a chunk, by one call where all goes well; halved down to a row that cannot be answered."""
        return self._finished(chunk, *self._tried(chunk, kept), kept)

    def _tried(self, chunk: Lacking, kept: Opened) -> tuple[dict[bytes, np.ndarray], CallFailed | None]:
        """The answers that one call gives, kept; and why it was given up, if it was."""
        try:
            answers = self._asked([row for _, row in chunk])
        except CallFailed as failure:
            return {}, failure
        found = {key: answer for (key, _), answer in zip(chunk, answers, strict=True) if answer is not None}
        kept.add(found)
        return found, None

    def _finished(
        self, chunk: Lacking, found: dict[bytes, np.ndarray], failure: CallFailed | None, kept: Opened
    ) -> dict[bytes, np.ndarray]:
        """What is still lacking of a chunk after one call. A part that failed is asked row by row."""
        if failure is not None and (len(chunk) == 1 or not failure.rows):
            raise self._told(failure, chunk) from failure
        missing = [(key, row) for key, row in chunk if key not in found]
        if len(missing) == len(chunk):
            return self._halved(chunk, failure, kept)
        for one in missing:
            found.update(self._served([one], kept))
        return found

    def _halved(self, chunk: Lacking, failure: CallFailed | None, kept: Opened) -> dict[bytes, np.ndarray]:
        """The answers to both halves. Where both fail as the whole did, it is not the rows' fault."""
        halves = chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]
        tried = [self._tried(half, kept) for half in halves]
        if failure is not None and not failure.certain and all(failed is not None for _, failed in tried):
            raise self._told(failure, []) from failure
        if failure is not None and all(failed is None for _, failed in tried):
            self._state.rows = min(self._state.rows, len(halves[1]))  # so many at once were too much for it
        found: dict[bytes, np.ndarray] = {}
        for half, (own, failed) in zip(halves, tried, strict=True):
            found.update(self._finished(half, own, failed, kept))
        return found

    def _asked(self, rows: Sequence[Any], *, anew: bool = False) -> list[np.ndarray | None]:
        """One call. A single row without an answer is a garbled reply, which is asked for again."""

        def read(reply: Any) -> list[np.ndarray | None]:
            try:
                self._refuse_other_version(self._form.version(reply))
                answers = self._form.answers(reply, rows)
            except Garbled as error:
                if self._state.width:
                    raise
                raise ModelError(
                    "the endpoint's reply cannot be read", where=self._where, why=str(error),
                    fix="do answer: and outputs: say where the numbers stand? They are not shown here, on purpose",
                ) from error  # fmt: skip
            self._refuse_other_width(answer for answer in answers if answer is not None)
            if len(rows) == 1 and answers[0] is None:
                due = f"the {len(self.labels)}" if self.labels else "any"
                raise Garbled(f"the reply does not hold {due} finite numbers for the row")
            return answers

        return self._calls.ask(self._form.request(rows), read, anew=anew or self._state.afresh)

    def _told(self, failure: CallFailed, chunk: Lacking) -> ModelError:
        row = f", row {excerpt(chunk[0][1])}" if len(chunk) == 1 and failure.rows else ""
        return ModelError(failure.what, where=self._where + row, why=failure.why, fix=failure.fix)

    # Is it still the same model? -------------------------------------------------------------

    def _begin(self, lacking: Lacking, kept: Opened) -> dict[bytes, np.ndarray]:
        """Take the kept canary, which must answer as it did; or make the first row one. Answers found on the way."""
        state = self._state
        state.canary = kept.canary
        if state.canary is not None:
            state.rows = 1 if state.canary.coupled > self.file.tolerance else state.rows
            self._check(kept)
            return {}
        key, row = lacking[0]
        answer, again = self._alone(row), self._alone(row)
        noise = _difference(answer, again)
        if noise > self.file.tolerance:
            several = [answer, again, *(self._alone(row) for _ in range(AGAIN))]
            noise = max(_difference(one, other) for one, other in combinations(several, 2))
        state.canary = Canary(row, tuple(answer.tolist()), noise, version=state.named)
        found = {key: answer}
        kept.add(found)
        found.update(self._paired(lacking[1:2], kept))
        kept.settle(state.canary)
        kept.confirm()
        state.since = 0
        return found

    def _paired(self, beside: Lacking, kept: Opened) -> dict[bytes, np.ndarray]:
        """Ask the canary beside another row, whose answer is found on the way; if that matters, rows go alone."""
        state, canary = self._state, self._state.canary
        if canary is None or canary.paired or not beside or state.rows == 1:
            return {}
        key, pair = beside[0][0], self._pair(beside[0][1], canary.row)
        if pair is None:
            return {}
        coupled = _difference(np.array(canary.answer), pair[1])
        if coupled > max(self.file.tolerance, NOISE * canary.noise):
            state.canary, state.rows = replace(canary, coupled=coupled, paired=True), 1
            return {}
        state.canary = replace(canary, paired=True)
        kept.add({key: pair[0]})
        return {key: pair[0]}

    def _alone(self, row: Any) -> np.ndarray:
        """The answer to one row in a call of its own, made by the model and by no memory on the way."""
        try:
            answer = self._asked([row], anew=True)[0]
        except CallFailed as failure:
            raise self._told(failure, [(b"", row)]) from failure
        assert answer is not None
        return answer

    def _pair(self, beside: Any, row: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """The answers to two rows in one call; None where one of them cannot be had that way."""
        try:
            first, second = self._asked([beside, row])
        except CallFailed:
            return None
        return None if first is None or second is None else (first, second)

    def _check(self, kept: Opened) -> None:
        """Ask the canary again. Raises :class:`ModelError` where it answers otherwise: the model was changed."""
        canary = self._state.canary = kept.canary or self._state.canary
        assert canary is not None
        self._state.named = self._state.named or canary.version
        found = self._alone(canary.row)
        gap = _difference(np.array(canary.answer), found)
        if gap > max(self.file.tolerance, NOISE * canary.noise):
            raise self._changed(f"a row that was answered before is now answered otherwise, by {gap:.2g} of it")
        kept.confirm()
        self._state.since = 0

    def _changed(self, why: str) -> ModelError:
        """The error for a model that is another one now."""
        state = self._state
        state.canary, state.named, state.since, state.width = None, "", 0, 0
        state.changes += 1
        place = self._memory.place
        return ModelError(
            "the endpoint changed during the run", where=self._where, why=why,
            fix=f"answers of the former model lie in {place}: name another folder in cache:" if place
            else "ask again: answers of the former model are forgotten",
        )  # fmt: skip

    def _refuse_other_version(self, version: str) -> None:
        if version and self._state.named and version != self._state.named:
            raise self._changed("the replies name another version of the model than before")
        self._state.named = version or self._state.named

    def _refuse_other_width(self, answers: Iterator[np.ndarray]) -> None:
        for answer in answers:
            self._state.width = self._state.width or len(answer)
            if len(answer) != self._state.width:
                raise ModelError(
                    "the endpoint's replies changed their form", where=self._where,
                    why=f"{len(answer)} numbers for a row, {self._state.width} before",
                    fix="name what they are with outputs:, so that only these are read",
                )  # fmt: skip


class _State:
    """What changes while an endpoint is used: shared by copies of it."""

    def __init__(self, rows: int):
        self.rows, self.since, self.changes, self.width = rows, 0, 0, 0
        self.afresh, self.named = False, ""
        self.canary: Canary | None = None
        self.noticed: list[Caution] = []


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference relative to the largest number; infinite where the answers have another form."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max() / max(np.abs(one).max(), np.abs(other).max(), 1e-12))


def _form(file: EndpointFile) -> Form:
    if isinstance(file, CompletionsFile):
        return CompletionsForm(file)
    return ChatForm(file) if isinstance(file, ChatFile) else JsonForm(file)


def _headers(file: EndpointFile, secrets: Mapping[str, str], where: str) -> dict[str, str]:
    """The headers with their secrets filled in. Raises :class:`LoadError` naming a variable, never its value."""
    for name in file.secrets:
        value = secrets.get(name, "")
        if not value:
            raise LoadError(f"the environment has no {name}", where=where, fix=f"export {name}=… before starting")
        if not value.isascii() or not value.isprintable():
            raise LoadError(
                f"{name} holds characters that no header may hold", where=where, fix="a line break, perhaps"
            )
    return {name: NAMED.sub(lambda found: secrets[found[1]], text) for name, text in file.headers.items()}

"""The form of an endpoint's JSON: rows into a request, a reply into numbers. No network here."""

from __future__ import annotations

import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..problem.inputs import WHOLE
from ..problem.model import Rows
from ..records.errors import EncodingError, InputError, LoadError, NotFiniteError, shorten
from ..records.messages import Caution
from .endpoint_file import JsonFile

Answers = list[np.ndarray | None]
"""One ``Float64[K]`` for each row of a call; None where the reply has none for it."""


class Garbled(Exception):
    """A reply that is not what was agreed; the message says why, in words of ours."""


class Form(ABC):
    """How one kind of endpoint is asked and answers.

    ``most`` is the number of rows that a request can hold, None: as many as one likes.
    """

    most: int | None = None
    labels: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    scale: str = ""
    """What the answers are, as :attr:`Model.scale` has it."""

    @abstractmethod
    def rows(self, rows: Rows, encoding: Any) -> list[Any]:
        """Each row as the JSON that is sent of it."""

    @abstractmethod
    def request(self, rows: Sequence[Any]) -> Any:
        """The JSON of a call."""

    @abstractmethod
    def answers(self, reply: Any, rows: Sequence[Any]) -> Answers:
        """The answers in a reply to ``rows``. Raises :class:`Garbled` where it cannot be told whose they are."""

    def version(self, reply: Any) -> str:
        """Which model the reply says it comes from; empty where it does not say."""
        return ""

    def outputs(self, answers: np.ndarray) -> tuple[np.ndarray, list[Caution]]:
        """The outputs ``Float64[b, K]`` of answers as they were kept, and what is to be said of them."""
        return answers, []


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def excerpt(row: Any) -> str:
    """The beginning of a row as it is sent, its numbers rounded, for a message."""
    return shorten(json.dumps(_rounded(row), ensure_ascii=False), 80)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def at(reply: Any, path: Sequence[str | int]) -> Any:
    """What stands at ``path``. Raises :class:`Garbled` saying where the path ends, not what stands there."""
    for depth, step in enumerate(path):
        if isinstance(reply, Mapping) and str(step) in reply:
            reply = reply[str(step)]
        elif isinstance(reply, list) and str(step).isdecimal() and int(step) < len(reply):
            reply = reply[int(step)]
        else:
            there = ".".join(map(str, path[:depth])) or "the reply"
            raise Garbled(f"{there} has no {shorten(step)!r}: it is {_kind(reply)}")
    return reply


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return {str: "a text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")


def as_text(row: Any) -> str:
    """An opaque row as text: words are joined by blanks."""
    if isinstance(row, str):
        return row
    if isinstance(row, (list, tuple)) and all(isinstance(word, str) for word in row):
        return " ".join(row)
    raise InputError(
        f"a {type(row).__name__} cannot be sent to an endpoint", fix="give texts, lists of words, arrays or a table"
    )


class JsonForm(Form):
    """JSON of any form, by a template in which placeholders stand for the rows."""

    def __init__(self, file: JsonFile):
        self._template, self._answer, self._outputs, self._raw = file.request, file.answer, file.outputs, file.send
        self._version = file.version
        self.columns = file.columns
        self.labels = tuple(file.outputs) or None
        found = placeholders(file.request)
        strange = sorted(found - {"$rows", "$row", "$values", "$columns", "$shape"})
        if strange:
            raise LoadError(
                f"request: there is no placeholder {shorten(strange[0])!r}",
                fix="$rows, $row, $values, $columns or $shape; a text that begins with $ is written $$",
            )
        single, several = "$row" in found, bool(found & {"$rows", "$values"})
        if single == several:
            raise LoadError(
                "request: the rows must stand in it once", fix="$rows for the rows of a call, or $row for a single one"
            )
        self.most = 1 if single else None

    def rows(self, rows: Rows, encoding: Any) -> list[Any]:
        if isinstance(rows, list):
            return [as_text(row) for row in rows]
        named = {name: tensor.detach().cpu().tolist() for name, tensor in rows.items()}
        if set(named) != {WHOLE}:
            lists = [dict(zip(named, parts, strict=True)) for parts in zip(*named.values(), strict=True)]
        elif self._raw == "raw":
            lists = _raw(rows[WHOLE].detach().cpu().numpy(), encoding)
        else:
            lists = named[WHOLE]
        if self.columns and lists and isinstance(lists[0], list):
            if len(lists[0]) != len(self.columns):
                raise InputError(f"a row has {len(lists[0])} cells, the endpoint's file names {len(self.columns)}")
            lists = [dict(zip(self.columns, row, strict=True)) for row in lists]
        return lists

    def request(self, rows: Sequence[Any]) -> Any:
        values = [_cells(row) for row in rows]
        shape = [len(rows)]
        first: Any = values[0]
        while isinstance(first, list):
            shape.append(len(first))
            first = first[0] if first else None
        columns = list(rows[0]) if isinstance(rows[0], Mapping) else list(self.columns)
        given = {"$rows": list(rows), "$row": rows[0], "$values": values, "$columns": columns, "$shape": shape}
        return filled(self._template, given)

    def answers(self, reply: Any, rows: Sequence[Any]) -> Answers:
        found, count = at(reply, self._answer), len(rows)
        if self.most == 1:
            found = [found]
        if not isinstance(found, list):
            raise Garbled(f"there should be a list of {count} answers, and there is {_kind(found)}")
        if len(found) != count:
            raise Garbled(f"there should be {count} answers, and there are {len(found)}")
        return [self._numbers(answer) for answer in found]

    def _numbers(self, answer: Any) -> np.ndarray | None:
        if isinstance(self._outputs, dict):
            try:
                answer = [at(answer, path) for path in self._outputs.values()]
            except Garbled:
                return None
        numbers = answer if isinstance(answer, list) else [answer]
        while len(numbers) == 1 and isinstance(numbers[0], list):  # [[0.1, 0.9]] for a single row
            numbers = numbers[0]
        usable = all(map(is_number, numbers))
        if not numbers or not usable or (self.labels and len(numbers) != len(self.labels)):
            return None
        return np.array(numbers, dtype=np.float64)

    def version(self, reply: Any) -> str:
        return shorten(canonical(at(reply, self._version)), 200) if self._version else ""


def is_number(value: Any) -> bool:
    """Whether a value of a reply is a number that a float can hold; whole ones in JSON may be of any size."""
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _cells(row: Any) -> Any:
    return list(row.values()) if isinstance(row, Mapping) else row


def _raw(array: np.ndarray, encoding: Any) -> list[Any]:
    """Rows of model space as the cells that a person would write; pictures and series as lists in raw units."""
    if encoding is None or not hasattr(encoding, "decode"):
        raise EncodingError(
            "the endpoint takes raw rows, and how the numbers become them is not known",
            fix="give the encoding: pellucid.load('endpoint.yaml', encoding='encoding.json'), or send: encoded",
        )
    decoded = encoding.decode(array)
    if isinstance(decoded, np.ndarray):
        return decoded.tolist()
    records = decoded.to_dict("records")
    return [{str(name): _cell(value) for name, value in record.items()} for record in records]


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def placeholders(template: Any) -> set[str]:
    """The placeholders in a template."""
    if isinstance(template, str):
        return {template} if template.startswith("$") and not template.startswith("$$") else set()
    parts = template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ()
    return {name for part in parts for name in placeholders(part)}


def filled(template: Any, given: Mapping[str, Any]) -> Any:
    """The template with placeholders replaced as data: no text is ever put together from rows."""
    if isinstance(template, str):
        return given.get(template, template[1:] if template.startswith("$$") else template)
    if isinstance(template, Mapping):
        return {str(key): filled(value, given) for key, value in template.items()}
    return [filled(value, given) for value in template] if isinstance(template, list) else template


def told_rows(rows: Sequence[Any]) -> list[str]:
    """Each row's JSON text. Raises :class:`NotFiniteError` for what JSON has no word for."""
    try:
        return [canonical(row) for row in rows]
    except ValueError as error:
        raise NotFiniteError(
            "a row to be sent to the endpoint holds NaN or infinity, which JSON has no word for",
            fix="fill it in before explaining",
        ) from error

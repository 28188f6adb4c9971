"""Reading protocol buffers without trusting them: every message is taken apart along a class that lists its fields.

What a file claims is held against the bytes that are there before anything is made of it, and every fault is told
with the byte where it was found. Fields that a class does not list are passed over, as the format wants it.

Format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NoReturn, TypeVar

import numpy as np

from ..records.errors import LoadError, shorten

VARINT, FIXED64, SPAN, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10


@dataclass(frozen=True)
class Kind:
    """How a field's value lies in the file, and what is made of it; ``zero`` is what a field left out has."""

    wire: int
    zero: Any
    numbers: str = ""


INT, UINT = Kind(VARINT, 0, "int64"), Kind(VARINT, 0, "uint64")
FLOAT, DOUBLE = Kind(FIXED32, 0.0, "<f4"), Kind(FIXED64, 0.0, "<f8")
TEXT, BYTES = Kind(SPAN, ""), Kind(SPAN, memoryview(b""))


Content = Kind | type | Callable[[], type]
"""What a field holds; a message that is defined further down as a function that returns its class."""


def one(number: int, kind: Content) -> Any:
    """A field that a message has once, or not at all: its zero, for a message None."""
    zero = kind.zero if isinstance(kind, Kind) else None
    return field(default=zero, metadata={"number": number, "kind": kind, "many": False})


def many(number: int, kind: Content) -> Any:
    """A field that a message has any number of times: a list, of numbers an array."""
    empty: Callable[[], Any] = list
    if isinstance(kind, Kind) and kind.numbers:
        empty = lambda: np.zeros(0, kind.numbers)  # noqa: E731
    return field(default_factory=empty, metadata={"number": number, "kind": kind, "many": True})


@dataclass
class Message:
    """A part of a file; ``offset`` is its first byte there. Its kinds list their fields with :func:`one` and
    :func:`many`."""

    offset: int = 0


M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Limits:
    """How many fields a file may have in all, and how deep messages may lie in one another."""

    fields: int = 2_000_000
    depth: int = 40


class Reader:
    """Reads messages from ``data``; ``name`` is what the file is called in errors."""

    def __init__(self, data: bytes, name: str, limits: Limits | None = None):
        self.data, self.name, self.limits = memoryview(data), name, limits or Limits()
        self._left = self.limits.fields

    def read(self, kind: type[M]) -> M:
        """The whole file as one message. Raises :class:`LoadError` with the byte of the first fault."""
        return self._message(kind, 0, len(self.data), 0)

    def refuse(self, what: str, offset: int, why: str = "") -> NoReturn:
        """Raise the error that names this file and ``offset``."""
        raise LoadError(what, where=f"{self.name}:byte {offset}", why=why, fix="get the file anew from where it came")

    def _message(self, kind: type[M], start: int, stop: int, depth: int) -> M:
        if depth > self.limits.depth:
            self.refuse(f"messages lie more than {self.limits.depth} deep in one another", start)
        table, found = _table(kind), {}
        for number, wire, at, low, high in self._fields(start, stop):
            if number not in table:
                continue
            name, of, repeated = table[number]
            value = self._value(of, wire, at, low, high, depth, packed=repeated)
            if repeated:
                found.setdefault(name, []).append(value)
            elif name in found:
                self.refuse(f"the field {name!r} stands twice in one message", at)
            else:
                found[name] = value
        return kind(offset=start, **{name: _joined(value) for name, value in found.items()})

    def _fields(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Each field between two bytes: its number, how it lies there, where it begins, and where its value lies."""
        at = start
        while at < stop:
            self._left -= 1
            if self._left < 0:
                self.refuse(f"the file has more than {self.limits.fields:,} fields", at)
            key, low = self._varint(at, stop)
            number, wire = key >> 3, key & 7
            if not number or wire not in (VARINT, FIXED64, SPAN, FIXED32):
                self.refuse("there is no field where one is due", at, f"a key of {key} means nothing")
            high = self._end(wire, low, stop)
            if wire == SPAN:
                size, low = self._varint(low, stop)
                high = low + size
            if high > stop:
                self.refuse(
                    "the file is cut short or damaged",
                    at,
                    f"a field here claims {high - low:,} bytes of {stop - low:,}",
                )
            yield number, wire, at, low, high
            at = high

    def _end(self, wire: int, low: int, stop: int) -> int:
        return self._varint(low, stop)[1] if wire == VARINT else low + {FIXED32: 4, FIXED64: 8}.get(wire, 0)

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """The number that begins at a byte, and where it ends."""
        value, place = 0, 0
        while place < LONGEST_VARINT and at + place < stop:
            byte = self.data[at + place]
            value |= (byte & 0x7F) << 7 * place
            place += 1
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at + place
        if place < LONGEST_VARINT:
            self.refuse("the file is cut short or damaged", at, "a number is not finished")
        return self.refuse("a number is longer than numbers are", at)

    def _value(self, kind: Any, wire: int, at: int, low: int, high: int, depth: int, packed: bool) -> Any:
        if not isinstance(kind, Kind):
            if wire != SPAN:
                self.refuse("a number stands where a message is due", at)
            return self._message(kind, low, high, depth + 1)
        if packed and kind.numbers and wire == SPAN:
            return self._packed(kind, low, high)
        if wire != kind.wire:
            self.refuse("a field holds another kind of value than its number says", at)
        if kind is TEXT:
            return self._text(low, high)
        if kind is BYTES:
            return self.data[low:high]
        if kind.wire == VARINT:
            number = self._varint(low, high)[0]
            value = number - 2**64 if kind is INT and number >= 2**63 else number
        else:
            value = struct.unpack(kind.numbers.replace("f4", "f").replace("f8", "d"), self.data[low:high])[0]
        return np.array([value], kind.numbers) if packed else value

    def _text(self, low: int, high: int) -> str:
        try:
            return str(self.data[low:high], "utf-8")
        except UnicodeDecodeError as error:
            self.refuse("a text is no UTF-8", low + error.start, shorten(error.reason))

    def _packed(self, kind: Kind, low: int, high: int) -> np.ndarray:
        """Numbers side by side."""
        if kind.wire != VARINT:
            if (high - low) % np.dtype(kind.numbers).itemsize:
                self.refuse("numbers side by side do not fill their field", low)
            return np.frombuffer(self.data[low:high], kind.numbers)
        raw = np.frombuffer(self.data[low:high], np.uint8)
        ends = np.flatnonzero(raw < 0x80)
        if raw.size and (not ends.size or ends[-1] != raw.size - 1):
            self.refuse("the file is cut short or damaged", high, "a number is not finished")
        starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
        if ends.size and int((ends - starts).max()) >= LONGEST_VARINT:
            self.refuse("a number is longer than numbers are", low)
        place = np.arange(raw.size) - np.repeat(starts, ends - starts + 1)
        shifted = (raw & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
        whole = np.add.reduceat(shifted, starts) if ends.size else shifted
        return whole.astype(np.uint64).view(np.int64) if kind is INT else whole


@cache
def _table(kind: type) -> dict[int, tuple[str, Any, bool]]:
    """Number → (name, kind, whether there may be many) of a message's fields."""
    listed = [(entry.name, entry.metadata) for entry in fields(kind) if "number" in entry.metadata]
    return {told["number"]: (name, _content(told["kind"]), told["many"]) for name, told in listed}


def _content(kind: Any) -> Any:
    return kind if isinstance(kind, (Kind, type)) else kind()


def _joined(value: Any) -> Any:
    """The arrays of a field of numbers as one."""
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return value[0] if len(value) == 1 else np.concatenate(value)
    return value

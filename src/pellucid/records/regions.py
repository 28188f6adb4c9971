"""Where in each row the evidence is known to lie: Regions say it by players, Spans by characters or steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError


@dataclass(frozen=True, eq=False)
class Regions:
    """The known region of N rows: ``inside`` ``Float64[N, n]`` is the share of each player's elements that lie in it.

    NaN where a row has fewer than n players. Raises :class:`InputError` for anything but shares.
    """

    inside: np.ndarray

    def __post_init__(self) -> None:
        inside = np.array(self.inside, dtype=np.float64)
        if inside.ndim != 2 or (inside < 0).any() or (inside > 1).any():
            raise InputError("a region is told by shares of 0 to 1 for each row and player")
        inside.setflags(write=False)
        object.__setattr__(self, "inside", inside)

    def __len__(self) -> int:
        return len(self.inside)

    def __getitem__(self, rows: np.ndarray) -> Regions:
        """The regions of some rows."""
        return Regions(self.inside[rows])


Passage = tuple[int, int]


@dataclass(frozen=True)
class Spans:
    """Where the evidence lies in N texts or series: the passages ``[start, stop)`` of each, sorted and apart.

    They are counted in the characters of a text, and in the steps of a series.
    """

    passages: tuple[tuple[Passage, ...], ...]

    @classmethod
    def of(cls, texts: Sequence[str], passages: Sequence[Sequence[Sequence[int]]]) -> Spans:
        """Passages in characters, one list a text; those that touch are one.

        Raises :class:`InputError`, with the row, for passages that do not lie in their text.
        """
        if len(texts) != len(passages):
            raise InputError(f"passages of {len(passages)} texts, but {len(texts)} texts were given")
        sizes = [len(text) for text in texts]
        return cls(tuple(_merged(own, size, row) for row, (own, size) in enumerate(zip(passages, sizes, strict=True))))

    @classmethod
    def of_words(cls, texts: Sequence[str], passages: Sequence[Sequence[Sequence[int]]]) -> Spans:
        """Passages ``[first, last)`` in words, as ``text.split()`` counts them, one list a text."""
        if len(texts) != len(passages):
            raise InputError(f"passages of {len(passages)} texts, but {len(texts)} texts were given")
        found = []
        for row, (text, own) in enumerate(zip(texts, passages, strict=True)):
            words = [match.span() for match in re.finditer(r"\S+", text)]
            own = _merged(own, len(words), row)
            found.append(tuple((words[start][0], words[stop - 1][1]) for start, stop in own))
        return cls(tuple(found))

    @classmethod
    def of_steps(cls, steps: int, passages: Sequence[Sequence[Sequence[int]]]) -> Spans:
        """Passages in steps, one list for each series of (at most) so many steps; an empty list where there are none.

        Raises :class:`InputError`, with the row, for passages that do not lie in their series.
        """
        return cls(tuple(_merged(own, steps, row) for row, own in enumerate(passages)))

    def __len__(self) -> int:
        return len(self.passages)

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> Spans:
        """The passages of some rows."""
        return Spans(tuple(self.passages[int(row)] for row in rows))

    def masks(self, size: int) -> np.ndarray:
        """``Bool[N, size]``: the places that lie in a passage of their row."""
        found = np.zeros((len(self), size), dtype=bool)
        for row, own in enumerate(self.passages):
            for start, stop in own:
                found[row, start:stop] = True
        return found


def _merged(passages: Sequence[Sequence[int]], size: int, row: int) -> tuple[Passage, ...]:
    found: list[Passage] = []
    for start, stop in sorted((int(start), int(stop)) for start, stop in passages):
        if not 0 <= start < stop <= size:
            raise InputError(
                f"the passage [{start}, {stop}) does not lie in a row of {size:,}",
                where=f"row {row + 1}",
                fix="passages are [start, stop), and stop is the place after the last one",
            )
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return tuple(found)

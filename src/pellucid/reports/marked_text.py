"""A text in pieces: its players with their contributions, what lies between them, and what a long one leaves out.

The report's marked paragraphs and the figure of a text are drawn from the same pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from pellucid.records.amounts import Z
from pellucid.records.answer import Answer

from ..records.explanation import Explanation
from .words import clean, number, spread

ENDS = (".", "!", "?", "…", "。", "！", "？")
"""What the last word of a sentence ends with."""
MOST, RUN = 240, 30
"""Players that are shown of one text; the longest run that is shown or left out as one, where sentences are longer."""
LONGEST_GAP = 200
"""Characters that are shown of a stretch that belongs to no player."""
STEPS = (0.1, 0.35, 0.7)
"""From these shares of a text's largest contribution on, a piece is shaded lightly, more, fully."""


@dataclass(frozen=True)
class Piece:
    """A piece of a text.

    Attributes
    ----------
    text: as it stands in the text, without what no page can carry.
    step: how strongly it is shaded: 1 to 3 raises the output, −1 to −3 lowers it, 0 is not shaded.
    unclear: whether its contribution, large as it is, cannot be told from zero.
    amount: its contribution with the interval, as a reader sees it; "" for what is no player.
    left_out: how many players stand here that are not shown.
    asked: whether it is what the row asks about: a word of the entity that is explained.
    """

    text: str
    step: int = 0
    unclear: bool = False
    amount: str = ""
    left_out: int = 0
    asked: bool = False

    @property
    def shade(self) -> str:
        """The name of its look: ``u2`` raises, ``d3`` lowers, with ``q`` where it is unclear; ``e`` is asked about."""
        size = f"{'u' if self.step > 0 else 'd'}{abs(self.step)}" if self.step else ""
        return " ".join(filter(None, [size, "q" if self.step and self.unclear else "", "e" if self.asked else ""]))


def is_text(record: Answer) -> bool:
    """Whether the players of a record are parts of texts."""
    return bool(record.players.spans) or record.players.kind == "word"


def text_and_spans(record: Answer, row: int) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A row's text and where its players lie in it; where it was not kept, the players with blanks between."""
    names, spans = record.players.of(row), record.players.spans
    text = record.rows[row] if isinstance(record.rows, (list, tuple)) and row < len(record.rows) else None
    if spans and isinstance(text, str) and all(stop <= len(text) for _, stop in spans[row]):
        return text, spans[row]
    ends = list(accumulate(len(name) + 1 for name in names))
    return " ".join(names), tuple((end - len(name) - 1, end - 1) for name, end in zip(names, ends, strict=True))


def entity_of(record: Answer, row: int) -> tuple[int, int] | None:
    """Where the entity that a row asks about stands in its text; None for rows about whole texts."""
    where = record.notes.get("entities")
    if not isinstance(where, list) or row >= len(where):
        return None
    _, start, stop, _ = where[row]
    return int(start), int(stop)


def pieces_of(explanation: Explanation, row: int = 0, output: int = 0, most: int = MOST) -> list[Piece]:
    """A row's text, piece by piece in its order.

    Of more than ``most`` players the sentences that carry most of |contribution| are shown (of sentences longer than
    :data:`RUN` players their parts), and for the others how many players they hold.
    """
    text, spans = text_and_spans(explanation, row)
    n = len(spans)
    values = explanation.attributions[row, :n, output]
    errors = np.full(n, np.nan) if explanation.errors is None else explanation.errors[row, :n, output]
    largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    asked = entity_of(explanation, row) or (0, 0)
    meant = [start < asked[1] and asked[0] < stop for start, stop in spans]
    players = [
        replace(_player(text[slice(*span)], value, error, largest), asked=own)
        for span, value, error, own in zip(spans, values, errors, meant, strict=True)
    ]
    order = sorted(range(n), key=lambda i: spans[i])
    home = _homes(explanation, row, order, [text[slice(*spans[player])] for player in order])
    sizes = np.nan_to_num(np.abs(values)) + np.where(meant, np.inf, 0.0)  # where it stands is shown first
    shown = _shown(_runs(home, order), sizes, most)
    return list(_with_gaps(text, spans, order, players, shown))


def _player(text: str, value: float, error: float, largest: float) -> Piece:
    if not np.isfinite(value):
        return Piece(clean(text))
    step = int(np.searchsorted(STEPS, abs(value) / largest, side="right"))
    unclear = bool(np.isfinite(error) and abs(value) <= Z * error)
    return Piece(clean(text), step if value > 0 else -step, unclear, number(value, signed=True) + spread(error))


def _homes(record: Answer, row: int, order: Sequence[int], written: Sequence[str]) -> np.ndarray:
    """The sentence of each player in their order: the coarsest level of the hierarchy, if there is one; else a player
    whose last mark, as it is ``written``, ends one does."""
    levels = record.players.levels_of(row)
    if levels is not None and len(levels):
        return levels[0][list(order)]
    last = [word.rstrip("\"'”’)»").endswith(ENDS) for word in written]
    return np.cumsum([0, *last[:-1]])


def _runs(home: np.ndarray, order: Sequence[int]) -> list[list[int]]:
    """Players in runs: the sentences, parted where they are long."""
    runs: list[list[int]] = []
    for place, player in enumerate(order):
        if not runs or home[place - 1] != home[place] or len(runs[-1]) == RUN:
            runs.append([])
        runs[-1].append(player)
    return runs


def _shown(runs: list[list[int]], sizes: np.ndarray, most: int) -> np.ndarray:
    """``Bool[n]``: all players, or those of the runs that carry most, as many as there is room for."""
    kept, room = np.zeros(len(sizes), dtype=bool), most
    if len(sizes) <= most:
        return ~kept
    for run in sorted(runs, key=lambda run: -sizes[run].sum()):
        if len(run) <= room:
            kept[run] = True
            room -= len(run)
    return kept


def _with_gaps(
    text: str, spans: Sequence[tuple[int, int]], order: Sequence[int], players: Sequence[Piece], shown: np.ndarray
) -> Iterator[Piece]:
    """The shown players and the text between them; a run that is left out stands as one piece."""
    place, left_out = 0, 0
    for player in order:
        start, stop = spans[player]
        if not shown[player]:
            left_out += 1
        else:
            if left_out:
                yield Piece("…", left_out=left_out)
                left_out = 0
            if place < start:
                yield Piece(_clipped(text[place:start]))
            yield players[player]
        place = max(place, stop)
    if left_out:
        yield Piece("…", left_out=left_out)
    if place < len(text):
        yield Piece(_clipped(text[place:]))


def _clipped(gap: str) -> str:
    """What is nobody's: blanks and marks, or what a network did not read; of much of it the beginning."""
    return clean(gap) if len(gap) <= LONGEST_GAP else clean(gap[:LONGEST_GAP]) + "…"

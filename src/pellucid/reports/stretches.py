"""Stretches of a series: which channels and steps a player holds, and how sentences speak of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pellucid.records.answer import Answer
from pellucid.records.explanation import Explanation
from pellucid.records.players import Players
from pellucid.records.series import SeriesAxes

from .words import Words, cut, isolated, quoted

TOLD = 32
"""More players than this are told by windows of their steps."""


@dataclass(frozen=True)
class Stretch:
    """The steps from ``start`` to before ``stop`` of one channel, or (None) of all of them."""

    channel: int | None
    start: int
    stop: int

    def told(self, axes: SeriesAxes, words: Words) -> str:
        """In words: "steps 40 to 49 of “temperature”", "“load” from 12:00 to 12:30", "all of “load”"."""
        first, last = (isolated(cut(axes.moment(step), 30)) for step in (self.start, self.stop - 1))
        code = ("times" if axes.times else "steps") + ("_one" if self.stop - self.start == 1 else "")
        said = {"first": first, "last": last, "unit": f" {isolated(cut(axes.unit, 12))}" if axes.unit else ""}
        if self.channel is None:
            return words.told(f"series_{code}", **said)
        name = quoted(axes.channels[self.channel])
        if self.start == 0 and self.stop == axes.steps:
            return words.told("series_whole", channel=name)
        return words.told(f"series_{code}_of", channel=name, **said)


def is_series(record: Answer) -> bool:
    """Whether the rows of this answer are time series."""
    return record.players.axes is not None


def stretch_of(players: Players, row: int, player: int) -> Stretch | None:
    """The stretch that a player is; None where it is none: in pieces, or of some channels only."""
    axes = players.axes
    assert axes is not None
    own = axes.by_channel(players.labels[0 if players.is_shared else row]) == player
    channels, steps = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
    whole = len(channels) * (steps[-1] - steps[0] + 1) == own.sum() and len(channels) in (1, len(own))
    if not whole:
        return None
    one = len(channels) == 1 and axes.is_named
    return Stretch(int(channels[0]) if one else None, int(steps[0]), int(steps[-1]) + 1)


def summed(record: Explanation, row: int, output: int, words: Words) -> list[tuple[str, float]]:
    """What many small players of a series are told by: stretches of them with their sums, the largest first.

    Empty for other rows, and where the players are few enough to be told themselves.
    """
    players, axes = record.players, record.players.axes
    names = players.of(row)
    if axes is None or len(names) <= TOLD or record.pooling != "sum":
        return []
    labels = players.labels[0 if players.is_shared else row]
    values = record.attributions[row, : len(names), output]
    shares = players.spread(values / np.bincount(labels[labels >= 0], minlength=len(names)), row)
    found = [
        (stretch.told(axes, words), total) for stretch, total in windows(axes.by_channel(shares.reshape(-1)), axes)
    ]
    return sorted(found, key=lambda each: -abs(each[1]))


def windows(values: np.ndarray, axes: SeriesAxes) -> Iterator[tuple[Stretch, float]]:
    """Values of single elements ``Float64[C, T]`` summed over about :data:`TOLD` windows; NaN is nobody's."""
    channels, steps = values.shape
    parts = min(max(TOLD // channels, 4), 16, steps)
    for channel in range(channels):
        for own in np.array_split(np.arange(steps), parts):
            held = values[channel, own]
            if np.isfinite(held).any():
                name = channel if axes.is_named else None
                yield Stretch(name, int(own[0]), int(own[-1]) + 1), float(np.nansum(held))

"""Occlusion: what the output loses when a column, a region or a sliding window is absent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable
from ..records.settings import Range
from .method import Method

RUN = 2**20
"""Cells of (window, player) made at once, but at least SHORTEST windows."""
SHORTEST = 512
Sides = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Occlusion(Method):
    """φ_i = v(N) − v(N \\ i): each player absent alone (Zeiler & Fergus 2013, arXiv 1311.2901, section 2).

    This is leave-one-out. With ``window`` a box slides over the row instead, ``stride`` elements at a time: over
    height and width of an image, along the time of a series, along the first axis of any other tensor, all channels
    together. A tuple gives a side for each of height and width, or for each axis. Every player gets the mean loss
    over the windows that cover it; with several ``scales`` the window and its stride are doubled from one to the
    next, and a player gets the mean over scales, each counting the same. The last window of an axis ends at its edge,
    so that nothing is left out. The trap: two inputs that can stand in for each other both look useless when each is
    removed alone.
    """

    window: Annotated[Sides, Range(1, 4096), "sides of the sliding window in elements; none: each player"] = None
    stride: Annotated[Sides, Range(1, 4096), "elements between windows; none: half the window"] = None
    scales: Annotated[int, Range(1, 12), "sizes of the window: as given, twice, four times as large, …"] = 1

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    source: ClassVar[str] = "Zeiler & Fergus 2013, arXiv 1311.2901, section 2"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "symmetry", "linearity", "implementation_invariance")
    known_as: ClassVar[tuple[str, ...]] = (
        "leave_one_out", "loo", "loco", "ablation", "feature_ablation", "feature_occlusion", "remove_individual",
    )  # fmt: skip

    def estimate(self, session: Session) -> Estimate:
        if self.window is None and (self.stride is not None or self.scales > 1):
            raise NotApplicable("stride and scales are of a sliding window", fix="give window= too")
        sizes = [None] if self.window is None else self._windows(session)
        count = sum(session.n if windows is None else len(windows) for windows in sizes)
        session.allowance(count + 1, least=count + 1)
        values = np.mean([_lost(session, windows) for windows in sizes], axis=0)
        return Estimate(values, notes={"windows": count})

    def _windows(self, session: Session) -> list[np.ndarray]:
        """The players that each window touches, ``Bool[windows, n]``, scale by scale."""
        layout, image, axes = session.players.layout, session.kind == "image", session.players.axes
        if not layout or not session.players.is_shared or session.kind in ("table", "words"):
            raise NotApplicable(
                "a sliding window needs images or series whose players are the same for all of them",
                fix="use pixels, patches or elements as players, or leave window= out",
            )
        free = layout[1:] if image else layout  # an image's channels are covered together, and so are a series'
        labels = session.players.map_of(0).reshape(-1, *free)
        if axes is not None:
            free, labels = (axes.steps,), axes.by_channel(session.players.labels[0])
        sides = _sides("window", self.window, free, image)
        steps = tuple(max(1, side // 2) for side in sides)
        if self.stride is not None:
            steps = _sides("stride", self.stride, free, image)
        grown = [np.multiply((sides, steps), 2**scale).tolist() for scale in range(self.scales)]
        return [_slid(labels, session.n, tuple(wide), tuple(apart)) for wide, apart in grown]


def _sides(name: str, given: Sides, free: tuple[int, ...], image: bool) -> tuple[int, ...]:
    """A side for each axis: a number is that of height and width, or of a tensor's first axis with the others whole."""
    if isinstance(given, tuple):
        if len(given) != len(free):
            raise NotApplicable(f"{name}={given} has {len(given)} sides, these rows have {len(free)} axes: {free}")
        return given
    side = int(given or 1)
    return (side,) * len(free) if image else (side, *free[1:])


def _slid(labels: np.ndarray, n: int, sides: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """The players that a window touches as it slides over ``labels [C, …]``, ``Bool[windows, n]``."""
    for length, side, step in zip(labels.shape[1:], sides, steps, strict=True):
        if side > length:
            raise NotApplicable(f"a window of {_by(sides)} does not fit into {_by(labels.shape[1:])}")
        if step > side and side < length:
            raise NotApplicable(
                f"a stride of {_by(steps)} leaves gaps between windows of {_by(sides)}", fix="take a smaller stride"
            )
    rows = []
    for corner in product(*map(_starts, labels.shape[1:], sides, steps)):
        box = tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))
        row = np.zeros(n + 1, dtype=bool)
        row[labels[(slice(None), *box)]] = True  # nobody's, −1, falls behind the last player
        rows.append(row[:n])
    return np.array(rows)


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where windows begin on an axis; the last ends at its edge."""
    last = length - side
    starts = list(range(0, last + 1, step))
    return starts if starts[-1] == last else [*starts, last]


def _by(sides: tuple[int, ...]) -> str:
    return " × ".join(map(str, sides))


def _lost(session: Session, windows: np.ndarray | None) -> np.ndarray:
    """The mean loss over the windows that cover each player, ``Float64[Q, n]``; None: each player is a window."""
    n, values = session.n, np.zeros((session.questions, session.n))
    count, run = (n if windows is None else len(windows)), max(RUN // n, SHORTEST)
    for start in range(0, count, run):  # who is absent is made run by run: all at once it is n² for single players
        part = slice(start, min(start + run, count))
        absent = _alone(n, part) if windows is None else windows[part]
        lost = session.full[:, None] - session.values(~absent)
        if windows is None:
            values[:, part] = lost
        else:
            values += lost @ absent
    return values if windows is None else values / np.maximum(windows.sum(0), 1)


def _alone(n: int, players: slice) -> np.ndarray:
    """Each of a run of players absent alone, ``Bool[run, n]``."""
    return np.arange(players.start, players.stop)[:, None] == np.arange(n)

"""Occlusion: what the output loses when a column, a region or a sliding window is absent."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Occlusion(Method):
    """φ_i = v(N) − v(N \\ i): each player absent alone (Zeiler & Fergus 2013, arXiv 1311.2901, section 2).

    With ``window`` a square slides over the image instead, ``stride`` elements at a time; every player gets the
    mean loss over the windows that cover it. The trap: two inputs that can stand in for each other both
    look useless when each is removed alone.
    """

    window: Annotated[int | None, Range(1, 4096), "side of the sliding square in elements; none: each player"] = None
    stride: Annotated[int | None, Range(1, 4096), "elements between windows; none: half the window"] = None

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    source: ClassVar[str] = "Zeiler & Fergus 2013, arXiv 1311.2901, section 2"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "symmetry", "linearity", "implementation_invariance")

    def estimate(self, session: Session) -> Estimate:
        windows = None if self.window is None else self._windows(session)
        count = session.n if windows is None else len(windows)
        session.allowance(count + 1, least=count + 1)
        values = np.zeros((session.questions, session.n))
        run = max(RUN // session.n, SHORTEST)
        for start in range(0, count, run):  # who is absent is made run by run: all at once it is n² for single players
            part = slice(start, min(start + run, count))
            absent = _alone(session.n, part) if windows is None else windows[part]
            lost = session.full[:, None] - session.values(~absent)
            if windows is None:
                values[:, part] = lost
            else:
                values += lost @ absent
        if windows is not None:
            values /= np.maximum(windows.sum(0), 1)
        return Estimate(values, notes={"windows": count})

    def _windows(self, session: Session) -> np.ndarray:
        """The players that each window touches, ``Bool[windows, n]``."""
        layout = session.players.layout
        if len(layout) != 3 or not session.players.is_shared:
            raise NotApplicable(
                "a sliding window needs images whose players are the same for all of them",
                fix="use pixels or patches as players, or leave window= out",
            )
        size, labels = int(self.window or 1), session.players.map_of(0)
        step = self.stride or max(1, size // 2)
        height, width = layout[1:]
        if size > min(height, width):
            raise NotApplicable(f"a window of {size} does not fit into {height} × {width}")
        rows = []
        for top in range(0, height - size + 1, step):
            for left in range(0, width - size + 1, step):
                row = np.zeros(session.n + 1, dtype=bool)
                row[labels[:, top : top + size, left : left + size]] = (
                    True  # nobody's, −1, falls behind the last player
                )
                rows.append(row[: session.n])
        return np.array(rows)


def _alone(n: int, players: slice) -> np.ndarray:
    """Each of a run of players absent alone, ``Bool[run, n]``."""
    return np.arange(players.start, players.stop)[:, None] == np.arange(n)

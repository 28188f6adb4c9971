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
        absent = np.eye(session.n, dtype=bool) if self.window is None else self._windows(session)
        session.allowance(len(absent) + 1, least=len(absent) + 1)
        cover = absent / np.maximum(absent.sum(0), 1)
        values = np.zeros((session.questions, session.n))
        for part, v in session.sweep(~absent):
            values += (session.full[:, None] - v) @ cover[part]
        return Estimate(values, notes={"windows": len(absent)})

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
                touched = np.unique(labels[:, top : top + size, left : left + size])
                row = np.zeros(session.n, dtype=bool)
                row[touched[touched >= 0]] = True
                rows.append(row)
        return np.array(rows)

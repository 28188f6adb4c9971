"""ABPC: the area between the curves of removing the least and the most important players first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..records.score import Better
from ..records.settings import Range
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class Abpc(Metric):
    """Mean of (least relevant first − most relevant first), over the range met on both curves.

    Samek et al. 2017 (arXiv 1509.06321, eq. 12) and Šimić et al. 2022 (arXiv 2211.12486). Players leave in steps of
    equal number; both orders end with nobody, so part of the bias of the removal cancels. 1 would be a
    perfect separation, 0 is what a random order gets.
    """

    steps: Annotated[int, Range(2, 1000), "steps from everyone to nobody"] = 12

    name: ClassVar[str] = "abpc"
    title: ClassVar[str] = "Deletion–insertion gap (ABPC)"
    source: ClassVar[str] = "Šimić, Sabol & Veas 2022, arXiv 2211.12486; Samek et al. 2017, arXiv 1509.06321, eq. 12"
    better: ClassVar[Better] = "higher"
    alarms: ClassVar[bool] = True
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0

    def score(self, case: Case) -> Judged:
        n, session = case.session.n, case.session
        gone = np.unique(np.linspace(0, n, min(self.steps, n) + 1).round().astype(int))
        rank = np.argsort(np.argsort(-case.values, axis=1, kind="stable"), axis=1)
        inner = gone[1:-1, None]
        most_first = rank[:, None, :] >= inner
        least_first = rank[:, None, :] < n - inner
        asked = session.values(np.concatenate([most_first, least_first], axis=1))
        ends = session.full[:, None], session.empty[:, None]
        morf = np.hstack([ends[0], asked[:, : len(inner)], ends[1]])
        lerf = np.hstack([ends[0], asked[:, len(inner) :], ends[1]])
        both = np.hstack([morf, lerf])
        spread = np.ptp(both, axis=1)
        flat = spread <= 1e-12 * np.maximum(np.abs(both).max(1), 1e-300)
        area = np.trapezoid(lerf - morf, gone / n, axis=1)
        values = np.where(flat, np.nan, area / np.where(flat, 1.0, spread))
        return Judged(values, self._curves(morf, lerf, both.min(1), np.where(flat, np.nan, spread), gone / n))

    def cost(self, players: int) -> float:
        return 2.0 * (min(self.steps, players) - 1) + 1

    def _curves(
        self, morf: np.ndarray, lerf: np.ndarray, low: np.ndarray, spread: np.ndarray, share: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Both curves on a 0–1 scale, averaged over the rows where they are defined: ``Float64[points, 2]``."""
        known = np.isfinite(spread)
        if not known.any():
            return {}
        curves = {}
        for name, curve in (("deletion", morf), ("insertion", lerf)):
            scaled = (curve[known] - low[known, None]) / spread[known, None]
            curves[name] = np.column_stack([share, scaled.mean(0)])
        return curves

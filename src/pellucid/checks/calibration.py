"""Whether the model is as sure as it ought to be: can its probabilities be read as chances?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..measures import calibration as measure
from ..measures import classification as of_classes
from ..measures.intervals import bootstrap, percentiles, wilson
from ..records.finding import Finding
from .check import Check, CheckCase, Task, by_part

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Calibration(Check[CheckCase]):
    """The gap between stated confidence and the share of right answers (top label, bins of equal mass).

    The expected calibration error (ECE) of a finite sample is above zero for a perfect model, and a
    bootstrap adds the same bias once more; its interval is therefore turned around the value (the basic
    bootstrap), and reaches down to zero where a perfect model could have shown the same. In simulations it
    held the true error in 90 to 98 of 100. A model is called badly calibrated (yellow) only where its
    ECE is larger than that of 19 in 20 perfectly calibrated models with the same confidences, and larger
    than ``tolerance``.
    """

    name: ClassVar[str] = "calibration"
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    source: ClassVar[str] = "Guo et al. 2017 (arXiv 1706.04599); equal mass: Nixon et al. 2019 (arXiv 1904.01685)"

    bins: Annotated[int, "bins of equal mass"] = measure.BINS
    draws: Annotated[int, "bootstrap draws behind each interval"] = 1000
    level: Annotated[float, "how often an interval should hold the true value"] = 0.95
    tolerance: Annotated[float, "a calibration error below this is never complained of"] = 0.02

    def find(self, case: CheckCase) -> Iterator[Finding]:
        confidence = case.probabilities[np.arange(len(case)), case.predicted]
        right = case.labels == case.predicted
        metrics = self._figures(case, confidence, right)
        ece, low, high = metrics["ece"]
        by_chance = metrics["ece_if_calibrated"][2]
        values = {"ece": ece, "low": low, "high": high, "expected": by_chance, "level": self.level}
        values |= {"rows": len(case), "part": case.part, "reading": case.reading}
        points, rows = measure.reliability_curve(confidence, right, self.bins)
        yield Finding(
            self.name,
            by_part(self.name, case.part),
            "note",
            values,
            metrics=metrics,
            tables={"bins": self._table(points, rows)},
            curves={"reliability": points},
            rows=len(case),
        )
        if ece > max(by_chance, self.tolerance):
            stated, reached = float(confidence.mean()), float(right.mean())
            yield Finding(
                self.name,
                _direction(stated - reached, ece),
                "yellow",
                values | {"stated": stated, "reached": reached},
                rows=len(case),
            )

    def _figures(self, case: CheckCase, confidence: np.ndarray, right: np.ndarray) -> dict[str, Triple]:
        settings: dict[str, Any] = {"draws": self.draws, "seed": case.seed, "level": self.level}

        def errors(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            expected = measure.expected_calibration_error(confidence, right, self.bins, weights)
            return np.stack([expected, measure.maximum_calibration_error(confidence, right, self.bins, weights)], -1)

        value, low, high = bootstrap(errors, confidence, right, **settings)
        figures = {name: _turned(value[place], low[place], high[place]) for place, name in enumerate(("ece", "mce"))}
        perfect = measure.ece_if_calibrated(confidence, self.bins, self.draws, case.seed)
        tails = ((1 - self.level) / 2, self.level)  # the upper one is a one-sided test
        below, above = percentiles(perfect, tails)
        figures["ece_if_calibrated"] = (float(perfect.mean()), float(below), float(above))
        if figures["ece"][0] <= above:  # no error at all would have shown as much
            figures["ece"] = (figures["ece"][0], 0.0, figures["ece"][2])
        for name in ("brier", "log_loss"):
            figures[name] = bootstrap(getattr(of_classes, name), case.labels, case.probabilities, **settings)
        return figures

    def _table(self, points: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
        """A row per bin: rows, mean confidence, share right with Wilson's interval."""
        lows, highs = wilson(points[:, 1] * rows, rows, self.level)
        columns = zip(rows.tolist(), points.tolist(), lows.tolist(), highs.tolist(), strict=True)
        return [
            {"rows": count, "confidence": stated, "right": share, "right_low": low, "right_high": high}
            for count, (stated, share), low, high in columns
        ]


def _turned(value: float, low: float, high: float) -> Triple:
    """The basic bootstrap interval from the percentile one, within [0, 1] and never without the value itself.

    Above the value it is at least half as wide as the interval: turning would take off a bias that a large
    error does not have.
    """
    above = max(value - low, (high - low) / 2)
    return float(value), float(max(0.0, min(2 * value - high, value))), float(min(1.0, value + above))


def _direction(surplus: float, ece: float) -> str:
    """Too sure, not sure enough, or (where the surplus explains less than half of the error) both."""
    if abs(surplus) < ece / 2:
        return "calibration_both_ways"
    return "calibration_overconfident" if surplus > 0 else "calibration_underconfident"

"""Rules: the conditions under which the model's decision about a row stays, how surely, and how often they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .answer import Answer
from .errors import shorten
from .messages import marked, say

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, kw_only=True)
class Rules(Answer):
    """One rule for each of T targets of N rows: if its conditions hold, the decision is the row's own.

    Attributes
    ----------
    members: ``Float64[N, n, T]``, 1 for the players in the rule, 0 for the others; NaN where a row has fewer than n.
    above, upto: ``Float64[N, n, T]``, the ends of a number's condition, above < value ≤ upto, in the units of the raw
        rows; NaN where there is no such end, or no number.
    precision: ``Float64[N, T]``, the share of draws under the rule in which the decision stays, measured on fresh ones.
    lower, upper: ``Float64[N, T]``, its interval at ``settings["level"]``.
    coverage: ``Float64[N, T]``, the share of draws (of background rows, for a table) that satisfy the rule by
        themselves; ``coverage_lower`` and ``coverage_upper`` are its interval.
    samples: ``Float64[N, T]``, rows asked of the model for the rule.
    boundary: ``Float64[N, T]``, where one number changes sides; NaN where the decision is between classes.
    positive: ``Bool[N, T]``, whether the row is of the target's class (above the boundary), so that this is what stays.
    """

    record: ClassVar[str] = "rules"
    of_estimate: ClassVar[dict[str, str]] = {"values": "members"}
    by_row: ClassVar[tuple[str, ...]] = (
        "members", "above", "upto", "precision", "lower", "upper", "coverage", "coverage_lower", "coverage_upper",
        "samples", "boundary", "positive", *Answer.by_row,
    )  # fmt: skip

    members: np.ndarray
    above: np.ndarray
    upto: np.ndarray
    precision: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    coverage: np.ndarray
    coverage_lower: np.ndarray
    coverage_upper: np.ndarray
    samples: np.ndarray
    boundary: np.ndarray
    positive: np.ndarray

    @property
    def threshold(self) -> float:
        """The precision that was asked for."""
        return float(self.settings["threshold"])

    @property
    def met(self) -> np.ndarray:
        """``Bool[N, T]``: whether the measured precision reaches the threshold."""
        return self.precision >= self.threshold

    def rule(self, row: int = 0, output: int = 0) -> tuple[str, ...]:
        """The names of the players in a row's rule; none where the decision never changes."""
        names = self.players.of(row)
        return tuple(names[i] for i in self._places(row, output))

    def conditions(self, row: int = 0, output: int = 0, language: str = "en") -> tuple[str, ...]:
        """A row's rule in words, a condition for each player: ``age > 35``, ``purpose = car``."""
        return tuple(self._condition(row, player, output, language) for player in self._places(row, output))

    def decision(self, row: int = 0, output: int = 0, language: str = "en") -> str:
        """What stays under the rule: a class, or the side of a boundary."""
        name, positive = shorten(self.outputs[row][output], 60), bool(self.positive[row, output])
        edge = float(self.boundary[row, output])
        if np.isnan(edge):
            code = "narrative.decision_class" if positive else "narrative.decision_other_class"
            return say(code, language, name=name)
        return say(
            "narrative.decision_above" if positive else "narrative.decision_below", language, name=name, edge=edge
        )

    def _places(self, row: int, output: int) -> list[int]:
        return np.flatnonzero(self.members[row, : len(self.players.of(row)), output] > 0).tolist()

    def _condition(self, row: int, player: int, output: int, language: str) -> str:
        name = shorten(self.players.of(row)[player], 60)
        low, high = (float(ends[row, player, output]) for ends in (self.above, self.upto))
        if not np.isnan(low) and not np.isnan(high):
            return f"{low:.6g} < {name} ≤ {high:.6g}"
        if not np.isnan(low):
            return f"{name} > {low:.6g}"
        if not np.isnan(high):
            return f"{name} ≤ {high:.6g}"
        if self.players.kind != "column":
            return say("narrative.condition_present", language, name=name)
        return self._as_it_is(row, player, name, language)

    def _as_it_is(self, row: int, player: int, name: str, language: str) -> str:
        """The condition that a column has the row's own cell, told by that cell where the raw row has one."""
        rows = self.rows
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == self.players.most:
            value = rows[row, player].item()
        elif isinstance(rows, list) and isinstance(rows[row], dict):
            value = rows[row].get(self.players.of(row)[player], math.nan)
        else:
            return say("narrative.condition_same", language, name=name)
        if value is None or value != value:
            return say("narrative.condition_missing", language, name=name)
        return f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {shorten(str(value), 60)}"

    def to_frame(self) -> pd.DataFrame:
        """A table with a line for each rule: row, output, rule, precision and coverage with their intervals,
        samples."""
        import pandas as pd

        lines = [
            {
                "row": row,
                "output": name,
                "decision": self.decision(row, t),
                "rule": " and ".join(self.conditions(row, t)),
                **{
                    figure: float(getattr(self, figure)[row, t])
                    for figure in ("precision", "lower", "upper", "coverage", "coverage_lower", "coverage_upper")
                },
                "met": bool(self.met[row, t]),
                "samples": int(self.samples[row, t]),
            }
            for row in range(len(self))
            for t, name in enumerate(self.outputs[row])
        ]
        columns = ["row", "output", "decision", "rule", "precision", "lower", "upper"]
        columns += ["coverage", "coverage_lower", "coverage_upper", "met", "samples"]
        return pd.DataFrame(lines, columns=columns)

    def sentence(self, row: int = 0, output: int = 0, language: str = "en") -> str:
        """A row's rule as one sentence."""
        told = ""
        for condition in self.conditions(row, output, language):
            told = say("narrative.rule_and", language, first=told, second=condition) if told else condition
        code = "narrative.rule_if" if told else "narrative.rule_always"
        figures = {
            name: float(getattr(self, name)[row, output]) for name in ("precision", "lower", "upper", "coverage")
        }
        return say(code, language, rule=told, decision=self.decision(row, output, language), **figures)

    def __repr__(self) -> str:
        head = f"Rules for {len(self)} rows by {self.method}: {self.players!r}"
        if len(self):
            head += f"\n  row 0: {self.sentence()}"
        return head + marked(self.warnings)

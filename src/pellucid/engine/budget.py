"""A budget: what one call may spend, and what it has spent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..records.errors import BudgetError
from ..records.settings import is_number


@dataclass(frozen=True)
class Budget:
    """Limits of one call; None means no limit.

    Attributes
    ----------
    evaluations: value-function evaluations per explained number, both ends counted.
    rows: model rows in all.
    seconds: wall time. It is turned into evaluations once, from the measured speed of the first
        pass, so a run limited by time is reproducible only through the evaluations it records.
    decided: the evaluations per explained number that a call made of its limits; where given, it alone counts.
    """

    evaluations: int | None = None
    rows: int | None = None
    seconds: float | None = None
    decided: int | None = None

    def __post_init__(self) -> None:
        for name in ("evaluations", "rows", "seconds"):
            value = getattr(self, name)
            if value is not None and (not is_number(value) or np.isnan(value)):
                raise BudgetError(f"a budget of {name} is a number, not {value!r}")
            if value is not None and name != "seconds" and value != int(value):
                raise BudgetError(f"a budget of {name} is a whole number, not {value!r}")
            if value is not None and value <= 0:
                raise BudgetError(f"a budget of {value} {name} buys nothing")

    @classmethod
    def of(cls, given: Budget | int | None) -> Budget:
        """A number stands for evaluations."""
        return given if isinstance(given, Budget) else cls(evaluations=given)

    @property
    def limited(self) -> bool:
        """Whether rows or seconds are yet to be turned into evaluations."""
        return self.decided is None and (self.rows is not None or self.seconds is not None)

    @property
    def allowance(self) -> int | None:
        """Evaluations per explained number; None where there is no limit."""
        return self.evaluations if self.decided is None else self.decided

    def halved(self) -> Budget:
        """Half of the rows and seconds of the whole call; what each number may cost stays."""
        rows = None if self.rows is None else max(1, self.rows // 2)
        return replace(self, rows=rows, seconds=None if self.seconds is None else self.seconds / 2)

    def settled(self, rows: int, seconds_per_row: float) -> Budget:
        """The same budget with its limits turned into evaluations of ``rows`` model rows each, over the whole call."""
        limits = [] if self.evaluations is None else [self.evaluations]
        if self.rows is not None:
            limits.append(self.rows // max(rows, 1))
        if self.seconds is not None and seconds_per_row > 0:
            limits.append(int(self.seconds / (seconds_per_row * max(rows, 1))))
        return replace(self, decided=min(limits)) if limits else self


@dataclass
class Spent:
    """What a method asked for so far, for each question: evaluations of v, and gradients."""

    evaluations: float = 0.0
    gradient_steps: float = 0.0
    within: Spent | None = None
    share: float = 1.0

    def add(self, evaluations: float = 0.0, gradient_steps: float = 0.0) -> None:
        """Count; what is asked of some rows of a session counts there by their share of its rows."""
        self.evaluations += evaluations
        self.gradient_steps += gradient_steps
        if self.within is not None:
            self.within.add(evaluations * self.share, gradient_steps * self.share)

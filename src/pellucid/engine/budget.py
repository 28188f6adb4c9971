"""A budget: what one call may spend."""

from __future__ import annotations

from dataclasses import dataclass

from ..records.errors import BudgetError


@dataclass(frozen=True)
class Budget:
    """Limits of one call; None means no limit.

    Attributes
    ----------
    evaluations: value-function evaluations per explained number, both ends counted.
    rows: model rows in all.
    seconds: wall time. It is turned into evaluations once, from the measured speed of the first
        pass, so a run limited by time is reproducible only through the evaluations it records.
    """

    evaluations: int | None = None
    rows: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("evaluations", "rows", "seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BudgetError(f"a budget of {value} {name} buys nothing")

    @classmethod
    def of(cls, given: Budget | int | None) -> Budget:
        """A number stands for evaluations."""
        return given if isinstance(given, Budget) else cls(evaluations=given)

    def allowance(self, questions: int, draws: int, seconds_per_row: float) -> int | None:
        """Evaluations per question under all limits, for so many questions of so many rows an evaluation."""
        limits = [] if self.evaluations is None else [self.evaluations]
        rows = max(questions * draws, 1)
        if self.rows is not None:
            limits.append(self.rows // rows)
        if self.seconds is not None and seconds_per_row > 0:
            limits.append(int(self.seconds / (seconds_per_row * rows)))
        return min(limits) if limits else None

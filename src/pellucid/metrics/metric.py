"""What every metric of explanations is: frozen settings and one function, ``score``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..engine.session import Session
from ..records.errors import NotApplicable
from ..records.score import Better
from ..records.settings import Settings

Explainer = Callable[[Session], np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """What a metric sees: one session, the values to judge, and a way to explain again.

    Attributes
    ----------
    values: ``Float64[Q, n]``.
    base, full: ``Float64[Q]``, the ends that the values are said to lead from and to.
    explainer: computes the values anew for a session; None for attributions made elsewhere.
    sampled: whether the method's answer depends on its seed.
    exact: whether a method that draws left nothing to chance this time.
    seed: the seed the values were made with.
    promises: the axioms the method claims; None where that is not known.
    others: values of other methods for the same questions, by name.
    truth: the values as they are known to be, or None.
    inside: ``Float64[Q, n]``, the share of each player that lies where the evidence is known to be, or None.
    """

    session: Session
    values: np.ndarray
    base: np.ndarray
    full: np.ndarray
    explainer: Explainer | None = None
    sampled: bool = False
    exact: bool = False
    seed: int = 0
    promises: tuple[str, ...] | None = None
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    truth: np.ndarray | None = None
    inside: np.ndarray | None = None

    def again(self, *, inputs: Tensor | None = None, seed: int | None = None) -> np.ndarray:
        """The values ``Float64[Q, n]`` for other rows ``[N, D]`` or another seed (by default the one they had).

        Raises :class:`NotApplicable` for attributions made elsewhere.
        """
        if self.explainer is None:
            raise NotApplicable(
                "these attributions were made elsewhere and cannot be made again here",
                fix="pass explainer=, a function from rows to attributions",
            )
        session = self.session if inputs is None else self.session.at(inputs)
        return self.explainer(session.reseeded(self.seed if seed is None else seed))

    def take(self, count: int) -> Case:
        """The case about the first ``count`` rows."""
        count = min(count, len(self.session))
        few = slice(0, count * (self.session.questions // len(self.session)))
        return replace(
            self,
            session=self.session.take(range(count)),
            values=self.values[few],
            base=self.base[few],
            full=self.full[few],
            others={name: other[few] for name, other in self.others.items()},
            truth=None if self.truth is None else self.truth[few],
            inside=None if self.inside is None else self.inside[few],
        )

    def with_values(self, values: np.ndarray, explainer: Explainer, sampled: bool) -> Case:
        """The same case about other values, for controls."""
        return replace(self, values=values, explainer=explainer, sampled=sampled, exact=False, seed=0, promises=None)


@dataclass(frozen=True, eq=False)
class Judged:
    """A metric's answer: a value per question, and the curves ``[points, 2]`` behind it (averaged over questions)."""

    values: np.ndarray
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric(Settings, ABC):
    """A metric of explanations.

    Class attributes
    ----------------
    name: the file's name; title: as people write it; source: paper and equation.
    better: ``"higher"``, ``"lower"`` or ``"neither"``.
    low, high: the ends of its range.
    explains_again: whether it makes the explanation anew; it is then judged on a few rows.
    controlled: whether controls stand beside it; alarms: whether doing no better than they is worth a caution.
    default: whether it is among the default metrics.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    better: ClassVar[Better]
    alarms: ClassVar[bool] = False
    low: ClassVar[float] = float("-inf")
    high: ClassVar[float] = float("inf")
    controlled: ClassVar[bool] = True
    explains_again: ClassVar[bool] = False
    default: ClassVar[bool] = True

    @abstractmethod
    def score(self, case: Case) -> Judged:
        """Judge the case. Raises :class:`NotApplicable` where the metric has nothing to say."""

    def cost(self, players: int) -> float:
        """Evaluations per question, explanations made again not counted."""
        return 0.0

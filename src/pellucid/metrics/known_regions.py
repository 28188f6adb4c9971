"""What metrics of known regions share: which players lie inside, and which of their values count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from ..records.errors import NotApplicable
from ..records.score import Better
from .metric import Case, Metric

Counts = Literal["raising", "size"]


@dataclass(frozen=True)
class RegionMetric(Metric):
    """A share between 0 and 1, where the evidence is known to lie; asked for by name, or where regions are given."""

    counts: Annotated[Counts, "what counts: contributions that raise the target, or the size of all"] = "raising"

    better: ClassVar[Better] = "higher"
    default: ClassVar[bool] = False
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0


def known(case: Case) -> np.ndarray:
    """The share of each player's elements inside the known region, ``Float64[Q, n]``.

    Raises :class:`NotApplicable` where none is known.
    """
    if case.inside is None:
        raise NotApplicable(
            "where the evidence lies is not known",
            fix="pass truth=: a mask of True and False for each pixel, Boxes, or Spans of the texts",
        )
    return case.inside


def counted(values: np.ndarray, counts: Counts) -> np.ndarray:
    """The values that count: what raises the target, or the size of all of them."""
    return np.maximum(values, 0.0) if counts == "raising" else np.abs(values)


def elements_of(case: Case) -> np.ndarray:
    """How many elements each player has, ``Int[Q, n]``; all alike for opaque rows, and for the words of a text.

    A long word is one word, however many tokens a network makes of it.
    """
    session = case.session
    if session.opaque or session.players.spans:
        return np.ones_like(case.values, dtype=int)
    labels = session.players.labels
    sizes = np.stack([np.bincount(row[row >= 0], minlength=session.n) for row in labels])
    return np.broadcast_to(sizes, (len(session), session.n)).repeat(session.targets, 0)

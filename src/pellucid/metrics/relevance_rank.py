"""Relevance rank: of as many elements as the known region has, the largest first, how many lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .known_regions import RegionMetric, counted, elements_of, known
from .metric import Case, Judged


@dataclass(frozen=True)
class RelevanceRank(RegionMetric):
    """Of the K elements with the largest contributions the share inside, K the region's size (Arras et al. 2022).

    A player's value is spread evenly over its elements. Where the K-th place falls into a player, or among players that
    are equally large, these are counted in part: what breaking ties at random would give on average. Undefined where
    the region is empty.
    """

    name: ClassVar[str] = "relevance_rank"
    title: ClassVar[str] = "Relevance rank accuracy"
    source: ClassVar[str] = "Arras, Osman & Samek 2022, arXiv 2003.07258, relevance rank accuracy"

    def score(self, case: Case) -> Judged:
        inside, sizes = known(case), elements_of(case)
        heights = counted(case.values, self.counts) / sizes
        return Judged(np.array([ranked(*row) for row in zip(heights, sizes, inside, strict=True)]))


def ranked(heights: np.ndarray, sizes: np.ndarray, inside: np.ndarray) -> float:
    """The share inside of the first K elements, of players ``[n]`` with so many elements and shares inside."""
    due = float((inside * sizes).sum())
    if due == 0:
        return float("nan")
    tied = np.unique(-heights.round(12), return_inverse=True)[1]  # 0 for the largest
    elements, held = np.bincount(tied, sizes), np.bincount(tied, inside * sizes)
    before = np.cumsum(elements) - elements
    taken = np.clip(due - before, 0, elements)
    return float((held * np.divide(taken, elements, out=np.zeros_like(taken), where=elements > 0)).sum() / due)

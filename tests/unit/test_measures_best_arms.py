"""Bounds by Kullback–Leibler divergence: the definition, its ends, and the one side that is asked."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.measures.best_arms import kl_bound, kl_bounds


def divergence(p: float, q: float) -> float:
    parts = ((p, q), (1 - p, 1 - q))
    return sum(a * np.log(a / b) if a else 0.0 for a, b in parts)


@pytest.mark.parametrize("hits", [0, 1, 37, 99, 100])
@pytest.mark.parametrize("rate", [0.5, 3.0, 40.0])
def test_bounds_lie_where_the_divergence_is_spent(hits, rate):
    low, high = (float(end) for end in kl_bounds(np.array(hits), np.array(100), rate))
    grid = np.linspace(0.0, 1.0, 100_001)[1:-1]
    within = grid[[100 * divergence(hits / 100, q) <= rate for q in grid]]
    assert low <= within.min() + 1e-5 and high >= within.max() - 1e-5  # never too narrow
    assert within.min() - low < 2e-3 and high - within.max() < 2e-3


def test_nothing_tried_is_nothing_known():
    low, high = kl_bounds(np.zeros(2), np.zeros(2), 1.0)
    assert low.tolist() == [0.0, 0.0] and high.tolist() == [1.0, 1.0]


def test_one_side_is_that_of_both():
    rng = np.random.default_rng(0)
    trials = rng.integers(0, 400, (7, 50))
    hits, rate = rng.binomial(trials, 0.9), rng.uniform(1, 9, (7, 1))
    above = rng.random((7, 50)) < 0.5
    low, high = kl_bounds(hits, trials, rate)
    assert (kl_bound(hits, trials, rate, above) == np.where(above, high, low)).all()

"""Concentration of explanations, by hand and by slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pellucid.measures.concentration import effective_count, entropy, gini
from pellucid.records.errors import InputError

nan = float("nan")


def slow_gini(values: list[float]) -> float:
    """Half the mean absolute difference over the mean: another definition of the same index."""
    sizes = [abs(v) for v in values]
    return sum(abs(x - y) for x in sizes for y in sizes) / (2 * len(sizes) * sum(sizes))


def slow_count(values: list[float], mass: float) -> int:
    sizes, held = sorted((abs(v) for v in values), reverse=True), 0.0
    for count, size in enumerate(sizes, 1):
        held += size
        if held >= mass * sum(sizes) - 1e-12:
            return count
    raise AssertionError


def test_equal_and_one_hot():
    equal, single = np.full((1, 5), -2.0), np.array([[0, 0, 3.0, 0, 0]])
    np.testing.assert_allclose(gini(equal), [0.0], atol=1e-12)
    np.testing.assert_allclose(gini(single), [1 - 1 / 5])
    np.testing.assert_allclose(entropy(equal), [math.log(5)])
    np.testing.assert_allclose(entropy(single), [0.0])
    assert effective_count(equal) == 5
    assert effective_count(single) == 1


def test_by_hand():
    values = np.array([[6.0, -3.0, 1.0, 0.0]])
    assert effective_count(values) == 2
    assert effective_count(values, 0.91) == 3
    assert effective_count(values, 1.0) == 3
    np.testing.assert_allclose(entropy(values), [-(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1))])


def test_random_rows_equal_slow_twins():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(40, 7)) * (rng.random((40, 7)) < 0.7)
    values[rng.random(values.shape) < 0.2] = nan
    values[:, 0] = 1.0
    for row, g, e, c in zip(values, gini(values), entropy(values), effective_count(values), strict=True):
        kept = row[~np.isnan(row)].tolist()
        shares = [abs(v) / sum(map(abs, kept)) for v in kept]
        assert g == pytest.approx(slow_gini(kept))
        assert e == pytest.approx(-sum(p * math.log(p) for p in shares if p))
        assert c == slow_count(kept, 0.9)


@pytest.mark.parametrize("measure", [gini, entropy, effective_count])
def test_undefined_without_mass_and_free_of_scale(measure):
    assert np.isnan(measure(np.array([[0.0, 0.0], [nan, nan], [nan, 0.0]]))).all()
    assert np.isnan(measure(np.zeros((2, 0)))).all()
    values = np.array([[1.0, 2.0, 5.0]])
    for scale in (1e300, 1e-300, -1.0):
        np.testing.assert_allclose(measure(values * scale), measure(values))


def test_mass_must_be_a_share():
    with pytest.raises(InputError, match="mass"):
        effective_count(np.ones((1, 2)), 1.5)

"""Errors of predicted numbers, and thinned curves."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.measures import regression as r
from pellucid.measures.thinning import thinned
from pellucid.records.errors import InputError


@pytest.mark.parametrize("seed", range(5))
def test_agree_with_sklearn(seed: int):
    m = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth = rng.normal(1e6, 1.0, 40)  # a large offset must not cost R² its digits
    predicted = truth + rng.normal(0, 0.5, 40)
    for w in (None, rng.random(40)):
        assert r.mae(truth, predicted, w) == pytest.approx(m.mean_absolute_error(truth, predicted, sample_weight=w))
        expected = m.root_mean_squared_error(truth, predicted, sample_weight=w)
        assert r.rmse(truth, predicted, w) == pytest.approx(expected)
        assert r.r2(truth, predicted, w) == pytest.approx(m.r2_score(truth, predicted, sample_weight=w))


def test_by_hand():
    truth, predicted = np.array([0.0, 2.0, 4.0]), np.array([0.0, 2.0, 1.0])
    assert r.mae(truth, predicted) == 1.0
    assert r.rmse(truth, predicted) == pytest.approx(np.sqrt(3))
    assert r.r2(truth, predicted) == pytest.approx(1 - 9 / 8)
    assert r.r2(truth, np.full(3, 2.0)) == pytest.approx(0.0)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9])
def test_r2_of_a_constant_target_is_undefined(constant: float):
    assert np.isnan(r.r2(np.full(7, constant), np.arange(7.0)))
    assert np.isnan(r.r2(np.array([constant]), np.array([constant])))
    draws = np.array([[3.0, 0, 0], [1, 1, 1]])
    found = r.r2(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.4]), draws)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.5)


def test_no_rows_and_unequal_rows():
    none = np.zeros(0)
    assert all(np.isnan(measure(none, none)) for measure in (r.mae, r.rmse, r.r2))
    with pytest.raises(InputError, match="alike"):
        r.mae(np.zeros(2), np.zeros((2, 1)))


def test_thinned_keeps_ends_and_steep_parts():
    x = np.linspace(0, 1, 5000)
    curve = np.stack([x, (x > 0.5).astype(float)], axis=1)
    short = thinned(curve, 50)
    assert len(short) <= 50
    np.testing.assert_array_equal(short[[0, -1]], curve[[0, -1]])
    jump = np.flatnonzero(np.diff(short[:, 1]))
    assert len(jump) == 1
    assert short[jump[0] + 1, 0] == pytest.approx(0.5, abs=0.01)
    few = np.array([[0.0, 0.0], [np.nan, 0.5], [1.0, 1.0]])
    assert len(thinned(few)) == 2
    assert thinned(np.zeros((0, 2))).shape == (0, 2)
    assert len(thinned(np.zeros((500, 2)), 20)) <= 20

"""Calibration: bins of equal mass, errors by hand and by a slow twin, and no false alarm."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.measures import calibration as k
from pellucid.records.errors import InputError


def test_bins_hold_equal_rows_and_never_part_equals():
    rng = np.random.default_rng(0)
    assert set(np.bincount(k.equal_mass_bins(rng.random(103), 10))) <= {10, 11}
    tied = rng.integers(0, 4, 200) / 4
    place = k.equal_mass_bins(tied, 10)
    assert all(len(set(place[tied == value])) == 1 for value in set(tied))
    np.testing.assert_array_equal(np.argsort(tied, kind="stable"), np.argsort(place * 10 + tied, kind="stable"))
    np.testing.assert_array_equal(k.equal_mass_bins(np.full(9, 0.7), 5), np.zeros(9))
    np.testing.assert_array_equal(k.equal_mass_bins(np.array([0.3]), 5), [0])
    assert len(k.equal_mass_bins(np.zeros(0))) == 0


def test_errors_by_hand():
    confidence = np.array([0.6, 0.6, 0.9, 0.9, 0.9, 0.9])
    right = np.array([1, 0, 1, 1, 1, 0])
    # bins: 0.6 → 0.5 right (gap 0.1, 2 rows); 0.9 → 0.75 right (gap 0.15, 4 rows)
    assert k.expected_calibration_error(confidence, right, 3) == pytest.approx((2 * 0.1 + 4 * 0.15) / 6)
    assert k.maximum_calibration_error(confidence, right, 3) == pytest.approx(0.15)
    points, rows = k.reliability_curve(confidence, right, 3)
    np.testing.assert_allclose(points, [[0.6, 0.5], [0.9, 0.75]])
    np.testing.assert_array_equal(rows, [2, 4])


def test_random_rows_equal_a_slow_twin():
    rng = np.random.default_rng(5)
    confidence, right = rng.random(90), rng.random(90) < 0.6
    order = np.argsort(confidence)
    parts = np.split(order, [len(order) * b // 7 for b in range(1, 7)])
    gaps = [abs(confidence[part].mean() - right[part].mean()) for part in parts]
    slow = sum(len(part) * gap for part, gap in zip(parts, gaps, strict=True)) / 90
    assert k.expected_calibration_error(confidence, right, 7) == pytest.approx(slow)
    assert k.maximum_calibration_error(confidence, right, 7) == pytest.approx(max(gaps))
    weights = np.stack([np.ones(90), np.zeros(90)])
    found = k.expected_calibration_error(confidence, right, 7, weights)
    assert found[0] == pytest.approx(slow)
    assert np.isnan(found[1])


def test_perfectly_calibrated_models_stay_within_their_own_chance():
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(60):
        confidence = rng.uniform(0.5, 1, 150)
        right = rng.random(150) < confidence
        expected = np.quantile(k.ece_if_calibrated(confidence, 10, 200, seed), 0.95)
        alarms += k.expected_calibration_error(confidence, right, 10) > expected
    assert alarms <= 9  # 5 % of 60 is 3; more than 9 has a chance of 1 in 1000


def test_edges():
    assert k.expected_calibration_error(np.ones(4), np.ones(4)) == 0.0
    assert k.expected_calibration_error(np.array([0.8]), np.array([1])) == pytest.approx(0.2)
    assert np.isnan(k.expected_calibration_error(np.zeros(0), np.zeros(0)))
    assert np.isnan(k.maximum_calibration_error(np.zeros(0), np.zeros(0)))
    with pytest.raises(InputError, match="at least one bin"):
        k.equal_mass_bins(np.ones(3), 0)
    with pytest.raises(InputError, match="alike"):
        k.reliability_curve(np.ones(3), np.ones(2))

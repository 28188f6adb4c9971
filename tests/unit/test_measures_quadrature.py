"""Integrals over [0, 1]: exact where they should be, and cheap where there are many points."""

import numpy as np
import pytest

from pellucid.measures.quadrature import gauss_legendre


@pytest.mark.parametrize("points", [1, 2, 5, 50])
def test_polynomials_are_integrated_exactly(points: int) -> None:
    nodes, weights = gauss_legendre(points)
    for degree in range(2 * points):
        assert abs(weights @ nodes**degree - 1 / (degree + 1)) < 1e-13


@pytest.mark.parametrize("points", [256, 257, 1000, 100_000])
def test_any_number_of_points(points: int) -> None:
    nodes, weights = gauss_legendre(points)
    assert len(nodes) == len(weights) == points and (np.diff(nodes) > 0).all() and abs(weights.sum() - 1) < 1e-12
    assert abs(weights @ np.exp(nodes) - (np.e - 1)) < 1e-12

"""Sobol indices where the variance can be worked out by hand: sums and products of masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pellucid
from pellucid.records.errors import NotApplicable

ONE = np.ones((1, 4))


def additive(x):
    return np.asarray(x) @ np.array([1.0, 2.0, -3.0, 0.0])


def product(x):
    return np.asarray(x)[:, 0] * np.asarray(x)[:, 1]


@pytest.mark.parametrize("masks", ["coins", "shares"])
@pytest.mark.parametrize("order", ["total", "first"])
def test_a_sum_shares_out_its_variance_by_squares(masks, order):
    """Var = Σ w² Var(m): both orders are w² / Σ w², whatever the masks."""
    e = pellucid.explain(additive, ONE, "sobol", samples=1024, masks=masks, order=order)
    np.testing.assert_allclose(e.values[0], np.array([1, 4, 9, 0]) / 14, atol=0.06)
    assert e.notes["exact"] == (masks == "coins") and (masks != "coins" or (e.stderr == 0).all())
    assert (np.abs(e.values[0] - np.array([1, 4, 9, 0]) / 14) <= 4 * e.stderr[0] + 1e-7).all()
    assert order == "first" or e.values[0, 3] == 0.0


@pytest.mark.parametrize(("masks", "first", "total"), [("coins", 1 / 3, 2 / 3), ("shares", 3 / 7, 4 / 7)])
def test_a_product_has_shares_by_itself_and_with_the_other(masks, first, total):
    """E m = ½; E m² = ½ for coins, ⅓ for uniform shares. Var = (E m²)² − 1/16, first order Var(m)/4 over it."""
    for order, expected in (("first", first), ("total", total)):
        e = pellucid.explain(product, ONE[:, :2], "sobol", samples=4096, masks=masks, order=order)
        np.testing.assert_allclose(e.values[0], expected, atol=0.03)


def test_drawn_coins_tend_to_all_coalitions():
    weights = np.random.default_rng(2).normal(size=(8, 4))

    def function(x):
        return np.tanh(np.asarray(x) @ weights).sum(1)

    for order in ("total", "first"):
        exact = pellucid.explain(function, np.ones((1, 8)), "sobol", order=order)
        drawn = pellucid.explain(function, np.ones((1, 8)), "sobol", order=order, budget=170)
        assert exact.notes["exact"] and not drawn.notes["exact"] and exact.stderr.max() == 0 < drawn.stderr.min()
        assert (np.abs(drawn.values - exact.values) <= 4 * drawn.stderr).all()


def test_it_is_jansens_estimator():
    """Against a loop over the design itself."""
    from pellucid.doors.question import as_problem
    from pellucid.engine.opening import opened
    from pellucid.methods.sobol import _designs

    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3))
    row = rng.normal(size=(1, 3))

    def function(x):
        return np.tanh(np.asarray(x) @ weights).sum(1)

    e = pellucid.explain(function, row, "sobol", samples=16, masks="shares", seed=2)
    with opened(as_problem(function, row), "sobol", seed=2) as run:
        first, second = (part.astype(float) for part in run.parts[0][1].design(_designs, 3, 16, False))
    a, b = function(first * row), function(second * row)
    variance = np.var(np.concatenate([a, b]))
    for player in range(3):
        mixed = first.copy()
        mixed[:, player] = second[:, player]
        expected = np.mean((a - function(mixed * row)) ** 2) / 2 / variance
        assert e.values[0, player] == pytest.approx(expected, rel=1e-5)


def test_standard_errors_are_of_the_size_of_the_scatter():
    """The bootstrap takes the points for independent; a Sobol' sequence is more even: it errs to the careful side."""
    weights = np.random.default_rng(1).normal(size=(5, 4))

    def function(x):
        return np.tanh(np.asarray(x) @ weights).sum(1)

    given = {"samples": 128, "masks": "shares"}
    made = [pellucid.explain(function, np.ones((1, 5)), "sobol", seed=seed, **given) for seed in range(30)]
    ratio = np.median(np.mean([e.stderr for e in made], 0) / np.std([e.values for e in made], axis=0))
    assert 0.7 < ratio < 8  # measured: 3.5


def test_nothing_varies_nothing_matters():
    e = pellucid.explain(lambda x: np.full(len(x), 0.3), ONE, "sobol")
    assert (e.values == 0).all() and (e.stderr == 0).all()


def test_images_are_mixed_and_words_are_not():
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    seen = []

    def function(rows):
        seen.append(np.asarray(rows))
        return np.asarray(rows).sum((1, 2, 3))

    assert not pellucid.explain(function, x.numpy(), "sobol", players=pellucid.players.Patches(2)).notes["coins"]
    partly = np.concatenate(seen) / x.numpy()
    assert ((partly > 0.01) & (partly < 0.99)).any()
    with pytest.raises(NotApplicable, match="cannot be mixed"):
        pellucid.explain(lambda texts: np.zeros(len(texts)), [["a", "b"]], "sobol", masks="shares")

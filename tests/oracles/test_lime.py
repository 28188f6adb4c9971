"""LIME where the truth is a straight line, a single region or a bag of words."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import pellucid
from pellucid.removals import Constant


def test_a_line_is_found_with_its_scales():
    w = np.array([3.0, -1.0, 0.0, 0.25])
    rng = np.random.default_rng(0)
    background = rng.normal(size=(400, 4)) * [1.0, 5.0, 2.0, 0.1]
    x = rng.normal(size=(3, 4))
    kept = background[:100]
    weights = pellucid.explain(lambda rows: rows @ w + 1, x, "lime", background=kept, report="weights", penalty=0.0)
    np.testing.assert_allclose(weights.values, np.tile(w * kept.std(0), (3, 1)), atol=1e-8)
    assert weights.stderr.max() < 1e-8
    effects = pellucid.explain(lambda rows: rows @ w + 1, x, "lime", background=kept, penalty=0.0)
    np.testing.assert_allclose(effects.values, w * (x - kept.mean(0)), atol=1e-8)


def test_the_same_seed_gives_the_same_row_whatever_was_called_before():
    def function(rows):
        return np.tanh(rows[:, 0] * rows[:, 1]) + rows[:, 2]

    rng = np.random.default_rng(1)
    x, background = rng.normal(size=(4, 3)), rng.normal(size=(20, 3))
    first = pellucid.explain(function, x, "lime", background=background, samples=100, seed=5).values
    pellucid.explain(function, x[:1], "lime", background=background, samples=77, seed=9)
    np.random.default_rng(2).normal(size=10)
    again = pellucid.explain(function, x[[2, 0]], "lime", background=background, samples=100, seed=5).values
    np.testing.assert_allclose(again, first[[2, 0]], atol=1e-12)


def test_standard_errors_cover_the_limit():
    """Nominal 90 %; measured 88–91 % on tables, discretised tables and regions."""
    weights = np.random.default_rng(3).normal(size=(4, 3))

    def function(rows):
        return np.tanh(np.asarray(rows) @ weights).sum(1)

    rng = np.random.default_rng(4)
    x, background = rng.normal(size=(1, 4)), rng.normal(size=(40, 4))
    truth = pellucid.explain(function, x, "lime", background=background, samples=200_000, seed=10**6).values
    hits = []
    for seed in range(200):
        e = pellucid.explain(function, x, "lime", background=background, samples=300, seed=seed)
        hits.append(np.abs(e.values - truth) <= 1.645 * e.stderr)
    assert 0.80 <= np.mean(hits) <= 0.97


def test_a_bag_of_words_gives_its_weights():
    worth = {"good": 2.0, "bad": -3.0, "fine": 0.5}

    def function(texts):
        return np.array([sum(worth.get(word, 0.0) for word in text) for text in texts])

    rows = [["a", "good", "day"], ["fine", "but", "bad", "fine"]]
    e = pellucid.explain(function, rows, "lime", penalty=0.0, samples=400)
    np.testing.assert_allclose(e.values[0, :3], [0.0, 2.0, 0.0], atol=1e-8)
    np.testing.assert_allclose(e.values[1], [0.5, 0.0, -3.0, 0.5], atol=1e-8)


def test_only_the_region_that_counts_counts():
    class OneRegion(nn.Module):
        def forward(self, x):
            return x[:, :, :4, 4:].mean((1, 2, 3))

    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    e = pellucid.explain(
        OneRegion(), x, "lime", players=pellucid.players.Patches(4), removal=Constant(0.0), penalty=0.0
    )
    np.testing.assert_allclose(e.values[:, 1], x[:, :, :4, 4:].mean((1, 2, 3)), atol=1e-8)
    assert np.abs(e.values[:, [0, 2, 3]]).max() < 1e-8


def test_whole_numbers_are_drawn_and_not_moved_by_fractions():
    def function(rows):
        assert np.asarray(rows).dtype.kind == "i"
        return np.asarray(rows) @ np.array([1.0, -2.0])

    background = np.array([[0, 0], [4, 4], [2, 6], [8, 1]])
    e = pellucid.explain(function, np.array([[3, 5]]), "lime", background=background)
    assert np.isfinite(e.values).all()

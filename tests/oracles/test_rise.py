"""RISE against a loop over its own masks, its closed forms, and the paper's way of making masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.opening import opened
from pellucid.methods.rise import Rise, _Masks
from pellucid.records.errors import BudgetError
from pellucid.removals import Blur, Constant

PIXELS = pellucid.players.Pixels()


class Sum(nn.Module):
    """A weighted sum of pixels, squared where asked for."""

    def __init__(self, weights: torch.Tensor, power: int = 1):
        super().__init__()
        self.register_buffer("weights", weights)
        self.power = power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.weights).sum((1, 2, 3)) ** self.power


def masks_of(x: torch.Tensor, samples: int, cells: int, probability: float, seed: int = 0) -> np.ndarray:
    problem = as_problem(Sum(torch.ones(x.shape[1:], dtype=x.dtype)), x, players=PIXELS)
    with opened(problem, "rise", seed=seed) as run:
        session = run.parts[0][1]
        parts = [shares for _, shares in _Masks(session, samples, cells, probability).parts()]
    return torch.cat(parts).reshape(samples, *x.shape[1:]).double().numpy()


def test_masks_are_enlarged_bilinearly_shifted_and_even_on_average():
    x = torch.rand(1, 2, 12, 9, dtype=torch.float64)
    for probability in (0.5, 0.3):
        masks = masks_of(x, 4000, 3, probability)
        assert masks.min() >= 0 and masks.max() <= 1
        np.testing.assert_array_equal(masks[:, 0], masks[:, 1])  # the channels of a pixel together
        np.testing.assert_allclose(masks.mean(0), probability, atol=0.03)
        step = np.abs(np.diff(masks[:, 0], axis=1)).max()
        assert 0.2 < step <= 3 / 12 + 1e-6  # a cell is 4 pixels long: it rises by at most a quarter a pixel
    paired = masks_of(x, 40, 3, 0.5)
    np.testing.assert_allclose(paired[0::2] + paired[1::2], 1.0, atol=1e-6)


def test_values_and_errors_equal_a_loop_over_the_masks():
    torch.manual_seed(0)
    x, weights = torch.rand(2, 1, 6, 6, dtype=torch.float64), torch.randn(1, 6, 6, dtype=torch.float64)
    patches = pellucid.players.Patches(2)
    for probability in (0.5, 0.25):
        method = Rise(samples=60, cells=3, probability=probability)
        e = pellucid.explain(Sum(weights, 2), x, method, removal=Constant(0.2), players=patches, seed=4)
        masks = masks_of(x, 60, 3, probability, seed=4)
        for row in range(2):
            image, w = x[row].numpy(), weights.numpy()
            v = np.array([((image * m + 0.2 * (1 - m)) * w).sum() ** 2 for m in masks])
            pooled = masks.reshape(60, 3, 2, 3, 2).mean((2, 4)).reshape(60, 9)
            terms = (v - v.mean())[:, None] * (pooled - probability) / probability / (1 - probability)
            units = terms if probability != 0.5 else (terms[0::2] + terms[1::2]) / 2
            np.testing.assert_allclose(e.values[row], units.mean(0), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(e.stderr[row], units.std(0, ddof=1) / np.sqrt(len(units)), rtol=1e-4, atol=1e-6)


def test_the_papers_map_is_its_mean_plus_a_share_of_the_values():
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    weights = torch.randn(1, 6, 6, dtype=torch.float64)
    e = pellucid.explain(Sum(weights, 2), x, "rise", samples=200, players=PIXELS, removal=Constant(0.0))
    masks = masks_of(x, 200, 7, 0.5)[:, 0]
    v = np.array([(x[0].numpy() * m * weights.numpy()).sum() ** 2 for m in masks])
    paper = np.einsum("b,bhw->hw", v, masks) / masks.mean(0) / 200
    np.testing.assert_allclose(e.notes["mean"][0] + 0.5 * e.values[0, 0], paper, rtol=1e-4)


def test_only_the_segment_that_counts_counts_where_cells_are_small():
    """f is the mean of one corner; masks as fine as the pixels do not blur it. A sum has no error but the draws'."""
    weights = torch.zeros(1, 8, 8, dtype=torch.float64)
    weights[:, :4, :4] = 1 / 16
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    quarters = pellucid.players.Patches(4)
    given = {"players": quarters, "removal": Constant(0.0), "samples": 4000, "cells": 8}
    e = pellucid.explain(Sum(weights), x, "rise", **given)
    assert (np.abs(e.values[0, 1:]) < 4 * e.stderr[0, 1:] + 0.01).all()
    assert e.values[0, 0] > 10 * np.abs(e.values[0, 1:]).max()


def test_standard_errors_tell_the_scatter_of_seeds():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 1)).double()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    made = [pellucid.explain(net, x, "rise", samples=200, seed=seed, removal=Blur(2.0)) for seed in range(40)]
    scatter = np.std([e.values for e in made], axis=0, ddof=1)
    told = np.sqrt(np.mean([np.square(e.stderr) for e in made], axis=0))
    assert 0.85 < np.median(told / scatter) < 1.18


def test_bytes_are_mixed_and_rounded():
    def function(x):
        assert np.asarray(x).dtype == np.uint8
        return np.asarray(x, dtype=float).mean((1, 2, 3))

    x = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), dtype=np.uint8)
    assert np.isfinite(pellucid.explain(function, x, "rise", samples=20).values).all()


def test_a_number_that_was_given_must_fit_the_budget():
    x = torch.rand(1, 1, 6, 6)
    try:
        pellucid.explain(Sum(torch.ones(1, 6, 6)), x, "rise", samples=100, budget=50)
    except BudgetError as error:
        assert "102" in str(error)
    else:
        raise AssertionError("a budget below the masks asked for was accepted")

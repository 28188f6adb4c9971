"""Noise that stands for what is absent belongs to the question: whoever judges uses the very same draws."""

import numpy as np
import torch

import pellucid
from pellucid.testing.problems import _network


def test_the_judge_meets_the_noise_of_the_explanation_whatever_its_own_seed() -> None:
    net, rows = _network(6, 8, 2, seed=4), torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    noise = pellucid.removals.Noise(spread=2.0, draws=4)
    e = pellucid.explain(net, rows, "exact_shapley", removal=noise, seed=5)
    gaps = [pellucid.evaluate(net, rows, e, metrics=["abpc"], seed=seed)[0].values for seed in (0, 5, 9)]
    assert np.array_equal(gaps[0], gaps[1]) and np.array_equal(gaps[1], gaps[2])
    other = pellucid.explain(net, rows, "exact_shapley", removal=noise, seed=6)
    assert not np.allclose(e.values, other.values)

"""Normal numbers by key and place: known bits, the distribution they claim, and no dependence on who asks beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from pellucid.engine.normal import STEP, mixed, standard_normal

KEYS = torch.from_numpy(np.random.default_rng(0).integers(-(2**63), 2**63, 64))


def test_the_bits_are_those_of_splitmix64():
    """The first three numbers of the published generator (Vigna's splitmix64.c) from the seed 1234567."""
    states = torch.tensor([1234567]) + torch.arange(1, 4) * STEP
    assert [bits % 2**64 for bits in mixed(states).tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("width", [1, 2, 7, 12_288])
def test_a_number_depends_on_its_key_and_place_alone(width):
    whole = standard_normal(KEYS, torch.arange(64), width)
    assert whole.shape == (64, width) and whole.dtype == torch.float32
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(standard_normal(KEYS[order], torch.arange(64)[order], width), whole[order])
    assert torch.equal(standard_normal(KEYS[5:6], torch.tensor([5]), width), whole[5:6])


def test_the_numbers_are_standard_normal_and_unrelated():
    blocks = standard_normal(KEYS.repeat_interleave(50), torch.arange(50).repeat(64), 400).double().numpy()
    assert stats.kstest(blocks.ravel()[:200_000], "norm").pvalue > 0.01
    assert np.isfinite(blocks).all() and 4 < np.abs(blocks).max() < 6.8
    correlations = np.corrcoef(blocks[:, :60].T)[np.triu_indices(60, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(blocks))  # elements of a row
    beside = np.corrcoef(blocks[:60])[np.triu_indices(60, 1)]
    assert np.abs(beside).max() < 5 / np.sqrt(400)  # copies of a row
    halves = np.corrcoef(blocks[:, :200].ravel(), blocks[:, 200:].ravel())[0, 1]
    assert abs(halves) < 5 / np.sqrt(blocks.size / 2)  # the two numbers of a pair

"""Amortised Shapley values against a linear model's closed form and direct estimates; its error is what it says."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.records.errors import BudgetError

WEIGHTS = np.linspace(-1, 1, 8)
ROWS = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
BACKGROUND = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).eval()


@pytest.fixture(scope="module")
def learned(network):
    return pellucid.explain(network, ROWS, "amortised_shapley", background=BACKGROUND)


def test_a_linear_model_is_learned_exactly():
    e = pellucid.explain(lambda x: x @ WEIGHTS, ROWS, "amortised_shapley", background=BACKGROUND, taught=300)
    wanted = WEIGHTS * (ROWS - BACKGROUND.mean(0))
    np.testing.assert_allclose(e.values, wanted, atol=0.05)
    assert e.notes["held_out_error"] < 1e-3 and not any(c.code == "amortised" for c in e.warnings)


def test_it_adds_up_and_its_intervals_cover_what_direct_estimates_say(network, learned):
    truth = pellucid.explain(network, ROWS, "exact_shapley", background=BACKGROUND).values
    assert learned.gap.max() < 1e-6
    share = np.square(learned.values - truth).sum() / np.square(truth).sum()
    assert share < 0.1 and share < 3 * learned.notes["held_out_error"] + 1e-3
    covered = (np.abs(learned.values - truth) <= 1.645 * learned.stderr).mean()
    assert 0.8 <= covered <= 0.99


def test_it_costs_less_than_every_row_alone_and_gives_the_same_again(network, learned):
    again = pellucid.explain(network, ROWS, "amortised_shapley", background=BACKGROUND)
    assert again.values.tobytes() == learned.values.tobytes()
    assert learned.notes["learned_from"] == 512 and learned.cost.evaluations < 2 * 8 + 512
    turned = pellucid.explain(network, ROWS[::-1].copy(), "amortised_shapley", background=BACKGROUND)
    assert turned.values.tobytes() == np.ascontiguousarray(learned.values[::-1]).tobytes()


def test_several_targets_are_learned_at_once(network):
    e = pellucid.explain(network, ROWS, "amortised_shapley", background=BACKGROUND, target="all", taught=300)
    truth = pellucid.explain(network, ROWS[:50], "exact_shapley", background=BACKGROUND, target="all").values
    assert e.values.shape == (600, 8, 3)
    assert np.square(e.values[:50] - truth).sum() < 0.2 * np.square(truth).sum()


def test_few_rows_are_estimated_one_by_one(network):
    few = pellucid.explain(network, ROWS[:20], "amortised_shapley", background=BACKGROUND)
    direct = pellucid.explain(network, ROWS[:20], "kernel_shapley", background=BACKGROUND)
    assert few.notes["learned_from"] == 0
    np.testing.assert_allclose(few.values, direct.values, atol=1e-6)


def test_what_cannot_be_learned_is_said():
    def noise(x):
        return np.sin(40 * np.asarray(x)[:, :4].sum(1)) * np.sin(30 * np.asarray(x)[:, 4:].sum(1))

    e = pellucid.explain(noise, ROWS, "amortised_shapley", background=BACKGROUND, taught=300)
    assert e.notes["held_out_error"] > 0.25
    assert any(caution.code == "amortised" and caution.severity == "red" for caution in e.warnings)


def test_a_budget_that_does_not_pay_for_learning(network):
    with pytest.raises(BudgetError, match="amortised_shapley needs at least"):
        pellucid.explain(network, ROWS, "amortised_shapley", background=BACKGROUND, budget=30)

"""SAGE against the definition, a linear model's closed form, and its errors' cover."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from torch import nn

import pellucid
from pellucid.players import Players
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.records.importance import Importance
from pellucid.targets import Loss

WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0, 1.0, 0.3])
SCALES = np.array([1.0, 1.0, 2.0, 1.0, 0.5, 1.0])


def bent(x):
    return np.tanh(x[:, 0] * x[:, 1] - x[:, 2]) + x[:, 3] * x[:, 0]


def few_rows(N=7, n=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, n)), rng.normal(size=(6, n)), rng.normal(size=N)


def from_the_definition(model, x, background, y, loss=lambda f, y: (f - y) ** 2):
    """The Shapley values of the mean loss of the mean answer (Covert, Lundberg & Lee 2020, sections 2 and 3)."""
    n = x.shape[1]

    def worth(present, i):
        rows = background.copy()
        rows[:, list(present)] = x[i, list(present)]
        return -loss(model(rows).mean(0), y[i])

    values = np.zeros(n)
    for player in range(n):
        rest = [other for other in range(n) if other != player]
        for size in range(n):
            for some in combinations(rest, size):
                weight = factorial(size) * factorial(n - size - 1) / factorial(n)
                gain = [worth((*some, player), i) - worth(some, i) for i in range(len(x))]
                values[player] += weight * np.mean(gain)
    return values


def test_all_coalitions_are_the_definition():
    x, background, y = few_rows()
    wanted = from_the_definition(bent, x, background, y)
    found = pellucid.explain(bent, x, "sage", target=Loss(y), background=background, budget=32)
    assert isinstance(found, Importance) and found.notes["exact"]
    np.testing.assert_allclose(found.values, wanted, atol=1e-12)
    np.testing.assert_allclose(found.values.sum(), (found.base - found.full)[0, 0])


def test_two_players_by_hand():
    """f = x₀ + x₁ at (1, 3), absent 0, label 4: 16 for nobody, 9 with x₀, 1 with x₁, 0 with both: 4 and 12."""
    x = np.array([[1.0, 3.0], [1.0, 3.0]])
    for how in ({"orders": 2}, {}):
        found = pellucid.explain(lambda x: x.sum(1), x, "sage", target=Loss([4.0, 4.0]), **how)
        np.testing.assert_allclose(found.values, [(7 + 1) / 2, (15 + 9) / 2])


def test_orders_come_to_the_same_and_add_up_whatever_their_number():
    x, background, y = few_rows()
    wanted = from_the_definition(bent, x, background, y)
    many = pellucid.explain(bent, x, "sage", target=Loss(y), background=background, orders=3000)
    np.testing.assert_allclose(many.values, wanted, atol=0.01)
    one = pellucid.explain(bent, x, "sage", target=Loss(y), background=background, orders=1)
    np.testing.assert_allclose(one.values.sum(), (one.base - one.full)[0, 0])
    assert one.notes["orders"] == 1 and np.isnan(one.notes["share_of_orders"]) and one.notes["miss"] < 1e-12


def test_the_mean_over_seeds_is_without_bias():
    x, background, y = few_rows()
    wanted = from_the_definition(bent, x, background, y)
    runs = [
        pellucid.explain(bent, x, "sage", target=Loss(y), background=background, orders=1, seed=seed).values
        for seed in range(300)
    ]
    error = np.std(runs, axis=0) / np.sqrt(len(runs))
    assert (np.abs(np.mean(runs, axis=0) - wanted) < 4 * error + 1e-12).all()


def of_a_line(seed, N=200):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 6)) * SCALES
    y = x @ WEIGHTS + rng.normal(size=N)
    return pellucid.explain(
        lambda x: x @ WEIGHTS, x, "sage", target=Loss(y), background=np.zeros((1, 6)), seed=seed, orders=1
    )


def test_a_linear_model_has_its_variance_and_the_errors_cover_it():
    """Independent columns, squared error: φᵢ = wᵢ² varᵢ; 90 % intervals cover between 85 and 95 %, 200 samples."""
    runs = [of_a_line(seed) for seed in range(200)]
    values, errors = (np.array([getattr(run, name) for run in runs]) for name in ("values", "stderr"))
    truth = WEIGHTS**2 * SCALES**2
    np.testing.assert_allclose(values.mean(0), truth, rtol=0.05, atol=1e-12)
    used = truth > 0
    covered = (np.abs(values - truth) <= 1.645 * errors)[:, used].mean(0)
    assert 0.85 <= covered.mean() <= 0.95 and (covered >= 0.82).all()
    np.testing.assert_allclose(errors[:, used].mean(0), values[:, used].std(0), rtol=0.2)


def test_classes_read_the_mean_probability():
    x, background, _ = few_rows(N=6, n=3)
    y = np.array([0, 1, 1, 0, 1, 0])

    def chances(z):
        p = 1 / (1 + np.exp(-z[:, 0] * z[:, 1] - z[:, 2]))
        return np.stack([1 - p, p], axis=1)

    wanted = from_the_definition(chances, x, background, y, lambda p, label: -np.log(p[label]))
    found = pellucid.explain(chances, x, "sage", target=Loss(y), background=background)
    np.testing.assert_allclose(found.values, wanted, atol=1e-12)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    grouped = Players.shared(np.array([0, 1, 1]), ("alone", "pair"))
    both = pellucid.explain(net, x.astype(np.float32), "sage", target=Loss(y), players=grouped, background=background)
    assert both.values.shape == (2,) and both.target["outputs"] == "logits"


def test_without_labels_it_shares_out_what_the_output_varies():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 6)) * SCALES
    found = pellucid.explain(lambda x: x @ WEIGHTS, x, "sage", background=np.zeros((1, 6)))
    np.testing.assert_allclose(found.values, WEIGHTS**2 * SCALES**2, atol=4 * found.stderr.max())
    assert found.full[0, 0] == 0 and any(caution.code == "own_answers" for caution in found.warnings)
    every = pellucid.explain(
        lambda x: np.stack([x @ WEIGHTS, x[:, 0]], 1), x, "sage", background=np.zeros((1, 6)), target="all"
    )
    np.testing.assert_allclose(every.values[:, 0], found.values, atol=1e-9)
    np.testing.assert_allclose(every.values[1:, 1], 0.0, atol=1e-12)


def test_orders_are_added_until_the_rows_make_the_error():
    x, background, y = few_rows(N=60)
    found = pellucid.explain(bent, x, "sage", target=Loss(y), background=background)
    assert found.notes["orders"] == 1 or found.notes["orders"] % 2 == 0
    assert found.notes["share_of_orders"] <= 0.6 or found.notes["orders"] == 8
    alike = np.tile([[1.0, 1.0, 0.5, 2.0, 0.0]], (60, 1))  # equal rows: whatever differs is the orders' doing
    same = pellucid.explain(bent, alike, "sage", target=Loss(np.zeros(60)), background=background)
    assert same.notes["orders"] >= 4


def test_budgets_and_bad_input():
    x, background, y = few_rows(N=20)
    asked = {"target": Loss(y), "background": background}
    for budget in (6, 10, 20, 31):
        assert pellucid.explain(bent, x, "sage", budget=budget, **asked).cost.evaluations <= budget
    with pytest.raises(BudgetError, match="at least 6"):
        pellucid.explain(bent, x, "sage", budget=5, **asked)
    with pytest.raises(BudgetError, match="at least 26"):
        pellucid.explain(bent, x, "sage", budget=20, orders=6, **asked)
    with pytest.raises(NotApplicable, match="one row"):
        pellucid.explain(bent, x[:1], "sage", target=Loss(y[:1]), background=background)
    with pytest.raises(NotApplicable, match="players"):
        pellucid.explain(lambda texts: np.ones((len(texts), 1)), [["a"], ["b"]], "sage")
    constant = pellucid.explain(lambda x: np.ones(len(x)), x, "sage", **asked)
    assert not constant.values.any() and not constant.stderr.any()
    single = pellucid.explain(lambda x: x[:, 0], x[:, :1], "sage", target=Loss(y), background=background[:, :1])
    np.testing.assert_allclose(single.values, (single.base - single.full)[0])

"""Permutation importance against the complete statistic, a linear model's closed form, and its errors' cover."""

from itertools import permutations

import numpy as np
import pytest
import torch

import pellucid
from pellucid.records.errors import BudgetError, NotApplicable, TargetError
from pellucid.records.importance import Importance
from pellucid.targets import Loss

WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0])
SCALES = np.array([1.0, 1.0, 2.0, 1.0])


def line(x):
    return np.asarray(x) @ WEIGHTS


def drawn(seed, N=200):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 4)) * SCALES
    return x, x @ WEIGHTS + rng.normal(size=N)


def importance(model, x, y, **how):
    return pellucid.explain(model, x, "permutation_importance", target=Loss(y), **how)


def complete(model, x, y, own):
    """Every row with every other's values: Fisher, Rudin & Dominici 2019, section 3, less the loss as it is."""
    total = 0.0
    for i, j in permutations(range(len(x)), 2):
        row = x[i].copy()
        row[own] = x[j][own]
        total += (model(row[None])[0] - y[i]) ** 2 - (model(x[i][None])[0] - y[i]) ** 2
    return total / (len(x) * (len(x) - 1))


def test_all_other_rows_are_the_complete_statistic():
    x, y = drawn(1, N=9)

    def model(rows):
        return np.tanh(rows[:, 0] * rows[:, 1]) + rows[:, 2]

    wanted = [complete(model, x, y, [i]) for i in range(4)]
    found = importance(model, x, y, repeats=10_000)
    np.testing.assert_allclose(found.values, wanted, atol=1e-12)
    assert found.notes["repeats"] == 8
    groups = pellucid.players.Players.shared(np.array([0, 1, 0, -1]), ("pair", "alone"))
    found = importance(model, x, y, repeats=8, players=groups)
    np.testing.assert_allclose(found.values, [complete(model, x, y, [0, 2]), wanted[1]], atol=1e-12)


def test_two_rows_by_hand():
    """f = x₀, rows 0 and 2, both labelled 0: exchanged, each row's loss is the other's."""
    found = importance(lambda x: x[:, 0], np.array([[0.0], [2.0]]), [0.0, 0.0])
    np.testing.assert_allclose((found.values[0], found.full[0, 0], found.base[0, 0]), (0.0, 2.0, 2.0))


def test_a_linear_model_has_twice_its_variance_and_the_errors_cover_it():
    """E = 2 wᵢ² varᵢ whatever the noise; 90 % intervals cover between 85 and 95 %, over 200 samples of rows."""
    runs = [importance(line, *drawn(seed), seed=seed) for seed in range(200)]
    values, errors = (np.array([getattr(run, name) for run in runs]) for name in ("values", "stderr"))
    truth = 2 * WEIGHTS**2 * SCALES**2
    np.testing.assert_allclose(values.mean(0), truth, rtol=0.03, atol=1e-12)
    covered = (np.abs(values - truth) <= 1.645 * errors)[:, :3].mean(0)
    assert (covered.mean() >= 0.85) and (covered.mean() <= 0.95) and (covered >= 0.83).all()
    np.testing.assert_allclose(np.sqrt(np.square(errors).mean(0))[:3], values.std(0)[:3], rtol=0.15)
    assert not values[:, 3].any() and not errors[:, 3].any()


@pytest.mark.parametrize("repeats", [1, 2, 20])
def test_the_errors_do_not_depend_on_the_repeats_in_the_mean(repeats):
    runs = [importance(line, *drawn(seed, N=150), seed=seed, repeats=repeats) for seed in range(60)]
    values, errors = (np.array([getattr(run, name)[:3] for run in runs]) for name in ("values", "stderr"))
    np.testing.assert_allclose(np.sqrt(np.square(errors).mean(0)), values.std(0), rtol=0.3)


def test_the_ratio_of_losses():
    x, y = drawn(3)
    difference, ratio = (importance(line, x, y, compare=how) for how in ("difference", "ratio"))
    np.testing.assert_allclose(ratio.values, 1 + difference.values / difference.full[0, 0])
    runs = [importance(line, *drawn(seed, N=100), seed=seed, compare="ratio") for seed in range(60)]
    spread = np.std([run.values for run in runs], axis=0)[:3]
    np.testing.assert_allclose(np.mean([run.stderr for run in runs], axis=0)[:3], spread, rtol=0.35)
    with pytest.raises(NotApplicable, match="no ratio"):
        importance(line, x, line(x), compare="ratio")


def test_what_is_not_used_or_does_not_vary_is_exactly_zero():
    x, y = drawn(4)
    x[:, 1] = 7.0
    net = torch.nn.Linear(4, 2)
    with torch.no_grad():
        net.weight[:, 3] = 0.0
    found = importance(net, x.astype(np.float32), (y > 0).astype(int), repeats=3)
    assert found.values[1] == found.stderr[1] == found.values[3] == found.stderr[3] == 0
    assert (found.values[[0, 2]] != 0).all()
    assert found.cost.rows < 5 * len(x) + 3 * 3 * len(x)  # a constant column is not asked about


def test_without_labels_it_says_how_far_the_output_moves():
    x, _ = drawn(5)
    found = pellucid.explain(line, x, "permutation_importance")
    own = pellucid.explain(line, x, "permutation_importance", target=Loss(kind="own"))
    np.testing.assert_allclose(found.values, own.values)
    np.testing.assert_allclose(found.full, 0.0)
    assert found.base[0, 0] > 0 and any(caution.code == "own_answers" for caution in found.warnings)
    assert own.notes["loss"] == "own"
    every = pellucid.explain(lambda z: np.stack([line(z), z[:, 0]], 1), x, "permutation_importance", target="all")
    assert every.values.shape == (4, 2)
    np.testing.assert_allclose(every.values[:, 0], found.values)
    assert every.values[1, 1] == 0


def test_what_stands_for_the_absent_is_the_methods_own():
    x, y = drawn(6, N=20)
    found = importance(line, x, y)
    assert isinstance(found, Importance) and found.removal == {"name": "Exchange"} and found.background is None
    assert not any(caution.code == "zero_baseline" for caution in found.warnings)
    assert found.full[0, 0] == pytest.approx(np.mean((line(x) - y) ** 2))


def test_budgets_are_kept_and_equal_rows_with_other_labels_may_come_in_any_order():
    x, y = drawn(7, N=40)
    assert importance(line, x, y, budget=12).cost.evaluations <= 12
    assert importance(line, x, y, budget=12).notes["repeats"] == 2
    with pytest.raises(BudgetError, match="at least 23"):
        importance(line, x, y, repeats=5, budget=12)
    x[1] = x[0]
    turned = importance(line, x[::-1], y[::-1])
    assert turned.values.tobytes() == importance(line, x, y).values.tobytes()


def test_bad_input():
    with pytest.raises(NotApplicable, match="one row has no other"):
        importance(line, np.ones((1, 4)), [1.0])
    with pytest.raises(NotApplicable, match="players"):
        pellucid.explain(lambda texts: np.ones((len(texts), 1)), [["a"], ["b"]], "permutation_importance")
    with pytest.raises(TargetError, match="3 labels for 4 rows"):
        importance(line, np.ones((4, 4)), [1.0, 2.0, 3.0])
    constant = importance(lambda x: np.ones(len(x)), drawn(8)[0], np.ones(200))
    assert not constant.values.any() and not constant.stderr.any()

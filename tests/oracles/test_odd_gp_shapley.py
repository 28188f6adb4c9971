"""The odd process as an estimator: exact where it promises, nearer than a line on smooth games; its intervals cover."""

import numpy as np
import pytest
import torch

import pellucid
from pellucid.methods import OddGpShapley
from pellucid.records.errors import BudgetError
from pellucid.removals import Constant

ZERO = Constant(0.0)


def coalitions(n):
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)


class Game:
    """A game of n players with all its values kept, and its Shapley values by enumeration."""

    def __init__(self, n, worth):
        self.n, self.table = n, worth(coalitions(n))
        self.row = np.ones((1, n))
        self.truth = pellucid.explain(self, self.row, "exact_shapley", removal=ZERO).values[0]

    def __call__(self, rows):
        return self.table[(np.asarray(rows) > 0.5) @ (1 << np.arange(self.n))]

    def explained(self, budget, seed=0, method="odd_gp_shapley", **settings):
        return pellucid.explain(self, self.row, method, removal=ZERO, budget=budget, seed=seed, **settings)

    def error(self, found):
        return float(np.square(found.values[0] - self.truth).sum() / np.square(self.truth).sum())


def smooth(seed, n, scale=1.0, probability=False):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(n, 12)), rng.normal(size=12)
    row = rng.normal(size=n)

    def worth(z):
        found = np.tanh(z * row @ first * 1.5 / np.sqrt(n)) @ second * scale
        return 1 / (1 + np.exp(-found)) if probability else found

    return Game(n, worth)


def products(seed, n):
    rng = np.random.default_rng(seed)
    groups = [rng.choice(n, 3, replace=False) for _ in range(6)]
    weights = rng.normal(size=6)
    return Game(n, lambda z: sum(w * z[:, g].prod(1) for w, g in zip(weights, groups, strict=True)) + z[:, 0])


SMOOTH, PROBABILITY, PRODUCTS = smooth(1, 10), smooth(2, 11, 6.0, True), products(3, 11)
GAMES = {"smooth": SMOOTH, "probability": PROBABILITY, "products": PRODUCTS}


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_all_coalitions_give_the_definition(n):
    game = Game(n, lambda z: np.random.default_rng(n).normal(size=len(z)))
    found = game.explained(2**n)
    np.testing.assert_allclose(found.values[0], game.truth, atol=1e-10)
    assert found.notes["exact"] and not found.stderr.any()


@pytest.mark.parametrize("n", [5, 12, 40])
@pytest.mark.parametrize("times", [2, 2.5, 3, 5, 10])
def test_an_additive_game_is_exact_at_every_budget(n, times):
    weights = np.random.default_rng(n).normal(size=n)
    found = pellucid.explain(
        lambda x: np.asarray(x) @ weights, np.ones((1, n)), "odd_gp_shapley", removal=ZERO, budget=int(times * n)
    )
    np.testing.assert_allclose(found.values[0], weights, atol=1e-9 * np.abs(weights).max())


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("times", [5, 10, 20])
def test_it_is_nearer_than_a_line_at_the_same_budget(name, times):
    game = GAMES[name]
    own, line = (
        np.median([game.error(game.explained(times * game.n, seed, method)) for seed in range(8)])
        for method in ("odd_gp_shapley", "kernel_shapley")
    )
    assert own < 0.85 * line, f"{own:.1e} against {line:.1e}"


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("times", [5, 10, 20])
def test_intervals_of_ninety_per_cent_cover(name, times):
    game, hits = GAMES[name], []
    for seed in range(60):
        found = game.explained(times * game.n, seed)
        hits.append(np.abs(found.values[0] - game.truth) <= 1.645 * found.stderr[0])
    assert 0.83 <= np.mean(hits) <= 0.97


def test_what_is_shared_out_is_the_whole_change():
    found = PROBABILITY.explained(60)
    assert found.values.sum() == pytest.approx(found.full[0, 0] - found.base[0, 0], abs=1e-12)
    assert found.gap[0] < 1e-9


def test_a_saturated_fit_does_not_know_its_error_and_fewer_evaluations_are_refused():
    assert np.isnan(SMOOTH.explained(20).stderr).all()
    with pytest.raises(BudgetError, match="at least 20"):
        SMOOTH.explained(19)


def network():
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(14, 20), torch.nn.GELU(), torch.nn.Linear(20, 2))


def rows(count, seed=5):
    return torch.randn(count, 14, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("fit", ["row", "one_shot", "pooled"])
def test_every_way_to_fit_nears_the_truth_within_its_errors(fit):
    net, x = network(), rows(40)
    truth = pellucid.explain(net, x, "exact_shapley", target=0).values
    found = pellucid.explain(net, x, "odd_gp_shapley", target=0, budget=210, fit=fit)
    line = pellucid.explain(net, x, "kernel_shapley", target=0, budget=210)
    away = np.square(found.values - truth).sum(1) / np.square(truth).sum(1)
    assert np.median(away) < 0.7 * np.median(np.square(line.values - truth).sum(1) / np.square(truth).sum(1))
    assert 0.8 <= np.mean(np.abs(found.values - truth) <= 1.645 * found.stderr) <= 0.98
    assert found.notes["fit"] == fit and np.nanmax(found.gap) < 1e-6


def test_few_rows_are_fitted_one_by_one_and_do_not_see_each_other():
    net, x = network(), rows(5)
    batch = pellucid.explain(net, x, "odd_gp_shapley", target="all", budget=100)
    assert batch.notes["fit"] == "row"
    for row in (0, 3):
        alone = pellucid.explain(net, x[row : row + 1], "odd_gp_shapley", target="all", budget=100)
        np.testing.assert_allclose(alone.values[0], batch.values[row], atol=1e-5 * np.abs(batch.values).max())


def test_rounding_is_hardly_carried_along_the_fit():
    """Answers that differ by float32's rounding, as by a row's place in its batch, give the same values to 1e-5."""
    rng = np.random.default_rng(0)
    for seed in range(30):
        game = smooth(seed, 10)
        for budget in (60, 150):
            found = game.explained(budget).values[0]
            shaken = Game.__new__(Game)
            shaken.n, shaken.row = game.n, game.row
            shaken.table = game.table * (1 + 1e-7 * rng.normal(size=len(game.table)))
            np.testing.assert_allclose(shaken.explained(budget).values[0], found, atol=5e-6 * np.abs(found).max())


def test_many_rows_are_pooled_and_their_order_does_not_matter():
    net, x = network(), rows(300)
    found = pellucid.explain(net, x, "odd_gp_shapley", target=0, budget=84)
    assert found.notes["fit"] == "pooled"
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    turned = pellucid.explain(net, x[order], "odd_gp_shapley", target=0, budget=84)
    assert turned.values.tobytes() == found.values[order.numpy()].tobytes()


def test_memory_is_bounded_by_blocks_of_rows(monkeypatch):
    net, x = network(), rows(300)
    whole = pellucid.explain(net, x, "odd_gp_shapley", target="all", budget=84)
    monkeypatch.setattr("pellucid.methods.coalition_design.BLOCK", 84 * 100)
    parts = pellucid.explain(net, x, "odd_gp_shapley", target="all", budget=84)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-4 * np.abs(whole.values).max())


def test_a_constant_model_and_a_row_like_its_background_have_no_contributions():
    constant = pellucid.explain(lambda x: np.full(len(x), 0.3), np.ones((2, 12)), OddGpShapley(), budget=60)
    assert not constant.values.any() and not constant.stderr.any()
    net, x = network(), rows(1)
    same = pellucid.explain(net, x, "odd_gp_shapley", background=x, budget=60, target=0)
    assert np.abs(same.values).max() < 1e-6 * np.abs(same.full).max()  # float32 answers, rounded by place


def test_a_game_whose_odd_parts_are_zero_shares_the_change_evenly():
    ends = Game(12, lambda z: np.where(z.all(1), 1.0, np.where(z.any(1), 0.5, 0.0)))
    np.testing.assert_allclose(ends.explained(60).values[0], np.full(12, 1 / 12), atol=8e-3)

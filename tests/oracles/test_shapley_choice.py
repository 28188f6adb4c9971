"""``shapley``: which estimator it takes and why, rounds that stop row by row, and the bad input of every estimator."""

import numpy as np
import pytest
import torch

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.budget import Budget
from pellucid.engine.opening import opened
from pellucid.methods import Shapley
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.removals import Constant

ZERO = Constant(0.0)
RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(14, 20)) * 0.5, RNG.normal(size=20)


def curved(x):
    return np.tanh(np.asarray(x)[:, :14] @ FIRST[: np.asarray(x).shape[1]]) @ SECOND


def asked(players, **given):
    return pellucid.explain(curved, np.ones((2, players)), "shapley", removal=ZERO, **given)


@pytest.mark.parametrize(
    ("players", "budget", "taken"),
    [(10, None, "exact_shapley"), (10, 1024, "exact_shapley"), (14, 15, "permutation_shapley"),
     (14, 28, "permutation_shapley"), (14, 70, "odd_gp_shapley"), (14, None, "odd_gp_shapley"),
     (14, 4500, "kernel_shapley"), (14, 2**14, "exact_shapley")],
)  # fmt: skip
def test_the_estimator_of_a_budget_and_its_reason_are_in_the_record(players, budget, taken):
    found = asked(players, budget=budget)
    assert found.notes["estimator"] == taken and found.notes["why"]
    assert found.cost.evaluations <= (budget or 2**players)
    np.testing.assert_allclose(found.values.sum(1), (found.full - found.base)[:, 0], atol=1e-9)


def test_the_rest_is_refused_in_a_sentence():
    with pytest.raises(BudgetError, match="at least 15 evaluations"):
        asked(14, budget=14)
    with pytest.raises(NotApplicable, match="tolerance"):
        Shapley(tolerance=2.0)


@pytest.mark.parametrize("times", [1, 1.5, 2, 2.4, 2.5, 3, 7, 12])
def test_an_additive_game_is_exact_from_one_evaluation_more_than_players(times):
    weights = np.random.default_rng(1).normal(size=30)
    found = pellucid.explain(
        lambda x: np.asarray(x) @ weights, np.ones((1, 30)), "shapley", removal=ZERO, budget=max(31, int(30 * times))
    )
    np.testing.assert_allclose(found.values[0], weights, atol=1e-9)


def test_a_tolerance_is_met_by_every_row_and_easy_rows_cost_less():
    rows = np.vstack([np.ones(14), np.eye(14)[0] * 0.01 + 0.001])
    truth = pellucid.explain(curved, rows, "exact_shapley", removal=ZERO).values
    found = pellucid.explain(curved, rows, "shapley", removal=ZERO, tolerance=0.02)
    told = np.sqrt(np.square(found.stderr).sum(1) / np.square(found.values).sum(1))
    away = np.sqrt(np.square(found.values - truth).sum(1) / np.square(truth).sum(1))
    assert (told <= 0.02).all() and (away < 0.05).all()
    assert found.notes["evaluations"][1] < found.notes["evaluations"][0]
    assert found.gap.max() < 1e-9


def test_a_looser_tolerance_costs_less():
    spent = [asked(14, tolerance=t).notes["evaluations"][0] for t in (0.3, 0.03, 0.003)]
    assert spent[0] < spent[1] <= spent[2]


def test_rows_that_do_not_reach_it_are_told():
    found = asked(14, tolerance=1e-5, budget=150)
    assert any(caution.code == "tolerance_missed" for caution in found.warnings)
    assert found.cost.evaluations <= 152
    assert not any(caution.code == "tolerance_missed" for caution in asked(14, tolerance=1e-5).warnings)


def test_a_row_ends_when_its_first_players_stand_apart():
    weights = np.array([8.0, 4.0, 2.0, *np.full(11, 0.1)])

    def clear(x):
        x = np.asarray(x)
        return x @ weights + x[:, 3] * x[:, 4] * x[:, 5] * 0.1

    found = pellucid.explain(clear, np.ones((1, 14)), "shapley", removal=ZERO, settled=3)
    assert found.notes["evaluations"][0] <= 140
    assert [name for name, _, _ in found.top(3)] == ["x0", "x1", "x2"]


def test_cheap_networks_are_asked_more_often_instead_of_fitted_better():
    net = torch.nn.Sequential(torch.nn.Linear(14, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    found = pellucid.explain(net, torch.ones(2, 14), "shapley", tolerance=0.05)
    assert set(found.notes["estimator"]) <= {"kernel_shapley", "exact_shapley"}


def test_rows_alone_and_in_a_batch_stop_alike():
    rows = np.random.default_rng(2).normal(size=(4, 14))
    batch = pellucid.explain(curved, rows, "shapley", removal=ZERO, tolerance=0.05)
    alone = pellucid.explain(curved, rows[2:3], "shapley", removal=ZERO, tolerance=0.05)
    np.testing.assert_allclose(alone.values[0], batch.values[2], atol=1e-9)


BAD = {
    "one player": (lambda x: np.asarray(x)[:, 0], np.ones((2, 1)), {}),
    "a constant model": (lambda x: np.full(len(x), 2.0), np.ones((2, 14)), {}),
    "a row like its background": (curved, np.zeros((2, 14)), {}),
    "a constant model with a tolerance": (lambda x: np.full(len(x), 2.0), np.ones((2, 14)), {"tolerance": 0.01}),
    "one player with a tolerance": (lambda x: np.asarray(x)[:, 0], np.ones((2, 1)), {"tolerance": 0.01}),
}


@pytest.mark.parametrize("name", BAD)
def test_nothing_to_share_out_is_no_error(name):
    function, rows, given = BAD[name]
    found = pellucid.explain(function, rows, "shapley", removal=ZERO, **given)
    np.testing.assert_allclose(found.values.sum(1), (found.full - found.base)[:, 0], atol=1e-12)
    assert not found.stderr.any()


def test_a_session_keeps_its_own_budget():
    problem = as_problem(curved, np.ones((1, 14)), removal=ZERO)
    with opened(problem, "shapley", budget=Budget(evaluations=600)) as run:
        session = run.parts[0][1]
        first, again = (Shapley(tolerance=0.01).estimate(session).values for _ in range(2))
    assert session.budget == Budget(evaluations=600)
    assert first.tobytes() == again.tobytes()


def test_hundreds_of_columns_are_no_picture():
    """Halves of columns are no groups: orders and fits tell more of them, and are taken."""
    weights = np.random.default_rng(0).normal(size=(150, 8))
    rows = np.random.default_rng(1).normal(size=(2, 150))

    def model(x: np.ndarray) -> np.ndarray:
        return np.tanh(x @ weights / 4).sum(1)

    few = pellucid.explain(model, rows, "shapley", budget=300)
    assert few.notes["estimator"] == "permutation_shapley"
    more = pellucid.explain(model, rows, "shapley", budget=500)
    assert more.notes["estimator"] == "odd_gp_shapley"
    truth = pellucid.explain(model, rows, "permutation_shapley", budget=40_000).values
    halves = pellucid.explain(model, rows, "owen", budget=300).values
    assert np.square(few.values - truth).sum() < 0.6 * np.square(halves - truth).sum()

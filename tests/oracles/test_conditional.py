"""Conditional removals against the closed form of a linear model, the nearest rows found one by one, and their laws."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.opening import opened
from pellucid.records.errors import RemovalError
from pellucid.removals import ConditionalGaussian, ConditionalNearest, Marginal
from pellucid.testing.problems import PROBLEMS, grouped_table

D = 4
MIX = np.random.default_rng(0).normal(size=(D, D))
BACKGROUND = np.random.default_rng(1).normal(size=(60, D)) @ MIX + np.arange(D)
ROWS = np.random.default_rng(2).normal(size=(3, D)) @ MIX
WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0])


def from_the_definition(worth, n):
    total = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        for place, player in enumerate(order):
            total[player] += worth(set(order[: place + 1])) - worth(set(order[:place]))
    return total / len(orders)


def shrunk_covariance(rows):
    """Target D of Schäfer & Strimmer 2005, written out with loops."""
    count, width = rows.shape
    mean, spread = rows.mean(0), rows.std(0, ddof=1)
    z = (rows - mean) / spread
    correlation, noise, signal = np.eye(width), 0.0, 0.0
    for i in range(width):
        for j in range(width):
            if i != j:
                products = z[:, i] * z[:, j]
                correlation[i, j] = count / (count - 1) * products.mean()
                noise += count / (count - 1) ** 3 * ((products - products.mean()) ** 2).sum()
                signal += correlation[i, j] ** 2
    share = min(max(noise / signal, 1e-6), 1.0)
    return mean, spread[:, None] * spread * np.where(np.eye(width) == 1, 1.0, (1 - share) * correlation)


def linear_gaussian(row, present, mean, covariance):
    """w_S·x_S + w_A·(μ_A + Σ_AS Σ_SS⁻¹ (x_S − μ_S))."""
    there = sorted(present)
    absent = [i for i in range(D) if i not in present]
    filled = row.copy()
    filled[absent] = mean[absent]
    if there and absent:
        pull = covariance[np.ix_(absent, there)] @ np.linalg.inv(covariance[np.ix_(there, there)])
        filled[absent] += pull @ (row[there] - mean[there])
    return WEIGHTS @ filled


def test_a_linear_model_of_gaussian_columns_has_the_known_values():
    mean, covariance = shrunk_covariance(BACKGROUND)
    e = pellucid.explain(lambda x: x @ WEIGHTS, ROWS, "exact_shapley", removal=ConditionalGaussian(BACKGROUND, draws=4))
    for row in range(3):
        wanted = from_the_definition(lambda s, row=row: linear_gaussian(ROWS[row], s, mean, covariance), D)
        np.testing.assert_allclose(e.values[row], wanted, atol=1e-10)
    np.testing.assert_allclose(e.base[:, 0], WEIGHTS @ mean, atol=1e-10)


def test_a_square_of_gaussian_columns_has_the_known_expectation():
    """E[(w·X)² | x_S] = (conditional mean)² + w_A' Σ_A|S w_A, within what so many draws leave open."""
    mean, covariance = shrunk_covariance(BACKGROUND)
    problem = as_problem(lambda x: (x @ WEIGHTS) ** 2, ROWS[:1], removal=ConditionalGaussian(BACKGROUND, draws=40_000))
    coalitions = np.array([[True, False, True, False], [False, True, False, False], [False] * 4])
    with opened(problem, "test") as run:
        found = run.parts[0][1].values(coalitions)[0]
    for present, value in zip(coalitions, found, strict=True):
        there, absent = np.flatnonzero(present), np.flatnonzero(~present)
        spread = covariance[np.ix_(absent, absent)]
        if len(there):
            pull = covariance[np.ix_(absent, there)] @ np.linalg.inv(covariance[np.ix_(there, there)])
            spread = spread - pull @ covariance[np.ix_(there, absent)]
        centre = linear_gaussian(ROWS[0], set(there.tolist()), mean, covariance)
        variance = WEIGHTS[absent] @ spread @ WEIGHTS[absent]
        assert value == pytest.approx(centre**2 + variance, abs=5 * variance * (2 / 40_000) ** 0.5)


def test_independent_columns_make_it_the_marginal_answer():
    background = np.random.default_rng(3).normal(size=(1000, D))
    both = [
        pellucid.explain(lambda x: x @ WEIGHTS, ROWS, "exact_shapley", removal=removal(background)).values
        for removal in (ConditionalGaussian, Marginal)
    ]
    assert np.abs(both[0] - both[1]).max() < 0.1 * np.abs(both[1]).max()


def test_a_copied_column_shares_the_credit_though_the_model_never_looks_at_it():
    background = np.random.default_rng(4).normal(size=(200, 2))
    background = np.column_stack([background[:, 0], background[:, 0], background[:, 1]])
    row = np.array([[2.0, 2.0, 1.0]])
    e = pellucid.explain(lambda x: x[:, 0], row, "exact_shapley", removal=ConditionalGaussian(background))
    change = 2.0 - background[:, 0].mean()
    np.testing.assert_allclose(e.values[0, :2], change / 2, rtol=0.1)
    near = pellucid.explain(lambda x: x[:, 0], row, "exact_shapley", removal=ConditionalNearest(background, 1))
    assert near.values[0, 1] == pytest.approx(near.values[0, 0], rel=0.15)


def nearest(row, present, background, k, category):
    """The k nearest rows one by one; categories (three one-hot elements behind two numbers) count 0 or 1."""
    spread = background.std(0)
    distances = []
    for other in background:
        own = [((row[i] - other[i]) / spread[i]) ** 2 for i in (0, 1) if i in present]
        own += [float((row[2:] != other[2:]).any())] if 2 in present else []
        distances.append(sum(own))
    chosen = sorted(range(len(background)), key=lambda at: distances[at])[:k]
    made = background[chosen].copy()
    for i in present:
        columns = [i] if i < 2 else [2, 3, 4]
        made[:, columns] = row[columns]
    return made


def test_the_nearest_rows_are_those_found_one_by_one():
    rng = np.random.default_rng(5)
    background = np.concatenate([rng.normal(size=(40, 2)) * [1, 50], np.eye(3)[rng.integers(3, size=40)]], axis=1)
    players = grouped_table().players
    rows = np.concatenate([rng.normal(size=(2, 2)) * [1, 50], np.eye(3)[[0, 2]]], axis=1)
    mix = rng.normal(size=(5, 3)) / [[1], [50], [1], [1], [1]]

    def function(x):
        return np.tanh(np.asarray(x) @ mix).sum(1)

    problem = as_problem(function, rows, removal=ConditionalNearest(background, 3), players=players)
    coalitions = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    with opened(problem, "test") as run:
        part, session = run.parts[0]
        found = session.values(coalitions)
    for row, values in zip(part, found, strict=True):
        for present, value in zip(coalitions, values, strict=True):
            made = nearest(rows[row], set(np.flatnonzero(present).tolist()), background, 3, 2)
            assert value == pytest.approx(function(made).mean(), abs=1e-12)


def test_equally_near_rows_do_not_depend_on_the_order_they_were_given_in():
    values = [
        pellucid.explain(lambda x: x @ WEIGHTS, ROWS, "exact_shapley", removal=ConditionalNearest(rows, 5)).values
        for rows in (BACKGROUND, BACKGROUND[::-1].copy())
    ]
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("removal", [ConditionalGaussian(BACKGROUND), ConditionalNearest(BACKGROUND, 4)])
def test_with_everyone_present_the_row_comes_back(removal):
    seen = []

    def function(x):
        seen.append(np.asarray(x).copy())
        return np.asarray(x) @ WEIGHTS

    problem = as_problem(function, ROWS, removal=removal)
    with opened(problem, "test") as run:
        seen.clear()
        run.parts[0][1].values(np.ones((1, D), dtype=bool))
    made = np.concatenate(seen)
    assert all((made == row).all(1).sum() == len(made) // 3 for row in ROWS)


@pytest.mark.parametrize("removal", [ConditionalGaussian(BACKGROUND, 6), ConditionalNearest(BACKGROUND, 4)])
def test_a_record_brings_its_removal_with_it(removal, tmp_path):
    net = nn.Sequential(nn.Linear(D, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    x = torch.from_numpy(ROWS)
    e = pellucid.explain(net, x, "exact_shapley", removal=removal, target=1)
    back = pellucid.Explanation.load(e.save(tmp_path / "e"))
    assert back.removal["name"] == type(removal).__name__ and len(back.background) == len(BACKGROUND)
    scores = pellucid.evaluate(net, x, back, metrics=["completeness_gap", "seed_stability"], controls=False)
    assert len(scores)
    own = pellucid.evaluate(net, x, back, metrics="faithfulness_correlation", controls=False)
    given = pellucid.evaluate(
        net, x, back, metrics="faithfulness_correlation", controls=False, removal=removal, target=1
    )
    assert [s.value for s in own] == [s.value for s in given]


def test_paths_start_at_the_mean_of_the_background():
    net = nn.Sequential(nn.Linear(D, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    x, background = torch.from_numpy(ROWS), torch.from_numpy(BACKGROUND)
    one, other, third = (
        pellucid.explain(net, x, "integrated_gradients", removal=removal(background), target=1, steps=9).values
        for removal in (ConditionalGaussian, ConditionalNearest, Marginal)
    )
    np.testing.assert_allclose(one, third, atol=1e-12)
    np.testing.assert_allclose(other, third, atol=1e-12)


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shapley", "occlusion", "lime"])
@pytest.mark.parametrize("name", ["table", "image", "two_inputs", "ragged_image", "one_player", "constant_model"])
def test_methods_take_them_on_problems_of_every_shape(method, name):
    problem = PROBLEMS[name](4)
    background = torch.randn(5, problem.inputs.width, generator=torch.Generator().manual_seed(0))
    for removal in (ConditionalGaussian(background, 4), ConditionalNearest(background, 2)):
        object.__setattr__(problem, "removal", removal.prepared(lambda rows: rows, 0))
        e = pellucid.catalog.find("methods", method).explain(problem, budget=300)
        alone = pellucid.catalog.find("methods", method).explain(problem.take([1]), budget=300)
        count = len(problem.players.of(1))
        np.testing.assert_allclose(alone.attributions[0, :count], e.attributions[1, :count], atol=1e-5)


def test_what_they_cannot_do_is_said_in_a_sentence():
    rows = np.ones((2, 5))
    players = grouped_table().players

    def model(x):
        return np.asarray(x)[:, 0]

    def ask(removal, rows=rows, **more):
        return pellucid.explain(model, rows, "exact_shapley", removal=removal, **more)

    with pytest.raises(RemovalError, match=r"'purpose' holds categories.*ConditionalNearest"):
        ask(ConditionalGaussian(np.eye(5)), players=players)
    with pytest.raises(RemovalError, match="2 background rows do not tell"):
        ask(ConditionalGaussian(np.eye(5)[:2]))
    with pytest.raises(RemovalError, match="the background holds 1 NaN in 5 rows"):
        ask(ConditionalNearest(np.where(np.eye(5) > 0, [[np.nan], [1], [1], [1], [1]], 0.0)))
    with pytest.raises(RemovalError, match="are not pairs"):
        ask(ConditionalGaussian(np.eye(5), draws=3))
    with pytest.raises(RemovalError, match="no number of nearest rows"):
        ask(ConditionalNearest(np.eye(5), k=0))
    with pytest.raises(RemovalError, match="needs background rows"):
        ask(ConditionalNearest())
    with pytest.raises(RemovalError, match="whole numbers"):
        ask(ConditionalGaussian(np.eye(5)), rows=np.ones((2, 5), dtype=np.int64))
    with pytest.raises(RemovalError, match="too wide"):
        ask(ConditionalGaussian(np.ones((3, 1001))), rows=np.ones((1, 1001)))
    same = np.tile(rows[:1], (6, 1))  # nothing varies, and the input is no different
    for removal in (ConditionalGaussian(same), ConditionalNearest(same)):
        e = ask(removal)
        assert not e.values.any() and any(caution.code == "flat_output" for caution in e.warnings)

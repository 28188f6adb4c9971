"""Metrics of explanations against loops written from the papers and models whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.metrics import Abpc, FaithfulnessCorrelation, MaxSensitivity, SeedStability
from pellucid.removals import Constant

W = np.array([4.0, -3.0, 2.0, 1.0, 0.5, -0.25])


def linear(rows):
    return np.asarray(rows) @ W + 1.0


def some_rows(count=5, width=6, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, size=(count, width))


def scores(model, x, given, metrics, **fields):
    fields = {"target": 0, "removal": Constant(0.0), "controls": False} | fields
    return pellucid.evaluate(model, x, given, metrics=metrics, **fields)


def slow_curves(function, x, values):
    """Deletion curves by a loop: one player leaves after the other, most and least relevant first."""
    n = len(x)
    by_relevance = sorted(range(n), key=lambda i: (-values[i], i))
    curves = []
    for order in (by_relevance, by_relevance[::-1]):
        row, curve = x.copy(), [function(x[None])[0]]
        for player in order:
            row[player] = 0.0
            curve.append(function(row[None])[0])
        curves.append(np.array(curve))
    return curves


def slow_abpc(function, x, values):
    morf, lerf = slow_curves(function, x, values)
    spread = max(morf.max(), lerf.max()) - min(morf.min(), lerf.min())
    area = sum((a + b) / 2 for a, b in zip((lerf - morf)[:-1], (lerf - morf)[1:], strict=True)) / len(x)
    return area / spread


@pytest.mark.parametrize("function", [linear, lambda rows: np.tanh(np.asarray(rows) @ W) + np.asarray(rows)[:, 0] ** 2])
def test_abpc_equals_its_slow_twin(function):
    x = some_rows()
    for seed in range(3):
        values = np.random.default_rng(seed).normal(size=x.shape)
        found = scores(function, x, values, Abpc(steps=6))["abpc"].values
        np.testing.assert_allclose(
            found, [slow_abpc(function, r, v) for r, v in zip(x, values, strict=True)], atol=1e-12
        )


def test_abpc_knows_the_right_order_of_a_line_and_its_reverse():
    x = some_rows()
    right = scores(linear, x, W * x, "abpc")["abpc"].values
    wrong = scores(linear, x, -W * x, "abpc")["abpc"].values
    np.testing.assert_allclose(right, -wrong, atol=1e-12)
    assert (right > 0.4).all()
    shuffled = [scores(linear, x, W * x * 0 + np.random.default_rng(s).normal(size=x.shape), "abpc")["abpc"].value
                for s in range(20)]  # fmt: skip
    assert right.mean() > max(shuffled)
    assert abs(np.mean(shuffled)) < 0.2


def test_the_curves_behind_abpc_are_the_mean_of_the_loops():
    x = some_rows()
    values = W * x
    score = scores(linear, x, values, Abpc(steps=6))["abpc"]
    deletion, insertion = [], []
    for row, own in zip(x, values, strict=True):
        morf, lerf = slow_curves(linear, row, own)
        low, spread = min(morf.min(), lerf.min()), np.ptp(np.append(morf, lerf))
        deletion.append((morf - low) / spread)
        insertion.append((lerf - low) / spread)
    np.testing.assert_allclose(score.curves["deletion"][:, 1], np.mean(deletion, axis=0), atol=1e-12)
    np.testing.assert_allclose(score.curves["insertion"][:, 1], np.mean(insertion, axis=0), atol=1e-12)
    np.testing.assert_allclose(score.curves["deletion"][:, 0], np.arange(7) / 6)


def test_faithfulness_correlation_of_a_line_is_one_and_its_negative_minus_one():
    x = some_rows()
    for scale in (1.0, 1e-9, 1e6):
        np.testing.assert_allclose(scores(linear, x, scale * W * x, "faithfulness_correlation")[0].values, 1, atol=1e-9)
        np.testing.assert_allclose(
            scores(linear, x, -scale * W * x, "faithfulness_correlation")[0].values, -1, atol=1e-9
        )


def test_faithfulness_correlation_equals_its_slow_twin():
    """The subsets are drawn anew here; over many of them both must come to the same."""

    def function(rows):
        return np.tanh(np.asarray(rows) @ W / 3) * np.asarray(rows)[:, 1]

    x, values = some_rows(2), np.random.default_rng(1).normal(size=(2, 6))
    found = scores(function, x, values, FaithfulnessCorrelation(subsets=4000))[0].values
    rng = np.random.default_rng(2)
    for row in range(2):
        sums, losses = [], []
        for _ in range(4000):
            gone = rng.choice(6, size=rng.integers(1, 4), replace=False)
            without = x[row].copy()
            without[gone] = 0
            sums.append(values[row, gone].sum())
            losses.append(function(x[row][None])[0] - function(without[None])[0])
        assert found[row] == pytest.approx(np.corrcoef(sums, losses)[0, 1], abs=0.05)


def test_the_completeness_gap_is_the_share_that_is_missed():
    x = some_rows()
    exact = W * x
    np.testing.assert_allclose(scores(linear, x, exact, "completeness_gap")[0].values, 0, atol=1e-12)
    change = linear(x) - 1.0
    np.testing.assert_allclose(
        scores(linear, x, exact * 0.5, "completeness_gap")[0].values,
        np.abs(change / 2) / np.maximum(np.abs(exact).sum(1) / 2, np.abs(change)), atol=1e-12,
    )  # fmt: skip


def test_sparseness_and_complexity():
    x = some_rows(3)
    one, flat, two = np.eye(6)[0], np.ones(6), np.array([0.5, -0.5, 0, 0, 0, 0.0])
    given = np.stack([one, flat, two])
    np.testing.assert_allclose(scores(linear, x, given, "sparseness")[0].values, [5 / 6, 0, 4 / 6], atol=1e-12)
    np.testing.assert_allclose(scores(linear, x, given, "complexity")[0].values, [0, np.log(6), np.log(2)], atol=1e-12)


class Linear(nn.Module):
    def forward(self, x):
        return x @ torch.from_numpy(W)


def test_max_sensitivity_of_a_constant_gradient_is_zero_and_of_a_square_is_known():
    x = torch.from_numpy(some_rows())
    e = pellucid.explain(Linear(), x, "saliency", removal=Constant(0.0))
    np.testing.assert_allclose(scores(Linear(), x, e, "max_sensitivity")[0].values, 0, atol=1e-12)

    class Square(nn.Module):
        def forward(self, x):
            return (x**2).sum(1) / 2

    e = pellucid.explain(Square(), x, "saliency", signed_values=True, removal=Constant(0.0))
    found = scores(Square(), x, e, MaxSensitivity(radius=0.05, moves=400))[0].values
    # The gradient is the row itself, so its change is the move: uniform, up to 0.05 spreads in each of six elements.
    spread = x.std(1, unbiased=False).numpy()
    bound = 0.05 * spread * np.sqrt(6) / np.linalg.norm(x.numpy(), axis=1)
    assert (found <= bound + 1e-12).all() and (found >= 0.75 * bound).all()


def interacting(rows):
    rows = np.asarray(rows)
    return np.tanh(rows @ np.random.default_rng(9).normal(size=(14, 5))).sum(1) + rows[:, 0] * rows[:, 1] * rows[:, 2]


def test_max_sensitivity_moves_the_row_and_not_the_seed():
    """A sampled method is made again with the draws that it was made with, whatever evaluate's own seed is."""
    x = some_rows(2, 14, 3)
    e = pellucid.explain(interacting, x, "kernel_shapley", samples=64, seed=11, removal=Constant(0.0))
    still = scores(interacting, x, e, MaxSensitivity(radius=1e-9, moves=2), seed=0)[0].values
    assert still.max() < 1e-6


def test_seed_stability_never_compares_a_seed_with_itself():
    x = some_rows(2, 14, 3)
    for seed in range(4):
        e = pellucid.explain(interacting, x, "kernel_shapley", samples=40, seed=seed, removal=Constant(0.0))
        found = scores(interacting, x, e, SeedStability(reruns=1), seed=0)[0].values
        assert (found < 1 - 1e-9).all()
    exact = pellucid.explain(interacting, x, "exact_shapley", removal=Constant(0.0))
    assert scores(interacting, x, exact, "seed_stability")[0].status == "skipped"


def test_agreement_and_truth():
    x = some_rows()
    a, b = W * x, -np.abs(W * x)
    both = pellucid.evaluate(
        linear, x, {"a": a, "b": b}, metrics="agreement", target=0, removal=Constant(0.0), controls=False
    )
    np.testing.assert_allclose(both[0].values, 1.0)  # magnitudes agree
    truth = scores(linear, x, a, "truth_correlation", truth=W * x)[0]
    np.testing.assert_allclose(truth.values, 1.0)
    assert scores(linear, x, -a, "truth_correlation", truth=W * x)[0].value == pytest.approx(-1.0)


def test_the_same_numbers_get_the_same_scores_whoever_made_them():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.from_numpy(some_rows(6))
    e = pellucid.explain(net, x, "integrated_gradients", removal=Constant(0.2), steps=20, target=1)
    ours = pellucid.evaluate(net, x, e, controls=False)
    given = {"target": 1, "removal": Constant(0.2), "controls": False}
    for made in (e.values, torch.from_numpy(e.values.copy()), (torch.from_numpy(e.values.copy()),)):
        theirs = pellucid.evaluate(net, x, made, **given)
        for name in ("abpc", "faithfulness_correlation", "sparseness", "complexity", "completeness_gap"):
            np.testing.assert_array_equal(theirs[name].values, ours[name].values, err_msg=name)
    again = pellucid.evaluate(
        net, x, e.values, **given,
        explainer=lambda rows: pellucid.explain(
            net, rows, "integrated_gradients", removal=Constant(0.2), steps=20, target=1
        ).values,
    )  # fmt: skip
    np.testing.assert_allclose(again["max_sensitivity"].values, ours["max_sensitivity"].values, atol=1e-9)


def test_another_baseline_makes_a_right_explanation_look_wrong_and_the_same_one_does_not():
    x = np.random.default_rng(5).normal(size=(20, 6))
    exact = W * (x - 2.0)
    right = scores(linear, x, exact, "faithfulness_correlation", removal=Constant(2.0))[0].value
    wrong = scores(linear, x, exact, "faithfulness_correlation", removal=Constant(0.0))[0].value
    assert right == pytest.approx(1.0) and wrong < 0.9


def test_controls_are_beaten_by_the_truth_and_beat_nonsense():
    x = np.random.default_rng(6).normal(size=(16, 6))
    good = scores(linear, x, W * x, "abpc", controls=True)[0]
    assert good.controls["random"] < 0.25 < good.value and "beaten_by_control" not in [c.code for c in good.warnings]
    bad = scores(linear, x, -W * x, "abpc", controls=True)[0]
    assert "beaten_by_control" in [c.code for c in bad.warnings]


def test_a_metric_that_has_nothing_to_say_of_some_rows_judges_the_others():
    rows = [["good", "day"], ["a", "good", "bad", "thing"], ["very", "bad", "good", "day"]]

    def function(texts):
        return np.array([text.count("good") - 2.0 * text.count("bad") + 0.1 * text.count("a") for text in texts])

    e = pellucid.explain(function, rows, "exact_shapley")
    score = pellucid.evaluate(function, rows, e, metrics="faithfulness_correlation", controls=False)[0]
    assert score.status == "ok" and np.isnan(score.values[0])
    np.testing.assert_allclose(score.values[1:], 1.0)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_players_break_no_metric(n):
    x = some_rows(3, n)
    e = pellucid.explain(lambda rows: np.asarray(rows).sum(1) ** 2, x, "kernel_shapley", removal=Constant(0.0))
    for score in pellucid.evaluate(lambda rows: np.asarray(rows).sum(1) ** 2, x, e):
        assert score.status in ("ok", "skipped"), score.reason


def test_several_targets_and_contrasts_are_judged_by_what_they_explained():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.from_numpy(some_rows(4))
    for target in ("all", "top:2", ("output 0", "output 2"), [0, 1, 2, 1]):
        e = pellucid.explain(net, x, "exact_shapley", removal=Constant(0.0), target=target)
        found = pellucid.evaluate(net, x, e, metrics=["completeness_gap", "abpc"], controls=False)
        assert found["completeness_gap"].value < 1e-12
        assert found["abpc"].value > 0


def test_a_float64_record_is_judged_by_its_own_background():
    x = np.random.default_rng(7).normal(size=(3, 6))
    background = np.random.default_rng(8).normal(size=(7, 6)) / 3
    e = pellucid.explain(interacting_six, x, "exact_shapley", background=background)
    np.testing.assert_array_equal(e.background, background)
    assert pellucid.evaluate(interacting_six, x, e, metrics="completeness_gap", controls=False)[0].value < 1e-13


def interacting_six(rows):
    return np.tanh(np.asarray(rows) @ W) * np.asarray(rows)[:, 0]

"""Evaluating: names, foreign explanations, the rows of the truth, strangers' exceptions, alarms, curves, exactness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.engine.budget import Budget
from pellucid.metrics import Abpc, Sparseness
from pellucid.metrics.metric import Case, Judged, Metric
from pellucid.records.errors import InputError
from pellucid.removals import Constant

W = np.array([4.0, -3.0, 2.0, 1.0, 0.5, -0.25])
ZERO = Constant(0.0)


def linear(rows):
    return np.asarray(rows) @ W + 1.0


def curved(rows):
    rows = np.asarray(rows)
    return np.tanh(rows @ np.random.default_rng(9).normal(size=(14, 5))).sum(1)


def some_rows(count=5, width=6, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, size=(count, width))


def net(width=6, outputs=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


# Names -----------------------------------------------------------------------------------------


def test_two_settings_of_one_method_have_names_of_their_own():
    x = some_rows()
    few, many = (pellucid.explain(linear, x, "lime", samples=s, removal=ZERO) for s in (50, 200))
    found = pellucid.evaluate(linear, x, [few, many], metrics=["sparseness", "agreement"], controls=False)
    assert list(found.methods()) == ["lime (samples=50)", "lime (samples=200)"]
    assert {few.method, many.method} == {"lime"}
    keyed = pellucid.evaluate(linear, x, {"few": few, "many": many}, metrics="sparseness", controls=False)
    assert list(keyed.methods()) == ["few", "many"]
    twice = pellucid.evaluate(linear, x, [few, few], metrics="sparseness", controls=False)
    assert len(list(twice.methods())) == 2


@pytest.mark.parametrize("empty", [[], {}, ()])
def test_no_explanations_are_refused(empty):
    with pytest.raises(InputError, match="no explanations"):
        pellucid.evaluate(linear, some_rows(), empty)


def test_a_foreign_explanation_may_be_called_like_one_of_our_methods():
    x = torch.from_numpy(some_rows())
    given = {"integrated_gradients": torch.rand(5, 6), "ours": pellucid.explain(net(), x, "saliency", removal=ZERO)}
    found = pellucid.evaluate(net(), x, given, removal=ZERO, controls=False)
    own = {score.metric: score for score in found if score.method == "integrated_gradients"}
    assert own["max_sensitivity"].status == own["seed_stability"].status == "skipped"
    assert all(score.status in ("ok", "skipped") for score in found)
    alone = pellucid.evaluate(net(), x, {"captum": torch.rand(5, 6)}, removal=ZERO, metrics="sparseness")
    assert alone[0].method == "captum"
    assert pellucid.evaluate(net(), x, torch.rand(5, 6), removal=ZERO, metrics="sparseness")[0].method == "foreign"


def test_a_score_that_a_control_beats_is_not_called_ok():
    x = some_rows()
    background = np.zeros((1, 6))
    given = {
        "random": np.random.default_rng(3).normal(size=x.shape),
        "exact": pellucid.explain(linear, x, background=background),
    }
    found = pellucid.evaluate(linear, x, given, metrics="faithfulness_correlation", background=background)
    by_name = {score.method: score for score in found}
    assert by_name["random"].control > by_name["random"].value and by_name["random"].status == "ok"
    table = found.to_frame().set_index("method")["status"]
    assert table["random"] == "control is better" and table["exact"] == "ok"
    assert " random does no better than" in repr(found).split("\n  ! ")[1]


# The truth and explaining again ------------------------------------------------------------------


def test_the_truth_of_other_rows_is_refused():
    x = some_rows()
    e, other = (pellucid.explain(linear, rows, "exact_shapley", removal=ZERO) for rows in (x, some_rows(seed=1)))
    assert pellucid.evaluate(linear, x, e, truth=e, metrics="truth_correlation")[0].value == pytest.approx(1)
    for wrong in (other, e[:3], e[[1, 0, 2, 3, 4]], W * x[:3]):
        with pytest.raises(InputError):
            pellucid.evaluate(linear, x, e, truth=wrong, metrics="truth_correlation")


class Two(nn.Module):
    def forward(self, a, b):
        left = (a**2).sum(1)
        return torch.stack([left + b.sum(1), left - b.sum(1)], 1)


def test_an_explainer_is_given_all_tensors_by_name():
    rng = np.random.default_rng(0)
    rows = {"a": torch.from_numpy(rng.normal(size=(4, 2))), "b": torch.from_numpy(rng.normal(size=(4, 3)))}

    def gradient(given):
        assert set(given) == {"a", "b"} and given["a"].shape == (4, 2) and given["b"].shape == (4, 3)
        return torch.cat([2 * given["a"], torch.ones_like(given["b"])], 1)

    score = pellucid.evaluate(
        Two(), rows, gradient(rows), target=0, removal=ZERO, explainer=gradient, metrics="max_sensitivity"
    )[0]
    assert score.status == "ok", score.reason
    assert 0 < score.value < 0.2


def test_an_explainer_speaks_of_the_target_that_was_bound():
    """A move that turns the prediction must not turn what is asked, where attributions are of all outputs."""
    model = nn.Linear(2, 2, bias=False).double()
    model.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[1.0, 1.0 - 1e-6]], dtype=torch.float64)
    both = torch.eye(2, dtype=torch.float64)[None]  # [N, n, outputs], the same everywhere

    def constant(rows):
        return both.expand(len(rows), 2, 2)

    background = torch.tensor([[0.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    score = pellucid.evaluate(
        model, x, constant(x), explainer=constant, background=background, metrics="max_sensitivity"
    )[0]
    assert score.value == 0.0


# One failure is one failure -----------------------------------------------------------------------


@dataclass(frozen=True)
class Stranger(Metric):
    """Raises what it is told to; with ``only`` for the controls alone."""

    error: type[Exception] = KeyError
    only: bool = False

    name: ClassVar[str] = "stranger"
    title: ClassVar[str] = "Stranger"
    source: ClassVar[str] = "nobody"
    better: ClassVar[str] = "higher"

    def score(self, case: Case) -> Judged:
        if not self.only or case.promises is None:
            raise self.error("a stranger's fault")
        return Judged(np.ones(len(case.values)))


@pytest.mark.parametrize("error", [KeyError, AttributeError, ValueError, AssertionError])
def test_a_metric_that_raises_costs_its_own_score(error):
    x = some_rows()
    e = pellucid.explain(linear, x, "exact_shapley", removal=ZERO)
    failed, fine = pellucid.evaluate(linear, x, e, metrics=[Stranger(error), Sparseness()])
    assert failed.status == "failed" and error.__name__ in failed.reason
    assert fine.status == "ok"
    controls = pellucid.evaluate(linear, x, e, metrics=[Stranger(error, only=True)])[0]
    assert controls.status == "ok" and controls.value == 1 and not controls.controls


# The budget of "auto" -------------------------------------------------------------------------------


def test_auto_keeps_to_the_budget():
    x = some_rows(2, 10)

    def asked(rows):
        return np.asarray(rows).sum(1) ** 2

    def taken(**budget):
        found = pellucid.explain(asked, x, removal=ZERO, **budget)
        assert found.method == "shapley"
        return found.notes["estimator"]

    assert taken() == taken(budget=2**10) == "exact_shapley"
    assert taken(budget=100) == "odd_gp_shapley"
    assert taken(budget=Budget(rows=500)) == "odd_gp_shapley"
    assert taken(budget=12) == "permutation_shapley"
    deep = pellucid.explain(net(10), torch.from_numpy(x), removal=ZERO, budget=100)
    assert deep.method == "integrated_gradients"


# The alarm ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class First(Metric):
    """The first player's value, so that a test decides what every row gets."""

    name: ClassVar[str] = "first"
    title: ClassVar[str] = "First"
    source: ClassVar[str] = "nobody"
    better: ClassVar[str] = "higher"
    alarms: ClassVar[bool] = True

    def score(self, case: Case) -> Judged:
        return Judged(case.values[:, 0])


def test_the_alarm_compares_the_same_rows():
    """Eight rows are judged beside the controls; what the other rows get must not count for or against."""
    x = some_rows(40)
    best = np.maximum(np.abs(x), 10.0)
    order = np.argsort(pellucid.explain(linear, x, "occlusion", removal=ZERO).ids)

    def codes(good_on, otherwise):
        values = np.where(np.isin(np.arange(40), good_on)[:, None], best, otherwise)
        score = pellucid.evaluate(linear, x, values, removal=ZERO, metrics=[First()])[0]
        return {caution.code: caution.severity for caution in score.warnings}

    assert "beaten_by_control" not in codes(order[:8], -1e6)
    assert codes(order[8:], -10.0)["beaten_by_control"] == "red"


def test_what_cannot_be_told_from_a_control_is_no_red_alarm():
    x = some_rows(20)
    score = pellucid.evaluate(linear, x, np.abs(x), removal=ZERO, metrics=[First()])[0]  # |input| itself
    assert [(c.code, c.severity) for c in score.warnings] == [("beaten_by_control", "yellow")]


# Exactness, curves, what cannot be moved ----------------------------------------------------------------


def test_an_exact_answer_has_no_seed_to_be_stable_under():
    x = some_rows(3)
    exact = pellucid.explain(linear, x, "kernel_shapley", removal=ZERO)
    assert exact.notes["exact"]
    score = pellucid.evaluate(linear, x, exact, metrics="seed_stability")[0]
    assert score.status == "skipped" and "exact" in score.reason
    wide = some_rows(2, 14)
    drawn = pellucid.explain(curved, wide, "kernel_shapley", samples=64, removal=ZERO)
    assert pellucid.evaluate(curved, wide, drawn, metrics="seed_stability")[0].status == "ok"


def test_the_curves_of_ragged_rows_are_the_mean_over_all_rows():
    rows = [["good", "day", "bad", "a"], ["very", "good", "thing", "bad"], ["a", "good", "bad"]]

    def function(texts):
        return np.array([text.count("good") - 2.0 * text.count("bad") + 0.1 * text.count("a") for text in texts])

    e = pellucid.explain(function, rows, "exact_shapley")

    def curve(which):
        chosen = [rows[i] for i in which]
        return pellucid.evaluate(function, chosen, e[which], metrics=Abpc(), controls=False)[0].curves["deletion"]

    whole, four, three = curve([0, 1, 2]), curve([0, 1]), curve([2])
    grid = np.unique(np.round(np.concatenate([four[:, 0], three[:, 0]]), 9))
    np.testing.assert_allclose(whole[:, 0], grid, atol=1e-8)
    expected = (2 * np.interp(grid, *four.T) + np.interp(grid, *three.T)) / 3
    np.testing.assert_allclose(whole[:, 1], expected, atol=1e-7)


def test_rows_that_could_not_be_moved_have_no_sensitivity():
    x = np.ones((3, 6))
    x[1] = np.arange(6)
    e = pellucid.explain(linear, x, "kernel_shapley", removal=ZERO)
    found = pellucid.evaluate(linear, x, e, metrics="max_sensitivity", controls=False)[0]
    assert np.isnan(found.values[[0, 2]]).all() and found.values[1] > 0  # a constant row has no spread of its own

"""What a call fixes once for all its parts: targets, budget, what stands for the absent; what a record keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.budget import Budget
from pellucid.engine.opening import opened
from pellucid.methods import (
    IntegratedGradients,
    KernelShapley,
    Lime,
    LimeNeighbours,
    Occlusion,
    Saliency,
)
from pellucid.methods.controls import EdgeFilter, InputMagnitude
from pellucid.players import Players
from pellucid.records.errors import BudgetError, TargetError
from pellucid.records.joining import joined, merged
from pellucid.records.messages import Caution
from pellucid.removals import Constant, Noise
from pellucid.testing.problems import ragged_image


def _network(*widths: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(widths[0], 8), nn.Tanh(), nn.Linear(8, widths[1])).eval()


NET, X = _network(4, 3), torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
WHICH = [0, 2, 1, 1, 0, 2]


# Targets -----------------------------------------------------------------------------------


def test_a_target_per_row_is_taken_along_with_its_row():
    problem = as_problem(NET, X, target=WHICH)
    whole = Occlusion().explain(problem)
    part = Occlusion().explain(problem.take(np.array([4, 1, 2])))
    np.testing.assert_array_equal(part.columns[:, 0], [0, 2, 1])
    np.testing.assert_allclose(part.attributions, whole.attributions[[4, 1, 2]], rtol=1e-5, atol=1e-7)
    assert whole.target["which"] == WHICH and part.target["which"] == whole[[4, 1, 2]].target["which"] == [0, 2, 1]


def test_blocks_of_a_target_per_row_are_joined_in_their_order():
    problem, blocks = as_problem(NET, X, target=WHICH), ((1, 3, 5), (0, 2, 4))
    parts = [(rows, Occlusion().explain(problem.take(rows))) for rows in blocks]
    assert joined(parts, problem.players, problem.inputs.ids).target["which"] == WHICH


def test_targets_must_be_as_many_as_rows():
    with pytest.raises(TargetError, match="5 targets for 6 rows"):
        as_problem(NET, X, target=WHICH[:5])


@pytest.mark.parametrize("method", [Lime(samples=200), LimeNeighbours()])
def test_targets_of_a_row_share_the_points_asked(method):
    background = X + 0.5
    one = pellucid.explain(NET, X, method, target=1, background=background)
    every = pellucid.explain(NET, X, method, target="all", background=background)
    np.testing.assert_allclose(every.attributions[:, :, 1], one.attributions[:, :, 0], rtol=1e-4, atol=1e-6)
    gradients = 0 if isinstance(method, Lime) else 2 * 6 * 50
    assert every.cost.rows <= one.cost.rows + gradients


def test_notes_are_kept_for_every_target():
    one, every = (pellucid.explain(NET, X, "lime", budget=100, target=target) for target in (0, "all"))
    notes = np.array(every.notes["local_r2"])
    assert np.shape(one.notes["local_r2"]) == (6,) and notes.shape == (6, 3)
    np.testing.assert_allclose(notes[:, 0], one.notes["local_r2"], rtol=1e-4)


# Budgets -----------------------------------------------------------------------------------


def test_rows_are_one_limit_for_all_parts_together():
    problem = ragged_image(5)
    assert len(set(problem.players.counts)) > 1
    e = KernelShapley().explain(problem, budget=Budget(rows=200))
    assert e.cost.rows <= 200 + 8 and e.budget["decided"] == 200 // 5


def test_a_run_limited_by_time_is_replayed_by_the_evaluations_it_records():
    e = pellucid.explain(NET, X, "lime", budget=Budget(seconds=0.05))
    again = pellucid.explain(NET, X, "lime", budget=Budget(**e.budget))
    assert e.budget["decided"] >= 8 and again.budget == e.budget
    assert again.attributions.tobytes() == e.attributions.tobytes()
    with opened(as_problem(NET, X), "lime", budget=Budget(**e.budget)) as run:
        assert run.parts[0][1].take([0, 1]).allowance(10**6) == e.budget["decided"]


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        (IntegratedGradients(steps=500), 502),
        (LimeNeighbours(neighbours=40), 82),
        (Lime(samples=300), 302),
        (KernelShapley(samples=15), 15),
    ],
)
def test_a_setting_is_exact_and_must_fit_the_budget(method, needs):
    with pytest.raises(BudgetError, match=f"at least {needs} evaluations"):
        pellucid.explain(NET, X, method, budget=needs - 1)
    assert pellucid.explain(NET, X, method, budget=needs).cost.evaluations <= needs


@pytest.mark.parametrize("method", ["integrated_gradients", "lime", "kernel_shapley", "occlusion"])
def test_no_more_is_spent_than_the_budget_allows(method):
    for budget in (12, 30, 200):
        assert pellucid.explain(NET, X, method, budget=budget).cost.evaluations <= budget


# What stands for the absent ----------------------------------------------------------------


def test_another_seed_changes_the_noise_of_the_method_alone():
    problem = as_problem(NET, X, removal=Noise(1.0, 4))
    with opened(problem, "lime", seed=3) as run:
        session = run.parts[0][1]
        other = run.parts[0][1].reseeded(8)  # nothing was asked of the first one yet
        assert torch.equal(other.references, session.references)
        np.testing.assert_array_equal(other.empty, session.empty)
        again = session.at(session.x).reseeded(5)
        assert torch.equal(again.references, session.references) and torch.equal(again.start, session.start)
        assert other.noise(0).random() != session.noise(0).random()


# Whole numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("count", [1, 12])
def test_lime_among_whole_numbers_draws_from_the_background(dtype, count):
    rows = torch.randint(0, 2, (5, 3), generator=torch.Generator().manual_seed(2)).to(dtype)
    background = torch.randint(0, 2, (count, 3), generator=torch.Generator().manual_seed(3)).to(dtype)

    def plane(x: np.ndarray) -> np.ndarray:
        x = x.astype(float)
        return 3 * x[:, 0] - 2 * x[:, 1]

    e = pellucid.explain(plane, rows.numpy(), "lime", background=background.numpy(), budget=2000)
    change = rows.double() - background.double().mean(0)
    np.testing.assert_allclose(e.values, (change * torch.tensor([3.0, -2.0, 0.0])).numpy(), atol=2e-2)


def test_whole_numbers_of_several_tensors_are_all_players():
    ids = {"left": torch.tensor([[1, 2], [3, 4]]), "right": torch.tensor([[5], [6]])}

    def total(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (left.sum(1) + 10 * right.sum(1)).astype(float)

    e = pellucid.explain(total, (ids["left"].numpy(), ids["right"].numpy()), "exact_shapley")
    np.testing.assert_allclose(e.attributions[:, :, 0], [[1, 2, 50], [3, 4, 60]])


class _Bright(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double().mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_distance_from_a_brighter_reference_does_not_wrap_around(dtype):
    image = torch.zeros(1, 1, 2, 2, dtype=dtype)
    e = InputMagnitude().explain(as_problem(_Bright(), image, background=torch.ones_like(image)))
    np.testing.assert_allclose(e.values, np.ones((1, 1, 2, 2)))


def test_edges_need_no_layout_of_the_players():
    image = torch.rand(2, 1, 4, 6)
    players = Players.shared(np.arange(24) // 12, ("upper", "lower"), kind="region")
    assert EdgeFilter().explain(as_problem(_Bright(), image, players=players)).values.shape == (2, 2)


# Cautions and records ----------------------------------------------------------------------


class _Flat(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0], 0 * x[:, 1], torch.sin(40 * x).prod(1)], 1)


@pytest.mark.parametrize(("method", "code"), [("saliency", "zero_gradient_unmoved"), ("lime", "poor_local_fit")])
def test_cautions_count_rows_not_questions(method, code):
    e = pellucid.explain(_Flat(), X, method, target="all", budget=200)
    (caution,) = [caution for caution in e.warnings if caution.code == code]
    assert caution.values["rows"] <= caution.values["total"] == 6


def test_joined_cautions_keep_the_largest_difference_and_the_gravest_word():
    one, other = (Caution.of("batch_coupled", grave, difference=d) for grave, d in (("yellow", 0.5), ("note", 0.1)))
    for order in ([one, other], [other, one]):
        (caution,) = merged(order)
        assert caution.severity == "yellow" and caution.values["difference"] == 0.5
    (red,) = merged([replace(other, severity="red"), one])
    assert red.severity == "red"


def test_a_record_does_not_share_memory_with_the_rows():
    x = X.clone()
    e = pellucid.explain(NET, x, "occlusion")
    before = np.array(e.rows)
    x.zero_()
    np.testing.assert_array_equal(e.rows, before)
    with pytest.raises(ValueError, match="read-only"):
        e.rows[0] = 1


def test_a_record_says_how_signed_gradients_were_pooled():
    players = Players.shared(np.array([0, 0, 1, 1]), ("a", "b"))
    signed, size = (pellucid.explain(NET, X, Saliency(signed_values=s), players=players) for s in (True, False))
    assert (signed.pooling, size.pooling) == ("sum", "norm")


def test_shares_of_nothing_and_everything_are_absent_and_present():
    """Blends at 0 and 1 are values; between them, a linear model is in between; nobody's elements stay."""
    weights = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    players = Players.shared(np.array([0, 0, 1, 2, -1, 2]), ("a", "b", "c"))
    problem = as_problem(lambda x: x @ weights.numpy(), rows.numpy(), players=players, removal=Constant(0.5))
    coalitions = np.array([[True, False, True], [False, False, False], [True, True, True]])
    with opened(problem, "test") as run:
        session = run.parts[0][1]
        whole = session.values(coalitions)
        np.testing.assert_array_equal(session.blends(torch.from_numpy(coalitions).double()), whole)
        labels = torch.from_numpy(players.labels[0].copy())
        elements = torch.from_numpy(coalitions).double()[:, labels.clamp(min=0)]
        np.testing.assert_array_equal(session.blends(elements, elements=True), whole)
        quarter = session.blends(torch.full((1, 3), 0.25))
        np.testing.assert_allclose(quarter[:, 0], whole[:, 1] + 0.25 * (whole[:, 2] - whole[:, 1]), atol=1e-12)

"""Integrated Hessians against closed forms, their slow twin, and what they must add up to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import built
from test_gradients import Formula, rows

import pellucid
from pellucid.methods import IntegratedHessians
from pellucid.players import Patches, Players
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.removals import Constant


def explained(formula, x, **settings):
    return pellucid.explain(Formula(formula), x, "integrated_hessians", removal=Constant(0.0), **settings)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
def test_polynomials_are_shared_out_as_by_hand(dtype, tolerance):
    """From 0, a term Π xᵢ^aᵢ of degree d gives aᵢaⱼ/d² of itself to the ordered pair (i, j), also to i = j."""
    x = rows(dtype, [1.5, -2.0, 0.5])
    e = explained(lambda t: t[:, 0] * t[:, 1] + t[:, 2] ** 3 + t[:, 0] ** 2 * t[:, 2] + 4 * t[:, 1], x, steps=60)
    a, b, c = x[0].tolist()
    mixed, product = a**2 * c, a * b
    wanted = {
        (0,): product / 4 + mixed * 4 / 9, (1,): product / 4 + 4 * b, (2,): c**3 + mixed / 9,
        (0, 1): product / 2, (0, 2): mixed * 4 / 9, (1, 2): 0.0,
    }  # fmt: skip
    for players, value in wanted.items():
        assert abs(e.of(*players) - value) < tolerance, players
    assert e.gap[0] < tolerance


def slow(net, x, start, column, steps=60):
    """Equations 4 and 5 by loops over α, β and pairs, with a Hessian of autograd's."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    nodes, weights, delta = (nodes + 1) / 2, weights / 2, (x - start).numpy()
    table = np.zeros((len(x), len(x)))
    for a, wa in zip(nodes, weights, strict=True):
        for b, wb in zip(nodes, weights, strict=True):
            point = start + a * b * (x - start)
            hessian = torch.autograd.functional.hessian(lambda p: net(p[None])[0, column], point).numpy()
            slope = torch.autograd.functional.jacobian(lambda p: net(p[None])[0, column], point).numpy()
            table += wa * wb * (a * b * hessian * np.outer(delta, delta) + np.diag(slope * delta))
    return table


@pytest.mark.parametrize("name", ["softplus", "gated", "softmax"])
def test_integrated_hessians_equal_their_slow_twin(name):
    net, x = built(name)
    e = pellucid.explain(net, x[:1], IntegratedHessians(40), target=1, removal=Constant(0.1))
    wanted = slow(net, x[0], torch.full_like(x[0], 0.1), 1, 12)
    for i in range(5):
        assert abs(e.of(i) - wanted[i, i]) < 1e-5
        for j in range(i):
            assert abs(e.of(i, j) - wanted[i, j] - wanted[j, i]) < 1e-5


@pytest.mark.parametrize("name", ["gelu", "silu", "softplus", "gated", "softmax", "lstm", "vit", "convnext"])
def test_the_parts_of_a_player_add_up_to_its_integrated_gradients(name):
    net, x = built(name)
    players = Patches(4) if x.ndim == 4 else None
    given = {"target": 0, "players": players, "removal": Constant(0.05)}
    e = pellucid.explain(net, x, "integrated_hessians", **given)
    path = pellucid.explain(net, x, "integrated_gradients", steps=400, **given)
    assert e.gap.max() <= 1e-3 and np.max(e.notes["misfit"]) <= 1e-3
    for row in range(len(x)):
        together = e.order(1, row) + np.nan_to_num(e.order(2, row)).sum(1) / 2
        wanted = path.values[row].ravel()
        np.testing.assert_allclose(together, wanted, atol=4e-3 * np.abs(wanted).sum())


def test_groups_hold_the_sums_over_their_elements():
    net, x = built("gated")
    labels = np.array([0, 0, 1, 1, 2])
    grouped = pellucid.explain(
        net, x, IntegratedHessians(20), target=0, players=Players.shared(labels, ("a", "b", "c"))
    )
    single = pellucid.explain(net, x, IntegratedHessians(20), target=0)
    for row in range(len(x)):
        table = np.nan_to_num(single.order(2, row)) / 2 + np.diag(single.order(1, row))
        pooled = np.array([[table[labels == p][:, labels == q].sum() for q in range(3)] for p in range(3)])
        np.testing.assert_allclose(grouped.order(1, row), np.diag(pooled), atol=1e-12)
        for p, q in ((0, 1), (0, 2), (1, 2)):
            assert abs(grouped.order(2, row)[p, q] - 2 * pooled[p, q]) < 1e-12


@pytest.mark.parametrize(
    "name", ["relu_module", "relu_clamp", "relu_where", "residual", "max_pool_ties", "resnet", "unet"]
)
def test_networks_of_rectifiers_are_refused_with_what_would_help(name):
    net, x = built(name)
    players = Patches(4) if x.ndim == 4 else None
    with pytest.raises(
        NotApplicable, match=r"second derivative is zero everywhere.*% of a change.*Softplus\(beta=10\)"
    ):
        pellucid.explain(net, x, "integrated_hessians", target=0, players=players)


def test_a_linear_model_is_not_refused():
    for steps in (1, 4, 16):
        e = explained(lambda t: 3 * t[:, 0] - t[:, 1], rows(torch.float64, [1.0, 2.0]), steps=steps)
        assert abs(e.of(0) - 3) < 1e-12 and abs(e.of(1) + 2) < 1e-12 and e.of(0, 1) == 0.0
        e = explained(lambda t: t[:, 0] * t[:, 1], rows(torch.float64, [1.0, 2.0]), steps=steps)
        assert abs(e.of(0, 1) - 1) < 1e-12


def test_kinks_that_curvature_does_not_see_are_told():
    net, x = built("layer_norm")  # rectifiers behind layer norm: curved, and not enough
    e = pellucid.explain(net, x, "integrated_hessians", target=0)
    assert {"gap", "curvature_missed"} <= {caution.code for caution in e.warnings} and e.gap.max() > 0.01


def test_many_players_and_small_budgets():
    net, x = built("resnet")
    with pytest.raises(NotApplicable, match="192 players have 18,528 parts"):
        pellucid.explain(net, x, "integrated_hessians")
    net, x = built("gelu")
    assert pellucid.explain(net, x, "integrated_hessians", budget=50).notes["steps"] == [8] * 4
    with pytest.raises(BudgetError):
        pellucid.explain(net, x, IntegratedHessians(16), budget=50)
    e = pellucid.explain(net, x, IntegratedHessians(8), target=0)
    assert e.cost.gradients == 4 * 8 * 6 and e.cost.evaluations == 1 + 1 + 8 * 6

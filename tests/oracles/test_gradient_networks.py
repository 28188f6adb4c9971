"""The gradient family on networks as people write them: closed forms, autograd itself, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import NETWORKS, built, exported
from test_gradients import Formula, rows
from torch import nn

import pellucid
from pellucid.methods import (
    ExpectedGradients,
    InputXGradient,
    IntegratedGradients,
    IntegratedHessians,
    Saliency,
    SmoothGrad,
    SquareGrad,
    VarGrad,
)
from pellucid.players import Patches
from pellucid.removals import Constant

SPELLINGS = [name for name in NETWORKS if name.startswith("relu_") and name != "relu_module"]
FAMILY = [
    Saliency(), InputXGradient(), SmoothGrad(5), VarGrad(5), SquareGrad(5), IntegratedGradients(8),
    IntegratedGradients(40, "guided"), ExpectedGradients(12),
]  # fmt: skip
every = pytest.mark.parametrize("name", NETWORKS)
family = pytest.mark.parametrize("method", FAMILY, ids=lambda method: f"{method.name}-{getattr(method, 'path', '')}")


def by_autograd(net, x, column):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net(leaf)[:, column].sum(), leaf)[0].numpy()


@every
def test_one_gradient_is_autograds(name):
    net, x = built(name)
    for column in (0, 1):
        wanted = by_autograd(net, x, column)
        found = pellucid.explain(net, x, Saliency(signed_values=True), target=column)
        np.testing.assert_allclose(found.values, wanted, atol=1e-12)
        taken = pellucid.explain(net, x, InputXGradient(), target=column)
        np.testing.assert_allclose(taken.values, wanted * x.numpy(), atol=1e-12)


@every
def test_integrated_gradients_add_up_to_one_in_a_thousand(name):
    net, x = built(name, torch.float32)
    for start in (0.0, 0.1):
        e = pellucid.explain(net, x, "integrated_gradients", target="all", removal=Constant(start))
        assert e.gap.max() <= 1e-3 and "gap" not in [caution.code for caution in e.warnings]
        assert np.max(e.notes["steps"]) < 400


@pytest.mark.parametrize("start", [0.0, 0.1])
@pytest.mark.parametrize("name", ["relu_reused", "layer_norm", "max_pool_ties", "resnet", "vit", "encoder", "mixer"])
def test_adding_up_is_not_by_luck(name, start):
    """Each contribution, not their sum alone, is right to some percent of the largest.

    From a start without variance a layer norm bends within a thousandth of the path; fifty even points are off by 30 %.
    """
    net, x = built(name)
    fine = pellucid.explain(net, x, IntegratedGradients(5000), target=0, removal=Constant(start)).values
    e = pellucid.explain(net, x, "integrated_gradients", target=0, removal=Constant(start))
    away = np.abs(e.values - fine).reshape(len(x), -1).max(1) / np.abs(fine).reshape(len(x), -1).max(1)
    assert away.max() < 0.03


def test_points_gather_at_a_kink():
    kink = Formula(lambda t: torch.relu(t[:, 0] - 0.3) + 0 * t[:, 1])
    e = pellucid.explain(kink, rows(torch.float64, [1.0, 1.0]), "integrated_gradients", removal=Constant(0.0))
    np.testing.assert_allclose(e.values, [[0.7, 0.0]], atol=7e-4)
    assert e.cost.gradients < 300


@every
def test_an_exported_copy_is_explained_alike(name):
    net, x = built(name)
    copy = exported(net, x)
    for method in (Saliency(), IntegratedGradients(5), SmoothGrad(4)):
        one, other = (pellucid.explain(model, x, method, target=1).values for model in (net, copy))
        np.testing.assert_allclose(other, one, atol=1e-10 * max(np.abs(one).max(), 1), err_msg=method.name)


@family
def test_a_rectifier_is_a_rectifier_however_it_is_written(method):
    wanted = None
    for name in SPELLINGS:
        net, x = built(name)
        values = pellucid.explain(net, x, method, target=1, removal=Constant(0.1)).values
        wanted = values if wanted is None else wanted
        np.testing.assert_allclose(values, wanted, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "name", ["relu_in_place", "max_pool_ties", "resnet", "layer_norm", "softmax", "vit", "lstm", "encoder"]
)
@family
def test_a_row_alone_is_the_row_in_a_batch(name, method):
    net, x = built(name, torch.float32)
    e = pellucid.explain(net, x, method, target=1, removal=Constant(0.1))
    for row in (0, 3):
        alone = pellucid.explain(net, x[row : row + 1], method, target=1, removal=Constant(0.1))
        limit = 1e-5 * np.abs(e.values[row]).max()
        np.testing.assert_allclose(alone.values[0], e.values[row], atol=max(limit, 1e-9))


@pytest.mark.parametrize("name", ["gelu", "max_pool_ties", "transformer_fused"])
@family
def test_all_outputs_are_as_one_after_another(name, method):
    net, x = built(name)
    e = pellucid.explain(net, x, method, target="all")
    for column in range(3):
        np.testing.assert_allclose(
            e.values[..., column], pellucid.explain(net, x, method, target=column).values, atol=1e-10
        )


def bits(net):
    state = {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}
    hooks = [len(value) for module in net.modules() for name, value in vars(module).items() if name.endswith("hooks")]
    flags = [(parameter.requires_grad, parameter.grad is None) for parameter in net.parameters()]
    return state, hooks, flags, [module.training for module in net.modules()], torch.get_rng_state().numpy().tobytes()


class Trained(nn.Module):
    """Dropout and batch norm in training mode, an in-place write into a view of the rows."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(5, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.5),
            nn.Linear(8, 2),
        )

    def forward(self, x):
        x[:, 0] = 0
        x += 0.5
        h = self.drop(nn.functional.relu(self.norm(self.first(x)), inplace=True))
        if self.raises and len(x) > 2:
            raise ValueError("too many")
        return self.last(h)

    raises = False


@pytest.mark.parametrize("method", [*FAMILY, IntegratedHessians(3)], ids=lambda method: method.name)
def test_training_mode_and_writes_in_place_leave_no_trace(method):
    torch.manual_seed(0)
    net = Trained().double().train()
    net.norm.running_mean.uniform_(-1, 1)
    x = torch.randn(4, 5, dtype=torch.float64)
    net.first.weight.grad = torch.ones_like(net.first.weight)
    before, kept = bits(net), x.clone()
    if isinstance(method, IntegratedHessians):
        with pytest.raises(pellucid.PellucidError, match="second derivative"):
            pellucid.explain(net, x, method, target=0)
    else:
        trained = pellucid.explain(net, x, method, target=0)
        assert bits(net) == before and torch.equal(x, kept) and not x.requires_grad
        np.testing.assert_array_equal(pellucid.explain(net.eval(), x, method, target=0).values, trained.values)
        assert not trained.values[:, 0].any()  # overwritten before it is seen
        net.train()
    net.raises = True
    with pytest.raises(pellucid.PellucidError, match="too many"):
        pellucid.explain(net, x, method, target=0)
    net.raises = False
    assert bits(net) == before and torch.equal(x, kept)


@family
def test_what_is_not_looked_at_gets_nothing(method):
    net, x = built("gelu")
    with torch.no_grad():
        net.first.weight[:, 2] = 0.0
    assert not pellucid.explain(net, x, method, target=1).values[:, 2].any()


@pytest.mark.parametrize(
    "method", [Saliency(True), InputXGradient(), SmoothGrad(4), IntegratedGradients(8), ExpectedGradients(10)]
)
def test_explanations_of_a_weighted_sum_are_weighted_sums(method):
    net, x = built("gelu")
    one, other = (pellucid.explain(net, x, method, target=column).values for column in (0, 1))
    both = pellucid.explain(Formula(lambda t: 2 * net(t)[:, 0] - 3 * net(t)[:, 1]), x, method).values
    np.testing.assert_allclose(both, 2 * one - 3 * other, atol=1e-12)


def test_a_product_is_counted_twice_by_input_times_gradient():
    x = rows(torch.float64, [3.0, -2.0])
    assert pellucid.explain(Formula(lambda t: t[:, 0] * t[:, 1]), x, "input_x_gradient").values.tolist() == [
        [-6.0, -6.0]
    ]


def test_a_network_without_biases_is_its_input_times_gradient():
    net, x = built("relu_functional")
    for layer in (net.first, net.second, net.last):
        nn.init.zeros_(layer.bias)
    e = pellucid.explain(net, x, "input_x_gradient", target=1)
    np.testing.assert_allclose(e.values.sum(1), e.full[:, 0], atol=1e-12)  # Euler's theorem


def test_saturation_is_told_from_not_mattering():
    x = rows(torch.float64, [2.0, 1.0], [0.4, 1.0])
    for method in ("saliency", "input_x_gradient", "smoothgrad", "squaregrad"):
        e = pellucid.explain(Formula(lambda t: 1 - torch.relu(1 - t[:, 0])), x, method, removal=Constant(0.0))
        (caution,) = [caution for caution in e.warnings if caution.code.startswith("zero_gradient")]
        assert (caution.code, caution.values["rows"], caution.values["total"]) == ("zero_gradient", 1, 2), method
    e = pellucid.explain(Formula(lambda t: 0 * t[:, 0] + 3), x, "saliency", removal=Constant(0.0))
    assert [c.code for c in e.warnings if c.code.startswith("zero_gradient")] == ["zero_gradient_unmoved"]


def test_players_of_every_kind_are_pooled_as_the_method_says():
    net, x = built("resnet")
    fine = {method: pellucid.explain(net, x, method, target=0).values for method in FAMILY}
    for method, values in fine.items():
        coarse = pellucid.explain(net, x, method, target=0, players=Patches(4)).values
        cut = values.reshape(4, 3, 2, 4, 2, 4)
        if method.name in ("saliency", "squaregrad"):
            wanted = np.square(cut).sum((1, 3, 5)) ** 0.5 if method.name == "saliency" else cut.sum((1, 3, 5))
        elif method.name == "vargrad":
            continue  # the variance of the sum, not the sum of variances
        else:
            wanted = cut.sum((1, 3, 5))
        np.testing.assert_allclose(coarse, wanted.reshape(4, 4), atol=1e-10, err_msg=method.name)

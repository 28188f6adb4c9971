"""Gradient methods and occlusion against answers in closed form and slow twins written from the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.removals import Constant, Marginal

TYPES = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
both = pytest.mark.parametrize(("dtype", "tolerance"), TYPES, ids=["float64", "float32"])


class Formula(nn.Module):
    """A network that is a formula of its input."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(x)


def rows(dtype, *values):
    return torch.tensor(values, dtype=dtype)


def explained(formula, x, method, baseline=0.0, **settings):
    return pellucid.explain(Formula(formula), x, method, removal=Constant(baseline), **settings).values


@both
def test_a_linear_model_is_explained_by_its_weights(dtype, tolerance):
    w = torch.tensor([2.0, -3.0, 0.5, 0.0], dtype=dtype)
    x = torch.randn(6, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    start = torch.tensor([[0.3, -1.0, 2.0, 0.7]], dtype=dtype)
    wanted = (w * (x - start)).numpy()

    def linear(rows):
        return rows @ w + 0.25

    close = {"atol": tolerance, "rtol": tolerance}
    np.testing.assert_allclose(explained(linear, x, "saliency"), np.tile(w.abs().numpy(), (6, 1)), **close)
    np.testing.assert_allclose(
        explained(linear, x, "saliency", signed_values=True), np.tile(w.numpy(), (6, 1)), **close
    )
    for method in ("integrated_gradients", "occlusion", "exact_shapley", "kernel_shapley"):
        np.testing.assert_allclose(explained(linear, x, method, start), wanted, **close, err_msg=method)


@both
def test_integrated_gradients_of_a_cube_is_exact_from_two_points(dtype, tolerance):
    x = rows(dtype, [1.5, -0.7, 2.0])
    for steps in (2, 3, 50):
        values = explained(lambda t: (t**3).sum(1), x, "integrated_gradients", steps=steps)
        np.testing.assert_allclose(values, x.numpy() ** 3, rtol=tolerance, atol=tolerance)
    one = explained(lambda t: (t**3).sum(1), x, "integrated_gradients", steps=1)
    np.testing.assert_allclose(one, 0.75 * x.numpy() ** 3, rtol=tolerance)  # the midpoint rule: 3 (x/2)² · x


@both
def test_a_product_is_halved(dtype, tolerance):
    x = rows(dtype, [3.0, -2.0])
    for method in ("integrated_gradients", "exact_shapley"):
        settings = {"steps": 2} if method == "integrated_gradients" else {}
        values = explained(lambda t: t[:, 0] * t[:, 1], x, method, **settings)
        np.testing.assert_allclose(values, [[-3.0, -3.0]], rtol=tolerance)


@both
def test_saturation_hides_from_the_gradient_and_not_from_the_path(dtype, tolerance):
    def saturated(t):
        return 1 - torch.relu(1 - t[:, 0]) + 0 * t[:, 1]

    x = rows(dtype, [2.0, 1.0])
    assert explained(saturated, x, "saliency").tolist() == [[0.0, 0.0]]
    e = pellucid.explain(Formula(saturated), x, "saliency", removal=Constant(0.0))
    assert "zero_gradient" in [caution.code for caution in e.warnings]
    # The kink lies inside the path at a half, where no rule of points is exact.
    values = explained(saturated, x, "integrated_gradients", steps=2000)
    np.testing.assert_allclose(values, [[1.0, 0.0]], atol=2e-3)


@both
def test_maximum_and_minimum(dtype, tolerance):
    x = rows(dtype, [2.0, 1.0])

    def largest(t):
        return torch.maximum(t[:, 0], t[:, 1])

    path = explained(largest, x, "integrated_gradients", steps=4)
    np.testing.assert_allclose(path, [[2.0, 0.0]], atol=tolerance)
    np.testing.assert_allclose(explained(largest, x, "exact_shapley"), [[1.5, 0.5]], atol=tolerance)
    smallest = explained(lambda t: torch.minimum(t[:, 0], t[:, 1]), x, "exact_shapley")
    np.testing.assert_allclose(smallest, [[0.5, 0.5]], atol=tolerance)


def relu_network(dtype=torch.float64, seed=3, outputs=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, outputs)).to(dtype)


def test_completeness_gets_better_with_steps_as_the_paper_says():
    net, x = relu_network(), torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    worst = []
    for steps in (20, 50, 200, 1000):
        e = pellucid.explain(net, x, "integrated_gradients", steps=steps, removal=Constant(0.0))
        gap = np.abs(e.values.sum(1) - (e.full - e.base)[:, 0]) / np.abs(e.full - e.base).max()
        np.testing.assert_allclose(
            e.gap, np.abs(e.values.sum(1) - (e.full - e.base)[:, 0])
            / np.maximum(np.abs(e.values).sum(1), np.abs(e.full - e.base)[:, 0]), atol=1e-12,
        )  # fmt: skip
        worst.append(gap.max())
        assert worst[-1] < 1 / steps  # each kink of a path that is linear in between costs one part in steps
    assert worst[-1] < worst[0] / 10
    adaptive = pellucid.explain(net, x, "integrated_gradients", removal=Constant(0.0))
    spent = np.array(adaptive.notes["steps"])
    assert (adaptive.gap[spent < 1025] <= 1e-3).all() and (spent < 1025).mean() > 0.5
    assert (adaptive.gap.max() > 1e-3) == ("gap" in [caution.code for caution in adaptive.warnings])


def slow_path(net, x, start, column, steps):
    """Equation 1 by a loop: Gauss–Legendre points, one row and one point at a time."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (start + node * (x - start)).requires_grad_()
        (grad,) = torch.autograd.grad(net(point[None])[0, column], point)
        total += weight * grad
    return ((x - start) * total).numpy()


@both
def test_integrated_gradients_equals_its_slow_twin(dtype, tolerance):
    net = relu_network(dtype)
    x = torch.randn(7, 5, dtype=dtype, generator=torch.Generator().manual_seed(5))
    background = torch.randn(9, 5, dtype=dtype, generator=torch.Generator().manual_seed(6))
    e = pellucid.explain(
        net, x, "integrated_gradients", steps=13, removal=Marginal(background), target=[0, 1, 2] * 2 + [1]
    )
    for row in range(7):
        wanted = slow_path(net, x[row], background.mean(0), [0, 1, 2, 0, 1, 2, 1][row], 13)
        np.testing.assert_allclose(e.values[row], wanted, atol=tolerance * 10 if dtype == torch.float32 else tolerance)
    with torch.no_grad():  # a path starts at f(mean), not at the mean of f
        np.testing.assert_allclose(e.base[:, 0], net(background.mean(0)[None])[0, [0, 1, 2, 0, 1, 2, 1]], atol=1e-5)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion", "exact_shapley", "kernel_shapley"])
def test_an_unused_input_gets_nothing_and_equals_share_alike(method):
    def unused(t):
        return torch.tanh(t[:, 0] * t[:, 1] + t[:, 0] + t[:, 1])

    x = rows(torch.float64, [0.8, 0.8, 3.0], [-0.4, -0.4, 1.0])
    values = explained(unused, x, method)
    assert np.abs(values[:, 2]).max() <= 1e-15
    np.testing.assert_allclose(values[:, 0], values[:, 1], atol=1e-12)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion", "exact_shapley", "kernel_shapley"])
def test_explanations_of_a_sum_are_sums_of_explanations(method):
    def f(t):
        return torch.tanh(t[:, 0] * t[:, 1] - t[:, 2])

    def g(t):
        return torch.sin(t[:, 1] + t[:, 2])

    x = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    settings = {"steps": 32} if method == "integrated_gradients" else {}
    settings |= {"signed_values": True} if method == "saliency" else {}
    one, other = (explained(h, x, method, **settings) for h in (f, g))
    together = explained(lambda t: 2 * f(t) - 3 * g(t), x, method, **settings)
    np.testing.assert_allclose(together, 2 * one - 3 * other, atol=1e-10)


SPELLINGS = {
    "module": lambda: nn.ReLU(),
    "in place": lambda: nn.ReLU(inplace=True),
    "functional": lambda: torch.nn.functional.relu,
    "functional in place": lambda: torch.nn.functional.relu_,
    "clamp": lambda: lambda t: t.clamp(min=0),
    "where": lambda: lambda t: torch.where(t > 0, t, torch.zeros_like(t)),
    "maximum": lambda: lambda t: torch.maximum(t, torch.zeros_like(t)),
}


class Spelled(nn.Module):
    def __init__(self, rectify):
        super().__init__()
        generator = torch.Generator().manual_seed(8)
        self.first = nn.Parameter(torch.randn(6, 4, dtype=torch.float64, generator=generator))
        self.second = nn.Parameter(torch.randn(6, 6, dtype=torch.float64, generator=generator))
        self.third = nn.Parameter(torch.randn(2, 6, dtype=torch.float64, generator=generator))
        self.rectify = rectify

    def forward(self, x):
        return self.rectify(self.rectify(x @ self.first.T) @ self.second.T) @ self.third.T


class Plain(nn.Module):
    """The same network in a form that TorchScript can read."""

    def __init__(self):
        super().__init__()
        self.body = Spelled(nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(x @ self.body.first.t())
        return torch.relu(h @ self.body.second.t()) @ self.body.third.t()


def made_otherwise():
    """One function in all the ways that people write, script, trace and export it."""
    plain, example = Plain(), torch.randn(3, 4, dtype=torch.float64)
    yield from ((name, Spelled(make())) for name, make in SPELLINGS.items())
    yield "traced", torch.jit.trace(plain, example)
    yield "scripted", torch.jit.script(plain)
    program = torch.export.export(plain, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    yield "exported", program.module(check_guards=False)
    yield "data parallel", nn.DataParallel(plain)
    yield "symbolically traced", torch.fx.symbolic_trace(plain)


def test_the_same_function_written_otherwise_is_explained_alike():
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    wanted = {}
    for name, net in made_otherwise():
        for method, settings in (("integrated_gradients", {"steps": 20}), ("saliency", {}), ("exact_shapley", {})):
            values = pellucid.explain(net, x, method, removal=Constant(0.1), target=1, **settings).values
            wanted.setdefault(method, values)
            np.testing.assert_allclose(values, wanted[method], atol=1e-10, err_msg=f"{name}, {method}")


def test_rescaled_weights_change_nothing():
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(10))
    one, other = Spelled(nn.ReLU()), Spelled(nn.ReLU())
    with torch.no_grad():
        other.first.mul_(8.0)
        other.third.div_(8.0)
    for method in ("saliency", "integrated_gradients", "exact_shapley", "occlusion"):
        settings = {"steps": 16} if method == "integrated_gradients" else {}
        a, b = (
            pellucid.explain(net, x, method, removal=Constant(0.0), target=0, **settings).values for net in (one, other)
        )
        np.testing.assert_allclose(a, b, atol=1e-10, err_msg=method)


class Mixed(nn.Module):
    """Softmax, max pooling with ties, layer norm: what makes other tools mix the rows of a batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(11)
        self.convolution, self.norm, self.head = nn.Conv2d(1, 3, 3, padding=1), nn.LayerNorm(27), nn.Linear(27, 4)

    def forward(self, x):
        pooled = torch.nn.functional.max_pool2d(torch.relu(self.convolution(x)), 2)
        return torch.softmax(self.head(self.norm(pooled.flatten(1))), 1)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion", "kernel_shapley", "lime"])
def test_a_row_explained_alone_is_the_row_explained_in_a_batch(method):
    x = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(12), dtype=torch.float64)
    net = Mixed().double()
    settings = {"players": pellucid.players.Patches(3), "removal": Constant(0.0)}
    if method in ("kernel_shapley", "lime"):
        settings["samples"] = 60
    together = pellucid.explain(net, x, method, **settings).values
    turned = pellucid.explain(net, x.flip(0), method, **settings).values
    np.testing.assert_array_equal(turned[::-1], together)
    for row in range(6):
        alone = pellucid.explain(net, x[row : row + 1], method, **settings).values
        np.testing.assert_allclose(alone[0], together[row], atol=1e-10, err_msg=f"row {row}")


def test_occlusion_equals_its_slow_twin_windows_included():
    torch.manual_seed(13)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 16, 2)).double()
    x = torch.rand(2, 2, 6, 6, dtype=torch.float64)
    values = pellucid.explain(
        net, x, "occlusion", removal=Constant(0.3), players=pellucid.players.Pixels(), target=1, window=3, stride=2
    ).values
    with torch.no_grad():
        full = net(x)[:, 1]
        loss, hits = torch.zeros(2, 6, 6, dtype=torch.float64), torch.zeros(6, 6)
        for top in (0, 2, 3):  # the last window ends at the edge
            for left in (0, 2, 3):
                gone = x.clone()
                gone[:, :, top : top + 3, left : left + 3] = 0.3
                loss[:, top : top + 3, left : left + 3] += (full - net(gone)[:, 1])[:, None, None]
                hits[top : top + 3, left : left + 3] += 1
    wanted = (loss / hits.clamp(min=1)).reshape(2, -1).numpy()
    np.testing.assert_allclose(values.reshape(2, -1), wanted, atol=1e-12)


def test_a_group_gets_the_norm_of_its_gradient_and_the_sum_of_its_path():
    w = torch.tensor([3.0, 4.0, -2.0], dtype=torch.float64)
    players = pellucid.players.Players.shared(np.array([0, 0, 1]), ("pair", "single"))
    x = rows(torch.float64, [1.0, 2.0, 5.0])
    given = {"players": players, "removal": Constant(0.0)}
    assert pellucid.explain(Formula(lambda t: t @ w), x, "saliency", **given).values.tolist() == [[5.0, 2.0]]
    path = pellucid.explain(Formula(lambda t: t @ w), x, "integrated_gradients", steps=2, **given).values
    np.testing.assert_allclose(path, [[11.0, -10.0]], atol=1e-12)


def test_a_duplicated_column_is_shared_by_shapley_and_lost_on_single_removal():
    x = rows(torch.float64, [1.0, 1.0, 0.0])

    def either(t):
        return torch.maximum(t[:, 0], t[:, 1])

    np.testing.assert_allclose(explained(either, x, "exact_shapley"), [[0.5, 0.5, 0.0]], atol=1e-15)
    assert explained(either, x, "occlusion").tolist() == [[0.0, 0.0, 0.0]]
    values = explained(lambda t: t[:, 0] * t[:, 1], x, "occlusion")
    assert values.tolist() == [[1.0, 1.0, 0.0]]

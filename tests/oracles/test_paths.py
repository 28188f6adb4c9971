"""Integrated gradients along other paths, from other starts and a background: closed forms and slow twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import built
from scipy import stats
from test_gradients import Formula, rows
from torch import nn

import pellucid
from pellucid.catalog import find
from pellucid.methods import ExpectedGradients, IntegratedGradients
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.records.players import Players
from pellucid.removals import Constant, Marginal

# Blurred and guided paths ------------------------------------------------------------------------------------------


def blurred(image, sigma):
    """An image ``[H, W]`` under a Gaussian whose weights are normalised pixel by pixel, by loops."""

    def kernel(size):
        away = np.arange(size)[:, None] - np.arange(size)
        weights = np.exp(-(away**2) / (2 * max(sigma, 1e-3) ** 2))
        return weights / weights.sum(1, keepdims=True)

    return kernel(image.shape[0]) @ image @ kernel(image.shape[1]).T


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_blurred_path_shares_out_a_linear_function_by_what_blurring_took(dtype, tolerance):
    """f = ⟨w, x⟩: the integral of w ∘ dγ is w ∘ (x − blurred x), whatever the way in between."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(7, 9, dtype=dtype, generator=generator)
    x = torch.rand(2, 1, 7, 9, dtype=dtype, generator=generator)
    e = pellucid.explain(Formula(lambda t: (t[:, 0] * w).sum((1, 2))), x, IntegratedGradients(80, "blur"))
    for row in range(2):
        image = x[row, 0].double().numpy()
        wanted = w.double().numpy() * (image - blurred(image, 9 / 4))
        np.testing.assert_allclose(e.values[row, 0], wanted, atol=tolerance)
    assert e.gap.max() < max(tolerance, 1e-9) and e.removal == {"name": "a blurred path"}
    assert "zero_baseline" not in [caution.code for caution in e.warnings]  # nothing was replaced by zero


@pytest.mark.parametrize("name", ["resnet", "convnext", "vit", "max_pool_ties"])
def test_the_blurred_path_equals_its_slow_twin(name):
    """A Riemann sum of gradients times the change of the image, over a thousand finely spaced blurs."""
    net, x = built(name)
    e = pellucid.explain(net, x[:1], IntegratedGradients(2000, "blur"), target=0)
    sigmas = x.shape[-1] / 4 * (1 - np.linspace(0, 1, 1501)) ** 2
    images = np.array([[blurred(channel, sigma) for channel in x[0].numpy()] for sigma in sigmas])
    middle = torch.from_numpy((images[1:] + images[:-1]) / 2).requires_grad_()
    (slopes,) = torch.autograd.grad(net(middle)[:, 0].sum(), middle)
    wanted = (slopes.numpy() * np.diff(images, axis=0)).sum(0)
    np.testing.assert_allclose(e.values[0], wanted, atol=5e-3 * np.abs(wanted).max())


def test_a_blurred_path_needs_neighbours():
    net, x = built("gelu")
    with pytest.raises(NotApplicable, match="a blurred path needs images"):
        pellucid.explain(net, x, IntegratedGradients(path="blur"))


def slow_guided(net, x, start, column, steps, anchors=20, fraction=0.25):
    """Algorithm 1 of Kapishnikov et al. by loops, between anchors, with the gradients at both ends of a step."""

    def slope(point):
        leaf = point.clone().requires_grad_()
        return torch.autograd.grad(net(leaf[None])[0, column], leaf)[0].flatten()

    shape, row, origin = x.shape, x.flatten(), start.flatten()
    point, total = origin.clone(), torch.zeros_like(row)
    now = slope(point.reshape(shape))
    for bounds in np.array_split(np.arange(steps), anchors):
        goal = origin + (bounds[-1] + 1) / steps * (row - origin)
        whole = (goal - point).abs().sum()
        for step in range(len(bounds)):
            target, key, moved = whole * (1 - (step + 1) / len(bounds)), now.abs().clone(), point.clone()
            key[moved == goal] = torch.inf
            order = key.sort(stable=True).indices.tolist()
            size = max(int(fraction * len(order)), 1)
            for first in range(0, len(order), size):
                chosen = order[first : first + size]
                left = float((goal - moved).abs().sum() - target)
                there = float((goal - moved)[chosen].abs().sum())
                if there > left:
                    moved[chosen] += max(left, 0.0) / there * (goal - moved)[chosen]
                    break
                moved[chosen] = goal[chosen]
            after = slope(moved.reshape(shape))
            total += (now + after) / 2 * (moved - point)
            point, now = moved, after
    return total.reshape(shape).numpy()


@pytest.mark.parametrize("name", ["gelu", "softmax", "gated", "transformer_plain"])
def test_the_guided_path_equals_its_slow_twin(name):
    net, x = built(name)
    start = torch.full_like(x[:1], 0.05)
    e = pellucid.explain(net, x, IntegratedGradients(path="guided", steps=60), target=1, removal=Constant(0.05))
    for row in range(len(x)):
        wanted = slow_guided(net, x[row], start[0], 1, 60)
        np.testing.assert_allclose(e.values[row], wanted, atol=1e-9 * np.abs(wanted).max() + 1e-12)


@pytest.mark.parametrize("name", ["relu_functional", "resnet", "vit", "lstm", "layer_norm"])
@pytest.mark.parametrize("path", ["straight", "blur", "guided"])
def test_every_path_adds_up_or_says_so(name, path):
    net, x = built(name)
    if path == "blur" and x.ndim != 4:
        pytest.skip("a blurred path needs images")
    e = pellucid.explain(net, x, IntegratedGradients(path=path), target="all")
    warned = "gap" in [caution.code for caution in e.warnings]
    assert (e.gap.max() > 1e-3) == warned and e.gap.max() < 2e-2


def test_settings_of_paths_are_data():
    method = IntegratedGradients(steps=20, path="guided", spread=True)
    assert find("methods", "integrated_gradients", method.settings()) == method
    assert find("methods", "integrated_gradients", {"path": "guided", "steps": "20", "spread": "yes"}) == method
    assert "linearity" not in method.promises and "linearity" in IntegratedGradients().promises
    with pytest.raises(NotApplicable, match="is none of 'straight', 'blur', 'guided'"):
        IntegratedGradients(path="winding")


# The spread over starts --------------------------------------------------------------------------------------------


def test_the_spread_of_a_linear_model_is_that_of_its_starts():
    """f = ⟨w, x⟩ in a table: contributions are w ∘ (x − start), so they move by |w| times the starts' range."""
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    background = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 2.0], [5.0, 4.0, 2.0]], dtype=torch.float64)
    x = rows(torch.float64, [3.0, 1.0, 9.0])
    e = pellucid.explain(Formula(lambda t: t @ w), x, IntegratedGradients(2, spread=True), background=background)
    starts = np.array([[2, 2, 2], [0, 0, 0], [1, 1, 2]])  # mean, zero, median
    np.testing.assert_allclose(e.spread[0], np.abs(w.numpy()) * np.ptp(starts, axis=0), atol=1e-12)
    assert e.notes["starts"] == ["zero", "median"]  # the mean is its own
    np.testing.assert_array_equal(e.to_frame()["spread"], e.spread[0])
    plain = pellucid.explain(Formula(lambda t: t @ w), x, IntegratedGradients(2), background=background)
    np.testing.assert_array_equal(plain.values, e.values)
    assert plain.spread is None and "spread" not in plain.to_frame()


def test_a_start_that_turns_the_strongest_contribution_is_told():
    """At x = 1 the start 0 gives +, the background's mean of 3 gives −."""
    background = rows(torch.float64, [2.0, 0.0], [4.0, 0.0])
    x = rows(torch.float64, [1.0, 0.1])
    e = pellucid.explain(Formula(lambda t: t.sum(1)), x, IntegratedGradients(spread=True), background=background)
    (caution,) = [caution for caution in e.warnings if caution.code == "other_starts"]
    assert caution.values["rows"] == 1
    calm = pellucid.explain(
        Formula(lambda t: t.sum(1)), 10 * x, IntegratedGradients(spread=True), background=background
    )
    assert "other_starts" not in [caution.code for caution in calm.warnings]


def test_images_have_three_starts_and_the_record_keeps_the_spread(tmp_path):
    net, x = built("resnet")
    e = pellucid.explain(net, x, IntegratedGradients(spread=True), target=0, removal=Constant(0.5))
    assert e.notes["starts"] == ["zero", "mean", "blurred"]
    assert e.spread.shape == e.values.shape and (e.spread >= 0).all() and e.spread.any()
    back = type(e).load(e.save(tmp_path / "e"))
    np.testing.assert_array_equal(back.spread, e.spread)
    with pytest.raises(BudgetError):
        pellucid.explain(net, x, IntegratedGradients(20, spread=True), target=0, budget=60)


# Expected gradients ------------------------------------------------------------------------------------------------


def slow_expected(net, x, background, column, steps=200):
    """Integrated gradients from every reference row, averaged."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = np.zeros(x.shape)
    for start in background:
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = (start + node * (x - start)).requires_grad_()
            (grad,) = torch.autograd.grad(net(point[None])[0, column], point)
            total += weight * ((x - start) * grad).detach().numpy() / len(background)
    return total


def test_expected_gradients_are_the_mean_over_the_background_within_their_errors():
    net, x = built("gelu")
    background = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = np.array([slow_expected(net, row, background, 1, 40) for row in x])
    found = [
        pellucid.explain(net, x, "expected_gradients", target=1, background=background, seed=seed) for seed in range(40)
    ]
    values, errors = np.array([e.values for e in found]), np.array([e.stderr for e in found])
    scatter = np.sqrt(np.square(values - wanted).mean(0))
    np.testing.assert_allclose(np.sqrt(np.square(errors).mean(0)) / scatter, 1.0, atol=0.5)
    inside = np.abs(values - wanted) <= stats.t.ppf(0.975, 9) * errors  # ten designs
    assert 0.91 < inside.mean() < 0.98
    exact = pellucid.explain(net, x, ExpectedGradients(100_000), target=1, background=background)
    np.testing.assert_allclose(exact.values, wanted, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_linear_model_leaves_nothing_to_chance(dtype):
    """w ∘ (x − mean of the background): every row of the background occurs equally often, and α does not matter."""
    w = torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
    background = torch.randn(6, 3, dtype=dtype, generator=torch.Generator().manual_seed(2))
    x = torch.randn(3, 3, dtype=dtype, generator=torch.Generator().manual_seed(3))
    e = pellucid.explain(Formula(lambda t: t @ w), x, "expected_gradients", background=background)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(e.values, (w * (x - background.mean(0))).numpy(), atol=tolerance)
    np.testing.assert_allclose(e.notes["left_over"], 0.0, atol=tolerance)
    assert e.stderr.max() < tolerance and np.isnan(e.gap).all()


def test_the_number_of_points_is_exact_where_it_is_given():
    net, x = built("gelu")
    background = torch.randn(7, 5, dtype=torch.float64)
    for samples in (4, 19, 53, 200):
        e = pellucid.explain(net, x, ExpectedGradients(samples), background=background)
        assert e.notes["samples"] == samples and e.cost.gradients == 4 * samples
    assert pellucid.explain(net, x, "expected_gradients", background=background).notes["samples"] == 140  # 10 × 2 × 7
    assert pellucid.explain(net, x, "expected_gradients", background=background, budget=42).notes["samples"] == 40
    with pytest.raises(BudgetError):
        pellucid.explain(net, x, ExpectedGradients(50), background=background, budget=42)


def test_rows_with_references_of_their_own():
    net, x = built("resnet")
    removal = pellucid.removals.Noise(1.0, draws=5)
    e = pellucid.explain(net, x, "expected_gradients", target=0, removal=removal)
    assert np.isfinite(e.values).all() and np.abs(e.notes["left_over"]).max() < np.abs(e.full - e.base).max()
    alone = pellucid.explain(net, x[2:3], "expected_gradients", target=0, removal=removal)
    np.testing.assert_allclose(alone.values[0], e.values[2], atol=1e-10)


# Numbers -----------------------------------------------------------------------------------------------------------


def test_a_cube_is_exact_in_double_precision():
    """Steps in float32 would leave 1e-8 here."""
    x = rows(torch.float64, [1.5, -0.7, 2.0])
    e = pellucid.explain(Formula(lambda t: (t**3).sum(1)), x, IntegratedGradients(3), removal=Constant(0.0))
    np.testing.assert_allclose(e.values, x.numpy() ** 3, rtol=1e-15)


class Jump(nn.Module):
    def forward(self, x):
        return (x > 0.3).to(x).sum(1) + 0 * x.sum(1)


def test_what_a_path_cannot_see_is_told():
    e = pellucid.explain(
        Jump(), rows(torch.float64, [1.0, 1.0]), "integrated_gradients", removal=Marginal(torch.zeros(1, 2))
    )
    assert e.gap[0] == 1.0 and "gap" in [caution.code for caution in e.warnings]


def test_steps_are_raised_until_the_players_own_gap_is_small():
    """Elements of one player that cancel each other count for the sum that they miss, and not for its scale."""

    class Cancelling(torch.nn.Module):
        def forward(self, x):
            bent = torch.tanh(3 * x[:, 0] - 1) + torch.sigmoid(9 * x[:, 2] - 4)
            return (40 * (x[:, 0] - x[:, 1]) + bent)[:, None]

    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.99, 0.9]])
    players = Players.shared(np.array([0, 0, 1]), ("both", "bent"))
    e = pellucid.explain(Cancelling(), rows, "integrated_gradients", players=players, target=0)
    assert np.nanmax(e.gap) <= 1e-3 and "gap" not in [caution.code for caution in e.warnings]

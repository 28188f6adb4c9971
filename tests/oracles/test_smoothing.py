"""Smoothing: closed forms of averages over noise, slow twins, and one pass of gradients instead of many calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import built
from test_gradients import Formula

import pellucid
from pellucid.catalog import find
from pellucid.doors.question import as_problem
from pellucid.engine.caller import Caller
from pellucid.engine.opening import opened
from pellucid.engine.session import Session
from pellucid.methods import (
    DeepLift,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerCam,
    Lrp,
    Occlusion,
    Saliency,
    ShapleyInteractions,
    SmoothGrad,
)
from pellucid.methods.from_gradient import FromGradient
from pellucid.methods.noisy_rows import NoisyRows
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.records.explanation import Explanation
from pellucid.removals import Constant

DOUBLE = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DOUBLE)
def test_the_gradient_of_a_linear_model_is_its_weights_under_any_noise(dtype):
    w = torch.tensor([2.0, -3.0, 0.5, 0.0], dtype=dtype)
    x = torch.randn(5, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    for noise in (0.01, 0.15, 3.0):
        e = pellucid.explain(Formula(lambda t: t @ w + 1), x, "smoothgrad", noise=noise, samples=7)
        np.testing.assert_allclose(e.values, np.tile(w.numpy(), (5, 1)), rtol=1e-6)
        np.testing.assert_array_equal(e.stderr, 0.0)
        assert not pellucid.explain(Formula(lambda t: t @ w), x, "vargrad", noise=noise, samples=7).values.any()
        square = pellucid.explain(Formula(lambda t: t @ w), x, "squaregrad", noise=noise, samples=7).values
        np.testing.assert_allclose(square, np.tile(w.numpy() ** 2, (5, 1)), rtol=1e-6)


def test_a_square_has_the_moments_of_its_noise():
    """f = Σ xᵢ²: the gradient 2(x + ε) has mean 2x, variance 4σ², mean square 4x² + 4σ²; input × gradient 2x² + 2σ²."""
    x = torch.tensor([[1.0, -0.5, 0.25]], dtype=torch.float64)
    sigma = 0.2 * np.abs(x.numpy())  # beside a background of zeros a column's range is |x|
    given = {"samples": 20_000, "noise": 0.2, "removal": Constant(0.0)}
    wanted = {
        "smoothgrad": 2 * x.numpy(),
        "vargrad": 4 * sigma**2,
        "squaregrad": 4 * x.numpy() ** 2 + 4 * sigma**2,
        "smoothed": 2 * x.numpy() ** 2 + 2 * sigma**2,
    }
    for method, values in wanted.items():
        e = pellucid.explain(Formula(lambda t: (t**2).sum(1)), x, method, **given)
        assert (np.abs(e.values - values) <= 4 * e.stderr).all(), method
        assert (e.stderr <= 0.02 * np.abs(values)).all(), method


def test_standard_errors_tell_the_scatter_over_seeds():
    net, x = built("gelu")
    for method in ("smoothgrad", "vargrad", "squaregrad"):
        runs = [pellucid.explain(net, x, method, samples=40, seed=seed, target=0) for seed in range(60)]
        found = np.array([e.values for e in runs])
        told = np.sqrt(np.mean([e.stderr**2 for e in runs], axis=0))
        ratio = np.median(found.std(0, ddof=1) / told)
        assert 0.8 < ratio < 1.25, f"{method}: {ratio:.2f}"


@pytest.mark.parametrize("name", ["relu_functional", "max_pool_ties", "resnet", "vit", "lstm"])
def test_the_one_pass_equals_one_call_for_each_copy(name):
    net, x = built(name)
    for of in (Saliency(), Saliency(signed_values=True), InputXGradient()):
        for how in ("mean", "variance", "square"):
            e = pellucid.explain(net, x, of.smoothed(6, how=how), target=1)
            copies = _copies(net, x, 6)
            each = np.array([pellucid.explain(net, copies[:, j], of, target=1).values for j in range(6)])
            wanted = {"mean": each.mean(0), "variance": each.var(0, ddof=1), "square": (each**2).mean(0)}[how]
            np.testing.assert_allclose(
                e.values, wanted, atol=1e-12 + 1e-9 * np.abs(wanted).max(), err_msg=f"{of}, {how}"
            )


def _copies(net, x, samples, noise=0.15):
    """The noisy rows that a smoothed method makes, ``[N, samples, …]``, in the caller's order."""
    problem = as_problem(net, x, target=1, fine=True)
    found = torch.zeros(len(x), samples, *x.shape[1:], dtype=x.dtype)
    with opened(problem, "smoothed") as run:
        for rows, session in run.parts:
            made = NoisyRows(session, samples, noise).of_all(np.arange(samples))
            found[torch.from_numpy(rows)] = made.reshape(len(rows), samples, *x.shape[1:])
    return found


def test_the_noise_is_a_share_of_the_range():
    net, x = built("resnet")
    away = (_copies(net, x, 400, 0.3) - x[:, None]).flatten(1)
    spans = x.flatten(1).amax(1) - x.flatten(1).amin(1)
    np.testing.assert_allclose(away.std(1) / spans, 0.3, rtol=0.02)  # an image's own range, as in the paper
    table = torch.tensor([[0.0, 100.0], [1.0, 300.0]], dtype=torch.float64)
    e = pellucid.explain(
        Formula(lambda t: (t**2).sum(1)), table[:1], "vargrad", samples=5000, noise=0.1, background=table
    )
    np.testing.assert_allclose(e.values, [[4 * 0.1**2, 4 * 20.0**2]], rtol=0.1)  # each column's own range


def test_any_method_can_be_smoothed_and_batches_do_not_matter():
    net, x = built("resnet")
    method = Occlusion().smoothed(5)
    players = pellucid.players.Patches(4)
    e = pellucid.explain(net, x, method, target=1, players=players)
    copies = _copies(net, x, 5)
    each = [pellucid.explain(net, copies[:, j], Occlusion(), target=1, players=players).values for j in range(5)]
    np.testing.assert_allclose(e.values, np.mean(each, 0), atol=1e-12)
    np.testing.assert_allclose(e.stderr, np.std(each, 0, ddof=1) / 5**0.5, atol=1e-12)
    assert np.isnan(e.gap).all()


@pytest.mark.parametrize(
    "of", [DeepLift(), Lrp(), GuidedBackprop(), LayerCam(), IntegratedGradients(5)], ids=lambda of: of.name
)
def test_what_walks_or_looks_inside_is_smoothed_too(of):
    net, x = built("resnet")
    e = pellucid.explain(net, x, of.smoothed(3), target=1, players=pellucid.players.Patches(4))
    copies = _copies(net, x, 3)
    players = {"target": 1, "players": pellucid.players.Patches(4)}
    each = [pellucid.explain(net, copies[:, j], of, **players).values for j in range(3)]
    np.testing.assert_allclose(e.values, np.mean(each, 0), atol=1e-9 * np.abs(each).max())


def test_targets_see_the_same_noise():
    net, x = built("gelu")
    together = pellucid.explain(net, x, "smoothgrad", target="all", samples=9)
    for target in range(3):
        alone = pellucid.explain(net, x, "smoothgrad", target=target, samples=9)
        np.testing.assert_allclose(together.values[..., target], alone.values, atol=1e-12)


def test_no_method_is_run_for_each_copy(monkeypatch):
    """25 copies are 25 rows of one sum of gradients, not 25 calls; the rows of a batch are all that is held."""
    net, x = built("resnet")
    calls, held = [], []
    estimate, slopes = FromGradient.estimate, Caller.slopes
    monkeypatch.setattr(FromGradient, "estimate", lambda *given: calls.append(1) or estimate(*given))
    monkeypatch.setattr(
        Caller, "slopes", lambda self, flat, *given: held.append(len(flat)) or slopes(self, flat, *given)
    )
    e = pellucid.explain(net, x, SmoothGrad(samples=200))
    assert not calls and max(held) <= e.cost.batch and sum(held) == 800 == e.cost.gradients


def test_a_smoothed_method_is_data_and_comes_back():
    net, x = built("gelu")
    for method in (SmoothGrad(noise=0.3), Saliency(True).smoothed(4, 0.2, "variance"), Occlusion().smoothed(3)):
        e = pellucid.explain(net, x, method, target=0)
        again = find("methods", e.method, dict(Explanation.from_parts(*_through_a_file(e)).settings))
        assert again == method
        np.testing.assert_array_equal(pellucid.explain(net, x, again, target=0).values, e.values)
    assert find("methods", "smoothed", {"of": "occlusion", "samples": "3"}) == Occlusion().smoothed(3)


def _through_a_file(e):
    import io
    import json

    with np.load(io.BytesIO(e.to_bytes()), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("record").tobytes()), arrays


def test_a_budget_buys_fewer_copies_and_a_given_number_is_exact():
    net, x = built("gelu")
    assert pellucid.explain(net, x, "smoothgrad", budget=10).notes["samples"] == 8
    assert pellucid.explain(net, x, Occlusion().smoothed(), budget=30).notes["samples"] == 4
    with pytest.raises(BudgetError):
        pellucid.explain(net, x, "smoothgrad", samples=20, budget=10)


def test_what_cannot_be_smoothed_is_told():
    with pytest.raises(NotApplicable, match="cannot be smoothed"):
        ShapleyInteractions().smoothed()
    with pytest.raises(NotApplicable, match="noise cannot be added"):
        pellucid.explain(lambda rows: [[len(row)] for row in rows], [["a", "b"]], Occlusion().smoothed())
    with pytest.raises(NotApplicable, match="out of range"):
        Saliency().smoothed(1)


def test_a_session_of_copies_has_noise_of_its_own_for_each():
    net, x = built("gelu")
    problem = as_problem(net, x, target=0)
    with opened(problem, "any") as run:
        ((_, session),) = run.parts
        points = session.x[:, None].repeat(1, 3, 1)
        copies: Session = session.copies(points, [0, 1, 2])
        other: Session = session.copies(points[:, 1:], [1, 2])
    draws = np.array([copies.noise(question).random() for question in range(copies.questions)])
    assert len(set(draws)) == 12
    np.testing.assert_array_equal(draws.reshape(4, 3)[:, 1:].ravel(), [other.noise(q).random() for q in range(8)])

"""Captum itself, where it is installed, beside what stands here under its names: the same call, the same numbers.

The networks are such that captum is right about them: modules used once, no softmax, no pooling with ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.compat.captum import attr

theirs = pytest.importorskip("captum.attr", exc_type=ImportError)

torch.manual_seed(0)
NET = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
RELU = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
PICTURES = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()
X, B, D, IMAGES = torch.randn(3, 6), torch.randn(3, 6) * 0.1, torch.randn(20, 6) * 0.3, torch.rand(2, 3, 8, 8)
MASK = torch.tensor([[0, 0, 1, 1, 2, 2]])


def scaled(x: Tensor, by: Tensor) -> Tensor:
    return NET(x) * by


CALLS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "saliency": (lambda L: L.Saliency(NET).attribute(X, 1), 1e-6),
    "input x gradient": (lambda L: L.InputXGradient(NET).attribute(X, [1, 0, 2]), 1e-6),
    "integrated": (
        lambda L: L.IntegratedGradients(NET).attribute(X, B, 1, None, 50, "gausslegendre", None, True),
        1e-6,
    ),
    "deeplift": (lambda L: L.DeepLift(NET).attribute(X, B, 1, None, True), 1e-6),
    "deepshap": (lambda L: L.DeepLiftShap(NET).attribute(X, D, 1), 1e-6),
    "gradient shap": (lambda L: L.GradientShap(NET).attribute(X, D, 2000, 0.0, 1), 2e-3),
    "guided": (lambda L: L.GuidedBackprop(RELU).attribute(X, 1), 1e-6),
    "deconvolution": (lambda L: L.Deconvolution(RELU).attribute(X, 1), 1e-6),
    "lrp": (lambda L: L.LRP(RELU).attribute(X, 1, None, True), 1e-6),
    "ablation": (lambda L: L.FeatureAblation(NET).attribute(X, B, 1, None, MASK), 1e-6),
    "occlusion": (lambda L: L.Occlusion(PICTURES).attribute(IMAGES, (1, 4, 4), (1, 2, 2), 0.5, 1), 1e-6),
    "shapley": (lambda L: L.ShapleyValues(NET).attribute(X, B, 1), 1e-6),
    "orders": (lambda L: L.ShapleyValueSampling(NET).attribute(X, B, 1, n_samples=1000), 4e-3),
    "kernel": (lambda L: L.KernelShap(NET).attribute(X[:1], B[:1], 1, n_samples=5000), 5e-3),
    "noise": (lambda L: L.NoiseTunnel(L.Saliency(NET)).attribute(X, "smoothgrad_sq", 2000, None, 0.2, target=1), 1e-3),
    "activation": (lambda L: L.LayerActivation(NET, NET[0]).attribute(X), 1e-6),
    "layer x gradient": (lambda L: L.LayerGradientXActivation(NET, NET[0]).attribute(X, 1), 1e-6),
    "conductance": (lambda L: L.LayerConductance(NET, NET[0]).attribute(X, B, 1, n_steps=500), 5e-4),
    "influence": (lambda L: L.InternalInfluence(NET, NET[0]).attribute(X, B, 1, n_steps=200), 1e-6),
    "layer integrated": (lambda L: L.LayerIntegratedGradients(NET, NET[0]).attribute(X, B, 1, n_steps=100), 1e-6),
    "layer deeplift": (lambda L: L.LayerDeepLift(NET, NET[0]).attribute(X, B, 1), 1e-6),
    "layer ablation": (lambda L: L.LayerFeatureAblation(NET, NET[0]).attribute(X, None, 1), 1e-6),
    "grad-cam": (lambda L: L.LayerGradCam(PICTURES, PICTURES[0]).attribute(IMAGES, 1), 1e-6),
    "guided grad-cam": (lambda L: L.GuidedGradCam(PICTURES, PICTURES[0]).attribute(IMAGES, 1), 1e-6),
    "neuron": (lambda L: L.NeuronGradient(NET, NET[0]).attribute(X, 2), 1e-6),
    "neuron integrated": (lambda L: L.NeuronIntegratedGradients(NET, NET[2]).attribute(X, 2, B, n_steps=100), 1e-6),
    "neuron conductance": (lambda L: L.NeuronConductance(NET, NET[0]).attribute(X, 2, B, 1, n_steps=500), 5e-4),
    "neuron deeplift": (lambda L: L.NeuronDeepLift(NET, NET[2]).attribute(X, 2, B), 1e-6),
    "further arguments": (lambda L: L.Saliency(scaled).attribute(X, 1, True, B[:, :3]), 1e-6),
    "two inputs": (lambda L: L.IntegratedGradients(scaled).attribute((X, B[:, :3]), target=1, n_steps=50), 1e-6),
    "delta": (lambda L: L.IntegratedGradients(NET).compute_convergence_delta(X, B, X, target=1), 1e-6),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same_numbers(name: str) -> None:
    call, limit = CALLS[name]
    torch.manual_seed(1)  # captum draws from torch's own state
    due, found = call(theirs), call(attr)
    pairs = zip(due, found, strict=True) if isinstance(due, tuple) else [(due, found)]
    for one, other in pairs:
        assert one.shape == other.shape and one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=10 * limit, atol=limit)

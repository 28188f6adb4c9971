"""NaN, infinity and dead gradients are told with the layer where they begin, forward and backward; nothing is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.records.errors import PellucidError

X = torch.randn(4, 4, generator=torch.Generator().manual_seed(3))


class Log(nn.Module):
    """−∞ at 0, which is only seen further on; its fault all the same."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x.clamp(min=0))


class Rooted(nn.Module):
    """Finite everywhere; but its gradient is 0/0 at numbers below 0, though ``where`` leaves them out."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, torch.sqrt(x), torch.zeros_like(x))


class Scaled(nn.Module):
    """Rows divided by their own length, in the network's own code: 0/0 at zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x / x.norm(dim=1, keepdim=True))


def network(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.Tanh(), *middle), nn.Linear(6, 2))


def untouched(module: nn.Module) -> bool:
    hooked = any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in module.modules())
    return not hooked and all(p.requires_grad and p.grad is None for p in module.parameters())


@pytest.mark.parametrize("method", ["exact_shapley", "saliency", "layer_activation"])
def test_an_answer_that_is_no_number_is_told_with_its_layer(method: str) -> None:
    net = network(Log())
    with pytest.raises(PellucidError, match=r"row \d: the model's output is NaN.* it becomes so in 1\.1 \(Log\)"):
        pellucid.explain(net, X, method)
    assert untouched(net)


def test_so_is_one_that_is_no_number_with_something_absent() -> None:
    net = Scaled()
    with pytest.raises(PellucidError, match=r"with x0, x1, x2, x3 absent, it becomes so in Scaled"):
        pellucid.explain(net, X, "exact_shapley", background=torch.zeros(1, 4))
    assert untouched(net)


def test_masks_that_are_infinite_by_intention_are_not_blamed() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.attention, self.log = nn.MultiheadAttention(4, 1, batch_first=True), Log()

        def forward(self, x: Tensor) -> Tensor:
            mask = torch.full((3, 3), float("-inf")).triu(1)
            return self.log(self.attention(x, x, x, attn_mask=mask)[0] * 0).sum((1, 2))[:, None]

    with pytest.raises(PellucidError, match=r"it becomes so in log \(Log\)"):
        pellucid.explain(Masked(), torch.rand(2, 3, 4), "occlusion", target=0)


FOLLOWING = ("saliency", "integrated_gradients", "expected_gradients", "layer_conductance", "neuron_attribution")


@pytest.mark.parametrize("method", FOLLOWING)
def test_a_gradient_that_is_no_number_is_told_with_layer_and_operation(method: str) -> None:
    net = network(Rooted())
    given: dict[str, Any] = {"background": X} if method == "expected_gradients" else {}
    if method.startswith(("layer", "neuron")):
        method = {"layer_conductance": pellucid.methods.LayerConductance(layer="1.0"),
                  "neuron_attribution": pellucid.methods.NeuronAttribution(layer="1.0")}[method]  # fmt: skip
    with pytest.raises(PellucidError, match=r"row \d: .* in 1\.1 \(Rooted\), SqrtBackward0.*") as told:
        pellucid.explain(net, X, method, **given)
    assert "kernel_shapley" in str(told.value) or "seen inside" in str(told.value)
    assert untouched(net)
    assert np.isfinite(pellucid.explain(net, X, "exact_shapley").values).all()


def test_an_infinity_that_comes_to_nothing_is_not_blamed() -> None:
    net = network(Log(), nn.Softmax(1), nn.Linear(6, 6), Rooted())
    with pytest.raises(PellucidError, match=r"in 1\.4 \(Rooted\), SqrtBackward0"):
        pellucid.explain(net, X, "saliency")


def test_of_tokens_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), Rooted(), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(PellucidError, match=r"in 2 \(Rooted\), SqrtBackward0"):
        pellucid.explain(net, torch.randint(1, 9, (2, 3)), "integrated_gradients", background=torch.zeros(1, 3).long())


def saturated() -> nn.Sequential:
    first = nn.Linear(4, 3)
    with torch.no_grad():
        first.weight.mul_(1e5)
    return nn.Sequential(first, nn.Softmax(1))


@pytest.mark.parametrize(
    ("net", "code", "layer"),
    [
        (network(Log()), "outputs_not_finite", "1.1 (Log)"),
        (network(Rooted()), "slopes_not_finite", "1.1 (Rooted), SqrtBackward0"),
        (saturated(), "slopes_zero", "1 (Softmax), SoftmaxBackward0"),
        (network(nn.Hardtanh(5, 6)), "slopes_zero", "1.1 (Hardtanh), HardtanhBackward0"),
        (lambda x: np.asarray(x)[:, :1] / 0, "outputs_not_finite", "<lambda>"),
    ],
    ids=["logarithm", "root", "saturated", "clipped", "a function"],
)
def test_the_preflight_names_the_layer(net: Any, code: str, layer: str) -> None:
    with np.errstate(all="ignore"):
        found = pellucid.preflight(net, X)
    told = {caution.code: caution for caution in found.warnings}
    assert told[code].values["layer"] == layer
    assert layer in told[code].text() and layer in told[code].text("zh")
    assert not isinstance(net, nn.Module) or untouched(net)

"""The pass that binds the target: one pass also gives v(nobody) of a single reference and the gradients at the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.engine import caller
from pellucid.training.networks import mlp


def _network(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, outputs))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = _network(), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return self.inner(x)


def test_a_target_per_row_is_matched_to_its_own_row():
    module, x, which = _network(), torch.randn(7, 5), [0, 1, 2, 2, 1, 0, 1]
    made = pellucid.explain(module, x, "exact_shapley", target=which)
    assert made.columns.ravel().tolist() == which
    with torch.no_grad():
        np.testing.assert_allclose(made.full[:, 0], module(x)[range(7), which].numpy(), rtol=1e-6)


@pytest.mark.parametrize("target", ["all", "predicted", [2, 1, 0] * 20])
@pytest.mark.parametrize("batch", [512, 16])
def test_slopes_of_the_first_pass_are_the_gradients(monkeypatch, target, batch):
    module, x = _network(), torch.randn(60, 5)
    monkeypatch.setattr(caller.Caller, "_counted", lambda _: batch)
    made = pellucid.explain(
        module, x, "saliency", target=target, signed_values=True, background=torch.zeros_like(x[:1])
    )
    full = torch.func.vmap(torch.func.jacrev(module))(x).detach().numpy()  # [N, K, D]
    columns = made.columns.reshape(60, -1)
    wanted = np.take_along_axis(full, columns[:, :, None], axis=1)
    np.testing.assert_allclose(made.attributions.transpose(0, 2, 1), wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(made.base[:, 0], module(torch.zeros(1, 5)).detach().numpy()[0][columns[:, 0]], rtol=1e-5)


def test_saliency_is_one_pass_once_the_model_is_known():
    module, x = Counting(), torch.randn(6, 5)
    pellucid.explain(module, x, "saliency")
    module.calls = []
    before = module.calls
    pellucid.explain(module, x, "saliency")
    assert module.calls is before  # the guard puts back what the module kept
    seen: list[int] = []
    handle = module.inner.register_forward_hook(lambda *_: seen.append(1))
    pellucid.explain(module, x, "saliency")  # a hook may change what a network computes, so it is looked at anew
    seen.clear()
    pellucid.explain(module, x, "saliency")
    handle.remove()
    assert len(seen) == 1


def test_the_batch_does_not_depend_on_the_number_of_rows():
    few = pellucid.explain(mlp(8, (16,), 1), torch.randn(2, 8), "occlusion").cost.batch
    many = pellucid.explain(mlp(8, (16,), 1), torch.randn(3000, 8), "occlusion").cost.batch
    assert few == many == 8192

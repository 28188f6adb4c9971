"""Where today's libraries are silently wrong, and what happens here instead: one test for each fault.

What is tested where: a feature that is never zeroed, and additive games at any budget (test_shapley); residuals in LRP,
every spelling of a rectifier, GELU and SiLU in DeepLIFT, refusals by name (test_propagation); removal shared by method
and metric (test_metrics); failed methods in a comparison (test_comparing). Here stands the rest.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import built
from torch import Tensor, nn

import pellucid
from pellucid.catalog import everything
from pellucid.records.errors import ModelError, PellucidError

OF_TABLES = sorted(
    name for name, method in everything("methods").items() if method.role == "method" and not method.of_loss
)


class Small(nn.Module):
    """An image network with everything that training changes, and an exception when it is told to."""

    def __init__(self, fail_at: int | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4 * 16, 3)
        self.fail_at, self.calls = fail_at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.fail_at is not None and self.calls > self.fail_at:
            raise RuntimeError("broken inside")
        h = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.fc(self.drop(h.flatten(1)))


def state(net: nn.Module) -> dict[str, Any]:
    """Everything that a call could have changed."""
    return {
        "bits": {name: value.detach().numpy().tobytes() for name, value in net.state_dict().items()},
        "modes": [m.training for m in net.modules()],
        "hooks": [(n, len(v)) for m in net.modules() for n, v in vars(m).items() if n.endswith("hooks")],
        "attributes": [sorted(vars(m)) for m in net.modules()],
        "gradients": [None if p.grad is None else p.grad.numpy().tobytes() for p in net.parameters()],
        "required": [p.requires_grad for p in net.parameters()],
        "random": torch.get_rng_state().numpy().tobytes(),
        "calls": net.calls,
    }


def pictures(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


# 5 and 11: hooks left behind, eval mode left on, `.grad` filled, exceptions swallowed ---------------------------------


@pytest.mark.parametrize("fail_at", [None, 0, 3])
def test_no_method_leaves_a_trace(fail_at: int | None) -> None:
    """Every method of the catalogue, when all goes well, when the model fails at once, and in the middle."""
    net = Small(fail_at).train()
    net.fc.bias.grad = torch.ones(3)
    rows = pictures()
    given, before, ran = rows.clone(), state(net), []
    for name in OF_TABLES:
        try:
            pellucid.explain(net, rows, name, target=0, budget=400, players=pellucid.players.Patches(4))
            ran.append(name)
        except PellucidError as error:
            refused = not isinstance(error, ModelError)
            assert refused or "broken inside" in str(error), f"{name}: {error}"
        assert state(net) == before, name
        assert torch.equal(rows, given) and not rows.requires_grad and rows.grad is None, name
    least = {None: 25, 0: 0, 3: 0}[fail_at]
    assert len(ran) >= least, ran


@pytest.mark.parametrize("method", ["deeplift", "lrp", "guided_backprop", "grad_cam", "layer_conductance", "vargrad"])
def test_a_failure_of_the_model_is_told_and_not_swallowed(method: str) -> None:
    class Failing(Small):
        def forward(self, x: Tensor) -> Tensor:
            return [super().forward(x)][len(x) - len(x) + 1]

    with pytest.raises(ModelError, match="IndexError"):
        pellucid.explain(Failing(), pictures(), method, target=0)


def test_nothing_is_kept_alive() -> None:
    """Neither the model nor what was asked of it stays in memory once both are let go."""
    net, rows = Small().eval(), pictures()
    for method in ("deeplift", "integrated_gradients", "grad_cam"):
        pellucid.explain(net, rows, method, target=0)
    gc.collect()
    before = sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
    for method in ("deeplift", "integrated_gradients", "grad_cam") * 3:
        pellucid.explain(net, rows, method, target=0)
    gc.collect()
    assert sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()) <= before


def test_class_activation_maps_keep_scale_and_sign() -> None:
    """Ten times the last layer's weights is ten times the map; minus them is minus the map."""
    net, rows = Small().eval(), pictures()
    maps = {}
    for factor in (1.0, 10.0, -1.0):
        copy = Small().eval()
        with torch.no_grad():
            copy.fc.weight.mul_(factor)
        maps[factor] = pellucid.explain(copy, rows, "grad_cam", target=1, relu=False).maps
    np.testing.assert_allclose(maps[10.0], 10 * maps[1.0], rtol=1e-4)
    np.testing.assert_allclose(maps[-1.0], -maps[1.0], rtol=1e-4)
    assert (maps[1.0] < 0).any() and net.calls == 0


# 2: a row alone and in a batch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["deeplift", "deepshap", "lrp", "integrated_gradients"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.softmax(x, -1),
        lambda x: F.max_pool1d(x[:, None], 2)[:, 0],
        lambda x: F.layer_norm(x, (4,)),
        lambda x: torch.softmax(F.max_pool1d(F.layer_norm(x, (4,))[:, None], 2, 1)[:, 0], -1),
    ],
    ids=["softmax", "max_pool", "layer_norm", "all"],
)
def test_a_row_is_explained_alone_as_in_a_batch(method: str, function: Any) -> None:
    """With rows beside it that are the reference itself, ties, or much larger."""

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    rows = torch.tensor([[0.3, -0.2, 0.5, 0.1], [0.0, 0.0, 0.0, 1e-9], [1.0, 1.0, 1.0, 1.0], [90.0, -70.0, 5.0, 5.0]])
    rows, start = rows.double(), torch.tensor([[0.0, 0.1, 0.0, 0.0]]).double()
    asked: dict[str, Any] = {"background": start, "target": 0}
    together = pellucid.explain(Net(), rows, method, **asked).values
    backwards = pellucid.explain(Net(), rows.flip(0), method, **asked).values[::-1]
    for place in range(len(rows)):
        alone = pellucid.explain(Net(), rows[place : place + 1], method, **asked).values[0]
        limit = 1e-9 * max(np.abs(alone).max(), 1e-12)
        assert np.abs(together[place] - alone).max() <= limit
        assert np.abs(backwards[place] - alone).max() <= limit


class Masked(nn.Module):
    """Each row comes with a whole number of its own, which says which weights it meets."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.which, self.last = nn.Linear(3, 5), nn.Embedding(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x) + self.which(k)))


@pytest.mark.parametrize("method", ["deeplift", "deepshap", "integrated_gradients", "exact_shapley"])
def test_what_a_row_carries_is_its_own_beside_every_reference(method: str) -> None:
    net, x, k = Masked().eval(), torch.randn(4, 3), torch.arange(4)
    background = {"x": torch.randn(3, 3), "k": torch.tensor([0, 0, 0])}
    asked: dict[str, Any] = {"background": background, "target": 1}
    together = pellucid.explain(net, {"x": x, "k": k}, method, **asked)
    assert np.nanmax(together.gap) <= 1e-3
    for row in range(4):
        alone = pellucid.explain(net, {"x": x[row : row + 1], "k": k[row : row + 1]}, method, **asked)
        np.testing.assert_allclose(together.values[row], alone.values[0], atol=1e-5)


# 3: what is not seen by a library that watches modules ---------------------------------------------------------------


def test_a_reused_module_and_a_function_are_what_they_compute() -> None:
    """Guided backpropagation of F.relu is not the plain gradient, and a rectifier used twice is two."""

    class Twice(nn.Module):
        def __init__(self, rectify: Any):
            super().__init__()
            torch.manual_seed(4)
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.rectify = rectify

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.rectify(self.b(self.rectify(self.a(x)))))

    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(5))
    asked = {"method": "guided_backprop", "target": 0}
    module = pellucid.explain(Twice(nn.ReLU()), rows, **asked).values
    function = pellucid.explain(Twice(F.relu), rows, **asked).values
    plain = pellucid.explain(Twice(F.relu), rows, "saliency", target=0, signed_values=True).values
    np.testing.assert_allclose(module, function, atol=1e-7)
    assert np.abs(module - plain).max() > 0.01


# 5: tolerances that are blind at a small scale -----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_gap_is_a_share_whatever_the_scale(scale: float) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scale * torch.sigmoid(20 * x.sum(1, keepdim=True))

    rows = torch.full((1, 3), 0.4, dtype=torch.float64)
    wrong = pellucid.explain(Scaled(), rows, "integrated_gradients", steps=2, target=0)
    right = pellucid.explain(Scaled(), rows, "deeplift", target=0)
    assert wrong.gap[0] > 0.3 and "gap" in [caution.code for caution in wrong.warnings]
    assert right.gap[0] < 1e-12 and "gap" not in [caution.code for caution in right.warnings]


# 6: training mode, batches that matter, float32 steps -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "lrp", "grad_cam", "layer_conductance"])
def test_training_mode_is_explained_as_evaluation_mode_and_told(method: str) -> None:
    found = []
    for training in (False, True):
        net = Small().train(training)
        e = pellucid.explain(net, pictures(), method, target=0)
        assert ("train_mode" in [caution.code for caution in e.warnings]) == training
        found.append(np.asarray(e.values))
    np.testing.assert_array_equal(found[0], found[1])


class Coupled(nn.Module):
    """A row's answer depends on the rows beside it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.b(h - h.mean(0))


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "layer_gradient_x_activation"])
def test_a_network_that_couples_its_batch_is_told_or_refused(method: str) -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))
    try:
        e = pellucid.explain(Coupled().eval(), rows, method, target=0)
    except PellucidError as error:
        assert "rows beside it" in str(error) or "batch" in str(error)
    else:
        assert "batch_coupled" in [caution.code for caution in e.warnings]


@pytest.mark.parametrize("path", ["straight", "guided"])
def test_steps_are_made_in_the_models_own_type(path: str) -> None:
    """A cubic has exact Gauss–Legendre points in float64: float32 steps would miss by 1e-8."""

    class Cubes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x**3).sum(1, keepdim=True)

    rows = torch.tensor([[1.1, -0.7, 0.3]], dtype=torch.float64)
    steps = {"straight": 2, "guided": 400}[path]
    e = pellucid.explain(Cubes(), rows, "integrated_gradients", steps=steps, path=path, target=0)
    assert e.attributions.dtype == np.float64
    assert np.abs(e.values - (rows**3).numpy()).max() <= (1e-14 if path == "straight" else 2e-2)


# 7: small defaults, and inputs that are refused -----------------------------------------------------------------------


def test_defaults_are_close_to_the_truth() -> None:
    """Captum's defaults miss by 70 % of the largest value; ours by a few percent."""
    torch.manual_seed(8)
    net = nn.Sequential(nn.Linear(10, 12), nn.Tanh(), nn.Linear(12, 1)).double().eval()
    rows = torch.randn(3, 10, dtype=torch.float64)
    background = torch.randn(20, 10, dtype=torch.float64)
    exact = pellucid.explain(net, rows, "exact_shapley", background=background, target=0).values
    for method in ("kernel_shapley", "permutation_shapley", "shapley"):
        found = pellucid.explain(net, rows, method, background=background, target=0).values
        assert np.abs(found - exact).max() <= 0.02 * np.abs(exact).max(), method
    fine = pellucid.explain(net, rows, "expected_gradients", background=background, target=0, samples=40_000).values
    default = pellucid.explain(net, rows, "expected_gradients", background=background, target=0)
    assert default.stderr is not None
    assert (np.abs(default.values - fine) <= 5 * default.stderr + 1e-9).all()
    assert np.abs(default.values - fine).max() <= 0.15 * np.abs(fine).max()


class InADict(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(9)
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.a(x))
        return {"hidden": hidden, "logits": self.b(hidden)}


@pytest.mark.parametrize(
    "method", ["deeplift", "lrp", "guided_backprop", "saliency", "layer_conductance", "integrated_gradients"]
)
def test_arrays_dicts_and_no_target_are_taken(method: str) -> None:
    """A numpy array for rows, a dict for an answer, and the predicted class where none is named: recorded."""
    net, rows = InADict().eval(), np.random.default_rng(0).normal(size=(4, 4))
    e = pellucid.explain(net, rows, method)
    with torch.no_grad():
        due = net(torch.from_numpy(rows).float())["logits"].argmax(1)
    named = pellucid.explain(net, rows, method, target=due.tolist())
    np.testing.assert_array_equal(e.values, named.values)
    assert e.target["kind"] == "predicted"


# 8: two calls, one answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kernel_shapley", "lime", "smoothgrad", "expected_gradients", "vargrad"])
def test_two_calls_agree_to_the_bit_whatever_came_between(method: str) -> None:
    net, rows = Small().eval(), pictures()
    asked: dict[str, Any] = {"target": 0, "players": pellucid.players.Patches(4)}
    first = pellucid.explain(net, rows, method, **asked).values
    torch.rand(7), np.random.rand(3)
    pellucid.explain(net, rows[1:], method, seed=5, **asked)
    np.testing.assert_array_equal(first, pellucid.explain(net, rows, method, **asked).values)
    alone = pellucid.explain(net, rows[1:2], method, **asked).values[0]
    assert np.abs(alone - first[1]).max() <= 1e-4 * np.abs(first[1]).max()


# Conservation and completeness are reported, network by network -------------------------------------------------------


@pytest.mark.parametrize("name", ["relu_functional", "residual", "resnet", "vit", "lstm"])
def test_what_lrp_loses_is_reported_layer_by_layer(name: str) -> None:
    model, rows = built(name, torch.float64)
    e = pellucid.explain(model, rows, "lrp", target=0)
    kept = e.notes["conserved"]
    assert next(iter(kept.values())) == pytest.approx(1.0) and len(kept) >= 2
    assert np.isfinite(list(kept.values())).all()

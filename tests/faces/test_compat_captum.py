"""Captum's own examples with the import changed, and that they answer what pellucid.explain answers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.compat.captum import attr
from pellucid.records.errors import (
    InputError,
    ModelError,
    NotApplicable,
    PellucidError,
    RemovalError,
    TargetError,
)


class ToyModel(nn.Module):
    """The network of captum's README."""

    def __init__(self):
        super().__init__()
        self.lin1 = nn.Linear(3, 3)
        self.relu = nn.ReLU()
        self.lin2 = nn.Linear(3, 2)
        self.lin1.weight = nn.Parameter(torch.arange(-4.0, 5.0).view(3, 3))
        self.lin1.bias = nn.Parameter(torch.zeros(1, 3))
        self.lin2.weight = nn.Parameter(torch.arange(-3.0, 3.0).view(2, 3))
        self.lin2.bias = nn.Parameter(torch.ones(1, 2))

    def forward(self, input: Tensor) -> Tensor:
        return self.lin2(self.relu(self.lin1(input)))


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(torch.relu(self.conv(x))).flatten(1))


class Texts(nn.Module):
    """Tokens, with further arguments: a mask with a line for each row, and a number."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> Tensor:
        words = torch.tanh(self.mix(self.embedding(tokens)))
        weights = torch.ones(tokens.shape) if mask is None else mask
        return scale * self.head((words * weights[..., None]).sum(1) / weights.sum(1, keepdim=True))


@pytest.fixture
def toy() -> ToyModel:
    return ToyModel().eval()


@pytest.fixture
def rows() -> Tensor:
    return torch.rand(2, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pictures() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    return Pictures().eval(), torch.rand(2, 3, 8, 8)


@pytest.fixture
def texts() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(2)
    mask = torch.ones(3, 5)
    mask[0, 3:] = mask[2, 1:] = 0
    return Texts().eval(), torch.randint(1, 20, (3, 5)), mask


def change(model: Any, rows: Tensor, target: int, start: Any = 0.0) -> Tensor:
    with torch.no_grad():
        return model(rows)[:, target] - model(torch.zeros_like(rows) + start)[:, target]


# Captum's README -------------------------------------------------------------------------------


def test_the_readmes_integrated_gradients(toy: nn.Module, rows: Tensor) -> None:
    ig = attr.IntegratedGradients(toy)
    attributions, delta = ig.attribute(rows, torch.zeros(2, 3), target=0, return_convergence_delta=True)
    assert attributions.shape == rows.shape and attributions.dtype == rows.dtype and delta.shape == (2,)
    assert torch.allclose(attributions.sum(1) - delta, change(toy, rows, 0), atol=1e-5)
    assert delta.abs().max() < 1e-2 and ig.has_convergence_delta()


def test_the_readmes_gradient_shap(toy: nn.Module, rows: Tensor) -> None:
    baseline_dist = torch.randn(10, 3, generator=torch.Generator().manual_seed(3)) * 0.001
    gs = attr.GradientShap(toy)
    attributions, delta = gs.attribute(
        rows, stdevs=0.09, n_samples=4, baselines=baseline_dist, target=0, return_convergence_delta=True
    )
    per_example = torch.mean(delta.reshape(rows.shape[0], -1), dim=1)
    assert attributions.shape == rows.shape and per_example.shape == (2,)
    plain = gs.attribute(rows, baseline_dist, n_samples=400, target=0)
    assert plain.record.stderr is not None
    assert torch.allclose(plain.sum(1), change(toy, rows, 0), atol=0.1)


def test_the_readmes_deep_lift(toy: nn.Module, rows: Tensor) -> None:
    attributions, delta = attr.DeepLift(toy).attribute(rows, torch.zeros(2, 3), target=0, return_convergence_delta=True)
    assert torch.allclose(attributions.sum(1), change(toy, rows, 0), atol=1e-5) and delta.abs().max() < 1e-5
    spread = torch.randn(10, 3, generator=torch.Generator().manual_seed(3)) * 0.001
    attributions, delta = attr.DeepLiftShap(toy).attribute(rows, spread, target=0, return_convergence_delta=True)
    assert torch.mean(delta.reshape(rows.shape[0], -1), dim=1).abs().max() < 1e-5
    due = pellucid.explain(toy, rows, "deepshap", background=spread, target=0)
    assert np.allclose(attributions.numpy(), due.values, atol=1e-6)


def test_the_readmes_noise_tunnel(toy: nn.Module, rows: Tensor) -> None:
    nt = attr.NoiseTunnel(attr.IntegratedGradients(toy))
    asked = {"stdevs": 0.02, "nt_samples": 4, "baselines": torch.zeros(2, 3), "target": 0}
    attributions, delta = nt.attribute(rows, nt_type="smoothgrad", **asked, return_convergence_delta=True)
    assert torch.mean(delta.reshape(rows.shape[0], -1), dim=1).abs().max() < 0.5
    again = nt.attribute(rows, nt_type="smoothgrad", **asked)
    assert torch.equal(attributions, again)
    square = nt.attribute(rows, nt_type="smoothgrad_sq", **asked)
    spread = nt.attribute(rows, nt_type="vargrad", **asked)
    assert (square >= 0).all() and (spread >= 0).all()
    assert spread.max() < 0.1 * square.max()


def test_the_readmes_neuron_and_layer(toy: ToyModel, rows: Tensor) -> None:
    nc = attr.NeuronConductance(toy, toy.lin1)
    neuron = nc.attribute(rows, neuron_selector=1, target=0)
    lc = attr.LayerConductance(toy, toy.lin1)
    layer, delta = lc.attribute(rows, baselines=torch.zeros(2, 3), target=0, return_convergence_delta=True)
    assert layer.shape == (2, 3) and neuron.shape == rows.shape
    assert torch.allclose(neuron.sum(1), layer[:, 1], atol=1e-2)
    assert delta.abs().max() < 1e-2


# Every method against ours, or against its definition ------------------------------------------


def test_gradients(toy: nn.Module, rows: Tensor) -> None:
    leaf = rows.clone().requires_grad_()
    (slope,) = torch.autograd.grad(toy(leaf)[:, 1].sum(), leaf)
    assert torch.allclose(attr.Saliency(toy).attribute(rows, target=1), slope.abs())
    assert torch.allclose(attr.Saliency(toy).attribute(rows, target=1, abs=False), slope)
    assert torch.allclose(attr.InputXGradient(toy).attribute(rows, target=1), slope * rows)
    noisy = attr.NoiseTunnel(attr.Saliency(toy)).attribute(rows, stdevs=0.0, nt_samples=2, target=1)
    assert torch.allclose(noisy, slope.abs())


def test_noise_is_in_the_units_of_the_inputs() -> None:
    """x² has the gradient 2x, whose variance under noise is 4σ², whatever range the rows have."""
    tunnel = attr.NoiseTunnel(attr.Saliency(lambda x: (x**2).sum(1)))
    rows = torch.tensor([[1.0, 1.0], [100.0, -5.0]], dtype=torch.float64)
    found = tunnel.attribute(rows, nt_type="vargrad", nt_samples=4000, stdevs=0.3, abs=False)
    assert torch.allclose(found, torch.full_like(found, 4 * 0.3**2), rtol=0.1)


@pytest.mark.parametrize(
    ("cls", "ours", "settings"),
    [
        (attr.GuidedBackprop, "guided_backprop", {}),
        (attr.Deconvolution, "deconvolution", {}),
        (attr.LRP, "lrp", {"rule": "epsilon", "epsilon": 1e-9}),
    ],
)
def test_propagation(toy: nn.Module, rows: Tensor, cls: Any, ours: str, settings: dict[str, Any]) -> None:
    due = pellucid.explain(toy, rows, ours, target=1, **settings)
    assert np.allclose(cls(model=toy).attribute(rows, target=1).numpy(), due.values, atol=1e-6)


def test_the_delta_of_relevance_is_what_the_biases_kept(toy: nn.Module, rows: Tensor) -> None:
    found, delta = attr.LRP(toy).attribute(rows, target=1, return_convergence_delta=True)
    assert torch.allclose(delta, toy(rows)[:, 1] - found.sum(1), atol=1e-5)


def test_ablation_and_its_features(toy: nn.Module, rows: Tensor) -> None:
    full = toy(rows)[:, 0]
    without = [toy(rows * (torch.arange(3) != place))[:, 0] for place in range(3)]
    due = full[:, None] - torch.stack(without, 1)
    assert torch.allclose(attr.FeatureAblation(toy).attribute(rows, target=0), due, atol=1e-6)
    one = attr.FeatureAblation(toy).attribute(rows, target=0, feature_mask=torch.tensor([[0, 7, 7]]))
    both = full - toy(rows * torch.tensor([1.0, 0.0, 0.0]))[:, 0]
    assert torch.allclose(one, torch.stack([due[:, 0], both, both], 1), atol=1e-6)
    each = attr.FeatureAblation(toy).attribute(rows, target=0, feature_mask=torch.tensor([[0, 7, 7], [0, 1, 2]]))
    assert torch.allclose(each, torch.stack([one[0], due[1]]), atol=1e-6)


def test_baselines_of_every_make(toy: nn.Module, rows: Tensor) -> None:
    per_row = torch.rand(2, 3, generator=torch.Generator().manual_seed(5))
    for method in (attr.IntegratedGradients(toy), attr.DeepLift(toy), attr.FeatureAblation(toy)):
        each = method.attribute(rows, baselines=per_row, target=0)
        alone = [method.attribute(rows[i : i + 1], baselines=per_row[i : i + 1], target=0) for i in range(2)]
        assert torch.allclose(each, torch.cat(alone), atol=1e-5)
        half = method.attribute(rows, baselines=0.5, target=0)
        assert torch.allclose(half, method.attribute(rows, baselines=torch.full((1, 3), 0.5), target=0), atol=1e-6)
    found = attr.DeepLift(toy).attribute(rows, baselines=per_row, target=0)
    with torch.no_grad():
        assert torch.allclose(found.sum(1), toy(rows)[:, 0] - toy(per_row)[:, 0], atol=1e-5)


def test_occlusion_slides_over_channels_too(pictures: tuple[nn.Module, Tensor]) -> None:
    model, images = pictures
    found = attr.Occlusion(model).attribute(images, (1, 4, 4), strides=(1, 4, 4), target=2)
    gone = images.clone()
    gone[:, 1, 4:, :4] = 0
    due = (model(images) - model(gone))[:, 2]
    assert torch.allclose(found[:, 1, 4:, :4], due[:, None, None].expand(2, 4, 4), atol=1e-5)
    table = attr.Occlusion(ToyModel()).attribute(torch.ones(1, 3), (2,), target=0)
    assert table.shape == (1, 3)


@pytest.mark.parametrize("method", ["Saliency", "LayerGradCam", "GuidedGradCam", "LayerActivation"])
def test_pictures(pictures: tuple[nn.Module, Tensor], method: str) -> None:
    model, images = pictures
    if method == "Saliency":
        assert attr.Saliency(model).attribute(images, target=1).shape == images.shape
    elif method == "LayerActivation":
        found = attr.LayerActivation(model, model.conv).attribute(images)
        assert torch.allclose(found, model.conv(images), atol=1e-6)
    elif method == "GuidedGradCam":
        found = attr.GuidedGradCam(model, model.conv).attribute(images, target=1)
        assert found.shape == images.shape and found.abs().max() > 0
    else:
        found = attr.LayerGradCam(model, model.conv).attribute(images, target=1)
        due = pellucid.explain(model, images, "grad_cam", layer="conv", relu=False, target=1)
        assert found.shape == (2, 1, 8, 8) and np.allclose(found[:, 0].numpy(), due.maps[..., 0], atol=1e-6)
        assert (found < 0).any(), "raw sign is kept"
        large = attr.LayerAttribution.interpolate(found, (16, 16))
        assert large.shape == (2, 1, 16, 16)


def test_permutation_is_the_mean_over_the_batch(toy: nn.Module) -> None:
    batch = torch.rand(5, 3, generator=torch.Generator().manual_seed(6))
    found = attr.FeaturePermutation(toy).attribute(batch, target=1)
    due = torch.zeros(5, 3)
    with torch.no_grad():
        for row in range(5):
            for column in range(3):
                mixed = batch[row].repeat(5, 1)
                mixed[:, column] = batch[:, column]
                due[row, column] = toy(batch[row : row + 1])[0, 1] - toy(mixed)[:, 1].mean()
    assert torch.allclose(found, due, atol=1e-5)


def test_shapley_values_agree(toy: nn.Module, rows: Tensor) -> None:
    exact = attr.ShapleyValues(toy).attribute(rows, target=0)
    assert torch.allclose(exact.sum(1), change(toy, rows, 0), atol=1e-5)
    for cls in (attr.ShapleyValueSampling, attr.KernelShap):
        assert torch.allclose(cls(toy).attribute(rows, target=0), exact, atol=1e-5)
        assert cls(toy).attribute(rows, target=0, n_samples=25).shape == rows.shape
    line = attr.Lime(toy).attribute(rows, target=0, n_samples=200)
    assert line.shape == rows.shape
    mask = torch.tensor([[0, 1, 1]])
    by_feature = attr.KernelShap(toy).attribute(rows, target=0, feature_mask=mask, return_input_shape=False)
    whole = attr.KernelShap(toy).attribute(rows, target=0, feature_mask=mask)
    assert by_feature.shape == (2, 2) and torch.equal(whole, by_feature[:, [0, 1, 1]])


def test_layers_and_neurons(toy: ToyModel, rows: Tensor) -> None:
    hidden = toy.lin1(rows).detach()
    assert torch.allclose(attr.LayerActivation(toy, toy.lin1).attribute(rows), hidden)
    slope = (hidden > 0) * toy.lin2.weight[0].detach()
    found = attr.LayerGradientXActivation(toy, toy.lin1).attribute(rows, target=0)
    assert torch.allclose(found, hidden * slope, atol=1e-5)
    assert attr.InternalInfluence(toy, toy.lin1).attribute(rows, target=0, n_steps=20).shape == (2, 3)
    for cls in (attr.LayerIntegratedGradients, attr.LayerDeepLift):
        found, delta = cls(toy, toy.lin1).attribute(rows, target=0, return_convergence_delta=True)
        assert torch.allclose(found, hidden * slope, atol=1e-2), "one rectifier from 0 on"
        assert delta.abs().max() < 1e-2
    gone = [toy.lin2(toy.relu(hidden * (torch.arange(3) != unit)))[:, 0] for unit in range(3)]
    due = toy(rows)[:, :1] - torch.stack(gone, 1)
    assert torch.allclose(attr.LayerFeatureAblation(toy, toy.lin1).attribute(rows, target=0), due, atol=1e-5)
    spread = torch.rand(4, 3, generator=torch.Generator().manual_seed(8))
    for cls in (attr.LayerDeepLiftShap, attr.LayerGradientShap):
        assert cls(toy, toy.lin1).attribute(rows, spread, target=0).shape == (2, 3)

    weights = toy.lin1.weight.detach()
    assert torch.allclose(attr.NeuronGradient(toy, toy.lin1).attribute(rows, 2), weights[2].expand(2, 3))
    both = attr.NeuronGradient(toy, toy.lin1).attribute(rows, (slice(0, 2),))
    assert torch.allclose(both, weights[:2].sum(0).expand(2, 3))
    own = attr.NeuronGradient(toy, toy.lin1).attribute(rows, lambda found: found[:, 0] ** 2)
    assert torch.allclose(own, 2 * hidden[:, :1] * weights[0], atol=1e-5)
    for cls in (attr.NeuronIntegratedGradients, attr.NeuronDeepLift, attr.NeuronFeatureAblation):
        assert torch.allclose(cls(toy, toy.lin1).attribute(rows, 2), rows * weights[2], atol=1e-4)
    for cls in (attr.NeuronGuidedBackprop, attr.NeuronDeconvolution):
        assert cls(toy, toy.relu).attribute(rows, 1).shape == rows.shape
    for cls in (attr.NeuronDeepLiftShap, attr.NeuronGradientShap):
        assert cls(toy, toy.lin1).attribute(rows, 2, spread).shape == rows.shape
    half = torch.full((1, 3), 0.5)
    for cls in (attr.NeuronIntegratedGradients, attr.NeuronDeepLift, attr.NeuronFeatureAblation):
        assert torch.allclose(cls(toy, toy.lin1).attribute(rows, 2, half), (rows - 0.5) * weights[2], atol=1e-4)


# Inputs, targets and arguments of every make ----------------------------------------------------


def test_tokens_are_explained_at_their_embedding(texts: tuple[Any, Tensor, Tensor]) -> None:
    model, tokens, mask = texts
    for extra in (None, (mask,), (mask, 2.0)):
        lig = attr.LayerIntegratedGradients(model, model.embedding)
        found, delta = lig.attribute(tokens, target=1, additional_forward_args=extra, return_convergence_delta=True)
        assert found.shape == (3, 5, 6) and delta.abs().max() < 1e-3
        arguments = extra or ()
        with torch.no_grad():
            due = (model(tokens, *arguments) - model(torch.zeros_like(tokens), *arguments))[:, 1]
        assert torch.allclose(found.sum((1, 2)), due, atol=2e-3)
        exact = attr.LayerDeepLift(model, model.embedding).attribute(tokens, target=1, additional_forward_args=extra)
        assert torch.allclose(exact.sum((1, 2)), due, atol=1e-5)
    by_token = attr.IntegratedGradients(model).attribute(tokens, target=1)
    found = attr.LayerIntegratedGradients(model, model.embedding).attribute(tokens, target=1)
    assert by_token.shape == tokens.shape and torch.allclose(by_token, found.sum(2), atol=2e-3)
    exact = attr.LayerDeepLift(model, model.embedding).attribute(tokens, target=1)
    assert torch.allclose(attr.DeepLift(model).attribute(tokens, target=1), exact.sum(2), atol=1e-5)


def test_tokens_can_be_taken_away(texts: tuple[Any, Tensor, Tensor]) -> None:
    model, tokens, mask = texts
    found = attr.FeatureAblation(model).attribute(tokens, target=1, additional_forward_args=mask)
    gone = tokens.clone()
    gone[:, 2] = 0
    with torch.no_grad():
        due = (model(tokens, mask) - model(gone, mask))[:, 1]
    assert found.shape == tokens.shape and found.dtype == torch.float32
    assert torch.allclose(found[:, 2], due, atol=1e-6)
    assert found[0, 3:].abs().max() < 1e-6, "masked tokens do nothing"


def test_further_arguments_stay_with_their_rows() -> None:
    def forward(x: Tensor, scale: Tensor, power: int) -> Tensor:
        return scale * (x**power).sum(1)

    x, scale = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([10.0, 1.0])
    found = attr.InputXGradient(forward).attribute(x, additional_forward_args=(scale, 2))
    assert torch.allclose(found, 2 * scale[:, None] * x**2)


def test_several_inputs_and_a_function() -> None:
    linear = nn.Linear(3, 1).eval()

    def forward(a: Tensor, b: Tensor) -> Tensor:
        return linear(a).squeeze(1) * b.sum((1, 2))

    a, b = torch.rand(4, 3), torch.rand(4, 2, 2)
    found = attr.IntegratedGradients(forward).attribute((a, b), baselines=(0, torch.zeros(1, 2, 2)), n_steps=20)
    assert isinstance(found, tuple) and [part.shape for part in found] == [a.shape, b.shape]
    total = found[0].sum(1) + found[1].sum((1, 2))
    assert torch.allclose(total, forward(a, b) - forward(0 * a, 0 * b), atol=1e-5)
    assert linear.weight.grad is None and linear.weight.requires_grad
    one = attr.FeatureAblation(forward).attribute(
        (a, b), feature_mask=(torch.zeros(1, 3).int(), torch.ones(1, 2, 2).int())
    )
    assert torch.allclose(one[0], forward(a, b)[:, None].expand(4, 3) - forward(0 * a, b)[:, None], atol=1e-5)
    assert torch.allclose(one[1][:, 0, 0], forward(a, b), atol=1e-5)


def test_targets_of_every_make(toy: nn.Module, rows: Tensor) -> None:
    ig = attr.InputXGradient(toy)
    each = torch.stack([ig.attribute(rows, target=k) for k in (0, 1)])
    for target in ([1, 0], torch.tensor([1, 0]), torch.tensor([1, 9, 0, 9])[::2]):
        assert torch.equal(ig.attribute(rows, target=target), torch.stack([each[1, 0], each[0, 1]]))
    for target in (-1, [1], torch.tensor(1), torch.tensor([1])):
        assert torch.equal(ig.attribute(rows, target=target), each[1])

    def maps(x: Tensor) -> Tensor:
        return x[:, :, None] * torch.arange(1.0, 5.0)

    found = attr.Saliency(maps).attribute(rows, target=(2, 3))
    assert torch.equal(found, torch.tensor([[0.0, 0.0, 4.0]]).expand(2, 3))
    found = attr.Saliency(maps).attribute(rows, target=[(2, 3), (0, 1)])
    assert torch.equal(found, torch.tensor([[0.0, 0.0, 4.0], [2.0, 0.0, 0.0]]))


def test_no_target_is_the_only_output_or_a_warning(toy: nn.Module, rows: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attr.Saliency(lambda x: toy(x)[:, 0]).attribute(rows)
        attr.Saliency(lambda x: toy(x)[:, :1]).attribute(rows)
    with pytest.warns(UserWarning, match="No target was given and the model has 2 outputs"):
        found = attr.Saliency(toy).attribute(rows)
    due = attr.Saliency(toy).attribute(rows, target=toy(rows).argmax(1))
    assert torch.equal(found, due)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_types_come_back(toy: nn.Module, rows: Tensor, dtype: torch.dtype) -> None:
    found = attr.IntegratedGradients(toy.to(dtype)).attribute(rows.to(dtype), target=0)
    assert found.dtype == dtype and found.isfinite().all()


def test_arrays_are_inputs_too(toy: nn.Module, rows: Tensor) -> None:
    assert torch.equal(attr.Saliency(toy).attribute(rows.numpy(), target=0), attr.Saliency(toy).attribute(rows, 0))


def test_the_convergence_delta(toy: nn.Module, rows: Tensor) -> None:
    dl = attr.DeepLift(toy)
    found = dl.attribute(rows, baselines=0.25, target=1)
    assert dl.compute_convergence_delta(found, torch.full((1, 3), 0.25), rows, target=1).abs().max() < 1e-5
    assert torch.allclose(dl.compute_convergence_delta(found + 1, 0.25, rows, target=1), torch.tensor(3.0), atol=1e-5)


def test_nothing_is_left_behind(toy: ToyModel, rows: Tensor) -> None:
    toy.train()
    before = {name: tensor.clone() for name, tensor in toy.state_dict().items()}
    leaf = rows.clone().requires_grad_()
    attr.LayerIntegratedGradients(toy, toy.lin1).attribute(leaf, target=0)
    attr.LayerConductance(toy, toy.lin1).attribute(leaf, target=0)
    attr.NeuronDeepLift(toy, toy.lin1).attribute(leaf, 0)
    attr.IntegratedGradients(lambda x: toy(x)).attribute(leaf, target=0)
    assert toy.training and toy.lin1.training and leaf.grad is None
    assert all(not m._forward_hooks and not m._forward_pre_hooks and not m._backward_hooks for m in toy.modules())
    assert all(p.grad is None and p.requires_grad for p in toy.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in toy.state_dict().items())


# Bad calls ---------------------------------------------------------------------------------------

TOY = ToyModel().eval()
X = torch.ones(2, 3)
BAD: dict[str, tuple[Any, type[PellucidError], str]] = {
    "no function": (lambda: attr.Saliency(3), InputError, "no forward function"),
    "inputs as lists": (lambda: attr.Saliency(TOY).attribute([[1.0, 2.0, 3.0]], 0), InputError, "neither a tensor"),
    "no inputs": (lambda: attr.Saliency(TOY).attribute((), 0), InputError, "there are no inputs"),
    "a scalar": (lambda: attr.Saliency(TOY).attribute(torch.tensor(1.0), 0), InputError, "have no rows"),
    "mixed inputs": (lambda: attr.Saliency(TOY).attribute((X, X.int()), 0), InputError, "additional_forward_args"),
    "a target too far": (lambda: attr.Saliency(TOY).attribute(X, 2), TargetError, "2"),
    "half a target": (lambda: attr.Saliency(TOY).attribute(X, 0.5), TargetError, "no place of an output"),
    "too many targets": (lambda: attr.Saliency(TOY).attribute(X, [0, 1, 0]), TargetError, "3 targets for 2 rows"),
    "a deep target": (lambda: attr.Saliency(TOY).attribute(X, (0, 1)), TargetError, "names no output"),
    "other baselines": (lambda: attr.DeepLift(TOY).attribute(X, torch.ones(2, 4), 0), RemovalError, "of the shape"),
    "three baselines": (lambda: attr.DeepLift(TOY).attribute(X, torch.ones(3, 3), 0), RemovalError, "3 baselines"),
    "two baselines": (lambda: attr.DeepLift(TOY).attribute(X, (0, 0), 0), RemovalError, "for 1 inputs"),
    "no steps": (lambda: attr.IntegratedGradients(TOY).attribute(X, target=0, n_steps=0), InputError, "no count"),
    "a rule": (lambda: attr.IntegratedGradients(TOY).attribute(X, target=0, method="simpson"), NotApplicable, "rule"),
    "not multiplied": (lambda: attr.DeepLift(TOY, multiply_by_inputs=False), NotApplicable, "multiply_by_inputs"),
    "a function": (lambda: attr.DeepLift(TOY).attribute(X, custom_attribution_func=max), NotApplicable, "custom"),
    "a noise": (lambda: attr.NoiseTunnel(attr.Saliency(TOY)).attribute(X, nt_type="mean"), NotApplicable, "nt_type"),
    "two noises": (
        lambda: attr.NoiseTunnel(attr.Saliency(TOY)).attribute(X, stdevs=(0.1, 0.2), target=0),
        NotApplicable, "one standard deviation",
    ),
    "noise of noise": (lambda: attr.NoiseTunnel(attr.NoiseTunnel(attr.Saliency(TOY))), InputError, "no method"),
    "a window": (lambda: attr.Occlusion(TOY).attribute(X, (2, 2), target=0), InputError, "a row has 1 axes"),
    "a mask": (
        lambda: attr.FeatureAblation(TOY).attribute(X, target=0, feature_mask=torch.zeros(1, 4)),
        InputError, "feature mask",
    ),
    "one row": (lambda: attr.FeaturePermutation(TOY).attribute(X[:1], 0), RemovalError, "one row"),
    "few samples": (
        lambda: attr.KernelShap(nn.Linear(30, 1)).attribute(torch.ones(1, 30), n_samples=5), NotApplicable, "too few"
    ),
    "a line": (lambda: attr.Lime(TOY, interpretable_model=object()), NotApplicable, "interpretable_model"),
    "a strange layer": (
        lambda: attr.LayerConductance(TOY, nn.Linear(3, 3)).attribute(X, target=0), InputError, "no part of the model"
    ),
    "a strange neuron": (lambda: attr.NeuronGradient(TOY, nn.ReLU()).attribute(X, 0), ModelError, "did not call"),
    "a neuron too far": (lambda: attr.NeuronGradient(TOY, TOY.lin1).attribute(X, 7), NotApplicable, "no neuron"),
    "layers": (lambda: attr.LayerIntegratedGradients(TOY, [TOY.lin1, TOY.lin2]), NotApplicable, "not one module"),
    "its input": (
        lambda: attr.LayerActivation(TOY, TOY.lin1).attribute(X, attribute_to_layer_input=True),
        NotApplicable, "attribute_to_layer_input",
    ),
    "no rectifier": (lambda: attr.GuidedBackprop(nn.Linear(3, 1)).attribute(X), NotApplicable, "rectifier"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_are_sentences(name: str) -> None:
    call, error, told = BAD[name]
    with pytest.raises(error, match=told):
        call()


def test_a_layer_called_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(torch.relu(self.lin(x)))

    model = Twice().eval()
    for cls in (attr.LayerActivation, attr.LayerConductance, attr.LayerIntegratedGradients):
        with pytest.raises(NotApplicable, match="called more than once"):
            cls(model, model.lin).attribute(X, **({} if cls is attr.LayerActivation else {"target": 0}))
    assert not model.lin._forward_hooks


def test_rules_written_into_modules_are_refused(rows: Tensor) -> None:
    model = ToyModel().eval()
    model.lin1.rule = object()  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotApplicable, match="a rule was written into a module"):
        attr.LRP(model).attribute(rows, target=0)

"""Layers and units against closed forms and slow twins: activations, gradients, conductance, influence, ablation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS
from torch import nn

import pellucid
from pellucid.catalog import find
from pellucid.records.errors import InputError, NotApplicable, StoreError, UnknownName
from pellucid.records.explanation import Explanation
from pellucid.records.trace import Trace


class Small(nn.Module):
    """y = V act(W x + c) + d, in float64."""

    def __init__(self, activation: Any = F.relu):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.into, self.out = nn.Linear(4, 6).double(), nn.Linear(6, 2).double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.activation(self.into(x)))


def rows(count: int = 3, width: int = 4) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def explained(net: Any, x: Any, method: str, **asked: Any) -> Any:
    return pellucid.explain(net, x, method, **{"target": 0, **asked})


def path_integral(net: Small, x: torch.Tensor, points: int = 20_001) -> tuple[np.ndarray, np.ndarray]:
    """(conductance, influence) of the units of ``into``, ``[N, 6]``, by a fine midpoint sum, ``dh/dα`` being W x."""
    alphas = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    influence = []
    for row in x:
        hidden = net.into(alphas[:, None] * row).detach().requires_grad_()
        net.out(net.activation(hidden))[:, 0].sum().backward()
        assert hidden.grad is not None
        influence.append(hidden.grad.mean(0).numpy())
    moved = (x @ net.into.weight.T).detach().numpy()
    return np.array(influence) * moved, np.array(influence)


# What is there, and to first order ----------------------------------------------------------------


def test_activations_are_what_the_layer_returns():
    net, x = NETWORKS["resnet"]()
    e = explained(net, x, "layer_activation", layer=("layer1", "fc"), target="all")
    assert isinstance(e, Trace) and [layer.name for layer in e.layers] == ["layer1", "fc"]
    np.testing.assert_allclose(e.of("fc"), np.repeat(net(x).detach()[..., None], 4, -1), rtol=1e-5, atol=1e-6)
    channels = explained(net, x, "layer_activation", layer="layer1", units="channel")
    np.testing.assert_allclose(channels.values, e.of("layer1")[..., 0].sum((2, 3)), rtol=1e-6)


def test_gradient_x_activation_adds_up_to_the_target_less_the_bias_of_a_linear_head():
    net: Any
    net, x = NETWORKS["resnet"]()
    e = explained(net, x, "layer_gradient_x_activation", target=2)
    assert e.layers[0].name == "avgpool"
    np.testing.assert_allclose(e.sums[:, 0], net(x)[:, 2].detach() - net.fc.bias[2].item(), rtol=1e-4)


def test_calls_of_a_reused_module_are_told_apart():
    net: Any
    net, x = NETWORKS["weight_tied"]()
    first, third = (explained(net, x, "layer_activation", layer=name).values for name in ("step@1", "step@3"))
    with torch.no_grad():
        np.testing.assert_allclose(first, net.step(x), rtol=1e-5, atol=1e-6)
    assert not np.allclose(first, third)


# Conductance and influence ------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 5, None])
def test_conductance_of_a_linear_network_is_weight_times_change(steps):
    net, x = Small(lambda h: h), rows()
    e = explained(net, x, "layer_conductance", layer="into", steps=steps)
    expected = net.out.weight[0] * (x @ net.into.weight.T)
    np.testing.assert_allclose(e.values, expected.detach(), rtol=1e-10)
    np.testing.assert_allclose(e.gap, 0, atol=1e-12)


@pytest.mark.parametrize("activation", [F.relu, torch.tanh, F.gelu])
def test_conductance_and_influence_are_the_integrals_of_a_slow_twin(activation):
    net, x = Small(activation), rows()
    conductance, influence = path_integral(net, x)
    e = explained(net, x, "layer_conductance", layer="into", steps=1000)
    np.testing.assert_allclose(e.values, conductance, atol=2e-3 * np.abs(conductance).max())
    e = explained(net, x, "internal_influence", layer="into", steps=400)
    np.testing.assert_allclose(e.values, influence, atol=1e-2 * np.abs(influence).max())


def test_influence_of_a_smooth_network_is_exact_by_few_points():
    net, x = Small(torch.tanh), rows()
    e = explained(net, x, "internal_influence", layer="into")
    np.testing.assert_allclose(e.values, path_integral(net, x)[1], rtol=1e-6, atol=1e-7)
    assert e.notes["steps"] == 50


class WithInput(nn.Module):
    """Its first module gives the input itself."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.input, self.inner = nn.Identity(), inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.input(x))


def test_conductance_of_the_input_is_integrated_gradients():
    net, x = WithInput(Small(torch.tanh)), rows()
    e = explained(net, x, "layer_conductance", layer="input", steps=2000)
    ig = explained(net, x, "integrated_gradients", steps=200)
    np.testing.assert_allclose(e.values, ig.values, rtol=1e-4, atol=1e-6)


class Saturated(nn.Module):
    """1 − relu(1 − x), its rectifier a module."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - self.relu(1 - x)


def test_conductance_sees_through_saturation():
    x = torch.tensor([[2.0]])
    assert explained(Saturated(), x, "layer_conductance", layer="relu").values[0, 0] == pytest.approx(1.0)
    assert explained(Saturated(), x, "layer_gradient_x_activation", layer="relu").values[0, 0] == 0.0


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("relu_reused", ("first", "activation", "second", "activation@2")),
        ("relu_in_place", ("first", "second")),
        ("residual", ("into", "relu", "relu@2", "relu@3")),
        ("layer_norm", ("body.0", "body.1", "body.4")),
        ("resnet", ("relu", "layer1", "layer2", "avgpool")),
        ("grouped", ("body.0", "body.6")),
        ("vit", ("blocks.0", "blocks.1", "norm")),
        ("lstm", ("recurrent",)),
        ("encoder", ("encoder",)),
    ],
)
def test_every_layer_that_all_information_passes_is_complete(name, layers):
    net, x = NETWORKS[name]()
    e = explained(net, x, "layer_conductance", layer=layers)
    assert e.gap.shape == (len(x), len(layers))
    warned = {caution.code for caution in e.warnings}
    assert e.gap.max() <= 1e-3 or "gap" in warned
    assert e.gap.max() <= 5e-3 and "layer_bypassed" not in warned


def test_a_layer_with_a_way_around_it_is_told_without_wasting_points():
    net, x = NETWORKS["residual"]()
    e = explained(net, x, "layer_conductance", layer=("one", "relu@3"))
    (caution,) = [caution for caution in e.warnings if caution.code == "layer_bypassed"]
    assert caution.values["layers"] == "one" and max(e.notes["steps"]) <= 129
    assert e.gap[:, 1].max() <= 1e-3 < e.gap[:, 0].max()
    assert "skip connection" in e.text(0) and "跳跃连接" in e.text(0, language="zh")


# Ablation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("instead", ["zero", "reference"])
def test_ablation_slow_twin(instead):
    net, x = Small(), rows()
    background = rows(1) + 1
    e = explained(net, x, "unit_ablation", layer="into", target="all", instead=instead, background=background)
    with torch.no_grad():
        off = net.into(background)[0] if instead == "reference" else torch.zeros(6, dtype=torch.float64)
        for unit in range(6):
            hidden = net.into(x)
            hidden[:, unit] = off[unit]
            expected = net(x) - net.out(net.activation(hidden))
            np.testing.assert_allclose(e.values[:, unit], expected, rtol=1e-10, atol=1e-12)


def test_ablation_of_channels_and_elements_of_a_map():
    net, x = NETWORKS["resnet"]()
    channels = explained(net, x, "unit_ablation", layer="layer2")
    elements = explained(net, x, "unit_ablation", layer="layer2", units="element")
    np.testing.assert_allclose(  # behind it everything is linear
        channels.values, elements.of("layer2").sum((2, 3)), rtol=1e-3, atol=1e-5
    )
    tokens, x = NETWORKS["vit"]()
    assert explained(tokens, x, "unit_ablation", layer="blocks.0").values.shape == (4, 8)


# One unit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [0, 3, (5,)])
def test_neuron_conductance_adds_up_to_the_units_conductance(unit):
    net, x = Small(torch.tanh), rows()
    number = unit if isinstance(unit, int) else unit[0]
    e = explained(net, x, "neuron_attribution", layer="into", unit=unit)
    whole, influence = (values[:, number] for values in path_integral(net, x))
    np.testing.assert_allclose(e.values.sum(1), whole, rtol=1e-6)
    np.testing.assert_allclose(e.full[:, 0], whole, rtol=1e-2)
    np.testing.assert_allclose(e.values, influence[:, None] * (net.into.weight[number].detach() * x).numpy(), rtol=1e-6)


def test_the_gradient_of_a_unit_is_its_row_of_weights():
    net, x = Small(), rows()
    e = explained(net, x, "neuron_attribution", layer="into", unit=2, of="gradient")
    np.testing.assert_allclose(e.values, np.tile(net.into.weight[2].detach(), (3, 1)), rtol=1e-12)
    np.testing.assert_allclose(e.full[:, 0], net.into(x)[:, 2].detach(), rtol=1e-12)
    np.testing.assert_allclose(e.base[:, 0], net.into.bias[2].item(), rtol=1e-12)
    assert np.isnan(e.gap).all()


@pytest.mark.parametrize("unit", [4, (4, 1, 0)])
def test_the_gradient_of_a_channel_and_of_an_element_of_a_map(unit):
    net: Any
    net, x = NETWORKS["resnet"]()
    leaf = x.clone().requires_grad_()
    kept: list[torch.Tensor] = []
    handle = net.layer2.register_forward_hook(lambda *given: kept.append(given[2]))
    net(leaf)
    handle.remove()
    asked = kept[0][:, 4].sum() if unit == 4 else kept[0][:, 4, 1, 0].sum()
    expected = torch.autograd.grad(asked, leaf)[0]
    e = explained(net, x, "neuron_attribution", layer="layer2", unit=unit, of="gradient")
    np.testing.assert_allclose(e.values, expected, rtol=1e-4, atol=1e-6)


def test_the_unit_that_counts_most_is_found_row_by_row():
    net, x = Small(), rows(5)
    strength = explained(net, x, "layer_gradient_x_activation", layer="into", target="all").units
    e = explained(net, x, "neuron_attribution", layer="into", target="all")
    assert e.notes["unit"] == np.abs(strength).argmax(1).tolist()


# What is asked wrongly ----------------------------------------------------------------------------


def test_wrong_units_and_layers_are_told_in_sentences():
    net, x = NETWORKS["resnet"]()
    with pytest.raises(NotApplicable, match=r"no unit 10 at layer2.*10 channels.*\(10, 2, 2\)"):
        explained(net, x, "neuron_attribution", layer="layer2", unit=10)
    with pytest.raises(NotApplicable, match=r"no unit \(1, 1\)"):
        explained(net, x, "neuron_attribution", layer="layer2", unit=(1, 1))
    with pytest.raises(UnknownName, match="did you mean 'layer2'"):
        explained(net, x, "layer_conductance", layer=("layer1", "layer9"))
    assert find("methods", "layer_conductance", {"layer": "layer1, layer2"}).layer == ("layer1", "layer2")
    with pytest.raises(NotApplicable, match="no hidden layer"):
        explained(nn.Sequential(nn.Linear(4, 2).double()), rows(), "layer_activation")
    lstm, x = NETWORKS["lstm"]()
    with pytest.raises(NotApplicable, match=r"no gradient with respect to recurrent\[2\]"):
        explained(lstm, x, "layer_gradient_x_activation", layer="recurrent[2]")


class Tokens(nn.Module):
    """Takes whole numbers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embedding(x).mean(1)))


def test_tokens_move_by_their_embeddings():
    net, x = Tokens(), torch.arange(6).reshape(2, 3)
    e = explained(net, x, "layer_conductance", layer=("embedding", "head"), target=1)
    assert e.of("embedding").shape == (2, 3, 4) and e.gap.max() <= 1e-3
    ig = explained(net, x, "integrated_gradients", target=1, steps=200)
    np.testing.assert_allclose(e.of("embedding").sum(2), ig.values, rtol=1e-2, atol=1e-4)
    one = explained(net, x, "neuron_attribution", layer="embedding", unit=2, of="gradient")
    np.testing.assert_allclose(one.values, 1, rtol=1e-6)
    off = explained(net, x, "unit_ablation", layer="embedding", target=1)
    with torch.no_grad():
        vectors = net.embedding(x)
        vectors[..., 1] = 0
        expected = net(x) - net.head(torch.tanh(vectors.mean(1)))
    np.testing.assert_allclose(off.values[:, 1], expected[:, 1], rtol=1e-4, atol=1e-6)


# The record ---------------------------------------------------------------------------------------


def test_a_trace_is_read_cut_kept_and_drawn(tmp_path):
    net, x = NETWORKS["resnet"]()
    e = explained(net, x, "layer_conductance", layer=("layer2", "avgpool"), units="channel", target="all")
    assert e.values.shape == (4, 20, 4) and e.sums.shape == e.gap.shape == (4, 2, 4)
    np.testing.assert_allclose(e.sums[:, 0], e.full - e.base, atol=2e-3)
    name, value = e.top(1, row=1, output=2)[0]
    assert abs(value) == np.abs(e.units[1, :, 2]).max() and name.startswith(("layer2[", "avgpool["))
    assert len(e.to_frame()) == 4 * 4 * 20
    back = Trace.load(e.save(tmp_path / "trace"))
    np.testing.assert_array_equal(back.units, e.units)
    assert back.layers == e.layers and back[2].top(3) == e.top(3, row=2)
    with pytest.raises(UnknownName, match="layer2"):
        e.of("layer3")
    with pytest.raises(InputError, match="there are 2 layers"):
        e.of()
    with pytest.raises(StoreError, match="holds trace"):
        Explanation.load(tmp_path / "trace.npz")
    assert "layer2[" in str(e.plot(1, output=3).to_dict()) and "<" in e._repr_html_()
    assert "At “layer2” the strongest of 10 units" in e.text(1)
    with pytest.raises(InputError, match="answered with trace"):
        pellucid.evaluate(net, x, e)

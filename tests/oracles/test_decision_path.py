"""The path of a decision against closed forms and slow twins: units, links between them, the chain, what is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from networks import NETWORKS, built
from torch import nn

import pellucid
from pellucid.records.errors import InputError, NotApplicable, UnknownName
from pellucid.records.flow import BESIDES, BLOCKED, CANCELLED, REST, STILL, Flow


def explained(net: Any, x: Any, **asked: Any) -> Any:
    return pellucid.explain(net, x, "decision_path", **{"background": torch.zeros_like(x[:1]), "target": 0, **asked})


class Deep(nn.Module):
    """x → rectified h → rectified g → y, in float64, wide enough that not all units are followed."""

    def __init__(self, skip: bool = False):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first, self.relu, self.second, self.out = nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 7), nn.Linear(7, 2)
        self.skip = skip
        self.double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.relu(self.first(x))
        g = self.relu(self.second(h))
        return self.out(g + h if self.skip else g)


def rows() -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


def slopes(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Δrelu/Δu element by element."""
    return (u.relu() - v.relu()) / (u - v)


def test_units_and_links_are_those_of_multipliers_by_hand():
    net, x = Deep(), rows()
    e = explained(net, x, keep=3)
    assert isinstance(e, Flow) and [layer.name for layer in e.cuts] == ["first", "relu", "second", "relu@2", "out"]
    with torch.no_grad():
        for row in range(3):
            h, h0 = net.first(x[row]), net.first(0 * x[row])
            g, g0 = net.second(h.relu()), net.second(h0.relu())
            own = slopes(g, g0) * net.out.weight[0]  # of each unit of `second`
            np.testing.assert_allclose(e.of("second")[row], own * (g - g0), atol=1e-12)
            links = own[:, None] * net.second.weight * (h.relu() - h0.relu())  # [unit of second, unit of relu]
            np.testing.assert_allclose(e.of("relu")[row], links.sum(0), atol=1e-12)
            upper, lower = (e.chosen[row, cut, :, 0].astype(int) for cut in (3, 2))
            found = e.flows[row, 2, :3, :3, 0]  # from the units of relu to those of second
            np.testing.assert_allclose(found, links[upper][:, lower].T, atol=1e-12)
            others = [unit for unit in range(7) if unit not in upper]
            np.testing.assert_allclose(e.flows[row, 2, :3, REST, 0], links[others][:, lower].sum(0), atol=1e-12)


def test_the_chain_carries_what_a_walk_through_its_units_alone_carries():
    net, x = Deep(), rows()
    e = explained(net, x, keep=2)
    for row in range(3):
        links = e.links(row)
        with torch.no_grad():
            h, h0 = net.first(x[row]), net.first(0 * x[row])
            g, g0 = net.second(h.relu()), net.second(h0.relu())
        first, _, second = (link.unit for link in links[1:4])
        own = slopes(g, g0)[second] * net.out.weight[0, second]
        left = own * net.second.weight[second, first] * slopes(h, h0)[first]
        through = (left * net.first.weight[first] * x[row]).detach().numpy()
        sign = np.sign(e.change(row))
        whole = (slopes(g, g0) * net.out.weight[0] * net.second.weight[:, first]).sum() * slopes(h, h0)[first]
        assert links[0].unit == int(torch.argmax(sign * whole * net.first.weight[first] * x[row]))
        assert links[0].carried * e.change(row) == pytest.approx(through[links[0].unit], rel=1e-9)
        with torch.no_grad():
            parts = own.detach() * net.second.weight[second] * (h.relu() - h0.relu())
        assert first == int(torch.argmax(sign * parts))


@pytest.mark.parametrize("name", ["residual", "resnet", "vit", "unet", "transformer_plain", "encoder", "max_pool_ties"])
def test_at_every_layer_and_cut_all_parts_add_up_to_the_change(name: str):
    net, x = built(name)
    e = explained(net, x, target="predicted", keep=3)
    assert e.gap.max() <= 1e-10
    for row in range(len(e)):
        for table in e.flows[row, ..., 0]:
            assert np.nansum(table) == pytest.approx(e.change(row), abs=1e-9 * np.nansum(np.abs(table)))
        for lower, upper in zip(e.flows[row, :-1, :, :, 0], e.flows[row, 1:, :, :, 0], strict=True):
            np.testing.assert_allclose(np.nansum(lower, 0), np.nansum(upper, 1), atol=1e-10)
    deep = pellucid.explain(net, x, "deeplift", background=torch.zeros_like(x[:1]))
    np.testing.assert_allclose(e.attributions, deep.attributions, rtol=1e-6, atol=1e-9)


def test_what_goes_around_a_layer_is_told_apart():
    net, x = Deep(skip=True), rows()
    e = explained(net, x, layers=("second",))
    with torch.no_grad():
        h = net.relu(net.first(x)) - net.relu(net.first(0 * x))
    np.testing.assert_allclose(e.besides[:, 2, 0], (h * net.out.weight[0]).sum(1).detach(), atol=1e-12)
    np.testing.assert_allclose(np.nansum(e.flows[:, -1, BESIDES, :, 0], 1), e.besides[:, 2, 0], atol=1e-12)


def test_lost_information_is_counted():
    class Leaky(nn.Module):
        """Of four units one is dead at the row and at 0, one differs and is stopped, two cancel each other."""

        def __init__(self):
            super().__init__()
            self.into, self.relu, self.out = nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)
            self.into.weight.data = torch.tensor([[0.0], [-1.0], [1.0], [1.0]])
            self.into.bias.data, self.out.bias.data = torch.tensor([-1.0, 0.0, 0.0, 0.0]), torch.zeros(1)
            self.out.weight.data = torch.tensor([[1.0, 1.0, 3.0, -1.0]])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.relu(self.into(x)))

    e = explained(Leaky(), torch.tensor([[2.0]]))
    assert [e.lost[0, 0, what, 0] for what in (STILL, BLOCKED)] == [0.25, 0.25]
    assert e.lost[0, 1, STILL, 0] == 0.5 and e.lost[0, 1, CANCELLED, 0] == pytest.approx(0.5)
    assert "cancels out" in e.text()


def test_units_are_channels_tokens_or_features():
    net, x = NETWORKS["vit"]()
    kinds = {place["name"]: place["unit"] for place in explained(net, x).notes["places"]}
    assert kinds["patches"] == "channel" and kinds["blocks.0"] == "token" and kinds["head"] == "feature"
    features = {place["name"]: place["shape"] for place in explained(net, x, tokens=False).notes["places"]}
    tokens = {place["name"]: place["shape"] for place in explained(net, x).notes["places"]}
    assert features["blocks.0"] != tokens["blocks.0"]


def explain_with(settings: dict[str, Any], net: Any, x: Any) -> Any:
    return pellucid.explain(net, x, pellucid.methods.DecisionPath(**settings), background=torch.zeros_like(x[:1]))


def test_feature_maps_of_the_chosen_channels_are_kept():
    net, x = NETWORKS["resnet"]()
    e = explain_with({"layers": ("relu", "fc"), "keep": 2}, net, x)
    assert e.maps is not None and e.maps.shape == (len(x), 2, 2, 24, 24, 1)
    assert np.isfinite(e.maps[:, 0]).all() and np.isnan(e.maps[:, 1]).all()
    seen = pellucid.explain(net, x, "layer_activation", layer="relu").values
    channel = int(e.chosen[0, 1, 0, 0])
    assert e.maps[0, 0, 0, :, :, 0].mean() == pytest.approx(seen[0, channel].mean(), rel=1e-5)


def test_the_figure_and_the_sentences_tell_the_chain():
    pytest.importorskip("altair")
    net, x = NETWORKS["resnet"]()
    e = explained(net, x, target="predicted")
    spec = e.plot(1).to_dict()  # validates
    links = [link for link in e.links(1) if link.unit is not None]
    assert all(link.name in spec["description"] for link in links[1:])
    points = max(spec["datasets"].values(), key=len)
    ends = {(point["from"], point["to"]) for point in points if point["strong"]}
    assert len(ends) >= len(links) - 1
    assert links[1].name in e.text(1) and "变化" in e.text(1, language="zh")
    assert e.plot(1, language="zh").to_dict() != spec
    with pytest.raises(InputError, match="output 3"):
        e.plot(1, output=3)
    with pytest.raises(InputError, match="no language"):
        e.text(1, language="la")


def test_wrong_layers_and_networks_without_any_are_refused_in_a_sentence():
    net, x = NETWORKS["resnet"]()
    with pytest.raises(UnknownName, match="layer1"):
        explained(net, x, layers=("layer7",))
    with pytest.raises(NotApplicable, match="no layers"):
        explained(nn.Linear(3, 2), torch.ones(2, 3))
    with pytest.raises(UnknownName, match="layer"):
        explained(net, x).of("nowhere")


def test_an_output_that_does_not_change_has_no_shares():
    x = torch.zeros(1, 4, dtype=torch.float64)
    e = explained(Deep(), x)
    assert all(np.isnan(link.share) for link in e.links()) and "—" not in e.text()
    assert e.plot(0).to_dict()["description"]

"""Inspecting a network: idle units planted and found, gradients that vanish, checkpoints, regions, figures, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import NETWORKS
from torch import nn

import pellucid
from pellucid.measures.units import alignment, plane, trend, twins
from pellucid.records.errors import InputError, NotApplicable, UnknownName
from pellucid.records.inspection import Inspection


def rows(count: int = 40, width: int = 4) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1))


def planted() -> nn.Sequential:
    """Of six rectified units one is dead, one twice another; of three sigmoids one is saturated."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Sigmoid(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].bias[2] = -100.0
        net[0].weight[5], net[0].bias[5] = 2 * net[0].weight[1], 2 * net[0].bias[1]
        net[2].bias[1] = 50.0
    return net.eval()


def test_planted_units_are_found_and_no_others():
    found = pellucid.inspect(planted(), rows())
    assert np.flatnonzero(found.dead[found.part("1")]).tolist() == [2]
    assert found.twins[found.part("1")].tolist() == [-1, -1, -1, -1, -1, 1]
    assert found.saturated[found.part("3")].tolist() == [False, True, False] and found.saturated.sum() == 1
    assert found.silent is not None and found.silent[1] == 0
    told = found.text()
    assert "“1” (1/6)" in told and "没有" not in told and "失活" in found.text(language="zh") + "失活"


def test_activations_and_top_rows_are_what_the_layers_return():
    net, x = planted(), rows()
    found = pellucid.inspect(net, x, layers=["0"])
    with torch.no_grad():
        hidden = net[0](x).double().numpy()
    np.testing.assert_allclose(found.units[:, 0], hidden.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.activations[0, 4], np.median(hidden, 1).mean(), rtol=1e-5)
    assert found.top[0, 0] == hidden[:, 0].argmax() and found.top_values[0, 0] == pytest.approx(hidden[:, 0].max())
    with pytest.raises(UnknownName, match="nowhere"):
        pellucid.inspect(net, x, layers=["nowhere"])


def test_gradients_that_vanish_are_said_to():
    torch.manual_seed(0)
    deep = nn.Sequential(*[each for _ in range(8) for each in (nn.Linear(4, 4), nn.Sigmoid())], nn.Linear(4, 2))
    found = pellucid.inspect(deep.eval(), rows())
    assert found.gradients is not None and found.gradients[0] < 1e-3 * found.gradients[-1]
    linear = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2)).double()
    x = rows().double()
    found = pellucid.inspect(linear, x, target=0)
    assert found.gradients is not None and found.alignment == pytest.approx(1)
    np.testing.assert_allclose(found.gradients[0], linear[1].weight[0].square().mean().sqrt().item())


def test_what_another_checkpoint_had_stands_beside():
    net, other = planted(), planted()
    with torch.no_grad():
        net[4].weight *= 3
    found = pellucid.inspect(net, rows(), before=other)
    assert found.moved is not None and found.activations_before is not None
    moved = dict(zip(found.parameters, found.moved, strict=True))
    assert moved["4.weight"] == pytest.approx(2) and moved["0.weight"] == 0
    assert "“4.weight” has moved most, by 200%" in found.text()
    np.testing.assert_allclose(found.activations[0], found.activations_before[0])
    with pytest.raises(InputError, match="another network"):
        pellucid.inspect(net, rows(), before=nn.Sequential(nn.Linear(4, 2), nn.ReLU()))


def test_the_region_that_drives_a_unit_is_where_its_pattern_stands():
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)
    )
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-8.5)  # only nine bright pixels together
    x = torch.zeros(9, 1, 12, 12)
    x[4, 0, 6:9, 2:5] = 1
    found = pellucid.inspect(net.eval(), x, layers=["1"])
    assert found.regions is not None and found.pictures is not None and found.top[0, 0] == 4
    assert found.regions[0, 0].tolist() == [6, 2, 9, 5]
    np.testing.assert_array_equal(found.pictures[0, 0], x[4].numpy())


class ChannelsLast(nn.Module):
    """The same detector with its channels behind, as in a ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.see, self.turn, self.out = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 2), nn.Linear(2, 2)
        with torch.no_grad():
            self.see.weight[0], self.see.weight[1] = 1.0, 0.0
            self.see.bias.fill_(-8.5)
            self.turn.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.turn(self.see(x).movedim(1, -1)).mean((1, 2)))


def test_regions_of_maps_with_their_channels_behind():
    x = torch.zeros(9, 1, 12, 12)
    x[4, 0, 6:9, 2:5] = 1
    found = pellucid.inspect(ChannelsLast().eval(), x, layers=["turn"])
    assert found.shown_units is not None and found.regions is not None
    assert found.shown_units[0] == 1 and found.regions[0, 0].tolist() == [6, 2, 9, 5]


@pytest.mark.parametrize("name", ["resnet", "vit", "lstm"])
def test_figures_and_files(name, tmp_path):
    pytest.importorskip("altair")
    net, x = NETWORKS[name]()
    found = pellucid.inspect(net, x, before=net)
    kinds = ["units", "activations", "gradients", "weights", "embedding"] + ["filters", "examples"] * (name == "resnet")
    for kind in kinds:
        assert found.plot(kind).to_dict()["description"], kind
    back = Inspection.load(found.save(tmp_path / "found"))
    assert back.layers == found.layers and back.labels == found.labels and back.alignment == found.alignment
    assert back.units.tobytes() == found.units.tobytes() and back.to_frame().equals(found.to_frame())
    with pytest.raises(UnknownName, match="figure"):
        found.plot("weigths")
    if name == "lstm":
        with pytest.raises(NotApplicable, match="convolution"):
            found.plot("filters")
    assert "<img" in found._repr_html_()


def test_rows_in_a_plane():
    pytest.importorskip("sklearn")
    found = pellucid.inspect(planted(), rows(), embedding="tsne")
    assert found.embeddings.shape == (3, 40, 2) and np.isnan(found.variances).all()
    with pytest.raises(InputError, match="embedding"):
        pellucid.inspect(planted(), rows(), embedding="umap")  # pyright: ignore[reportArgumentType]
    values = np.random.default_rng(0).normal(size=(30, 5)) * [5, 3, 1, 1, 1]
    points, shares = plane(values)
    centred = values - values.mean(0)
    own = np.sort(np.linalg.eigvalsh(centred.T @ centred))[::-1]
    np.testing.assert_allclose((points**2).sum(0), own[:2])
    np.testing.assert_allclose(shares, own[:2] / own.sum())


def test_measures_of_units():
    values = np.random.default_rng(0).normal(size=(20, 3))
    assert twins(np.column_stack([values, 3 * values[:, :1] + 1, np.zeros(20)])).tolist() == [-1, -1, -1, 0, -1]
    assert twins(np.column_stack([values, -values[:, :1]])).tolist() == [-1, -1, -1, -1]
    assert twins(values[:4]).tolist() == [-1, -1, -1]
    assert alignment(values, 2 * values) == pytest.approx(1) and np.isnan(alignment(0 * values, values))
    assert trend(np.array([1.0, 0.5, 0.25])) == pytest.approx(0.5) and np.isnan(trend(np.zeros(3)))


def test_a_black_box_cannot_be_inspected():
    with pytest.raises(NotApplicable, match="inside"):
        pellucid.inspect(lambda x: np.asarray(x)[:, :2], rows().numpy())

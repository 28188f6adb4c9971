"""Class activation maps against closed forms and slow twins written from the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS
from torch import nn

import pellucid
from pellucid.records.errors import InputError, NotApplicable, UnknownName
from pellucid.records.joining import joined

GRADIENT_MAPS = ("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam")
EVERY = ("cam", *GRADIENT_MAPS, "eigen_cam", "ablation_cam", "score_cam")


class Pooled(nn.Module):
    """Convolution → rectifier → mean over the picture → linear: the network that CAM is defined for."""

    def __init__(self, side: int = 8, channels: int = 5):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convolution, self.head = nn.Conv2d(3, channels, 3, stride=2, padding=1), nn.Linear(channels, 4)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.convolution(x)).mean((2, 3)))


class Deep(nn.Module):
    """The map goes through a convolution and a rectifier before it is pooled: gradients differ from cell to cell."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first, self.second = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, 3)
            self.head = nn.Linear(6, 3)
        self.relu = nn.ReLU(inplace=True)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.first(x))

    def behind(self, maps: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.second(maps)).mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.relu(self.first(x)))


def pictures(count: int = 3, side: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def explained(net: nn.Module, x: Any, method: str, target: Any = 1, **settings: Any) -> Any:
    return pellucid.explain(net, x, method, target=target, **settings)


def raw(e: Any) -> np.ndarray:
    """The raw maps of the first target, ``[N, h, w]``."""
    return e.maps[..., 0]


# The network that CAM is defined for -------------------------------------------------------------


def test_cam_is_the_sum_of_the_linear_layers_weights_and_the_maps():
    net, x = Pooled(), pictures()
    with torch.no_grad():
        expected = torch.einsum("k,nkhw->nhw", net.head.weight[1], F.relu(net.convolution(x)))
    e = explained(net, x, "cam")
    np.testing.assert_allclose(raw(e), expected, rtol=1e-5, atol=1e-6)
    assert e.notes["layer"] == "relu" and e.notes["grid"] == [4, 4]


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "xgrad_cam"])
def test_gradient_maps_are_cam_where_cam_is_defined(method):
    net, x = Pooled(), pictures()
    cam = raw(explained(net, x, "cam", target="all"))
    for target in range(4):
        cam = raw(explained(net, x, "cam", target=target))
        np.testing.assert_allclose(
            raw(explained(net, x, method, target=target, relu=False)), cam / 16, rtol=1e-5, atol=1e-7
        )
        rectified = raw(explained(net, x, method, target=target, relu=True))
        np.testing.assert_allclose(rectified, np.maximum(cam, 0) / 16, rtol=1e-5, atol=1e-7)


def test_hires_cam_adds_up_to_the_target_less_the_bias():
    net, x = Pooled(), pictures()
    found = raw(explained(net, x, "hires_cam")).sum((1, 2))
    np.testing.assert_allclose(found, net(x)[:, 1].detach() - net.head.bias[1].item(), rtol=1e-5)


def test_ablation_cam_of_a_linear_head_weighs_maps_by_what_they_add():
    net, x = Pooled(), pictures()
    with torch.no_grad():
        maps = F.relu(net.convolution(x))
        weights = net.head.weight[1] * maps.mean((2, 3))
    expected = torch.einsum("nk,nkhw->nhw", weights, maps)
    np.testing.assert_allclose(raw(explained(net, x, "ablation_cam", relu=False)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("net", [Deep(), NETWORKS["grouped"]()[0]])
def test_cam_is_refused_where_it_is_not_defined(net):
    with pytest.raises(NotApplicable, match="averaged and only a linear layer"):
        explained(net, pictures(), "cam", layer="first" if isinstance(net, Deep) else None)


# Closed forms ------------------------------------------------------------------------------------


class OneCell(nn.Module):
    """Two cells, the second dead; the target is slope · the first channel's first cell."""

    def __init__(self, slope: float):
        super().__init__()
        self.map, self.slope = nn.Identity(), slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * self.map(x)[:, :1, 0, 0]


def test_one_live_cell_by_hand():
    x = torch.tensor([[[[3.0, 0.0]]]])
    found = {name: raw(explained(OneCell(2.0), x, name, target=0))[0, 0] for name in GRADIENT_MAPS}
    np.testing.assert_allclose(found["grad_cam"], [3.0, 0.0])  # the mean gradient is 2 / 2
    np.testing.assert_allclose(found["hires_cam"], [6.0, 0.0])
    np.testing.assert_allclose(found["layer_cam"], [6.0, 0.0])
    np.testing.assert_allclose(found["xgrad_cam"], [6.0, 0.0])  # the gradient where the activation is
    np.testing.assert_allclose(found["grad_cam_plus_plus"], [3 * 2 / (2 + 2 * 3), 0.0])  # α g A, α = 1 / (2 + g ΣA)


def test_what_speaks_against_the_target_is_kept_where_it_is_asked_for():
    x = torch.tensor([[[[3.0, 1.0]]]])
    assert raw(explained(OneCell(-2.0), x, "hires_cam", target=0))[0, 0].tolist() == [-6.0, 0.0]
    e = explained(OneCell(-2.0), x, "grad_cam", target=0)
    assert not e.values.any() and [caution.code for caution in e.warnings if caution.code == "empty_map"]
    assert raw(explained(OneCell(-2.0), x, "grad_cam", target=0, relu=False))[0, 0].tolist() == [-3.0, -1.0]


@pytest.mark.parametrize("method", EVERY)
def test_a_dead_map_gives_zeros(method):
    net = Pooled()
    with torch.no_grad():
        net.convolution.weight.zero_()
        net.convolution.bias.fill_(-1.0)  # pyright: ignore[reportOptionalMemberAccess]
    e = explained(net, pictures(), method)
    assert np.isfinite(e.values).all() and not e.values.any()
    assert any(caution.code == "empty_map" for caution in e.warnings)


# Slow twins --------------------------------------------------------------------------------------


def _seen(net: Deep, x: torch.Tensor, target: int) -> tuple[np.ndarray, np.ndarray]:
    maps = net.maps(x).detach().requires_grad_()
    net.behind(maps)[:, target].sum().backward()
    assert maps.grad is not None
    return maps.detach().numpy(), maps.grad.numpy()


def _plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    square, cube = g**2, g**3
    bottom = 2 * square + a.sum((1, 2), keepdims=True) * cube
    alpha = np.divide(square, bottom, out=np.zeros_like(g), where=bottom != 0)
    return np.maximum((((alpha * np.maximum(g, 0)).sum((1, 2)))[:, None, None] * a).sum(0), 0)


TWINS = {
    "grad_cam": lambda a, g: np.maximum((g.mean((1, 2))[:, None, None] * a).sum(0), 0),
    "hires_cam": lambda a, g: (g * a).sum(0),
    "layer_cam": lambda a, g: np.maximum((np.maximum(g, 0) * a).sum(0), 0),
    "xgrad_cam": lambda a, g: np.maximum(
        (((g * a).sum((1, 2)) / (a.sum((1, 2)) + 1e-30))[:, None, None] * a).sum(0), 0
    ),
    "grad_cam_plus_plus": _plus_plus,
}


@pytest.mark.parametrize("method", GRADIENT_MAPS)
def test_slow_twins_cell_by_cell(method):
    net, x = Deep(), pictures()
    e = explained(net, x, method, target="all", layer="relu")
    for target in range(3):
        activations, slopes = _seen(net, x, target)
        expected = [TWINS[method](a.astype(float), g.astype(float)) for a, g in zip(activations, slopes, strict=True)]
        np.testing.assert_allclose(e.maps[..., target], expected, rtol=1e-4, atol=1e-7)


def test_ablation_cam_slow_twin():
    net, x = Deep(), pictures()
    with torch.no_grad():
        maps, expected = net.maps(x), []
        for row in maps:
            left = row[None].repeat(4, 1, 1, 1)
            for k in range(4):
                left[k, k] = 0
            lost = net.behind(row[None])[0, 2] - net.behind(left)[:, 2]
            expected.append(torch.einsum("k,khw->hw", lost, row).relu().numpy())
    np.testing.assert_allclose(raw(explained(net, x, "ablation_cam", 2, layer="relu")), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("softmax", [True, False])
def test_score_cam_slow_twin(softmax):
    net, x = Deep(), pictures()
    with torch.no_grad():
        expected = []
        for picture, maps in zip(x, net.maps(x), strict=True):
            gained = []
            for a in maps:
                mask = F.interpolate(a[None, None], (8, 8), mode="bilinear")
                low, high = a.min(), a.max()
                mask = (mask - low) / (high - low) if high > low else mask * 0
                gained.append(net(picture[None] * mask)[0, 1] - net(torch.zeros(1, 3, 8, 8))[0, 1])
            weights = torch.stack(gained)
            weights = weights.softmax(0) if softmax else weights
            expected.append(torch.einsum("k,khw->hw", weights, maps).relu().numpy())
    e = explained(net, x, "score_cam", layer="relu", softmax=softmax)
    np.testing.assert_allclose(raw(e), expected, rtol=1e-3, atol=1e-6)


def test_eigen_cam_is_the_largest_projection_of_the_maps():
    net, x = Deep(), pictures()
    with torch.no_grad():
        maps = net.maps(x).flatten(2).double().numpy()
    e = explained(net, x, "eigen_cam", layer="relu", target="all")
    for row, own in enumerate(maps):
        values, vectors = np.linalg.eigh(own @ own.T)
        found = vectors[:, -1] @ own
        found = found if found.sum() >= 0 else -found
        for target in range(3):
            np.testing.assert_allclose(e.maps[row, ..., target].ravel(), found, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(np.square(found).sum(), values[-1], rtol=1e-6)


def test_guided_grad_cam_is_the_product_of_both():
    net, x = Deep(), pictures()
    e, cam, guided = (
        explained(net, x, name, **settings)
        for name, settings in (
            ("guided_grad_cam", {"layer": "relu"}),
            ("grad_cam", {"layer": "relu"}),
            ("guided_backprop", {}),
        )
    )
    assert e.values.any()
    np.testing.assert_allclose(e.values, 3 * cam.values * guided.values, rtol=1e-5, atol=1e-9)


# From the map to the players ---------------------------------------------------------------------


def test_values_are_the_enlarged_map_added_up_by_players():
    net, x = Pooled(), pictures()
    pixels = explained(net, x, "hires_cam")
    large = F.interpolate(torch.tensor(raw(pixels))[:, None], (8, 8), mode="bilinear")[:, 0].numpy()
    np.testing.assert_allclose(pixels.values, np.repeat(large[:, None] / 3, 3, 1), rtol=1e-12)
    patches = explained(net, x, "hires_cam", players=pellucid.players.Patches(4))
    blocks = large.reshape(3, 2, 4, 2, 4).sum((2, 4)).reshape(3, 4)
    np.testing.assert_allclose(patches.values, blocks, rtol=1e-10)
    np.testing.assert_allclose(patches.values.sum(1), 4 * raw(patches).sum((1, 2)), rtol=1e-10)


# Which layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet", "layer2"), ("unet", "out"), ("convnext", "narrow"), ("grouped", "body.6")],
)
def test_the_layer_is_found_and_named(name, layer):
    net, x = NETWORKS[name]()
    e = explained(net, x, "grad_cam", target=0, relu=False)
    assert e.notes["layer"] == layer and e.values.any()


def test_a_vision_transformer_is_looked_at_where_its_picture_still_matters():
    """Behind the last attention only the class token is read: a map taken there would be zero."""
    net, x = NETWORKS["vit"]()
    e = explained(net, x, "hires_cam", target=0)
    assert e.notes["layer"] == "blocks.1.norm1" and e.notes["grid"] == [2, 2] and e.values.any()
    late = explained(net, x, "hires_cam", target=0, layer="norm")
    assert not late.values.any() and any(caution.code == "empty_map" for caution in late.warnings)


def test_a_wrong_layer_is_answered_with_what_there_is():
    net, x = NETWORKS["resnet"]()
    with pytest.raises(UnknownName, match=r"did you mean 'layer2'.*The places are conv1"):
        explained(net, x, "grad_cam", layer="layer4")
    with pytest.raises(NotApplicable, match=r"fc has no map of the picture.*take 'layer2'"):
        explained(net, x, "grad_cam", layer="fc")


def test_a_network_without_a_map_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(NotApplicable, match="no layer of this network has a map"):
        explained(net, pictures(), "grad_cam")
    with pytest.raises(NotApplicable, match="inspectable"):
        explained(lambda x: x.mean((1, 2, 3)), pictures().numpy(), "eigen_cam", target=0)  # pyright: ignore[reportArgumentType]


def test_a_record_keeps_its_maps(tmp_path):
    e = explained(Pooled(), pictures(), "grad_cam", target="all")
    back = type(e).load(e.save(tmp_path / "e"))
    np.testing.assert_array_equal(back.maps, e.maps)
    assert back[1].maps.shape == (1, 4, 4, 4)


# Nothing is absent ---------------------------------------------------------------------------------


def test_what_absent_means_is_neither_asked_nor_told_where_nothing_is_removed():
    net, x = Pooled(), pictures()
    explained(net, x, "grad_cam")
    e = explained(net, x, "grad_cam")
    assert e.cost.rows == 3 and np.isnan(e.base).all() and np.isnan(e.gap).all()
    assert not any(caution.code == "zero_baseline" for caution in e.warnings)
    assert "absent" not in e.text(0) and "→" not in repr(e) and e.text(0, language="zh", audience="person")
    assert "<" in e._repr_html_() and e.plot(0).to_dict() and e.plot("bar", row=0).to_dict()
    with pytest.raises(InputError, match="start nowhere"):
        e.plot("waterfall", row=0)
    said = explained(net, x, "grad_cam", background=torch.zeros(1, 3, 8, 8))
    assert said.cost.rows == 4 and np.isfinite(said.base).all() and "absent" in said.text(0)
    np.testing.assert_allclose(said.maps, e.maps, rtol=1e-6)
    for method in EVERY:
        assert explained(net, x, method).values.shape == (3, 3, 8, 8)


def test_maps_are_graded_beside_controls():
    net, x = Pooled(), pictures()
    e = explained(net, x, "hires_cam", players=pellucid.players.Patches(4))
    scores = pellucid.evaluate(net, x, e, metrics=("abpc", "completeness_gap", "sparseness"))
    assert [score.status for score in scores][:1] == ["ok"]
    compared = pellucid.compare(net, x, ("grad_cam", "saliency"), metrics="abpc", players=pellucid.players.Patches(4))
    assert {name for name, _ in compared.ranking} == {"grad_cam", "saliency"}


def test_blocks_of_rows_are_joined_with_their_maps():
    net, x = Pooled(), pictures(5)
    whole = explained(net, x, "grad_cam", target="all")
    parts = [([3, 0], whole[[3, 0]]), ([1, 4], whole[[1, 4]])]
    back = joined(parts, whole.players, whole.ids)
    assert back.maps is not None
    np.testing.assert_array_equal(back.maps[[0, 1, 3, 4]], whole.maps[[0, 1, 3, 4]])
    assert np.isnan(back.maps[2]).all() and np.isnan(back.full[2]).all()

"""A network trained in seconds on traffic signs, where these lie beside the checkout, is explained in their boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid
from pellucid.modalities.image import Boxes
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import small_cnn

SIGNS = Path(__file__).resolve().parents[2] / "../shared/data/gtsrb_small/gtsrb12_35.npz"
METHODS = ("grad_cam", "deeplift", "lrp", "integrated_gradients", "saliency", "random", "edge_filter")


def test_explanations_of_signs_lie_in_their_boxes() -> None:
    if not SIGNS.exists():
        pytest.skip("the traffic signs (gtsrb_small) are not here")
    kept = np.load(SIGNS, allow_pickle=False)
    x, test = (torch.from_numpy(kept[f"X_{part}"]).permute(0, 3, 1, 2).float() / 255 for part in ("train", "test"))
    net = fresh(small_cnn, 0, channels=3, height=35, width=35, classes=12, base=8)
    fit(net, (x, kept["y_train"].astype(np.int64)), epochs=6, batch_size=32)
    with torch.no_grad():
        right = np.flatnonzero(net(test).argmax(1).numpy() == kept["y_test"])
    assert len(right) > 0.35 * len(test)  # chance is one in twelve
    chosen = right[:: len(right) // 24][:24]
    asked = {"removal": pellucid.removals.Blur(), "players": pellucid.players.Pixels()}
    explained = {name: pellucid.explain(net, test[chosen], name, **asked) for name in METHODS}
    boxes = Boxes(kept["roi_test"][chosen])
    found = pellucid.evaluate(
        net, test[chosen], explained, metrics=["pointing_game", "relevance_mass"], truth=boxes, controls=False
    )
    mass = {score.method: score.value for score in found if score.metric == "relevance_mass"}
    hits = {score.method: score.value for score in found if score.metric == "pointing_game"}
    share = boxes.masks(35, 35).mean()
    assert np.isclose(mass["random"], share, atol=0.05)
    for method in ("grad_cam", "deeplift", "lrp", "integrated_gradients"):
        assert mass[method] > share + 0.08, f"{method} puts {mass[method]:.2f} inside boxes of {share:.2f}"
        assert hits[method] > hits["random"], method

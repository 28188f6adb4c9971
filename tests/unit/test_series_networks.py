"""Networks over time of every kind are explained by methods of every kind."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.players import Windows
from pellucid.removals import Interpolated

X = np.random.default_rng(0).normal(size=(3, 20, 2)).astype(np.float32)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.head = kind(2, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.head = nn.Conv1d(2, 8, 5, 5), nn.Linear(8, 3)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x):
        return self.head(self.layers(self.patches(x.mT).mT).mean(1))


class Temporal(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(2, 6, 3, padding=1), nn.Conv1d(6, 6, 3, padding=2, dilation=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.two(torch.relu(self.one(x.mT)))).mean(-1))


NETWORKS = {
    "lstm": lambda: Recurrent(nn.LSTM), "gru": lambda: Recurrent(nn.GRU), "transformer": Transformer, "tcn": Temporal,
}  # fmt: skip
METHODS = ("shapley", "occlusion", "lime", "saliency", "integrated_gradients", "deeplift", "lrp", "grad_cam")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_network_over_time_is_explained(network, method):
    torch.manual_seed(0)
    net, rows = NETWORKS[network]().eval(), pellucid.Series(X, ("heat", "load"), time="first")
    e = pellucid.explain(net, rows, method, removal=Interpolated(), players=Windows(5), budget=60)
    assert e.values.shape == (3, 8) and np.abs(e.values).max() > 0
    assert e.players.names[0][4] == "load, steps 0–4"
    if method in ("shapley", "deeplift"):
        assert np.max(e.gap) < 1e-3, "contributions add up"
    if method == "grad_cam":
        assert e.notes["grid"] == [1, 4 if network == "transformer" else 20]

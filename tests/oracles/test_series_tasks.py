"""Every network over time at every task: what is told of it beside plain loops over the definition."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.players import Windows

C, T, LONG, AHEAD = 2, 12, 3, 4
RNG = np.random.default_rng(0)
X, BACKGROUND = RNG.normal(size=(2, T, C)), RNG.normal(size=(3, T, C))


class Recurrent(nn.Module):
    """What an LSTM or GRU keeps at each step, ``[b, T, 6]``."""

    def __init__(self, kind):
        super().__init__()
        self.cells = kind(C, 6, batch_first=True)

    def forward(self, x):
        return self.cells(x)[0]


class Temporal(nn.Module):
    """Causal convolutions, the second dilated, and a residual connection."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(C, 6, 3), nn.Conv1d(6, 6, 3, dilation=2)

    def forward(self, x):
        h = torch.tanh(self.one(nn.functional.pad(x.mT, (2, 0))))
        return (h + torch.tanh(self.two(nn.functional.pad(h, (4, 0))))).mT


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(C, 6)
        self.place = nn.Parameter(torch.randn(T, 6))
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(T, dtype=x.dtype)
        return self.layers(self.first(x) + self.place, mask=mask, is_causal=True)


class Task(nn.Module):
    """Three classes, four steps to come, or the error at foretelling each step from those before it."""

    def __init__(self, body, task):
        super().__init__()
        self.body, self.task = body, task
        self.head = nn.Linear(6, {"classify": 3, "forecast": AHEAD, "anomaly": C}[task])

    def forward(self, x):
        h = self.head(self.body(x) if self.task == "anomaly" else self.body(x)[:, -1])
        return (h[:, :-1] - x[:, 1:]).square().mean((1, 2))[:, None] if self.task == "anomaly" else h


BODIES = {
    "lstm": lambda: Recurrent(nn.LSTM), "gru": lambda: Recurrent(nn.GRU), "tcn": Temporal, "transformer": Transformer,
}  # fmt: skip
TASKS = {
    "classification": ("classify", "late", lambda y: y[:, 1]),
    "one step ahead": ("forecast", "t+2", lambda y: y[:, 1]),
    "whole horizon": ("forecast", pellucid.targets.Total(), lambda y: y.sum(1)),
    "anomaly": ("anomaly", 0, lambda y: y[:, 0]),
}
NAMES = {"classify": ("early", "late", "never"), "forecast": ("t+1", "t+2", "t+3", "t+4"), "anomaly": ("score",)}
GRID = np.arange(C)[None] * (T // LONG) + np.arange(T)[:, None] // LONG
"""Whose each element ``[T, C]`` is: windows stand channel by channel."""
PLAYERS = int(GRID.max()) + 1


@pytest.fixture(scope="module", params=list(product(BODIES, TASKS)), ids=" ".join)
def asked(request):
    """A model, the target, and the plain function of a batch."""
    body, (task, target, chosen) = BODIES[request.param[0]], TASKS[request.param[1]]
    torch.manual_seed(3)
    net = Task(body(), task).double().eval()

    def plain(x):
        return chosen(net(torch.as_tensor(x)))

    return pellucid.wrap(net, outputs=NAMES[task]), target, plain


def told(asked, method):
    rows = pellucid.Series(X, ("heat", "load"), time="first")
    return pellucid.explain(
        asked[0], rows, method, target=asked[1], players=Windows(LONG), background=BACKGROUND, budget=2**PLAYERS,
    )  # fmt: skip


def worth(plain, row, there):
    """The mean over the background of what the network says with only the players in ``there`` present."""
    with torch.no_grad():
        return float(plain(np.where(there[GRID], X[row], BACKGROUND)).mean())


def test_shapley_values_are_those_of_the_definition(asked):
    e = told(asked, "exact_shapley")
    for row in range(len(X)):
        coalitions = np.array(list(product([False, True], repeat=PLAYERS)))
        values = np.array([worth(asked[2], row, there) for there in coalitions])
        want = np.zeros(PLAYERS)
        for player in range(PLAYERS):
            without = np.flatnonzero(~coalitions[:, player])
            joined = without + 2 ** (PLAYERS - 1 - player)
            sizes = coalitions[without].sum(1)
            shares = np.array([1 / (PLAYERS * comb(PLAYERS - 1, size)) for size in sizes])
            want[player] = (shares * (values[joined] - values[without])).sum()
        assert np.allclose(e.values[row], want, atol=1e-9)
        assert np.isclose(e.full[row, 0], values[-1]) and np.isclose(e.base[row, 0], values[0])


def test_occlusion_takes_one_window_at_a_time(asked):
    e = told(asked, "occlusion")
    everyone = np.ones(PLAYERS, dtype=bool)
    for row in range(len(X)):
        full = worth(asked[2], row, everyone)
        want = [full - worth(asked[2], row, np.arange(PLAYERS) != player) for player in range(PLAYERS)]
        assert np.allclose(e.values[row], want, atol=1e-9)


def test_integrated_gradients_are_the_integral(asked):
    e = told(asked, pellucid.methods.IntegratedGradients(steps=64))
    start, fine = BACKGROUND.mean(0), (np.arange(512) + 0.5) / 512
    for row in range(len(X)):
        path = torch.from_numpy(start + fine[:, None, None] * (X[row] - start)).requires_grad_()
        (slopes,) = torch.autograd.grad(asked[2](path).sum(), path)
        elements = (X[row] - start) * slopes.mean(0).numpy()
        want = np.bincount(GRID.ravel(), elements.ravel())
        assert np.allclose(e.values[row], want, atol=1e-4 * max(np.abs(want).max(), 1))
        assert np.isclose(want.sum(), e.full[row, 0] - e.base[row, 0], atol=1e-4)


def test_saliency_is_the_slope(asked):
    rows, step = pellucid.Series(X, time="first"), 1e-5
    e = pellucid.explain(asked[0], rows, "saliency", target=asked[1])
    for t, c in product(range(T), range(C)):
        moved = np.stack([X, X])
        moved[0, :, t, c] += step
        moved[1, :, t, c] -= step
        with torch.no_grad():
            up, down = (asked[2](one).numpy() for one in moved)
        assert np.allclose(np.abs(e.values[:, t, c]), np.abs(up - down) / (2 * step), atol=1e-7)

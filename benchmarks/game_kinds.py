"""The kinds of games: networks trained here in seconds, and sparse sums of products; each once per training seed.

Truth is exact: by enumeration up to 20 players, in closed form for products and for networks with one hidden layer;
one deep network of 30 players has a long estimate instead, whose own error is measured and told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from games import Game, Known, Network, Products, Text, enumerated, of_products, of_shallow, save, table
from torch import Tensor, nn

BATCH = 64
"""Rows of a game, which a pooled fit is asked about together."""
ASKED = 4
"""Rows whose truth is known."""
TABLES = 16
"""Up to so many players the table of all values is kept beside the game."""
WAVES = 160
TRAINED = {"tanh": nn.Tanh, "gelu": lambda: nn.GELU(approximate="tanh"), "silu": nn.SiLU, "relu": nn.ReLU}


@dataclass(frozen=True)
class Kind:
    """A game to be made for each training seed, and how its truth is found."""

    title: str
    players: str
    background: int
    make: Callable[[int], Game]
    truth: str = "enumerated"
    sparse: bool = False
    long: int = 8_000
    """Evaluations a player of each of two estimates, where these are the truth."""


def known(name: str, seed: int, cache: Path) -> Path:
    """The file of a game with its truth, made where it is not there yet."""
    path = file_of(name, seed, cache)
    if not path.exists():
        kind = (KINDS | WIDE)[name]
        game = kind.make(seed)
        save(_with_truth(game, kind), path)
    return path


def file_of(name: str, seed: int, cache: Path) -> Path:
    """Where a game is kept."""
    return cache / "games" / f"{name}-{seed}.npz"


def _with_truth(game: Game, kind: Kind) -> Known:
    how = kind.truth
    asked = np.linspace(0, game.rows - 1, ASKED).astype(int)
    counts = [game.players(row) for row in asked]
    truth, doubt = np.full((ASKED, max(counts)), np.nan), np.zeros(ASKED)
    tables = np.full((ASKED, 2 ** max(counts)), np.nan) if max(counts) <= TABLES else np.empty((ASKED, 0))
    if how == "long":
        truth, doubt = _long(game, asked, kind.long)
    for place, (row, n) in enumerate(zip(asked, counts, strict=True)):
        if how == "enumerated":
            v = table(game, row)
            truth[place, :n] = enumerated(v)
            if tables.size:
                tables[place, : len(v)] = v
        elif isinstance(game, Products):
            truth[place] = of_products(game, row)
        elif how == "waves" and isinstance(game, Network):
            truth[place] = of_shallow(game, row, WAVES)
    return Known(game, asked, truth, doubt, tables)


def _long(game: Game, asked: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of two long estimates, and the squared relative error that their difference tells of it."""
    from shapley_ours import estimates  # imports the library, which other kinds do without

    budget = each * game.players(0)
    parts = [estimates(game, asked, "kernel_shapley", budget, seed).values for seed in (1_001, 1_002)]
    mean = (parts[0] + parts[1]) / 2
    return mean, np.square(parts[0] - parts[1]).sum(1) / 4 / np.square(mean).sum(1)


# Networks ------------------------------------------------------------------------------------


def _teacher(x: np.ndarray, rng: np.random.Generator, outputs: int) -> np.ndarray:
    """Smooth functions of a few columns each, with products, standardised; ``Float[N, outputs]``."""
    columns, found = x.shape[1], []
    for _ in range(outputs):
        y = np.zeros(len(x))
        for _ in range(columns):
            some = rng.choice(columns, size=min(3, columns), replace=False)
            y += rng.normal() * np.sin(x[:, some] @ rng.normal(size=len(some)) + rng.normal())
            y += 0.3 * rng.normal() * x[:, some[0]] * x[:, some[1]]
        found.append((y - y.mean()) / y.std())
    return np.stack(found, axis=1)


def _inputs(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Normal columns, correlated by 0.3."""
    return np.sqrt(0.7) * rng.normal(size=(rows, columns)) + np.sqrt(0.3) * rng.normal(size=(rows, 1))


def _fit(module: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float = 3e-3) -> None:
    """Adam on batches of 256: squared error, or cross entropy where ``y`` holds classes."""
    loss = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        part = torch.randint(len(x), (256,), generator=order)
        optimiser.zero_grad()
        loss(module(x[part]), y[part]).backward()
        optimiser.step()


def _dense(columns: int, hidden: Sequence[int], outputs: int, activation: str, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    sizes, layers = [columns, *hidden], []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), TRAINED[activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def network(
    columns: int, hidden: Sequence[int], activation: str, background: int, *, classes: int = 0, group: int = 1
) -> Callable[[int], Network]:
    """A dense network trained on a table: for numbers, or with ``classes`` until its probabilities are saturated.

    With a background of 1 absent columns take their mean, 0. ``group`` neighbouring columns are one player.
    """

    def make(seed: int) -> Network:
        rng = np.random.default_rng([7, seed])
        x = _inputs(rng, 3_000, columns)
        y = _teacher(x, rng, max(classes, 1))
        module = _dense(columns, hidden, max(classes, 1), activation, seed)
        wanted = torch.tensor(y.argmax(1)) if classes else torch.tensor(y, dtype=torch.float32)
        _fit(module, torch.tensor(x, dtype=torch.float32), wanted, steps=1_500 if classes else 500)
        layers = [layer for layer in module if isinstance(layer, nn.Linear)]
        rows = _inputs(rng, BATCH, columns)
        with torch.no_grad():
            predicted = module(torch.tensor(rows, dtype=torch.float32)).argmax(1).numpy()
        return Network(
            tuple(_array(layer.weight) for layer in layers),
            tuple(_array(layer.bias) for layer in layers),
            activation,
            rows,
            np.zeros((1, columns)) if background == 1 else x[:background],
            np.arange(columns) // group,
            predicted,
            probability=int(bool(classes)),
        )

    return make


def picture(seed: int) -> Network:
    """A convolutional network on scikit-learn's digits; players are 16 squares of 2 × 2 pixels, black when absent."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    torch.manual_seed(seed)
    convolution = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.Flatten())
    pooled = nn.Sequential(nn.Unflatten(1, (8, 6, 6)), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 32))
    module = nn.Sequential(convolution, nn.ReLU(), pooled, nn.ReLU(), nn.Linear(32, 10))
    _fit(module, x[:1_500], torch.tensor(digits.target[:1_500]), steps=600)
    layers = [_as_dense(part, width) for part, width in ((convolution, 64), (pooled, 288), (module[4], 32))]
    rows = x[1_500 + BATCH * seed :][:BATCH]
    places = np.arange(64)
    return Network(
        tuple(weight for weight, _ in layers),
        tuple(bias for _, bias in layers),
        "relu",
        _array(rows),
        np.zeros((1, 64)),
        places // 8 // 2 * 4 + places % 8 // 2,
        module(rows).argmax(1).numpy(),
    )


def _as_dense(layer: nn.Module, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of an affine map, from what it makes of each unit vector."""
    with torch.no_grad():
        bias = layer(torch.zeros(1, width))
        return _array(layer(torch.eye(width)) - bias).T.copy(), _array(bias[0])


class _Reader(nn.Module):
    """The network of :class:`games.Text`, for training."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.queries, self.keys, self.contents = (nn.Parameter(torch.randn(width, width) / 4) for _ in range(3))
        self.readout = nn.Parameter(torch.randn(width) / 4)

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embedding(tokens)
        scores = (words @ self.queries) @ (words @ self.keys).mT / words.shape[-1] ** 0.5
        return (torch.tanh(words + scores.softmax(-1) @ (words @ self.contents)) @ self.readout).mean(1)


def text(seed: int) -> Text:
    """Sentences of 8 to 14 words whose mood is the sum of the words' moods, turned around by negations."""
    rng = np.random.default_rng([8, seed])
    torch.manual_seed(seed)
    vocabulary, width = 120, 12
    moods = rng.normal(size=vocabulary)
    negating = rng.random(vocabulary) < 0.08
    reader = _Reader(vocabulary, width)
    tokens = rng.integers(vocabulary, size=(4_000, 11))
    mood = moods[tokens].mean(1) * (1 - 2 * (negating[tokens].sum(1) % 2)) * 3
    _fit(reader, torch.tensor(tokens), torch.tensor(mood, dtype=torch.float32), steps=500, rate=1e-2)
    lengths = np.repeat([8, 10, 12, 14], BATCH // 4)
    words = _array(reader.embedding(torch.tensor(rng.integers(vocabulary, size=(BATCH, 14)))))
    parts = (reader.queries, reader.keys, reader.contents, reader.readout)
    return Text(words, lengths, *map(_array, parts))


def products(players: int) -> Callable[[int], Products]:
    """Twice as many products of 2 to 4 players as there are players, beside a term for each player alone."""

    def make(seed: int) -> Products:
        rng = np.random.default_rng([9, players, seed])
        members = np.zeros((3 * players, players), dtype=bool)
        members[:players] = np.eye(players, dtype=bool)
        for term in members[players:]:
            term[rng.choice(players, size=rng.integers(2, 5), replace=False)] = True
        worth, x = rng.normal(size=len(members)), rng.uniform(0.5, 1.5, size=(BATCH, players))
        heights = worth * np.exp(np.log(x) @ members.T)
        return Products(members, heights)

    return make


KINDS: dict[str, Kind] = {
    "relu_8": Kind("ReLU network, deep", "8", 1, network(8, (32, 32), "relu", 1)),
    "tanh_10": Kind("tanh network, deep", "10", 16, network(10, (32, 32), "tanh", 16)),
    "softmax_12": Kind("saturated probability", "12", 1, network(12, (32, 32), "relu", 1, classes=3)),
    "softmax_12_many": Kind("saturated probability", "12", 100, network(12, (32, 32), "relu", 100, classes=3)),
    "text": Kind("ragged text, attention", "8–14", 0, text),
    "gelu_16": Kind("GELU network, deep", "16", 1, network(16, (32, 32), "gelu", 1)),
    "picture_16": Kind("convolution, superpixels", "16", 1, picture),
    "silu_20": Kind("SiLU network, deep", "20", 1, network(20, (32, 32), "silu", 1)),
    "grouped_24": Kind("SiLU network, 72 columns in groups", "24", 1, network(72, (32,), "silu", 1, group=3), "waves"),
    "sparse_24": Kind("products of 2–4 players", "24", 0, products(24), "products", sparse=True),
    "sparse_30": Kind("products of 2–4 players", "30", 0, products(30), "products", sparse=True),
    "gelu_30": Kind("GELU network", "30", 16, network(30, (32,), "gelu", 16), "waves"),
    "softmax_30": Kind("probability, deep", "30", 1, network(30, (32, 32), "gelu", 1, classes=3), "long"),
    "sparse_40": Kind("products of 2–4 players", "40", 0, products(40), "products", sparse=True),
    "tanh_40": Kind("tanh network", "40", 1, network(40, (32,), "tanh", 1), "waves"),
    "silu_60": Kind("SiLU network", "60", 1, network(60, (32,), "silu", 1), "waves"),
    "tanh_100": Kind("tanh network", "100", 1, network(100, (32,), "tanh", 1), "waves"),
}
WIDE = {"wide_30": Kind("GELU network, wide", "30", 1, network(30, (256, 256), "gelu", 1), "long", long=2_000)}
"""For many rows; not among the games that are compared."""

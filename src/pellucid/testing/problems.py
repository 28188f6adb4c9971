"""Small problems of every shape that a method must take: one row and many, ragged, several inputs, black boxes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.series import Series
from ..data.text_encoding import Vocabulary
from ..doors.question import as_problem
from ..doors.wrap import wrap
from ..modalities.image import Blur, Patches, Slic
from ..modalities.series import Interpolated, Windows
from ..problem.problem import Problem
from ..records.players import Players


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(*widths: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A small tanh network with weights of its own seed."""
    generator, layers = _seeded(seed), []
    for i, o in pairwise(widths):
        layer = nn.Linear(i, o, dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(o, i, generator=generator, dtype=dtype) / i**0.5)
            layer.bias.copy_(torch.randn(o, generator=generator, dtype=dtype) / 4)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1]).eval()


class TwoInputs(nn.Module):
    """Two float inputs and a carried length; answers with a dict, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _network(7, 6, 3, seed=3)

    def forward(self, left: torch.Tensor, right: torch.Tensor, length: torch.Tensor) -> dict[str, torch.Tensor]:
        joined = torch.cat([left, right.flatten(1)], dim=1) * length[:, None]
        return {"logits": self.body(joined), "hidden": joined[:, :, None]}


class SmallConvolution(nn.Module):
    """A convolution with an in-place rectifier and batch norm, in training mode when it is made."""

    def __init__(self) -> None:
        super().__init__()
        generator = _seeded(4)
        self.convolution, self.norm, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.rectifier = nn.ReLU(inplace=True)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.train()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.rectifier(self.norm(self.convolution(x)))
        return self.head(hidden.mean((2, 3)))


class SmallTransformer(nn.Module):
    """Two layers of attention, fused and written out, with a way around each; answers from all tokens together.

    Pictures come in patches of 3 × 3 behind a token of the network's own, from which alone it then answers.
    """

    def __init__(self, *, picture: bool) -> None:
        super().__init__()
        generator = _seeded(22)
        self.patches = nn.Conv2d(2, 4, 3, 3) if picture else None
        self.first, self.second = nn.Linear(4, 12), nn.Linear(4, 12)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)
        self.own = nn.Parameter(torch.zeros(1, 1, 4))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.8)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.patches is not None:
            x = torch.cat([self.own.expand(len(x), -1, -1), self.patches(x).flatten(2).mT], dim=1)
        heads = [each.unflatten(-1, (2, 2)).transpose(1, 2) for each in self.first(self.norm(x)).split(4, -1)]
        x = x + nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        q, k, v = self.second(self.norm(x)).split(4, -1)
        x = x + torch.softmax(q @ k.mT / 2, dim=-1) @ v
        return self.head(x[:, 0] if self.patches is not None else x.mean(1))


class SmallTemporal(nn.Module):
    """Two convolutions over time; answers from the mean over a series' own steps."""

    def __init__(self) -> None:
        super().__init__()
        generator = _seeded(27)
        self.first, self.second = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=2, dilation=2)
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.eval()

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        there = (torch.arange(x.shape[-1], device=x.device) < lengths[:, None])[:, None]
        hidden = torch.relu(self.second(torch.relu(self.first(x)) * there)) * there
        return self.head(hidden.sum(-1) / lengths[:, None])


def _count_words(rows: list[list[str]]) -> np.ndarray:
    """A black box over word lists: good and bad words, turned round by "not"."""
    good = np.array(
        [sum(word.startswith("g") for word in row) - sum(word.startswith("b") for word in row) for row in rows]
    )
    turned = np.where([("not" in row) for row in rows], -1.0, 1.0)
    return np.stack([good * turned, -good * turned + 0.1], axis=1)


def _rows(count: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, width, generator=_seeded(seed), dtype=dtype)


def table(count: int = 5, dtype: torch.dtype = torch.float32, target: Any = "predicted") -> Problem:
    """Four columns, three outputs, a background of six rows."""
    net = _network(4, 6, 3, dtype=dtype)
    return as_problem(net, _rows(count, 4, 1, dtype), background=_rows(6, 4, 2, dtype), target=target)


def grouped_table(count: int = 5) -> Problem:
    """Three columns, one of them categorical and one-hot over three elements."""
    rows = torch.cat([_rows(count, 2, 5), torch.eye(3)[torch.arange(count) % 3]], dim=1)
    background = torch.cat([_rows(6, 2, 6), torch.eye(3)[torch.arange(6) % 3]], dim=1)
    types = ("numeric", "numeric", "categorical")
    players = Players.shared(np.array([0, 1, 2, 2, 2]), ("age", "income", "purpose"), kind="column", types=types)
    return as_problem(_network(5, 6, 2, seed=7), rows, background=background, players=players)


def image(count: int = 5) -> Problem:
    """Images divided into patches, blurred where absent."""
    x = torch.rand(count, 2, 6, 6, generator=_seeded(8))
    return as_problem(SmallConvolution(), x, removal=Blur(1.0), players=Patches(3))


def ragged_image(count: int = 4) -> Problem:
    """Images divided into regions of their own: different numbers of players."""
    x = torch.rand(count, 2, 6, 6, generator=_seeded(9))
    return as_problem(SmallConvolution(), x, players=Slic(4, 1.0), target=1)


def two_inputs(count: int = 5) -> Problem:
    """Two tensors and a carried one, a dict of outputs, all targets at once."""
    rows = {"left": _rows(count, 3, 10), "right": _rows(count, 4, 11).reshape(count, 2, 2), "length": torch.ones(count)}
    rows["length"] = torch.arange(1, count + 1)
    return as_problem(TwoInputs(), rows, target="all")


def black_box(count: int = 5) -> Problem:
    """A numpy function."""
    weights = np.linspace(-1, 1, 4)
    rows, background = _rows(count, 4, 12).numpy(), _rows(6, 4, 13).numpy()
    return as_problem(lambda x: np.tanh(x @ weights) + x[:, 0] * x[:, 1], rows, background=background)


def words(count: int = 5) -> Problem:
    """Ragged rows of words for a black box."""
    rows = [["good", "day"], ["not", "a", "bad", "thing"], ["great"], ["bad", "bad", "not"], ["a", "good", "not", "b"]]
    return as_problem(_count_words, (rows * count)[:count], target=0)


def series(count: int = 5) -> Problem:
    """Series of two channels and unequal lengths in windows, a straight line where they are absent."""
    rows = [_rows(2, length, 28 + length) for length in (12, 9, 12, 8, 9)]
    return as_problem(SmallTemporal(), Series((rows * count)[:count]), removal=Interpolated(), players=Windows(4))


class SmallReader(nn.Module):
    """Vectors of tokens, each looking at all that are there, and their sum."""

    def __init__(self, words: int) -> None:
        super().__init__()
        generator = _seeded(27)
        self.vectors, self.keys, self.head = nn.Embedding(words, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.8)
        self.eval()

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x, there = self.vectors(ids), attention_mask[:, None, :]
        strength = torch.sigmoid(self.keys(x) @ x.mT) * there
        return self.head(torch.tanh((strength @ x * attention_mask[..., None]).sum(1)))


def texts(count: int = 5) -> Problem:
    """Ragged texts for a network of tokens, some of them several to a word; a word is hidden when absent."""
    rows = ["not-so good.", "a bad, bad day", "good", "It is good! Not bad.", "bad-good"]
    vocabulary = Vocabulary.of(rows)
    return as_problem(wrap(SmallReader(len(vocabulary)), encoding=vocabulary), (rows * count)[:count], target=1)


def one_player(count: int = 3) -> Problem:
    """A single column."""
    return as_problem(_network(1, 4, 2, seed=14), _rows(count, 1, 15), background=_rows(4, 1, 16))


def constant_model(count: int = 3) -> Problem:
    """A model that always answers the same."""
    return as_problem(lambda x: np.full(len(x), 0.25), _rows(count, 4, 17).numpy(), background=_rows(4, 4, 18).numpy())


def unused_column(count: int = 5) -> Problem:
    """A network that never looks at its third column."""
    net = _network(4, 6, 2, seed=19)
    with torch.no_grad():
        net.get_parameter("0.weight")[:, 2] = 0.0
    return as_problem(net, _rows(count, 4, 20), background=_rows(6, 4, 21))


def double(count: int = 5) -> Problem:
    """A float64 network."""
    return table(count, torch.float64)


def all_targets(count: int = 5) -> Problem:
    """Every output of every row."""
    return table(count, target="all")


def token_vectors(count: int = 5) -> Problem:
    """A transformer over five vectors, every number a player."""
    rows, background = (torch.randn(size, 5, 4, generator=_seeded(seed)) for size, seed in ((count, 23), (3, 24)))
    return as_problem(SmallTransformer(picture=False), rows, background=background, target="all")


def picture_patches(count: int = 5) -> Problem:
    """A small vision transformer, its own patches the players."""
    x = torch.rand(count, 2, 6, 6, generator=_seeded(25))
    return as_problem(SmallTransformer(picture=True), x, removal=Blur(1.0), players=Patches(3))


def picture_regions(count: int = 5) -> Problem:
    """The same network; players are regions of their own in every picture."""
    x = torch.rand(count, 2, 6, 6, generator=_seeded(26))
    return as_problem(SmallTransformer(picture=True), x, players=Slic(4, 1.0), target=1)


def _named(*made: Callable[[int], Problem]) -> dict[str, Callable[[int], Problem]]:
    return {each.__name__: each for each in made}


PROBLEMS: dict[str, Callable[[int], Problem]] = _named(
    table, grouped_table, image, ragged_image, two_inputs, black_box, words, texts, series, one_player, constant_model,
    unused_column, double, all_targets,
)  # fmt: skip
"""What every method is asked."""

ATTENTION_PROBLEMS: dict[str, Callable[[int], Problem]] = _named(token_vectors, picture_patches, picture_regions)
"""What methods of attention are asked instead: none of the networks above has any."""

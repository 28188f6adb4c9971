"""Games whose Shapley values are known, as functions over coalitions; numpy alone, so that any interpreter can play.

A game has rows (inputs that are explained); ``values(row, coalitions)`` is the model's answer ``Float64[b]`` with the
players of ``coalitions [b, n]`` present and the others replaced by the background, on average over its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import factorial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

AT_ONCE = 2**22
"""Hidden units computed at once."""


class Game(Protocol):
    """A function over coalitions for each of several rows."""

    @property
    def rows(self) -> int: ...

    def players(self, row: int) -> int: ...

    def values(self, row: int, coalitions: np.ndarray) -> np.ndarray: ...


def relu(u: np.ndarray) -> np.ndarray:
    return np.maximum(u, 0.0)


def gelu(u: np.ndarray) -> np.ndarray:
    """The form with a hyperbolic tangent."""
    return 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))


def silu(u: np.ndarray) -> np.ndarray:
    return 0.5 * u * (1 + np.tanh(u / 2))


ACTIVATIONS = {"relu": relu, "gelu": gelu, "silu": silu, "tanh": np.tanh}


@dataclass(frozen=True, eq=False)
class Network:
    """A network of dense layers (a convolution is one, too) with its input columns in groups.

    ``weights[k] [out, in]``, ``biases[k]``; ``inputs [R, D]``; ``background [B, D]``; ``groups [D]``, the player of
    each column; ``targets [R]``, the output asked of each row; its softmax where ``probability`` is 1.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str
    inputs: np.ndarray
    background: np.ndarray
    groups: np.ndarray
    targets: np.ndarray
    probability: int = 0

    @property
    def rows(self) -> int:
        return len(self.inputs)

    def players(self, row: int) -> int:
        return int(self.groups.max()) + 1

    def units(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The first layer as a function of the coalition: ``slopes [B, H, n]`` and ``offsets [B, H]``."""
        members = np.eye(self.players(row))[self.groups]
        change = self.inputs[row] - self.background
        slopes = (self.weights[0] * change[:, None]) @ members
        return slopes, self.background @ self.weights[0].T + self.biases[0]

    def values(self, row: int, coalitions: np.ndarray) -> np.ndarray:
        slopes, offsets = self.units(row)
        parts = max(1, len(coalitions) * offsets.size // AT_ONCE)
        return np.concatenate([self._part(row, z, slopes, offsets) for z in np.array_split(coalitions, parts)])

    def _part(self, row: int, z: np.ndarray, slopes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        act, draws, hidden = ACTIVATIONS[self.activation], *offsets.shape
        x = z.astype(np.float64) @ slopes.reshape(draws * hidden, -1).T + offsets.ravel()
        x = x.reshape(len(z) * draws, hidden)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            x = act(x) @ weight.T + bias
        return self._answer(x, self.targets[row]).reshape(len(z), draws).mean(1)

    def _answer(self, outputs: np.ndarray, target: int) -> np.ndarray:
        if not self.probability:
            return outputs[:, target]
        odds = np.exp(outputs - outputs.max(1, keepdims=True))
        return odds[:, target] / odds.sum(1)


@dataclass(frozen=True, eq=False)
class Text:
    """Sentences of different lengths, read by one attention layer over the words that are there.

    Word i of a row sees Σⱼ softmaxⱼ(queries·keys) values over the present words; the answer is a read-out of the mean
    of tanh(word + what it sees). Arrays are padded, ``lengths [R]`` counts the words.
    """

    words: np.ndarray
    lengths: np.ndarray
    queries: np.ndarray
    keys: np.ndarray
    contents: np.ndarray
    readout: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def players(self, row: int) -> int:
        return int(self.lengths[row])

    def values(self, row: int, coalitions: np.ndarray) -> np.ndarray:
        n = self.players(row)
        words, z = self.words[row, :n], coalitions.astype(np.float64)
        scores = np.exp((words @ self.queries) @ (words @ self.keys).T / np.sqrt(len(self.keys)))
        seen = np.einsum("ij,jk->jik", scores, words @ self.contents)
        sums = (z @ seen.reshape(n, -1)).reshape(len(z), n, -1)
        masses = np.maximum(z @ scores.T, 1e-300)
        states = np.tanh(words + sums / masses[:, :, None]) @ self.readout
        return (states * z).sum(1) / np.maximum(z.sum(1), 1)


@dataclass(frozen=True, eq=False)
class Products:
    """Sums of products of a few players each: v(S) = Σ of the terms whose players are all in S.

    ``members [M, n]`` says who is in each term, ``heights [R, M]`` what it is worth.
    """

    members: np.ndarray
    heights: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.heights)

    def players(self, row: int) -> int:
        return self.members.shape[1]

    def values(self, row: int, coalitions: np.ndarray) -> np.ndarray:
        lacking = (~coalitions).astype(np.float64) @ self.members.T.astype(np.float64)
        return (lacking == 0) @ self.heights[row]


@dataclass(frozen=True, eq=False)
class Known:
    """A game with the Shapley values of some of its rows.

    ``asked [T]`` are those rows, ``truth [T, most players]`` padded with NaN, ``doubt [T]`` the squared relative error
    of the truth itself where it is an estimate, 0 where it is exact. ``tables [T, 2ⁿ]`` spares the passes of small
    games; it is empty for others.
    """

    game: Game
    asked: np.ndarray
    truth: np.ndarray
    doubt: np.ndarray
    tables: np.ndarray

    def values(self, row: int, coalitions: np.ndarray) -> np.ndarray:
        """What the game answers, looked up where it is known."""
        place = np.flatnonzero(self.asked == row)
        if not self.tables.size or not len(place):
            return self.game.values(row, coalitions)
        return self.tables[place[0], coalitions @ (1 << np.arange(coalitions.shape[1]))]

    def error(self, row: int, values: np.ndarray) -> float:
        """‖φ̂ − φ‖² / ‖φ‖²."""
        truth = self.of(row)
        return float(np.square(values - truth).sum() / np.square(truth).sum())

    def of(self, row: int) -> np.ndarray:
        return self.truth[np.flatnonzero(self.asked == row)[0], : self.game.players(row)]


# Files ---------------------------------------------------------------------------------------

FORMS = {form.__name__: form for form in (Network, Text, Products)}


def save(known: Known, path: Path) -> None:
    """Everything as plain arrays."""
    arrays: dict[str, Any] = {"form": np.array(type(known.game).__name__)}
    for field in fields(known.game):  # pyright: ignore[reportArgumentType]
        value = getattr(known.game, field.name)
        parts = value if isinstance(value, tuple) else None
        arrays |= (
            {f"{field.name}.{k}": part for k, part in enumerate(parts)} if parts else {field.name: np.array(value)}
        )
    arrays |= {name: getattr(known, name) for name in ("asked", "truth", "doubt", "tables")}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.rename(path)


def load(path: Path) -> Known:
    """What :func:`save` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    form = FORMS[str(arrays["form"])]
    given: dict[str, Any] = {}
    for field in fields(form):
        if field.name in arrays:
            value = arrays[field.name]
            given[field.name] = value if value.ndim else value.item()
        else:
            count = sum(name.startswith(f"{field.name}.") for name in arrays)
            given[field.name] = tuple(arrays[f"{field.name}.{k}"] for k in range(count))
    return Known(form(**given), *(arrays[name] for name in ("asked", "truth", "doubt", "tables")))


# Truth ---------------------------------------------------------------------------------------


def table(game: Game, row: int) -> np.ndarray:
    """v of all 2ⁿ coalitions; bit i of the place says whether player i is present."""
    n = game.players(row)
    step = min(2**n, 2**14)
    parts = [np.arange(start, start + step) for start in range(0, 2**n, step)]
    return np.concatenate([game.values(row, (part[:, None] >> np.arange(n)) & 1 == 1) for part in parts])


def enumerated(v: np.ndarray) -> np.ndarray:
    """Shapley values by their definition over coalitions from the table of all values."""
    n = len(v).bit_length() - 1
    sizes = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).sum(1)
    inside = np.array([0.0] + [factorial(k - 1) * factorial(n - k) / factorial(n) for k in range(1, n + 1)])
    outside = np.array([factorial(k) * factorial(n - k - 1) / factorial(n) for k in range(n)] + [0.0])
    plus, minus = (v * inside[sizes]).reshape([2] * n), (v * outside[sizes]).reshape([2] * n)
    pick = [np.moveaxis(plus, n - 1 - i, 0)[1].sum() - np.moveaxis(minus, n - 1 - i, 0)[0].sum() for i in range(n)]
    return np.array(pick)


def of_products(game: Products, row: int) -> np.ndarray:
    """A product shares its worth equally among its players."""
    return (game.heights[row] / game.members.sum(1)) @ game.members


def of_shallow(game: Network, row: int, waves: int) -> np.ndarray:
    """Shapley values of a network with one hidden layer and a plain output, by waves.

    On the range that its hidden units can reach the activation is a line plus Σₖ of waves aₖ e^{iωₖu}. Players that
    join with chance t are independent, so the mean of e^{iω Σ zⱼsⱼ} is Π (1 − t + t e^{iωsⱼ}); Shapley values are its
    slopes along player i, integrated over t by Gauss–Legendre, exactly: in t it is a polynomial.
    """
    slopes, offsets = (part.reshape(-1, *part.shape[2:]) for part in game.units(row))
    readout = np.tile(game.weights[1][game.targets[row]], len(game.background)) / len(game.background)
    reach = np.abs(offsets) + np.abs(slopes).sum(1)
    slope, heights, omegas = _as_waves(game.activation, float(reach.max()), waves)
    n = game.players(row)
    nodes, shares = np.polynomial.legendre.leggauss(2 * (n // 4 + 1))  # an even number avoids t = 1/2
    t, shares = (nodes + 1) / 2, shares / 2
    total = slope * (readout @ slopes)
    for own, offset, weight in zip(slopes, offsets, readout, strict=True):
        turned = np.exp(1j * omegas[:, None] * own)
        factors = 1 - t[:, None, None] + t[:, None, None] * turned
        without = factors.prod(2, keepdims=True) / factors
        mean = np.einsum("q,qkn->kn", shares, without)
        total += weight * ((heights * np.exp(1j * omegas * offset)) @ (mean * (turned - 1))).real
    return total


def _as_waves(activation: str, reach: float, waves: int) -> tuple[float, np.ndarray, np.ndarray]:
    """A line's slope, heights and frequencies of σ(u) = au + b + Re Σ hₖ e^{iωₖu} on |u| ≤ reach.

    By least squares with a period of twice the range, which for smooth functions is exact to rounding.
    """
    u = reach * np.cos(np.linspace(0, np.pi, 8 * waves))
    omegas = np.pi / (2 * reach) * np.arange(1, waves + 1)
    basis = np.column_stack([u, np.ones_like(u), np.cos(np.outer(u, omegas)), np.sin(np.outer(u, omegas))])
    found = np.linalg.lstsq(basis, ACTIVATIONS[activation](u), rcond=1e-13)[0]
    return float(found[0]), found[2 : 2 + waves] - 1j * found[2 + waves :], omegas

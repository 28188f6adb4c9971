"""What LIME draws around a row: numbers moved, categories drawn anew, players switched on and off.

Rows are drawn so that near ones come more often, as far as that goes, rather than weighed afterwards: the line that
is fitted tends to the same limit, and no row is asked that hardly counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ..engine.session import Session
from ..problem.inputs import mean, same, spread

Distance = Literal["euclidean", "cosine", "manhattan"]
APART = 4
"""From so many rows per player on, they are drawn in pairs that lie as far apart as they can."""
SELDOM = 0.05
"""A chance below which a drawn state is taken never to be the row's own."""
AT_ONCE = 2**24
"""Numbers of drawn rows laid out at once."""


@dataclass(frozen=True)
class Kernel:
    """How much a row counts at a distance: exp(−d² / (2 width²))."""

    distance: Distance
    width: float

    def __call__(self, distances: np.ndarray) -> np.ndarray:
        return np.exp(-np.square(distances / self.width) / 2)


class Neighbourhood(ABC):
    """Rows drawn around each row of a session, the same draws for all of them; asked for part by part.

    Attributes
    ----------
    samples: how many there are in all.
    paired: whether two by two they were drawn together, and depend on each other.
    exact: whether they are all there are.
    shared: whether the line sees the same in them whatever row they are around.
    effect: ``Float64[N, n]``, what turns a weight of the line into an effect against the references.
    """

    session: Session
    samples: int
    paired: bool = False
    exact: bool = False
    shared: bool = True
    effect: np.ndarray

    @abstractmethod
    def seen(self, item: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Points ``Float64[·, n]`` as the line sees them (0: as the row is) and how much each counts."""

    @abstractmethod
    def answers(self, items: np.ndarray, part: slice) -> np.ndarray:
        """The targets at some of the rows drawn around ``items``, ``Float64[len(items) · T, ·]``."""


class Switches(Neighbourhood):
    """Players on and off, the absent filled in by the removal; the line sees 0 (on) or −1 (off).

    Sizes are drawn by the kernel, members by lot. Where all coalitions are no more than ``samples``, all are asked.
    """

    def __init__(self, session: Session, samples: int, kernel: Kernel):
        self.session, n = session, session.n
        self.exact = n < 30 and 2**n <= samples
        self.samples = 2**n if self.exact else samples
        self.paired = samples >= APART * n and not self.exact
        self.effect = np.ones((len(session), n))
        self._near = kernel(_off(np.arange(n + 1) / n, n, kernel.distance))

    def _masks(self, part: slice) -> np.ndarray:
        n = self.session.n
        if self.exact:
            return (np.arange(2**n)[part, None] >> np.arange(n)) & 1 == 1
        return self.session.design(_switches, n, part.start, part.stop, self.paired, tuple(self._near.tolist()))

    def seen(self, item: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
        masks = self._masks(part)
        return masks - 1.0, self._near[masks.sum(1)] if self.exact else np.ones(len(masks))

    def answers(self, items: np.ndarray, part: slice) -> np.ndarray:
        T = self.session.targets
        return self.session.values(self._masks(part), (items[:, None] * T + np.arange(T)).ravel())


def _off(share: np.ndarray, n: int, distance: Distance) -> np.ndarray:
    """The distance from everyone of coalitions that hold a ``share`` of the n players."""
    if distance == "cosine":
        return 1 - np.sqrt(share)
    absent = n * (1 - share)
    return absent if distance == "manhattan" else np.sqrt(absent)


def _switches(
    rng: np.random.Generator, n: int, start: int, stop: int, paired: bool, near: tuple[float, ...]
) -> np.ndarray:
    """``Bool[stop − start, n]``: sizes with a chance of ``near`` times their number, in equal steps of it; then a lot.

    The second of a pair holds as many players as the first, and those that the first lacks above all.
    """
    samples, unit = stop - start, 1 + paired
    places = np.arange(1, n + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log(places[::-1]) - np.log(places))])  # of choosing k of n, as logs
    with np.errstate(divide="ignore"):
        chance = ways + np.log(near)
    edges = np.cumsum(np.exp(chance - chance.max()))
    units = -(-samples // unit)
    steps = (np.arange(units) + rng.random()) / units * edges[-1]
    sizes = rng.permutation(np.minimum(np.searchsorted(edges, steps), n))[:, None]
    rank = rng.random((units, n)).argsort(1).argsort(1)
    masks = np.stack([rank < sizes, rank >= n - sizes][:unit], axis=1)
    return masks.reshape(-1, n)[:samples]


class Moved(Neighbourhood):
    """Columns of a table varied around the row.

    A numeric player owns one element and moves by its spread, each step followed by its opposite; any other player
    takes the elements of a drawn background row as a whole, and the line sees "same" (0) or "other" (−1). Rows of
    whole numbers (bytes, truth values) are drawn too: between two of them there is nothing.
    """

    def __init__(self, session: Session, samples: int, kernel: Kernel, discretise: bool):
        self.session, self.samples, self.kernel = session, samples, kernel
        self.x = session.x
        references = session.background
        self.draws = references[0] if len(references) == 1 else session.x
        labels = session.players.labels[0]
        self.owned = [np.flatnonzero(labels == player) for player in range(session.n)]
        types = session.types or ("numeric",) * session.n
        lost = torch.isnan(self.draws)
        blank = (torch.isnan(self.x).any(0) | (lost.any(0) if discretise else lost.all(0))).tolist()
        numeric = [
            len(own) == 1 and kind in ("numeric", "ordinal") and not blank[own[0]]  # no step leads from nothing
            for own, kind in zip(self.owned, types, strict=True)
        ]
        moves = not discretise and self.x.is_floating_point()
        self.moved = np.array(numeric) if moves else np.zeros(session.n, dtype=bool)
        self.places = torch.as_tensor(
            [own[0] for own, moved in zip(self.owned, self.moved, strict=True) if moved], dtype=torch.long
        )
        self.redrawn = np.flatnonzero(~self.moved)
        self.bins = self._quartiles(np.array(numeric)) if discretise else {}
        width = spread(self.draws.double(), 0)
        self.spread = torch.where(width > 0, width, 1.0)[self.places]
        self.effect = self._effects(session)
        self.shared = not len(self.redrawn) and kernel.distance != "cosine"
        self.paired = samples >= APART * session.n and len(self.places) > 0

    def _draws(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Steps of the numbers and lots of the others, of some of the rows."""
        sizes = len(self.places), len(self.redrawn)
        steps, lots = self.session.design(_draws, *sizes, part.start, part.stop, self.paired)
        if self.kernel.distance == "euclidean":  # a Gaussian times the kernel is a narrower Gaussian
            steps = steps * np.float32(1 / np.sqrt(1 + self.kernel.width**-2))
        return steps, lots

    def _effects(self, session: Session) -> np.ndarray:
        """What turns a weight into an effect against the references, ``Float64[N, n]``."""
        effect = np.ones((len(session), session.n))
        start = mean(self.draws.double(), 0)[self.places]
        if len(session.background) != 1:
            start = session.start[:, self.places].double()
        moved = (self.x[:, self.places].double() - start) / self.spread
        effect[:, self.moved] = moved.cpu().numpy()
        for player in self.redrawn.tolist():
            own = self.owned[player]
            effect[:, player] = 1 - self._same(self.x[:, own], self.draws[None, :, own], player).mean(1)
        return effect

    def _quartiles(self, numeric: np.ndarray) -> dict[int, torch.Tensor]:
        marks = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        return {
            int(player): torch.quantile(self.draws[:, self.owned[player][0]].double(), marks)
            for player in np.flatnonzero(numeric)
        }

    def _same(self, rows: torch.Tensor, others: torch.Tensor, player: int) -> np.ndarray:
        """Whether a player's elements of rows ``[N, d]`` and of others ``[1|N, b, d]`` agree (fall into one bin),
        ``Bool[N, b]``."""
        if player in self.bins:
            a = torch.bucketize(rows.double().contiguous(), self.bins[player])[:, None]
            b = torch.bucketize(others.double().contiguous(), self.bins[player])
            return (a == b)[..., 0].cpu().numpy()
        return same(rows[:, None], others).all(-1).cpu().numpy()

    def seen(self, item: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
        steps, lots = self._draws(part)
        points = np.zeros((len(steps), self.session.n))
        points[:, self.moved] = steps
        for player, mine in zip(self.redrawn.tolist(), lots.T, strict=True):
            own, others = self.owned[player], self._others(item, mine, player)
            points[:, player] = self._same(self.x[item, own][None], others[None], player)[0] - 1.0
        return points, self._count(points, item)

    def _count(self, points: np.ndarray, item: int) -> np.ndarray:
        """How much each point counts, beyond what the way it was drawn has seen to."""
        if self.kernel.distance == "cosine":
            home = np.where(self.moved, self.effect[item], 1.0)
            there = points + home
            sizes = np.linalg.norm(there, axis=1) * np.linalg.norm(home)
            return self.kernel(1 - there @ home / np.maximum(sizes, 1e-12))
        if self.kernel.distance == "manhattan":
            return self.kernel(np.abs(points).sum(1))
        return self.kernel(np.linalg.norm(points[:, self.redrawn], axis=1))

    def answers(self, items: np.ndarray, part: slice) -> np.ndarray:
        steps, lots = self._draws(part)
        at_once, found = max(1, AT_ONCE // self.x.shape[1]), []
        for item in items.tolist():
            told = []
            for start in range(0, len(steps), at_once):
                points = self._points(item, steps[start : start + at_once], lots[start : start + at_once])
                told.append(self.session.outputs_all(points, np.full(len(points), item)).T)
            found.append(np.concatenate(told, axis=1))
        return np.concatenate(found)

    def _points(self, item: int, drawn: np.ndarray, lots: np.ndarray) -> torch.Tensor:
        """The rows themselves, ``[·, D]``."""
        row, steps = self.x[item], torch.from_numpy(drawn).to(self.x)
        if self.places.tolist() == list(range(len(row))):  # in the order of the elements: nothing is scattered
            return torch.addcmul(row, steps, self.spread.to(row))
        points = row.repeat(len(steps), 1)
        points[:, self.places] += steps * self.spread.to(row)
        for player, mine in zip(self.redrawn.tolist(), lots.T, strict=True):
            own = torch.from_numpy(self.owned[player])
            points[:, own] = self._others(item, mine, player)
        return points

    def _others(self, item: int, mine: np.ndarray, player: int) -> torch.Tensor:
        """The states ``[·, d]`` of its elements that a player takes by its lots.

        Where a draw hardly ever meets the row's own state, of numbers or among two rows, a coin says first whether
        there is a draw: a line cannot tell what a player does that is never as it was.
        """
        own, lots = self.owned[player], torch.from_numpy(np.ascontiguousarray(mine)).to(self.x.device)
        if len(self.draws) > 1 and 1 - self.effect[item, player] >= SELDOM:
            return self.draws[:, own][(lots * len(self.draws)).long()]
        drawn = self.draws[:, own][(lots * 2 % 1 * len(self.draws)).long()]
        return torch.where(lots[:, None] < 0.5, drawn, self.x[item, own])


def _draws(
    rng: np.random.Generator, moved: int, drawn: int, start: int, stop: int, paired: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal steps ``Float32[stop − start, moved]`` and lots ``Float64[stop − start, drawn]``.

    The second step of a pair is the opposite of the first: what is even in the model's answer, which no line describes,
    cancels.
    """
    samples, unit = stop - start, 1 + paired
    steps = np.repeat(rng.standard_normal((-(-samples // unit), moved), dtype=np.float32), unit, axis=0)[:samples]
    if paired:
        steps[1::2] *= -1
    return steps, rng.random((samples, drawn))

"""Time series: windows, steps, channels, segments as players; means, lines, noise, other stretches as the absent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..measures.change_points import change_points
from ..problem.inputs import Inputs
from ..problem.removal import TensorRemoval, as_float, finite, in_type, matching
from ..problem.units import Units
from ..records.errors import InputError, NotApplicable, RemovalError
from ..records.players import Players
from ..records.series import SeriesAxes

Apart = Literal["each", "together"]
Nested = Literal["channels", "times"]
ABOUT, FEWEST, MOST = 32, 4, 16
"""Windows whose length nobody said are about 32 in all, and 4 to 16 of each channel."""


def series_axes(inputs: Inputs) -> SeriesAxes:
    """What the axes of the rows are. Raises :class:`NotApplicable` where they are not declared as series."""
    if inputs.axes is None:
        raise NotApplicable(
            "these rows are not known to be series",
            why="which of their axes is time cannot be told from a shape",
            fix='pellucid.Series(rows), with time="first" where a row is [time, channels]',
        )
    return inputs.axes


def lengths_of(inputs: Inputs) -> np.ndarray:
    """How many steps each row has, ``Int[N]``."""
    axes = series_axes(inputs)
    return np.full(len(inputs), axes.steps) if inputs.lengths is None else np.asarray(inputs.lengths)


class SeriesUnits(Units):
    """Base of choices whose players are stretches of time, of each channel or of all channels together."""

    word: ClassVar[str]
    channels: Apart
    nested: Nested | None = None

    @abstractmethod
    def cuts(self, series: np.ndarray, axes: SeriesAxes) -> list[np.ndarray]:
        """Where players begin in one row ``Float[C, L]``: places from 1 on, for each channel, or once for all."""

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        axes, lengths = series_axes(inputs), lengths_of(inputs)
        if not len(inputs):
            raise InputError("there are no rows to explain")
        if self.channels not in ("each", "together"):
            raise NotApplicable(f"channels={self.channels!r} is not known", fix='channels="each" or "together"')
        inputs.refuse_non_finite()
        shared = inputs.lengths is None and not self.looks
        rows = range(1) if shared else range(len(inputs))
        grids = axes.by_channel(inputs.flat.double().cpu().numpy()) if self.looks else np.zeros((len(rows), 1, 1))
        made = []
        for row in rows:
            own = grids[row][:, : lengths[row]] if self.looks else np.empty((len(axes.channels), lengths[row]))
            made.append(Stretches(axes, int(lengths[row]), self.cuts(own, axes)))
        labels = np.array([one.labels() for one in made])
        players = Players(labels, tuple(one.names() for one in made), self.word, layout=axes.shape, axes=axes)
        levels = [one.levels(self.nested) for one in made] if self.nested is not None else []
        return players.in_groups(_stacked(levels)) if levels else players

    @property
    def looks(self) -> bool:
        """Whether players depend on what is in a row."""
        return False


@dataclass(frozen=True)
class Windows(SeriesUnits):
    """Windows of ``length`` steps, of each channel or of all channels ``"together"``; the last may be shorter.

    With ``nested="channels"`` the players stand in a hierarchy: windows in ever longer windows (two by two) of a
    channel; with ``nested="times"`` the longer windows hold all channels at that time. Without a length about 32
    windows are made.
    """

    length: int | None = None
    channels: Apart = "each"
    nested: Nested | None = None
    word: ClassVar[str] = "window"

    def cuts(self, series: np.ndarray, axes: SeriesAxes) -> list[np.ndarray]:
        apart = len(axes.channels) if self.channels == "each" else 1
        usual = -(-axes.steps // min(max(ABOUT // apart, FEWEST), MOST))
        length = usual if self.length is None else self.length
        if not isinstance(length, (int, np.integer)) or not 1 <= length <= axes.steps:
            raise NotApplicable(f"windows of {length} steps do not fit series of {axes.steps}")
        return [np.arange(length, series.shape[1], length)] * apart


@dataclass(frozen=True)
class Steps(SeriesUnits):
    """Each step a player, of each channel or of all channels ``"together"``."""

    channels: Apart = "each"
    word: ClassVar[str] = "step"

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        players = super().make(inputs, encoding)
        order = players.labels[0]  # players in the order of the elements, so that values have the rows' own shape
        if self.channels == "together" or not players.is_shared or (order < 0).any():  # the filling is nobody's
            return players
        return replace(players, labels=np.arange(len(order))[None], names=(tuple(players.of(0)[i] for i in order),))

    def cuts(self, series: np.ndarray, axes: SeriesAxes) -> list[np.ndarray]:
        return [np.arange(1, series.shape[1])] * (len(axes.channels) if self.channels == "each" else 1)


@dataclass(frozen=True)
class Channels(SeriesUnits):
    """Each channel a player, from its first step to its last."""

    word: ClassVar[str] = "channel"
    channels = "each"

    def cuts(self, series: np.ndarray, axes: SeriesAxes) -> list[np.ndarray]:
        return [np.arange(0)] * len(axes.channels)


@dataclass(frozen=True)
class ChangePoints(SeriesUnits):
    """Segments between the places where a row's level changes, found row by row; ``most`` of them at most.

    Found exactly for all channels ``"together"`` or in ``"each"`` (see
    :func:`pellucid.measures.change_points.change_points`); a larger ``penalty`` than log T times the number
    of channels and two leaves fewer.
    """

    most: int = 20
    penalty: float | None = None
    shortest: int = 2
    channels: Apart = "together"
    nested: Nested | None = None
    word: ClassVar[str] = "segment"

    def __post_init__(self) -> None:
        if self.most < 1 or self.shortest < 1 or (self.penalty is not None and not self.penalty >= 0):
            raise InputError(f"{self} finds no segments", fix="most ≥ 1, shortest ≥ 1, penalty ≥ 0")
        if self.nested == "times" and self.channels == "each":
            raise InputError("segments of each channel do not lie at common times", fix='nested="channels"')

    @property
    def looks(self) -> bool:
        return True

    def cuts(self, series: np.ndarray, axes: SeriesAxes) -> list[np.ndarray]:
        apart = series[:, None] if self.channels == "each" else series[None]
        return [change_points(part, self.penalty, self.most, self.shortest) for part in apart]


@dataclass(frozen=True, eq=False)
class Stretches:
    """The players of one row of ``length`` steps: stretches between ``cuts``, of each channel or (one cut) of all."""

    axes: SeriesAxes
    length: int
    cuts: Sequence[np.ndarray]

    @property
    def counts(self) -> list[int]:
        return [len(cut) + 1 for cut in self.cuts]

    def labels(self) -> np.ndarray:
        """``Int[D]``; −1 behind the end of a series."""
        channels, before = len(self.axes.channels), np.cumsum([0, *self.counts])
        grid = np.full((channels, self.axes.steps), -1)
        for channel in range(channels):
            part = channel if len(self.cuts) > 1 else 0
            places = np.searchsorted(self.cuts[part], np.arange(self.length), side="right")
            grid[channel, : self.length] = before[part] + places
        return self.axes.as_rows(grid)

    def names(self) -> tuple[str, ...]:
        """ "temperature, steps 40–49", without the channel where all are together or there is one without a name."""
        named = len(self.cuts) > 1 or (len(self.axes.channels) == 1 and self.axes.is_named)
        found = []
        for channel, cut in zip(self.axes.channels, self.cuts, strict=False):
            edges = [0, *cut.tolist(), self.length]
            spans = [self.axes.span(start, stop) for start, stop in pairwise(edges)]
            whole = named and len(spans) == 1
            found += [channel] if whole else [f"{channel}, {span}" if named else span for span in spans]
        return tuple(found)

    def levels(self, nested: Nested | None) -> np.ndarray:
        """``Int[L, n]``: channels, then ever shorter windows of theirs; or windows, and channels within them."""
        counts = self.counts
        channel = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([np.arange(count) for count in counts])
        sizes = [1 << power for power in reversed(range(1, max(max(counts) - 1, 0).bit_length()))]
        if nested == "times":
            sizes = [*sizes, 1] if len(counts) > 1 else sizes
            return np.array([place // size for size in sizes], dtype=np.int64).reshape(-1, len(place))
        within = [channel * max(counts) + place // size for size in sizes]
        found = [channel, *within] if len(counts) > 1 else within
        return np.array(found, dtype=np.int64).reshape(-1, len(place))


def _stacked(levels: list[np.ndarray]) -> np.ndarray | None:
    """Hierarchies of rows with players of their own as ``Int[R, L, n]``; a row with fewer levels repeats its last."""
    deepest, most = max(map(len, levels)), max(own.shape[1] for own in levels)
    if not deepest:
        return None
    made = np.full((len(levels), deepest, most), -1)
    for row, own in enumerate(levels):
        n = own.shape[1]
        filled = [*own, *([own[-1] if len(own) else np.arange(n)] * (deepest - len(own)))]
        made[row, :, :n] = np.array(filled)
    return made


class SeriesRemoval(TensorRemoval):
    """Base of removals that know what the axes of a row are."""

    kinds: ClassVar[tuple[str, ...]] = ("series",)

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        axes, flat = series_axes(inputs), as_float(inputs.flat)
        grids = axes.by_channel(flat)
        lengths = torch.from_numpy(lengths_of(inputs)).to(flat.device)
        there = (torch.arange(axes.steps, device=flat.device) < lengths[:, None])[:, None, None]
        made = self.made(grids, there[:, 0], inputs, players, seed)
        rows = axes.as_rows(torch.where(there, made.to(grids), grids[:, None]))  # what nobody owns stays as it is
        return in_type(rows, inputs.flat)

    @abstractmethod
    def made(self, grids: Tensor, there: Tensor, inputs: Inputs, players: Players, seed: int) -> Tensor:
        """Series ``[N, S, C, T]`` that stand for the absent parts of ``grids`` ``[N, C, T]``, where ``there`` is."""


def _levels(grids: Tensor, there: Tensor) -> Tensor:
    """The mean of each channel of each row over its own steps, ``Float64[N, C, 1]``."""
    counts = there.sum(-1, keepdim=True)
    return torch.where(there, grids.double(), 0.0).sum(-1, keepdim=True) / counts


@dataclass(frozen=True, eq=False)
class SegmentMean(SeriesRemoval):
    """Absent stretches are level: at the mean of the row's ``"channel"``, or of the absent ``"segment"`` itself.

    With ``"segment"`` only the shape goes, the level stays; players of a single step cannot be removed so.
    """

    of: Literal["channel", "segment"] = "channel"
    known_as: ClassVar[tuple[str, ...]] = ("mean",)

    def made(self, grids: Tensor, there: Tensor, inputs: Inputs, players: Players, seed: int) -> Tensor:
        if self.of not in ("channel", "segment"):
            raise RemovalError(f"SegmentMean({self.of!r}) is not known", fix='of="channel" or of="segment"')
        if self.of == "channel":
            return _levels(grids, there)[:, None].expand(-1, -1, -1, grids.shape[-1])
        labels = torch.from_numpy(series_axes(inputs).by_channel(players.labels).copy()).to(grids.device)
        channel = torch.arange(grids.shape[1], device=grids.device)[:, None]
        cells = ((labels + 1) * grids.shape[1] + channel).expand(grids.shape).flatten(1)
        sums = grids.new_zeros((len(grids), (players.most + 1) * grids.shape[1]), dtype=torch.float64)
        sizes = torch.zeros_like(sums).scatter_add_(1, cells, torch.ones_like(cells, dtype=torch.float64))
        means = sums.scatter_add_(1, cells, grids.double().flatten(1)) / sizes.clamp(min=1)
        return means.gather(1, cells).reshape(grids.shape)[:, None]


@dataclass(frozen=True, eq=False)
class Interpolated(SeriesRemoval):
    """Absent stretches of a channel are a straight line between its present neighbours; at the ends they are held.

    A channel of which nothing is present stands at its own mean. Where times are known as numbers the line is straight
    in time.
    """

    conditional: ClassVar[bool] = True
    known_as: ClassVar[tuple[str, ...]] = ("line",)

    def made(self, grids: Tensor, there: Tensor, inputs: Inputs, players: Players, seed: int) -> Tensor:
        return _levels(grids, there)[:, None].expand(-1, -1, -1, grids.shape[-1])

    def fill(self, rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
        axes = players.axes
        assert axes is not None
        grid, known = axes.by_channel(as_float(rows))[:, None], axes.by_channel(present)
        known = known & torch.from_numpy(_before_end(axes.by_channel(players.labels))).to(rows.device)
        place = torch.arange(axes.steps, device=rows.device)
        before = torch.where(known, place, -1).cummax(-1).values
        after = torch.where(known, place, axes.steps).flip(-1).cummin(-1).values.flip(-1)
        left, right = before.clamp(min=0), after.clamp(max=axes.steps - 1)
        shape = (len(grid), known.shape[1], *grid.shape[2:])
        one, other = (grid.expand(shape).gather(-1, side.expand(shape)) for side in (left, right))
        share = self._share(axes, place, left, right).to(grid)
        line = torch.where(before < 0, other, torch.where(after >= axes.steps, one, one + (other - one) * share))
        level = axes.by_channel(as_float(references))[:, None]
        filled = torch.where(((before < 0) & (after >= axes.steps))[:, :, None], level, line[:, :, None])
        return torch.where(present[:, :, None], rows[:, None, None], in_type(axes.as_rows(filled), rows))

    @staticmethod
    def _share(axes: SeriesAxes, place: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """How far a step lies between its neighbours, from 0 to 1."""
        when = torch.tensor(axes.clock, dtype=torch.float64, device=place.device) if axes.clock else place.double()
        apart = when[right] - when[left]
        return (when[place] - when[left]) / torch.where(apart > 0, apart, 1.0)


def _before_end(labels: np.ndarray) -> np.ndarray:
    """``Bool[g, 1, 1, T]`` of labels ``[g, C, T]``: false in the last steps where they are nobody's in any channel.

    A series that was filled up ends there, and what follows is no neighbour.
    """
    owned: np.ndarray = np.any(labels >= 0, axis=1)
    return np.logical_or.accumulate(owned[:, ::-1], axis=1)[:, None, None, ::-1].copy()


@dataclass(frozen=True, eq=False)
class SeriesNoise(SeriesRemoval):
    """Absent stretches are noise about the row's own level, channel by channel, of ``spread`` times its own spread.

    ``"white"`` noise is independent from step to step; with ``"own"`` colour it has the channel's own spectrum, its
    phases drawn at random (Theiler et al. 1992, Physica D 58:77), all channels turned alike. ``draws`` noisy series
    stand in for each row; they depend on the seed and the row's id alone.
    """

    spread: float = 1.0
    draws: int = 10
    colour: Literal["white", "own"] = "white"
    known_as: ClassVar[tuple[str, ...]] = ("noise",)

    def made(self, grids: Tensor, there: Tensor, inputs: Inputs, players: Players, seed: int) -> Tensor:
        if self.draws < 1 or not self.spread >= 0 or self.colour not in ("white", "own"):
            raise RemovalError(f"{self} makes no rows", fix='draws ≥ 1, spread ≥ 0, colour "white" or "own"')
        lengths = lengths_of(inputs)
        made = np.zeros((len(grids), self.draws, *grids.shape[1:]))
        for row, (grid, identity) in enumerate(zip(grids.double().cpu().numpy(), inputs.ids, strict=True)):
            rng, own = _generator(seed, identity), grid[:, : lengths[row]]
            made[row, :, :, : lengths[row]] = own.mean(1, keepdims=True) + self.spread * self._about(own, rng)
        return torch.from_numpy(made).to(grids.device)

    def _about(self, series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Noise ``Float64[draws, C, L]`` about 0 with the spread of each channel of ``series`` ``[C, L]``."""
        channels, length = series.shape
        if self.colour == "white":
            return rng.standard_normal((self.draws, channels, length)) * series.std(1)[:, None]
        spectrum = np.fft.rfft(series - series.mean(1, keepdims=True))
        phases = 2 * np.pi * rng.random((self.draws, 1, spectrum.shape[1]))
        if length % 2 == 0:  # the fastest wave is real
            phases[..., -1] = np.pi * np.round(phases[..., -1] / (2 * np.pi))
        turn = np.exp(1j * phases)
        return np.fft.irfft(spectrum * turn, length)


@dataclass(frozen=True, eq=False)
class OtherSegment(SeriesRemoval):
    """Absent stretches are as long stretches from elsewhere: of the same series, or of the background ``rows``.

    Each of the ``draws`` is one series turned round in time by a random number of steps, all channels together, so that
    what stands in is real and unbroken; several absent stretches come from the same turned series. The same window of
    another series, at the same time, is ``Marginal(rows)``.
    """

    rows: Any = None
    draws: int = 10

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> OtherSegment:
        return self if self.rows is None else replace(self, rows=finite(flatten(self.rows)))

    def background(self, inputs: Inputs, references: Tensor) -> Tensor:
        return references if self.rows is None else matching(self.rows, inputs.flat)[None]

    def made(self, grids: Tensor, there: Tensor, inputs: Inputs, players: Players, seed: int) -> Tensor:
        if self.draws < 1:
            raise RemovalError(f"OtherSegment of {self.draws} draws makes no rows", fix="draws ≥ 1")
        axes, lengths = series_axes(inputs), lengths_of(inputs)
        others = None if self.rows is None else axes.by_channel(as_float(matching(self.rows, inputs.flat)))
        made = grids[:, None].repeat(1, self.draws, 1, 1)
        for row, identity in enumerate(inputs.ids):
            rng, length = _generator(seed, identity), int(lengths[row])
            for draw in range(self.draws):
                if others is None:
                    source, steps = grids[row, :, :length], int(rng.integers(min(1, length - 1), max(length, 1)))
                else:
                    source, steps = others[int(rng.integers(len(others)))], int(rng.integers(axes.steps))
                made[row, draw, :, :length] = source.roll(steps, -1)[:, :length]
        return made


def _generator(seed: int, identity: str) -> np.random.Generator:
    return np.random.default_rng([seed, int(identity[:16], 16)])

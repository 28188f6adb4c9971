"""Images: pixels, patches and regions as players; blur, noise and a region's own colour as what is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.image_rows import SIZES
from ..problem.inputs import Inputs
from ..problem.removal import TensorRemoval, as_float, in_type
from ..problem.units import Units
from ..records.errors import InputError, NotApplicable, RemovalError
from ..records.players import Players


def image_shape(inputs: Inputs) -> tuple[int, int, int]:
    """(channels, height, width) of the rows. Raises :class:`NotApplicable` where they are not images."""
    shapes = list(inputs.shapes.values()) if inputs.opaque is None else []
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise NotApplicable("these rows are not images", why="one tensor [rows, channels, height, width] is needed")
    channels, height, width = shapes[0]
    if width in (1, 3, 4) and channels > 4:
        raise NotApplicable(
            f"these rows look like [rows, height, width, channels] ({channels} × {height} × {width})",
            why="images lie channels first here: [rows, channels, height, width]",
            fix="turn them, and wrap the model: lambda x: model(x.transpose(0, 2, 3, 1))",
        )
    return channels, height, width


@dataclass(frozen=True, eq=False)
class Boxes:
    """Where things lie on N pictures: corners x0, y0, x1, y1 in pixels, ``[N, 4]``, or ``[k, 4]`` for each of N.

    A pixel is inside where its middle is: x0 ≤ column + ½ < x1.
    """

    corners: Any

    def __post_init__(self) -> None:
        found = [np.asarray(row, dtype=np.float64).reshape(-1, 4) for row in self._rows()]
        for row, boxes in enumerate(found):
            if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
                raise InputError("a box is x0, y0, x1, y1 with x0 ≤ x1 and y0 ≤ y1", where=f"row {row}")
        object.__setattr__(self, "corners", tuple(found))

    def _rows(self) -> list[Any]:
        rows = list(self.corners)
        for row, boxes in enumerate(rows):
            if np.size(boxes) % 4 or (np.size(boxes) and np.shape(boxes)[-1] != 4):
                raise InputError(f"boxes have four corners each, not {np.shape(boxes)}", where=f"row {row}")
        return rows

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, rows: np.ndarray) -> Boxes:
        """The boxes of some pictures, ``Int[m]``."""
        return Boxes([self.corners[int(row)] for row in rows])

    def masks(self, height: int, width: int) -> np.ndarray:
        """``Bool[N, height, width]``: the pixels in any of a picture's boxes."""
        y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
        found = np.zeros((len(self), height, width), dtype=bool)
        for row, boxes in enumerate(self.corners):
            for x0, y0, x1, y1 in boxes:
                found[row] |= ((y0 <= y) & (y < y1))[:, None] & ((x0 <= x) & (x < x1))
        return found


@dataclass(frozen=True)
class Pixels(Units):
    """Each pixel a player, its channels together."""

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        return _from_map(inputs, np.arange(np.prod(image_shape(inputs)[1:])).reshape(image_shape(inputs)[1:]), "pixel")


@dataclass(frozen=True)
class Patches(Units):
    """Squares of ``size`` × ``size`` pixels; those at the lower and right edge may be smaller."""

    size: int = 8

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        _, height, width = image_shape(inputs)
        if not 1 <= self.size <= max(height, width):
            raise NotApplicable(f"patches of {self.size} pixels do not fit images of {height} × {width}")
        across = -(-width // self.size)
        rows, columns = np.arange(height) // self.size, np.arange(width) // self.size
        return _from_map(inputs, rows[:, None] * across + columns, "patch")


@dataclass(frozen=True)
class Quadtree(Units):
    """Squares of ``size`` × ``size`` pixels, four of them in a larger square, four of those in a larger one, …"""

    size: int = 8

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        players = Patches(self.size).make(inputs, encoding)
        if not players.is_shared:
            raise NotApplicable("a quadtree divides pictures of one size", fix=f"Patches({self.size})")
        down, across = (-(-length // self.size) for length in image_shape(inputs)[1:])
        row, column = np.arange(down * across) // across, np.arange(down * across) % across
        side = 1 << max(down - 1, across - 1).bit_length() >> 1  # of the largest squares, in patches
        levels = []
        while side > 1:
            levels.append(row // side * across + column // side)
            side //= 2
        return players.in_groups(np.array(levels)) if levels else players


@dataclass(frozen=True)
class Slic(Units):
    """Regions of like colour, found image by image (Achanta et al. 2012, SLIC superpixels)."""

    regions: int = 50
    compactness: float = 10.0

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        from skimage.segmentation import slic

        channels, height, width = image_shape(inputs)
        if self.regions < 1:
            raise NotApplicable(f"Slic({self.regions}) makes no regions", fix="1 at least")
        inputs.refuse_non_finite()
        maps, names = [], []
        images = inputs.flat.reshape(-1, channels, height, width).double().cpu().numpy()
        for whole, (high, wide) in zip(images, _sizes(inputs), strict=True):
            image = whole[:, :high, :wide]
            spread = np.ptp(image)
            scaled = (image - image.min()) / (spread if spread > 0 else 1.0)
            if channels == 3:
                found = slic(scaled, self.regions, self.compactness, channel_axis=0, start_label=0)
            else:  # not colours: SLIC in plain intensity, with its compactness on that scale
                found = slic(scaled.mean(0), self.regions, self.compactness / 100, channel_axis=None, start_label=0)
            found = np.unique(found, return_inverse=True)[1].reshape(high, wide)
            beyond = np.pad(found, ((0, height - high), (0, width - wide)), constant_values=-1)
            maps.append(np.broadcast_to(beyond, (channels, height, width)).reshape(-1))
            names.append(_names(found, "region"))
        return Players(np.array(maps), tuple(names), kind="region", layout=(channels, height, width))


def _sizes(inputs: Inputs) -> list[list[int]]:
    """Height and width of each picture, which may lie in the corner of a larger tensor."""
    known = inputs.tensors.get(SIZES)
    return [list(image_shape(inputs)[1:])] * len(inputs) if known is None else known.tolist()


def _from_map(inputs: Inputs, found: np.ndarray, kind: str) -> Players:
    """Players from a map ``Int[height, width]``; in a smaller picture those that it reaches."""
    channels, height, width = image_shape(inputs)
    if SIZES in inputs.tensors:
        maps, names = [], []
        for high, wide in _sizes(inputs):
            own = np.unique(found[:high, :wide], return_inverse=True)[1].reshape(high, wide)
            names.append(_names(own, kind))
            own = np.pad(own, ((0, height - high), (0, width - wide)), constant_values=-1)
            maps.append(np.broadcast_to(own, (channels, height, width)).reshape(-1))
        return Players(np.array(maps), tuple(names), kind=kind, layout=(channels, height, width))
    labels = np.broadcast_to(found, (channels, height, width)).reshape(-1)
    return Players.shared(labels, _names(found, kind), kind=kind, layout=(channels, height, width))


def _names(found: np.ndarray, kind: str) -> tuple[str, ...]:
    """Names by place: the mean row and column of each player's pixels."""
    height, width = found.shape
    sizes = np.bincount(found.ravel())
    rows = np.bincount(found.ravel(), np.repeat(np.arange(height), width)) / sizes
    columns = np.bincount(found.ravel(), np.tile(np.arange(width), height)) / sizes
    return tuple(f"{kind} at row {r:.0f}, column {c:.0f}" for r, c in zip(rows, columns, strict=True))


@dataclass(frozen=True, eq=False)
class Blur(TensorRemoval):
    """Absent pixels are blurred: a Gaussian of ``sigma`` pixels, edges mirrored: detail goes, light stays."""

    sigma: float = 4.0
    kinds: ClassVar[tuple[str, ...]] = ("image",)

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        if not self.sigma > 0:
            raise RemovalError(f"Blur({self.sigma}) blurs nothing", fix="sigma is in pixels, above 0")
        channels, height, width = image_shape(inputs)
        images = as_float(inputs.flat).reshape(-1, 1, height, width)
        for axis, size in ((2, height), (3, width)):
            reach = min(int(3 * self.sigma + 0.5), size - 1)
            places = torch.arange(-reach, reach + 1, dtype=torch.float64, device=images.device)
            kernel = torch.exp(-places.square() / (2 * self.sigma**2))
            kernel = (kernel / kernel.sum()).to(images.dtype)
            shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
            pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
            images = F.conv2d(F.pad(images, pad, mode="reflect"), kernel.reshape(shape))
        return in_type(images.reshape(-1, 1, channels * height * width), inputs.flat)


@dataclass(frozen=True, eq=False)
class RegionMean(TensorRemoval):
    """Absent pixels take the mean colour of their own player in this image: texture and edges go, the colour stays.

    Players of a single pixel cannot be removed so.
    """

    kinds: ClassVar[tuple[str, ...]] = ("image",)
    known_as: ClassVar[tuple[str, ...]] = ("mean",)

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        channels, height, width = image_shape(inputs)
        flat, labels = as_float(inputs.flat), torch.from_numpy(players.labels.copy()).to(inputs.flat.device)
        channel = torch.arange(channels, device=flat.device).repeat_interleave(height * width)
        cells = ((labels + 1) * channels + channel).expand(len(flat), -1)  # a player's pixels of one colour
        sums = flat.new_zeros((len(flat), (players.most + 1) * channels), dtype=torch.float64)
        sizes = torch.zeros_like(sums).scatter_add_(1, cells, torch.ones_like(flat, dtype=torch.float64))
        means = sums.scatter_add_(1, cells, flat.double()) / sizes.clamp(min=1)
        return in_type(means.gather(1, cells).to(flat.dtype)[:, None], inputs.flat)


@dataclass(frozen=True, eq=False)
class Noise(TensorRemoval):
    """Absent elements are Gaussian noise about the row's own mean, with ``spread`` times its standard deviation.

    ``draws`` independent noisy rows stand in for each row; they depend on the seed and the row's id alone.
    """

    spread: float = 1.0
    draws: int = 10

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        if self.draws < 1 or not self.spread >= 0:
            raise RemovalError(f"Noise({self.spread}, {self.draws}) makes no rows", fix="draws ≥ 1, spread ≥ 0")
        flat = as_float(inputs.flat)
        made = []
        for row, identity in zip(flat, inputs.ids, strict=True):
            rng = np.random.default_rng([seed, int(identity[:16], 16)])
            steps = torch.from_numpy(rng.standard_normal((self.draws, flat.shape[1]))).to(flat)
            made.append(row.mean() + self.spread * row.std(unbiased=False) * steps)
        return in_type(torch.stack(made), inputs.flat)

"""What class activation maps share: the layer they are taken at, its grid over the picture, the players' values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Look, Places, Seen
from ..engine.session import Session
from ..problem.model import Differentiable, Inspectable, Place
from ..records.errors import NotApplicable
from ..records.messages import Caution
from .method import Method

MOST_EXTRA = 16
"""Tokens beside those of the picture (a class token, registers) that a transformer may put in front of them."""
AT_ONCE = 2**24
"""Elements of enlarged maps made at once."""


@dataclass(frozen=True)
class Grid:
    """How the units of a place lie over the picture: h × w cells, after ``skipped`` tokens that are no part of it."""

    place: Place
    height: int
    width: int
    skipped: int = 0

    def maps(self, rows: Tensor) -> Tensor:
        """The place's rows ``[b, *shape]`` seen as ``[b, C, h, w]``."""
        if len(self.place.shape) == 2 and self.place.channels == 0:
            return rows[:, :, None]
        if len(self.place.shape) == 2:
            return rows[:, self.skipped :].unflatten(1, (self.height, self.width)).movedim(-1, 1)
        return rows if self.place.channels == 0 else rows.movedim(-1, 1)

    @property
    def channels(self) -> int:
        return self.place.shape[0 if self.place.channels == 0 else -1]


def grid_of(place: Place, height: int, width: int) -> Grid | None:
    """The grid of a place over a picture ``height`` × ``width``; None where it has none of more than one cell.

    Tokens are a grid where, after as few as possible were dropped, the rest has the picture's proportions.
    """
    shape = place.shape
    if height == 1 and len(shape) == 2:
        return _line_of(place, width)
    if len(shape) == 3:
        h, w = shape[1:] if place.channels == 0 else shape[:2]
        return Grid(place, h, w) if h * w > 1 else None
    if len(shape) != 2 or place.channels == 0:
        return None
    for skipped in range(min(MOST_EXTRA + 1, shape[0] - 1)):
        cells = shape[0] - skipped
        h = isqrt(cells * height // width)
        for down in (h, h + 1):
            if down and cells % down == 0 and down * width == cells // down * height and cells > 1:
                return Grid(place, down, cells // down, skipped)
    return None


def _line_of(place: Place, width: int) -> Grid | None:
    """The grid of a place over a series of ``width`` steps: a map of one line, or tokens.

    Of tokens as few as possible are dropped for the rest to divide the series evenly; none where they never do. A
    single cell is a map of a series of one step alone.
    """
    cells = place.shape[1 if place.channels == 0 else 0]
    if place.channels == 0 or width == 1:
        return Grid(place, 1, cells) if cells > 1 or width == cells else None
    even = [skipped for skipped in range(min(MOST_EXTRA + 1, cells - 1)) if width % (cells - skipped) == 0]
    skipped = even[0] if even else 0
    return Grid(place, 1, cells - skipped, skipped) if cells > 1 else None


def last_grid(places: Places) -> Grid:
    """The last place of the network that still knows where in the picture something is.

    Behind the last mixing of tokens only the class token is read: a place whose other tokens the outputs no longer
    feel is passed over, and so is one of another width than the tokens have in the end. Raises
    :class:`NotApplicable` where there is none.
    """
    height, width = places.canvas[1:]

    def find() -> Grid | None:
        grids = [grid for place in places.all if (grid := grid_of(place, height, width)) is not None]
        if not grids or not grids[-1].skipped:
            return grids[-1] if grids else None
        try:
            slopes = places.tried([grid.place for grid in grids])
        except NotApplicable:  # no gradients, no telling
            return grids[-1]
        channels = grids[-1].channels
        felt = [g for g in grids if g.channels == channels and bool(g.maps(slopes[g.place.name]).any())]
        return (felt or grids)[-1]

    found = places.once("last grid", find)
    if found is None:
        raise NotApplicable(
            "no layer of this network has a map of the picture (channels × height × width) or series, or tokens",
            fix="a class activation map needs a convolutional network or a transformer; for any other network "
            "take integrated_gradients or occlusion",
        )
    return found


@dataclass(frozen=True)
class ClassActivation(Method):
    """A map of the picture made of a late layer's activations, laid over the picture and added up by players.

    The layer is found by itself, and named in the notes: the last place with a map of the picture. Scale and sign are
    kept as the formula gives them; nothing is normalised.
    """

    layer: Annotated[str | None, "the place to look at, such as layer4; none: the last one with a map"] = None

    needs: ClassVar[tuple[type, ...]] = (Differentiable, Inspectable)
    kinds: ClassVar[tuple[str, ...]] = ("image", "series")
    removes: ClassVar[bool] = False
    default: ClassVar[bool] = False

    def grid(self, places: Places) -> Grid:
        """Where the map is taken. Raises :class:`UnknownName`, :class:`NotApplicable` for a layer without a map."""
        if self.layer is None:
            return last_grid(places)
        place = places.named(self.layer)
        found = grid_of(place, *places.canvas[1:])
        if found is None:
            raise NotApplicable(
                f"{place.name} has no map of the picture",
                why=f"what this {place.kind} returns has the shape {place.shape} for one picture",
                fix=f"take {last_grid(places).place.name!r}, or leave layer= out",
            )
        return found

    def cost(self, players: int) -> float:
        return 1.0


@dataclass(frozen=True)
class GradientMap(ClassActivation):
    """A map made of activations and gradients at the layer: one pass forward and back for each picture."""

    def look(self, places: Places) -> Look:
        grid = self.grid(places)
        return Look((grid.place.name,), _Combined(self, grid))

    def estimate(self, session: Session) -> Estimate:
        return laid(session, self.name, self.grid(session.places), session.looked(self.look(session.places)))

    @abstractmethod
    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """The map ``[b, h, w]`` of activations and gradients ``Float64[b, C, h, w]``."""


@dataclass(frozen=True)
class _Combined:
    """A method's fold at its grid."""

    method: GradientMap
    grid: Grid

    def __call__(self, activations: Seen, gradients: Seen) -> Tensor:
        name, maps = self.grid.place.name, self.grid.maps
        return self.method.combined(maps(activations[name]), maps(gradients[name]))


def weighed(activations: Tensor, weights: Tensor, relu: bool) -> Tensor:
    """Σ_k w_k A_k of ``[b, C, h, w]`` and ``[b, C]``; what speaks against the target is dropped with ``relu``."""
    summed = torch.einsum("bchw,bc->bhw", activations, weights)
    return summed.relu() if relu else summed


def laid(session: Session, method: str, grid: Grid, maps: np.ndarray, factors: np.ndarray | None = None) -> Estimate:
    """The estimate of maps ``Float64[Q, h, w]``: enlarged bilinearly, and added up over the elements of each player.

    A pixel's value is shared evenly by its channels, so that the players' values add up to the enlarged map's; with
    ``factors`` ``Float64[Q, D]`` each element gets its own times its pixel's value.
    """
    channels, height, width = session.inputs.canvas
    values = np.zeros((session.questions, session.n))
    size = max(AT_ONCE // (channels * height * width), 1)
    for start in range(0, len(maps), size):
        chosen = np.arange(start, min(start + size, len(maps)))
        large = enlarged(torch.from_numpy(maps[chosen]), (height, width)).numpy()
        elements = session.inputs.off_canvas(np.broadcast_to(large[:, None], (len(chosen), channels, height, width)))
        elements = elements / channels if factors is None else elements * factors[chosen]
        values[chosen] = session.pool(elements, questions=chosen)
    notes = {"layer": grid.place.name, "grid": [grid.height, grid.width]}
    return Estimate(values, arrays={"maps": maps}, notes=notes, cautions=_empty(method, grid, maps, len(session)))


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps ``[b, h, w]`` enlarged bilinearly to ``size``, cells in the middle of what they saw."""
    return torch.nn.functional.interpolate(maps[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _empty(method: str, grid: Grid, maps: np.ndarray, rows: int) -> tuple[Caution, ...]:
    bare = int((~maps.reshape(rows, -1, grid.height * grid.width).any(axis=-1)).any(axis=-1).sum())
    if not bare:
        return ()
    return (Caution.of("empty_map", "yellow", method=method, layer=grid.place.name, rows=bare, total=rows),)

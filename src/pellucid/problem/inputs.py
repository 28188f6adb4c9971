"""Inputs: a batch of rows in the space the model computes in, with the raw rows beside it for display.

Float tensors are seen as one flat ``[N, D]``: the engine removes, moves and differentiates its
elements without knowing how many tensors there were. Tensors that are not numbers to be moved
(lengths, masks, indices beside floats) are carried along by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from math import prod
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..records.errors import InputError, NotFiniteError, shorten
from ..records.series import SeriesAxes

Array = TypeVar("Array", bound=Any)
FOR_MISSING = (
    "pass missing='impute-median' or missing='model-handles' to pellucid.wrap or load (--missing), or fill them before "
    "explaining; an Encoding treats missing cells as values of their own where training had some"
)
"""What can be done about missing cells."""
WHOLE = "inputs"
"""The name of the only tensor where the caller gave no names."""
THREADS, LONG, THREADED = 4, 2**12, 2**20
"""Threads that hash rows, from so many bytes a row and in all on."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """N rows in model space.

    Attributes
    ----------
    tensors: name → ``[N, …]``; empty for the opaque rows of a black box.
    opaque: the rows of a black box (strings, lists of words, …), or None.
    raw: the rows as the user knows them, for display only.
    spans: ``Int[N, D, 2]``, for rows made from texts: where in its raw text each element begins and ends; an element
        that stands for nothing there begins and ends at one place.
    carried: tensors that put the question and are never explained, beside those that their type rules out.
    axes: what the axes of a row are, where rows are time series.
    lengths: ``Int[N]``, how many steps (or tokens) each row has where they differ; what is behind them is filled up.
    along: the axis of the steps in each tensor that has them, where rows of different lengths can be cut to their own.
    fills: whether the network says of a row that is filled up what it says of that row alone.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    opaque: tuple[Any, ...] | None = None
    raw: Any = None
    spans: np.ndarray | None = None
    carried: tuple[str, ...] = ()
    axes: SeriesAxes | None = None
    lengths: np.ndarray | None = None
    along: Mapping[str, int] = field(default_factory=dict)
    fills: bool = True

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            if tensor.ndim and len(tensor) and not tensor[:1].numel():
                raise InputError(f"the rows have no elements: {shorten(name)} has the shape {tuple(tensor.shape)}")
        sizes = {name: len(tensor) if tensor.ndim else None for name, tensor in self.tensors.items()}
        if None in sizes.values():
            raise InputError("an input tensor has no rows", fix="give it a leading dimension")
        if len(set(sizes.values())) > 1:
            listing = ", ".join(f"{name}: {size}" for name, size in sizes.items())
            raise InputError(f"the input tensors disagree on the number of rows ({listing})")
        if not self.tensors and self.opaque is None:
            raise InputError("there are no inputs")

    def __len__(self) -> int:
        return len(self.opaque) if self.opaque is not None else len(next(iter(self.tensors.values())))

    def take(self, rows: Sequence[int] | np.ndarray, display: bool = True) -> Inputs:
        """The inputs of some rows, in the order given; what they are shown as is left behind without ``display``."""
        index = np.asarray(rows, dtype=np.int64)
        raw = self.raw if display else None
        if raw is not None:
            raw = raw[index] if isinstance(raw, np.ndarray) else [raw[row] for row in index.tolist()]
        if self.opaque is not None:
            return self._named(Inputs(opaque=tuple(self.opaque[row] for row in index.tolist()), raw=raw), index)
        places = torch.from_numpy(index)
        tensors = {name: tensor[places] for name, tensor in self.tensors.items()}
        spans = None if self.spans is None else self.spans[index]
        lengths = None if self.lengths is None else self.lengths[index]
        return self._named(replace(self, tensors=tensors, raw=raw, spans=spans, lengths=lengths), index)

    def cut(self, length: int) -> Inputs:
        """The same rows without what is behind their first ``length`` steps, which all of them have."""
        tensors = {
            name: tensor.narrow(self.along[name], 0, length) if name in self.along else tensor
            for name, tensor in self.tensors.items()
        }
        spans = None if self.spans is None else self.spans[:, :length]
        axes = None if self.axes is None else self.axes.cut(length)
        made = replace(self, tensors=tensors, spans=spans, axes=axes, lengths=None, along={}, fills=True)
        return self._named(made, np.arange(len(self)))

    def kept(self, length: int) -> np.ndarray:
        """Which elements ``Int[D']`` of a row :meth:`cut` leaves."""
        parts, start = [], 0
        for name, shape in self.shapes.items():
            stop = start + prod(shape)
            places = np.arange(start, stop).reshape(shape)
            parts.append(places.take(range(length), self.along[name] - 1) if name in self.along else places)
            start = stop
        return np.concatenate([part.ravel() for part in parts])

    def _named(self, made: Inputs, rows: np.ndarray) -> Inputs:
        """Other inputs made of some of these rows: they keep their names where these are known."""
        if "ids" in self.__dict__:
            made.__dict__["ids"] = tuple(self.ids[row] for row in rows.tolist())
        return made

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """The tensors whose elements are explained: the float ones; where there are none, the integer ones."""
        asked = {name: tensor for name, tensor in self.tensors.items() if name not in self.carried}
        floats = tuple(name for name, tensor in asked.items() if tensor.is_floating_point())
        whole = tuple(name for name, tensor in asked.items() if not tensor.is_complex())
        if not floats and not whole and self.tensors:
            raise InputError("the inputs are complex numbers", fix="give the real and imaginary parts side by side")
        return floats or whole

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one row of each explained tensor."""
        return {name: tuple(self.tensors[name].shape[1:]) for name in self.elements}

    @property
    def canvas(self) -> tuple[int, int, int]:
        """(channels, height, width) of a row seen as a picture; a series is one of height 1, its steps side by side."""
        if self.axes is not None:
            return len(self.axes.channels), 1, self.axes.steps
        channels, height, width = next(iter(self.shapes.values()))
        return channels, height, width

    def off_canvas(self, pictures: Array) -> Array:
        """Pictures ``[b, channels, height, width]``, arrays or tensors, as elements ``[b, D]``."""
        flat = pictures.reshape(len(pictures), -1)
        return flat if self.axes is None else self.axes.as_rows(pictures[:, :, 0])

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the cells, of rows that are shown as a table's."""
        raw = self.raw
        return tuple(map(str, raw[0])) if isinstance(raw, list) and raw and isinstance(raw[0], Mapping) else ()

    @cached_property
    def width(self) -> int:
        """D, the number of elements of a row (for opaque rows: of the longest)."""
        if self.opaque is not None:
            return max((len(row) for row in self.opaque), default=0)
        return sum(prod(shape) for shape in self.shapes.values())

    @cached_property
    def flat(self) -> Tensor:
        """All explained elements as one ``[N, D]``."""
        parts = [self.tensors[name].detach().reshape(len(self), prod(self.shapes[name])) for name in self.elements]
        if len(parts) == 1:
            return parts[0]
        dtype = parts[0].dtype
        for part in parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        return torch.cat([part.to(dtype) for part in parts], dim=1)

    def fold(self, flat: Tensor, rows: Tensor | slice) -> dict[str, Tensor]:
        """Flat rows ``[b, D]`` as the model's named tensors; the carried ones are taken from ``rows``."""
        folded: dict[str, Tensor] = {}
        start = 0
        for name, tensor in self.tensors.items():
            if name not in self.shapes:
                folded[name] = tensor[rows].clone()
                continue
            shape = self.shapes[name]
            stop = start + prod(shape)
            part = flat if stop - start == flat.shape[1] else flat[:, start:stop]
            folded[name] = part.reshape(len(flat), *shape).to(tensor.dtype)
            start = stop
        return folded

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """One hash per row of what the model sees: the name under which its noise and its results are kept."""
        if self.opaque is not None:
            return tuple(
                blake2b(repr(row).encode("utf-8", "replace"), digest_size=16).hexdigest() for row in self.opaque
            )
        kept = [tensor.detach().reshape(len(self), -1).contiguous().cpu() for tensor in self.tensors.values()]
        if self.spans is not None:  # how far a text is filled up depends on its neighbours, and its name may not
            return tuple(
                blake2b(b"|".join(_filled(tensor[row]).tobytes() for tensor in kept), digest_size=16).hexdigest()
                for row in range(len(self))
            )
        if self.axes is not None:  # likewise of series
            grids = self.axes.by_channel(self.flat.cpu())
            lengths = [self.axes.steps] * len(self) if self.lengths is None else self.lengths.tolist()
            own = (_as_bytes(grid[None, :, :length].contiguous()) for grid, length in zip(grids, lengths, strict=True))
            return tuple(blake2b(row.tobytes(), digest_size=16).hexdigest() for row in own)
        views = [_as_bytes(tensor) for tensor in kept]
        joined = views[0] if len(views) == 1 else np.concatenate(views, axis=1)
        return _hashed(np.ascontiguousarray(joined))

    @cached_property
    def blank(self) -> bool:
        """Whether any explained element is missing (NaN)."""
        return self.opaque is None and self.flat.is_floating_point() and bool(torch.isnan(self.flat).any())

    def refuse_non_finite(
        self, owner: Callable[[int, int], str] = lambda row, element: "", blanks: bool = False
    ) -> None:
        """Raise :class:`NotFiniteError` naming the first rows that hold NaN or infinity; with ``blanks`` infinity only.

        ``owner`` names the column that an element (of all the explained ones) of a row belongs to.
        """
        start = 0
        for name in self.elements if self.opaque is None else ():
            tensor = self.tensors[name].detach()
            before, start = start, start + tensor[:1].numel()
            if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum())):
                continue
            cells = tensor.reshape(len(self), -1)
            bad = torch.isinf(cells) if blanks else ~torch.isfinite(cells)
            if not bool(bad.any()):
                continue  # the sum overflowed, the elements did not
            element = int(torch.nonzero(bad.any(0))[0])
            own, others = bad[:, element], int(bad.any(0).sum()) - 1
            rows = torch.nonzero(own).flatten()
            column = owner(int(rows[0]), before + element)
            missing = not bool(torch.isinf(cells[bad]).any())
            more = f", and some in {others} other column{'s' if others > 1 else ''}" if others and column else ""
            raise NotFiniteError(
                f"{int(own.sum())} {'NaN' if missing else 'NaN or infinite'} in {len(self):,} rows (first rows "
                f"{', '.join(map(str, rows[:3].tolist()))}){more}",
                where=f"column `{shorten(column)}`" if column else f"input {name!r}, element {element}",
                fix=FOR_MISSING if missing else "fill or drop them before explaining",
            )


def _hashed(rows: np.ndarray) -> tuple[str, ...]:
    """A hash of each row of bytes; long ones by several threads, which hashing leaves free for each other."""

    def hashed(part: np.ndarray) -> list[str]:
        return [blake2b(row, digest_size=16).hexdigest() for row in part]

    if rows.nbytes < THREADED or rows.shape[1] < LONG:
        return tuple(hashed(rows))
    with ThreadPoolExecutor(THREADS) as pool:
        return tuple(chain.from_iterable(pool.map(hashed, np.array_split(rows, THREADS))))


def same(one: Tensor, other: Tensor) -> Tensor:
    """Where two tensors agree, ``Bool[…]``; what is missing (NaN) agrees with what is missing."""
    return (one == other) | ((one != one) & (other != other))


def mean(rows: Tensor, axis: int) -> Tensor:
    """The mean along an axis, of what is known; NaN where nothing is."""
    return rows.nanmean(axis) if bool(torch.isnan(rows).any()) else rows.mean(axis)


def spread(rows: Tensor, axis: int) -> Tensor:
    """The standard deviation along an axis, likewise."""
    if not bool(torch.isnan(rows).any()):
        return rows.std(axis, unbiased=False)
    return (rows - rows.nanmean(axis, keepdim=True)).square().nanmean(axis).sqrt()


def _filled(row: Tensor) -> np.ndarray:
    """A row of whole numbers without the −1 that fill it up."""
    return np.trim_zeros(row.numpy() + 1, "b")


def _as_bytes(tensor: Tensor) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    array = tensor.numpy()
    return array.view(np.uint8).reshape(len(array), -1) if array.size else np.zeros((len(array), 0), np.uint8)

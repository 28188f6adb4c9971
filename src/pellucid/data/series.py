"""Time series as a person has them: numbers, and what their axes are. Nothing about them is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ..records.errors import InputError, NotFiniteError, shorten
from ..records.messages import Caution
from ..records.series import SeriesAxes, Time, channel_names

NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class Series:
    """N time series and what their axes are; rows for :func:`pellucid.explain` and its like.

    Attributes
    ----------
    values: ``[N, channels, time]``, ``[N, time, channels]`` with ``time="first"``, or ``[N, time]`` of one channel; an
        array, a tensor, or a list of N arrays, whose lengths may differ.
    channels: their names.
    time: which axis of one series is time, "last" or "first". It has to be as the network takes it.
    times: when each step is, T numbers, texts or dates, where all series share them.
    unit: of times that are numbers, such as ``"s"``.
    units: of each channel's values.
    fill: what stands behind the end of shorter series. A network that takes ``lengths`` or ``mask`` is told where
        each one ends; for any other network say the number with which it was trained to see them filled up.
    lengths: how many steps each series has, where ``values`` is an array in which shorter ones are filled up already;
        of a list they are known.
    cautions: what is to be said beside explanations of these series.
    content: the values as one array ``[N, …]``, shorter series filled up.
    axes: what was said about them, checked.
    filled: whether shorter ones were filled up here, with a number that nobody said a network knows.

    Rows are taken by position, slice, list of positions or mask: ``series[:10]``; ``numpy.asarray(series)`` is the
    content.

    Raises :class:`InputError` for values of another shape, :class:`NotFiniteError` for NaN or infinity.
    """

    values: Any
    channels: Sequence[str] | None = None
    time: Time = "last"
    times: Any = None
    unit: str = ""
    units: Sequence[str] = ()
    fill: float | None = None
    lengths: Any = None
    cautions: tuple[Caution, ...] = ()
    content: np.ndarray = field(init=False, repr=False)
    axes: SeriesAxes = field(init=False, repr=False)
    filled: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        content, found = _stacked(self.values, self.time, 0.0 if self.fill is None else self.fill)
        _refuse_unusable(content)
        flat, axis = content.ndim == 2, 1 if self.time == "first" and content.ndim == 3 else -1
        count = 1 if flat else content.shape[3 - axis if axis > 0 else 1]
        axes = SeriesAxes(
            channel_names(count, self.channels), content.shape[axis], self.time, flat, moments(self.times), self.unit,
            tuple(map(str, self.units)),
        )  # fmt: skip
        lengths = found if self.lengths is None else _checked(self.lengths, len(content), axes.steps)
        filled = found is not None and self.fill is None
        for name, value in (("content", content), ("lengths", lengths), ("axes", axes), ("filled", filled)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        content: np.ndarray,
        axes: SeriesAxes,
        lengths: np.ndarray | None = None,
        cautions: tuple[Caution, ...] = (),
        filled: bool = False,
    ) -> Series:
        """Series whose axes are known already."""
        told = {"time": axes.time, "times": axes.times, "unit": axes.unit, "units": axes.units}
        made = cls(content, axes.channels, lengths=lengths, cautions=cautions, **told)
        object.__setattr__(made, "filled", filled and made.lengths is not None)
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the content, ``[N, …]``."""
        return self.content.shape

    def parts(self) -> list[np.ndarray]:
        """Each series by itself, ``[channels, its own steps]``."""
        grids = self.axes.by_channel(self.content.reshape(len(self), prod(self.axes.shape)))
        ends = [self.axes.steps] * len(self) if self.lengths is None else self.lengths.tolist()
        return [grid[:, :end] for grid, end in zip(grids, ends, strict=True)]

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, rows: Any) -> Series:
        chosen = np.arange(len(self))[rows]
        places = np.atleast_1d(chosen)
        lengths = None if self.lengths is None else self.lengths[places]
        return Series.of(self.content[places], self.axes, lengths, self.cautions, self.filled)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.content, dtype=dtype, copy=copy)


def _checked(given: Any, rows: int, steps: int) -> np.ndarray | None:
    """Lengths that were given; None where all series are full. Raises :class:`InputError`."""
    lengths = _array(given)
    if lengths.shape != (rows,) or lengths.dtype.kind not in "iu" or (lengths < 1).any() or (lengths > steps).any():
        raise InputError(
            f"lengths are {rows} whole numbers from 1 to {steps}, one for each series", why=f"got {shorten(given, 80)}"
        )
    return None if (lengths == steps).all() else lengths.astype(np.int64)


def moments(given: Any) -> tuple[float, ...] | tuple[str, ...]:
    """Times as numbers, or as texts without what all of them share (a day, whole seconds). Raises :class:`InputError`.

    Dates are texts such as ``"2024-05-01 12:30"``; those without a time zone beside some with one are refused.
    """
    if given is None or len(given) == 0:
        return ()
    array = np.asarray(given)
    if array.dtype.kind in "iuf":
        return tuple(array.astype(np.float64).tolist())
    if all(isinstance(moment, str) for moment in array.tolist()):
        return tuple(array.tolist())
    import pandas as pd

    try:
        dates = pd.DatetimeIndex(pd.to_datetime(list(given)))
    except (ValueError, TypeError) as error:
        raise InputError(
            "the times are neither numbers nor texts nor dates of one time zone",
            why=shorten(error, 200),
            fix="give all of them with a time zone, or all without",
        ) from error
    if not dates.is_monotonic_increasing or not dates.is_unique:
        raise InputError("the times do not rise", fix="sort the steps by time, and give each time once")
    return _shortened(dates)


def _shortened(dates: Any) -> tuple[str, ...]:
    """Dates as texts as short as still tell them apart."""
    midnight = bool((dates == dates.normalize()).all())
    if midnight:
        return tuple(dates.strftime("%Y-%m-%d"))
    clock = "%H:%M" if bool(((dates.second == 0) & (dates.microsecond == 0)).all()) else "%H:%M:%S"
    clock = clock if bool((dates.microsecond == 0).all()) else "%H:%M:%S.%f"
    one_day = len(set(dates.normalize())) == 1
    return tuple(dates.strftime(clock if one_day else f"%Y-%m-%d {clock}"))


def _stacked(values: Any, time: str, fill: float) -> tuple[np.ndarray, np.ndarray | None]:
    """The series as one array ``[N, …]``, and their lengths where they differ."""
    if not isinstance(values, (list, tuple)):
        return _array(values), None
    rows = [_array(row) for row in values]
    if not rows or len({row.ndim for row in rows}) > 1 or rows[0].ndim not in (1, 2):
        shapes = ", ".join(str(row.shape) for row in rows[:5])
        raise InputError(
            f"a list of series holds arrays [channels, time] or [time], not {shapes or 'nothing'}",
            fix="give N arrays of one kind",
        )
    axis = 0 if time == "first" or rows[0].ndim == 1 else 1
    lengths = np.array([row.shape[axis] for row in rows])
    others = {tuple(size for place, size in enumerate(row.shape) if place != axis) for row in rows}
    if len(others) > 1:
        raise InputError(
            "the series have different channels", why=f"their shapes are {', '.join(str(r.shape) for r in rows[:5])}",
            fix='time="first" where a series is [time, channels]',
        )  # fmt: skip
    if not lengths.all():
        raise InputError("a series without steps has nothing to explain", where=f"row {int(lengths.argmin())}")
    longest, dtype = int(lengths.max()), np.result_type(*rows)
    filled = [
        np.concatenate([row, np.full(_with(row.shape, axis, longest - row.shape[axis]), fill, dtype)], axis)
        for row in rows
    ]
    return np.stack(filled), None if (lengths == longest).all() else lengths


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return tuple(size if place == axis else own for place, own in enumerate(shape))


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    return np.asarray(values)


def _refuse_unusable(content: np.ndarray) -> None:
    if content.dtype.kind not in NUMBERS:
        raise InputError(f"the series hold {content.dtype} values, not numbers", fix="give numbers")
    if content.ndim not in (2, 3) or 0 in content.shape[1:]:
        raise InputError(
            f"series lie as [rows, channels, time], [rows, time, channels] or [rows, time], not {content.shape}",
            fix="a single series needs a leading dimension: series[None]" if content.ndim == 1 else "",
        )
    wild = ~np.isfinite(content).all(tuple(range(1, content.ndim)))
    if wild.any():
        rows = np.flatnonzero(wild)
        raise NotFiniteError(
            f"NaN or infinity in {len(rows)} of {len(content):,} series (first rows "
            f"{', '.join(map(str, rows[:3].tolist()))})",
            fix="fill the gaps, by linear interpolation say, or drop these series",
        )

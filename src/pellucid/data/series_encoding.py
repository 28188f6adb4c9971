"""How raw time series become the numbers that one network eats: scaled, turned, brought to its length; and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from ..records.errors import EncodingError, InputError, NotFiniteError, UnknownName, shorten
from ..records.files import read_json, write_json
from ..records.messages import Caution
from ..records.series import SeriesAxes, Time, channel_names
from .cells import rows_named
from .dataset import Dataset
from .series import Series

Numbers = Literal["standardise", "minmax", "none"]
Fitted = Literal["first", "last", "resample"]
Dtype = Literal["float32", "float64"]


@dataclass(frozen=True)
class SeriesEncoding:
    """``(raw - center) / scale`` for each channel, laid out and as long as one network takes its series.

    Attributes
    ----------
    channels: their names, in the order of the network. Series that name their channels are matched by name: the order
        does not matter and further channels are left alone.
    center, scale: one number for each channel.
    time: where *the network* takes its steps, "last" ``[N, channels, T]`` or "first" ``[N, T, channels]``; series say
        themselves how they lie, and a bare array lies as the network's.
    flat: whether the network takes its one channel as ``[N, T]``.
    steps: T, how many steps the network takes; None: as many as there are.
    fitted: what becomes of series of another length: their ``"first"`` or ``"last"`` steps are kept and shorter ones
        are filled up behind their end; ``"resample"`` draws straight lines between their steps and reads these anew.
    fill: the number, in the network's unit, with which it was trained to see shorter series filled up; None for a
        network that takes their ``lengths`` or a ``mask``, or each as long as it is.
    dtype: of the numbers, "float32" or "float64"; a network's own precision has the last word.
    units: of the raw values of each channel, for figures and sentences.
    """

    channels: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    time: Time = "last"
    flat: bool = False
    steps: int | None = None
    fitted: Fitted = "first"
    fill: float | None = None
    dtype: Dtype = "float32"
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("channels", "center", "scale", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, known in (("time", Time), ("fitted", Fitted), ("dtype", Dtype)):
            if getattr(self, name) not in get_args(known):
                raise UnknownName.among(name, str(getattr(self, name)), get_args(known))
        for name in ("center", "scale"):
            if len(getattr(self, name)) != len(self.channels):
                raise EncodingError(f"{name} has {len(getattr(self, name))} numbers for {len(self.channels)} channels")
        if not all(spread > 0 for spread in self.scale):
            raise EncodingError("scale must be above 0")
        if self.steps is not None and self.steps < 1:
            raise EncodingError(f"a network of {self.steps} steps sees nothing", fix="steps ≥ 1, or None for any")
        if self.steps is None and self.fitted != "first":
            raise EncodingError(f"fitted={self.fitted!r} needs a length", fix="say how many: steps=…")
        self.axes(self.steps or 1)

    @classmethod
    def fit(cls, data: Dataset | Series, numbers: Numbers = "standardise", **settings: Any) -> SeriesEncoding:
        """Learn center and scale of each channel from the **train rows** of ``data``, or from all of a ``Series``.

        Parameters
        ----------
        numbers: "standardise" to mean 0 and standard deviation 1, "minmax" to 0…1, or "none".
        settings: ``time``, ``flat``, ``steps``, ``fitted``, ``fill``, ``dtype`` as above; ``time`` is by default
            that of the series. Steps behind the end of a series are not looked at; all steps of the others are, also
            those that are cut off later.

        Raises :class:`InputError` for data that are no series, or without train rows.
        """
        if numbers not in get_args(Numbers):
            raise UnknownName.among("scaling of numbers", str(numbers), get_args(Numbers))
        series = data if isinstance(data, Series) else data.train.series if isinstance(data, Dataset) else None
        if series is None or not len(series):
            missing = "train rows" if series is not None else "time series"
            raise InputError(f"a SeriesEncoding cannot be learned without {missing}", fix="pellucid.Series(rows)")
        axes, values = series.axes, [part.astype(np.float64) for part in series.parts()]
        learned = [_learned(np.concatenate([part[channel] for part in values]), numbers)
                   for channel in range(len(axes.channels))]  # fmt: skip
        centers, scales = zip(*learned, strict=True)
        chosen = {"time": axes.time, "flat": axes.flat, "units": axes.units} | settings
        return cls(axes.channels, centers, scales, **chosen)

    @property
    def groups(self) -> dict[str, list[int]]:
        """Channel → positions of its elements in a row of ``steps`` steps; empty where any number of steps is taken."""
        if self.steps is None:
            return {}
        places: np.ndarray = self.axes(self.steps).by_channel(np.arange(len(self.channels) * self.steps))
        return {name: places[channel].tolist() for channel, name in enumerate(self.channels)}

    @property
    def types(self) -> dict[str, str]:
        return dict.fromkeys(self.channels, "series")

    def axes(self, steps: int) -> SeriesAxes:
        """What the axes of the network's rows are."""
        return SeriesAxes(self.channels, steps, self.time, self.flat, units=self.units)

    def takes(self, rows: Any) -> bool:
        """Whether rows are raw series: declared ones, arrays or lists of arrays. A tensor is what the network eats."""
        if isinstance(rows, Dataset):
            return isinstance(rows.content, np.ndarray)
        if isinstance(rows, (list, tuple)):
            return bool(rows) and all(isinstance(row, np.ndarray) for row in rows)
        return isinstance(rows, (Series, np.ndarray))

    def known(self, rows: Any) -> tuple[Series, np.ndarray] | None:
        """Rows as the network's series, and in raw units: read where they are raw, a tensor of floats as it is.

        None for anything else.
        """
        if self.takes(rows):
            return self.read(rows)
        if not hasattr(rows, "detach") or not rows.is_floating_point():
            return None
        array = rows.detach().cpu().numpy()
        raw = self.decode(array)
        return Series.of(array, self.axes(raw.shape[1 if self.time == "first" and not self.flat else -1])), raw

    def encode(self, rows: Any) -> np.ndarray:
        """Raw series as ``Float[N, *axes.shape]``: of a Series, a Dataset, an array or a list of arrays.

        Raises :class:`EncodingError` for channels that the network needs and the series lack, and for rows of another
        kind; :class:`InputError` and :class:`NotFiniteError` for unusable values.
        """
        return self.read(rows)[0].content

    def read(self, rows: Any) -> tuple[Series, np.ndarray]:
        """The encoded series, which know their lengths and times, and the same steps in raw units, ``[N, *shape]``."""
        series = self._series(rows)
        parts = [part[self._places(series.axes)] for part in series.parts()]
        lengths = np.array([part.shape[1] for part in parts])
        steps = self.steps or int(lengths.max())
        brought = [self._brought(part.astype(np.float64), steps) for part in parts]
        kept = np.array([part.shape[1] for part in brought])
        raw, grid = (np.zeros((len(parts), len(self.channels), steps)) for _ in range(2))
        grid += 0.0 if self.fill is None else self.fill
        for row, part in enumerate(brought):
            raw[row, :, : kept[row]] = part
            grid[row, :, : kept[row]] = (part - _column(self.center)) / _column(self.scale)
        axes = replace(self.axes(steps), times=self._times(series.axes, lengths, steps), unit=series.axes.unit)
        axes = replace(axes, units=self.units or _units_of(series.axes, self._places(series.axes)))
        encoded = self._finite(axes.as_rows(grid).reshape(-1, *axes.shape))
        cautions = (*series.cautions, *self._cautions(lengths, steps))
        made = Series.of(encoded, axes, None if (kept == steps).all() else kept, cautions, filled=self.fill is None)
        return made, axes.as_rows(raw).reshape(encoded.shape)

    def decode(self, array: Any) -> np.ndarray:
        """Encoded series ``[N, *shape]`` in raw units ``Float64``, laid out and as long as they are encoded."""
        array = np.asarray(array, dtype=np.float64)
        steps = array.shape[1 if self.time == "first" and not self.flat else -1] if array.ndim > 1 else 0
        if not steps or array.shape[1:] != self.axes(steps).shape:
            expected = list(self.axes(self.steps or 1).shape)
            raise EncodingError(f"expected encoded series of the shape {expected}, got {list(array.shape)[1:]}")
        axes = self.axes(steps)
        grid = axes.by_channel(array.reshape(len(array), -1)) * _column(self.scale) + _column(self.center)
        return axes.as_rows(grid).reshape(array.shape)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "series", "version": 1, **vars(self)}

    @classmethod
    def from_dict(cls, data: Any, where: str = "") -> SeriesEncoding:
        """Read what :meth:`to_dict` gave. Raises EncodingError naming the field that is wrong."""
        from .encoding_file import SeriesFile, validated

        settings = dict(validated(SeriesFile, data, where))
        return cls(**{name: value for name, value in settings.items() if name not in ("kind", "version")})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoding as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SeriesEncoding:
        """Read what :meth:`save` wrote. Raises StoreError or EncodingError naming the file."""
        return cls.from_dict(read_json(path), str(path))

    def _series(self, rows: Any) -> Series:
        """Raw rows as series; a bare array lies as the network's rows do."""
        if isinstance(rows, Dataset):
            rows = rows.array if rows.series is None else rows.series
        if isinstance(rows, Series):
            return rows
        if not self.takes(rows):
            raise EncodingError(
                f"raw series are needed, not a {type(rows).__name__}",
                fix="give a pellucid.Series, an array or a list of arrays; a tensor goes to the network as it is",
            )
        given = Series(rows, time=self.time)
        if given.axes.flat != self.flat and len(self.channels) > 1:
            raise EncodingError(
                f"the network takes {len(self.channels)} channels, the array has the shape {given.content.shape}",
                fix="give pellucid.Series(rows, channels, time=…)",
            )
        return given

    def _places(self, axes: SeriesAxes) -> list[int]:
        """Where the network's channels stand in series: by name; where one side has no names, in order."""
        own, given = self.channels, axes.channels
        if set(own) <= set(given):
            return [given.index(name) for name in own]
        unnamed = any(names == channel_names(len(names), None) for names in (own, given))
        if unnamed and len(own) == len(given):
            return list(range(len(own)))
        lacking = [name for name in own if name not in given]
        raise EncodingError(
            f"the network needs channel {shorten(lacking[0])!r}, which the series lack",
            why=f"they have {', '.join(repr(shorten(name, 30)) for name in given[:20])}",
            fix="name the channels as in training: pellucid.Series(rows, channels=(…))",
        )

    def _brought(self, part: np.ndarray, steps: int) -> np.ndarray:
        """A series ``[C, L]`` as one of at most (resampled: of exactly) so many steps."""
        if self.fitted == "resample":
            places = np.linspace(0, part.shape[1] - 1, steps)
            known = np.arange(part.shape[1])
            return part if part.shape[1] == steps else np.stack([np.interp(places, known, own) for own in part])
        return part[:, :steps] if self.fitted == "first" else part[:, -steps:]

    def _times(self, axes: SeriesAxes, lengths: np.ndarray, steps: int) -> tuple[Any, ...]:
        """The times that all encoded series share; none where they are told by their order alone."""
        same = len(set(lengths.tolist())) == 1
        if not axes.times or (axes.steps < steps and self.fitted != "resample"):
            return ()
        if self.fitted == "first" or (same and axes.steps == steps):
            return axes.times[:steps]
        if not same:
            return ()
        if self.fitted == "last":
            return axes.times[-steps:]
        return tuple(self._brought(np.array(axes.clock)[None], steps)[0].tolist()) if axes.clock else ()

    def _cautions(self, lengths: np.ndarray, steps: int) -> tuple[Caution, ...]:
        said = {"total": len(lengths), "steps": steps}
        if self.fitted == "resample":
            other = int((lengths != steps).sum())
            return (Caution.of("series_resampled", "note", rows=other, **said),) if other else ()
        longer = lengths[lengths > steps]
        if not len(longer):
            return ()
        return (Caution.of("series_cut", "yellow", rows=len(longer), cut=int((longer - steps).sum()), **said),)

    def _finite(self, encoded: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            found = encoded.astype(self.dtype)
        wild = ~np.isfinite(found).reshape(len(found), -1).all(1)
        if wild.any():
            rows = np.flatnonzero(wild)
            raise NotFiniteError(
                f"{len(rows)} series are too large for {self.dtype} ({rows_named(rows)})", fix="repair or drop them"
            )
        return found


def _learned(values: np.ndarray, numbers: Numbers) -> tuple[float, float]:
    """Center and scale of one channel's steps."""
    center, scale = 0.0, 1.0
    if numbers == "standardise":
        center, scale = float(values.mean()), float(values.std())
    elif numbers == "minmax":
        center, scale = float(values.min()), float(values.max() - values.min())
    # A constant channel is centred only: dividing by a spread of zero, or of rounding, would blow it up.
    return center, scale if scale > 1e-12 * max(abs(center), 1.0) else 1.0


def _column(numbers: Sequence[float]) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)[:, None]


def _units_of(axes: SeriesAxes, places: Sequence[int]) -> tuple[str, ...]:
    return tuple(axes.units[place] for place in places) if axes.units else ()

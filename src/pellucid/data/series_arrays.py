"""Whether arrays from a file are time series, and what their axes are: what the file or the caller says, else told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..records.messages import Caution
from ..records.series import SeriesAxes, Time
from .series import Series

if TYPE_CHECKING:
    from .wishes import Wishes

NAMES = ("channel_names", "channels")
"""Arrays of names that only series have."""
PICTURES = ("images", "image", "pixels", "pictures")


def series_axes(
    name: str, arrays: dict[str, np.ndarray], wishes: Wishes
) -> tuple[SeriesAxes | None, tuple[Caution, ...]]:
    """The axes of array ``name`` where it holds series, else None; and a note where its shape alone spoke for it.

    A file says so by the name ``series``, or by arrays ``channel_names``, ``times`` or ``lengths`` beside it; one line
    of numbers a row (``[N, 1, T]``) is no picture. Floats ``[N, A, B]`` under any other name than a picture's are taken
    for series whose longer axis is time, and that is told.
    """
    array = arrays[name]
    if array.ndim not in (2, 3) or wishes.kind == "images":
        return None, ()
    names = next((arrays[key] for key in NAMES if key in arrays and arrays[key].ndim == 1), None)
    said = wishes.kind == "series" or wishes.time is not None or name == "series"
    said = said or names is not None or (array.ndim == 3 and bool({"times", "lengths"} & set(arrays)))
    line = array.ndim == 3 and array.shape[1] == 1 < array.shape[2]
    assumed = array.ndim == 3 and array.dtype.kind == "f" and name not in PICTURES and min(array.shape[1:]) > 1
    if not (said or line or assumed):
        return None, ()
    time = _axis_of_time(array, names, wishes)
    channels = None if names is None else [str(one) for one in names.tolist()]
    unit = str(arrays["time_unit"]) if "time_unit" in arrays else ""
    axes = Series(array, channels, time, arrays.get("times"), unit).axes
    if said or line:
        return axes, ()
    note = Caution.of("series_assumed", "note", name=name, channels=len(axes.channels), steps=axes.steps)
    return axes, (note,)


def _axis_of_time(array: np.ndarray, names: np.ndarray | None, wishes: Wishes) -> Time:
    """Where time lies: as the caller says, else the axis that the names are not of, else the longer one."""
    if wishes.time is not None:
        return wishes.time  # pyright: ignore[reportReturnType]  anything else is refused by SeriesAxes
    if array.ndim == 2:
        return "last"
    one, other = array.shape[1:]
    if names is not None and one != other and len(names) in (one, other):
        return "last" if len(names) == one else "first"
    return "last" if one <= other else "first"

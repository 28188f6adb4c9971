"""A table of measurements as time series: rows of one series put in windows, or whole series of their own lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName, shorten
from ..records.messages import Caution
from ..records.regions import Spans
from ..records.series import SeriesAxes
from .cells import as_numbers, as_text, column_of, missing, rows_named
from .dataset import Dataset, Source, Task
from .series import Series, moments
from .splitting import split_rows

if TYPE_CHECKING:
    import pandas as pd

    from .wishes import Wishes

UNEVEN = 0.01
"""Steps whose lengths differ by more than this share of the usual one are told to be irregular."""


@dataclass(frozen=True, eq=False)
class _Window:
    """The rows from ``start`` to before ``stop`` of the sorted table, of one series; ``whole`` is where that begins."""

    start: int
    stop: int
    whole: int


def series_from(frame: pd.DataFrame, where: str, source: Source, wishes: Wishes) -> Dataset:
    """Series from a table in which each row is a moment (column ``time``) and each further column a channel.

    Rows with one value in the column ``id`` are one series. With ``window`` (and ``stride``, by default as long) series
    are cut into windows of equal length; a last part that is shorter is left out. A label of truth values may change
    within a series: a window's is true where one of its steps is, and these steps are its evidence.

    Raises :class:`InputError` for times that do not rise, or are of different time zones, for channels that are no
    numbers, and for any other label that changes within a series.
    """
    columns = {str(name): column_of(frame, str(name)) for name in frame.columns}
    for name in (wishes.time, wishes.id, wishes.label):
        if name is not None and name not in columns:
            raise UnknownName.among("column", name, columns)
    assert wishes.time is not None
    when, dated = _times(columns[wishes.time], wishes.time, where)
    series = as_text(columns[wishes.id]) if wishes.id is not None else np.zeros(len(frame), dtype=object)
    channels = [name for name in columns if name not in (wishes.time, wishes.id, wishes.label)]
    if not channels:
        raise InputError("the table has no channels beside time, id and label", where=where)
    _refuse_unordered(when, series, wishes, where)
    windows, splits = _parted(_windows(series, wishes, where), wishes)
    values = np.stack([_numbers(name, columns[name], where) for name in channels], axis=1)
    rows = [values[one.start : one.stop].T.astype(np.float32) for one in windows]
    cautions = _irregular(when, series)
    axes = _axes(channels, windows, when, dated)
    task, labels, classes, evidence = _labels(columns, windows, wishes, where)
    stacked = Series(rows, channels)
    return Dataset(
        content=stacked.content, schema=None, label=wishes.label, task=task, labels=labels, classes=classes,
        ids=_ids(windows, series, columns[wishes.time], wishes), row_numbers=np.arange(1, len(rows) + 1),
        splits=_dealt(windows, series, labels, task, wishes) if splits is None else splits, source=source,
        evidence=evidence,
        axes=axes or stacked.axes, lengths=stacked.lengths, filled=stacked.filled,
        mended=cautions,
    )  # fmt: skip


def _times(column: pd.Series, name: str, where: str) -> tuple[np.ndarray, bool]:
    """Times as ``Float64[N]`` (dates in seconds), and whether they are dates."""
    import pandas as pd

    if missing(column).any():
        empty = rows_named(_rows(column, missing(column)))
        raise InputError(f"column {shorten(name)!r} has rows without a time ({empty})", where=where)
    numbers, bad = as_numbers(column, missing(column), None, None)
    if not bad.any():
        return numbers.astype(np.float64), False
    try:
        dates = pd.DatetimeIndex(pd.to_datetime(column.tolist()))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"column {shorten(name)!r} holds times that are neither numbers nor dates of one time zone",
            where=where,
            why=shorten(error, 200),
            fix="write all of them alike, as 2024-05-01 12:30, and all with a zone or all without",
        ) from error
    return dates.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9, True


def _rows(column: pd.Series, chosen: np.ndarray) -> np.ndarray:
    return column.index.to_numpy()[chosen]


def _refuse_unordered(when: np.ndarray, series: np.ndarray, wishes: Wishes, where: str) -> None:
    """Raise :class:`InputError` where rows of one series stand apart, or its times do not rise."""
    starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    named = series[starts].tolist()
    twice = next((name for place, name in enumerate(named) if name in named[:place]), None)
    if twice is not None:
        raise InputError(
            f"the rows of series {shorten(twice)!r} stand apart", where=where, fix=f"sort the file by {wishes.id!r}"
        )
    falls = np.flatnonzero((np.diff(when) <= 0) & (series[1:] == series[:-1])) + 1
    if len(falls):
        first = int(falls[0])
        again = when[first] == when[first - 1]
        raise InputError(
            f"column {shorten(wishes.time)!r}: the times do not rise in {len(falls)} rows; row {first + 1} "
            f"{'has the time of the row before it' if again else 'is earlier than the row before it'}",
            where=where,
            fix="give each moment once"
            if again
            else "sort the rows of each series by time, or name the column that tells series apart: id=…",
        )


def _windows(series: np.ndarray, wishes: Wishes, where: str) -> list[_Window]:
    starts = [0, *(np.flatnonzero(series[1:] != series[:-1]) + 1).tolist()]
    wholes = [(start, stop) for start, stop in zip(starts, [*starts[1:], len(series)], strict=True)]
    if wishes.window is None:
        if len(wholes) == 1:
            raise InputError(
                f"the table is one series of {len(series):,} steps", where=where,
                fix="say how many steps the network sees at once, window=…; or which column tells series apart, id=…",
            )  # fmt: skip
        return [_Window(start, stop, start) for start, stop in wholes]
    length, stride = wishes.window, wishes.stride or wishes.window
    found = [
        _Window(start, start + length, low) for low, high in wholes for start in range(low, high - length + 1, stride)
    ]
    if not found:
        longest = max(stop - start for start, stop in wholes)
        raise InputError(f"no series has the {length} steps of a window; the longest has {longest}", where=where)
    return found


def _parted(windows: list[_Window], wishes: Wishes) -> tuple[list[_Window], np.ndarray | None]:
    """Windows of a single long series and the split of each, by time; None where several series are dealt out.

    Windows that share steps with one of an earlier split are left out.
    """
    if len({one.whole for one in windows}) > 1:
        return windows, None
    edges = np.cumsum(wishes.split)[:2] * len(windows)
    held = list(zip(windows, np.searchsorted(edges, np.arange(len(windows)), side="right").tolist(), strict=True))
    ends = [max((one.stop for one, own in held if own < split), default=0) for split in range(3)]
    kept = [(one, split) for one, split in held if one.start >= ends[split]]
    return [one for one, _ in kept], np.array([split for _, split in kept], dtype=np.int8)


def _numbers(name: str, column: pd.Series, where: str) -> np.ndarray:
    empty = missing(column)
    if empty.any():
        raise InputError(
            f"channel {shorten(name)!r} has gaps: {int(empty.sum())} of {len(column):,} rows are empty "
            f"({rows_named(_rows(column, empty))})",
            where=where,
            fix="fill them, by linear interpolation say, or leave the channel out",
        )
    numbers, bad = as_numbers(column, empty, None, None)
    if bad.any():
        raise InputError(
            f"channel {shorten(name)!r} holds no numbers ({rows_named(_rows(column, bad))})", where=where,
            fix="a table of series has a time, channels, and where there are any an id and a label",
        )  # fmt: skip
    return numbers.astype(np.float64)


def _irregular(when: np.ndarray, series: np.ndarray) -> tuple[Caution, ...]:
    """A caution where the steps are not of equal length: a network counts them, and knows no time."""
    steps = np.diff(when)[series[1:] == series[:-1]]
    usual = float(np.median(steps)) if len(steps) else 0.0
    odd = int((np.abs(steps - usual) > UNEVEN * usual).sum())
    if not odd:
        return ()
    said = {"odd": odd, "steps": len(steps), "usual": usual, "longest": float(steps.max())}
    return (Caution.of("irregular_times", "yellow", **said),)


def _axes(channels: list[str], windows: list[_Window], when: np.ndarray, dated: bool) -> SeriesAxes | None:
    """The axes with the times that all windows share, counted from their beginning; None where they share none."""
    lengths = {one.stop - one.start for one in windows}
    if len(lengths) > 1:
        return None
    own = np.stack([when[one.start : one.stop] - when[one.start] for one in windows])
    steps = np.arange(own.shape[1])
    shared = bool((np.abs(own - own[0]) <= 1e-9 * np.abs(own[0]).max(initial=1.0)).all())
    if not shared or np.array_equal(own[0], steps):
        return None
    return SeriesAxes(tuple(channels), own.shape[1], times=moments(own[0]), unit="s" if dated else "")


def _ids(windows: list[_Window], series: np.ndarray, times: pd.Series, wishes: Wishes) -> np.ndarray:
    """A window's name: its series' and when it begins."""
    cut, told = wishes.window is not None, times.astype(str).tolist()
    names = [
        " ".join([*([str(series[one.start])] if wishes.id else []), *([f"from {told[one.start]}"] if cut else [])])
        for one in windows
    ]
    return np.array(names, dtype=str)


def _dealt(
    windows: list[_Window], series: np.ndarray, labels: np.ndarray | None, task: Task | None, wishes: Wishes
) -> np.ndarray:
    """The split of each window, the windows of one series in the same one."""
    groups = np.array([str(series[one.start]) for one in windows])
    return split_rows(len(windows), wishes.split, wishes.seed, labels, task, groups if wishes.window else None)


def _labels(
    columns: dict[str, pd.Series], windows: list[_Window], wishes: Wishes, where: str
) -> tuple[Task | None, np.ndarray | None, tuple[str, ...], Spans | None]:
    """Task, labels, class names, and the steps where a label of truth values is true."""
    if wishes.label is None:
        return None, None, (), None
    column = columns[wishes.label]
    if missing(column).any():
        raise InputError(f"label {shorten(wishes.label)!r} is empty in some rows", where=where, fix="fill it in")
    numbers, bad = as_numbers(column, missing(column), None, None)
    if not bad.any() and set(np.unique(numbers).tolist()) <= {0.0, 1.0}:
        return _marked(numbers == 1, windows)
    if not bad.any() and wishes.task == "regression":
        return "regression", np.array([numbers[one.stop - 1] for one in windows]), (), None
    texts = as_text(column)
    for one in windows:
        if len(set(texts[one.start : one.stop])) > 1:
            raise InputError(
                f"label {shorten(wishes.label)!r} changes within a series, first in rows {one.start + 1} to {one.stop}",
                where=where,
                fix="give one label for each series; truth values may change, and task='regression' takes the last",
            )
    classes, labels = np.unique([str(texts[one.start]) for one in windows], return_inverse=True)
    return "classification", labels.astype(np.int64), tuple(classes.tolist()), None


def _marked(true: np.ndarray, windows: list[_Window]) -> tuple[Task, np.ndarray, tuple[str, ...], Spans | None]:
    """Labels of windows in which some steps are marked; where all of a series are, they mark nothing in it."""
    labels = np.array([int(true[one.start : one.stop].any()) for one in windows], dtype=np.int64)
    parts = [true[one.start : one.stop] for one in windows]
    steps = max(map(len, parts))
    if all(part.all() or not part.any() for part in parts):
        return "classification", labels, ("0", "1"), None
    passages = [_runs(part) for part in parts]
    return "classification", labels, ("0", "1"), Spans.of_steps(steps, passages)


def _runs(part: Any) -> list[tuple[int, int]]:
    """The runs of true values, from start to before stop."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], part.astype(int), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]

"""A table of measurements as time series: those of one series put in windows, or whole series of their own lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, shorten
from ..records.messages import Caution
from ..records.regions import Spans
from ..records.series import SeriesAxes
from .cells import as_numbers, as_text, missing, rows_named
from .dataset import Dataset, Source, Task
from .labels import of_numbers
from .measured import Measured, measured
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
    """Series from a table with a column ``time``: each further column is a channel (wide), or there is a row for each
    value of each channel, named in the columns ``channel`` and ``value`` (long).

    Rows with one value in the column ``id`` are one series; rows are sorted by time, and that is told. With ``window``
    (and ``stride``, by default as long) series are cut into windows of equal length; a last part that is shorter is
    left out. A label of truth values may change within a series: a window's is true where one of its steps is, and
    these steps are its evidence. Series of one value in the column ``groups`` stay in one split.

    Raises :class:`InputError` as :func:`pellucid.data.measured.measured` does, and for any other label that changes
    within a series.
    """
    found = measured(frame, where, wishes)
    windows, splits = _parted(_windows(found, wishes, where), wishes)
    rows = [found.values[one.start : one.stop].T.astype(np.float32) for one in windows]
    axes = _axes(found, windows)
    task, labels, classes, evidence = _labels(found, windows, wishes, where)
    stacked = Series(rows, found.channels)
    groups = _groups(found, windows, wishes, where)
    return Dataset(
        content=stacked.content, schema=None, label=wishes.label, task=task, labels=labels, classes=classes,
        ids=_ids(windows, found, wishes), row_numbers=np.arange(1, len(rows) + 1),
        splits=_dealt(windows, labels, task, wishes, groups) if splits is None else splits, source=source,
        groups=groups if wishes.groups is not None else None, evidence=evidence,
        axes=axes or stacked.axes, lengths=stacked.lengths, filled=stacked.filled,
        mended=(*found.cautions, *_irregular(found)),
    )  # fmt: skip


def _windows(found: Measured, wishes: Wishes, where: str) -> list[_Window]:
    series = found.series
    starts = [0, *(np.flatnonzero(series[1:] != series[:-1]) + 1).tolist()]
    wholes = [(start, stop) for start, stop in zip(starts, [*starts[1:], len(series)], strict=True)]
    if wishes.window is None:
        if len(wholes) == 1 and wishes.label is not None:
            raise InputError(
                f"the table is one series of {len(series):,} steps", where=where,
                fix="say how many steps the network sees at once, window=…; or which column tells series apart, id=…",
            )  # fmt: skip
        return [_Window(start, stop, start) for start, stop in wholes]
    length, stride = wishes.window, wishes.stride or wishes.window
    cut = [
        _Window(start, start + length, low) for low, high in wholes for start in range(low, high - length + 1, stride)
    ]
    if not cut:
        longest = max(stop - start for start, stop in wholes)
        raise InputError(f"no series has the {length} steps of a window; the longest has {longest}", where=where)
    return cut


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


def _irregular(found: Measured) -> tuple[Caution, ...]:
    """A caution where the steps are not of equal length: a network counts them, and knows no time."""
    steps = np.diff(found.when)[found.series[1:] == found.series[:-1]]
    usual = float(np.median(steps)) if len(steps) else 0.0
    odd = int((np.abs(steps - usual) > UNEVEN * usual).sum())
    if not odd:
        return ()
    said = {"odd": odd, "steps": len(steps), "usual": usual, "longest": float(steps.max())}
    return (Caution.of("irregular_times", "yellow", **said),)


def _axes(found: Measured, windows: list[_Window]) -> SeriesAxes | None:
    """The axes with the times that all windows share, counted from their beginning; None where they share none."""
    lengths = {one.stop - one.start for one in windows}
    if len(lengths) > 1:
        return None
    own = np.stack([found.when[one.start : one.stop] - found.when[one.start] for one in windows])
    steps = np.arange(own.shape[1])
    shared = bool((np.abs(own - own[0]) <= 1e-9 * np.abs(own[0]).max(initial=1.0)).all())
    if not shared or np.array_equal(own[0], steps):
        return None
    return SeriesAxes(found.channels, own.shape[1], times=moments(own[0]), unit="s" if found.dated else "")


def _ids(windows: list[_Window], found: Measured, wishes: Wishes) -> np.ndarray:
    """A window's name: its series' and when it begins."""
    cut = wishes.window is not None
    names = [
        " ".join(
            [*([found.series[one.start]] if wishes.id else []), *([f"from {found.told[one.start]}"] if cut else [])]
        )
        for one in windows
    ]
    return np.array(names, dtype=str)


def _groups(found: Measured, windows: list[_Window], wishes: Wishes, where: str) -> np.ndarray:
    """What keeps windows in one split: their series, or what the column ``groups`` says of all of it."""
    if found.groups is None:
        return np.array([str(one.whole) for one in windows])
    _refuse_changing(found, found.groups, windows, "group", where)
    return np.array([str(found.groups[one.start]) for one in windows])


def _dealt(
    windows: list[_Window], labels: np.ndarray | None, task: Task | None, wishes: Wishes, groups: np.ndarray
) -> np.ndarray:
    """The split of each window, the windows of one series, or group, in the same one."""
    kept = wishes.window is not None or wishes.groups is not None
    return split_rows(len(windows), wishes.split, wishes.seed, labels, task, groups if kept else None)


def _refuse_changing(found: Measured, texts: np.ndarray, windows: list[_Window], what: str, where: str) -> None:
    """Raise :class:`InputError` for a window in which a label, or group, changes."""
    for one in windows:
        other = np.flatnonzero(texts[one.start : one.stop] != texts[one.start])
        if not len(other):
            continue
        name, rows = found.series[one.start], found.rows[[one.start, one.start + int(other[0])]]
        told = f"series {shorten(name)!r}" if isinstance(name, str) else "the series"
        fix = f"give one {what} for each series"
        raise InputError(
            f"the {what} of {told} changes between rows {rows[0]} and {rows[1]}: from "
            f"{shorten(texts[one.start], 30)!r} to {shorten(texts[one.start + int(other[0])], 30)!r}",
            where=where,
            fix=f"{fix}; truth values may change, and task='regression' takes the last" if what == "label" else fix,
        )


def _labels(
    found: Measured, windows: list[_Window], wishes: Wishes, where: str
) -> tuple[Task | None, np.ndarray | None, tuple[str, ...], Spans | None]:
    """Task, labels, class names, and the steps where a label of truth values is true."""
    column = found.label
    if column is None:
        return None, None, (), None
    if missing(column).any():
        empty = rows_named(found.rows[missing(column)])
        raise InputError(f"label {shorten(wishes.label)!r} is empty ({empty})", where=where, fix="fill it in")
    numbers, bad = as_numbers(column, missing(column), None, None)
    if not bad.any() and wishes.task == "regression":
        return "regression", np.array([numbers[one.stop - 1] for one in windows]), (), None
    if not bad.any() and set(np.unique(numbers).tolist()) <= {0.0, 1.0}:
        return _marked(numbers == 1, windows)
    texts, starts = as_text(column), [one.start for one in windows]
    _refuse_changing(found, texts, windows, "label", where)
    if not bad.any():
        return (*of_numbers(numbers[starts], wishes.task), None)
    known, labels = np.unique(np.array([str(text) for text in texts[starts]]), return_inverse=True)
    return "classification", labels.astype(np.int64), tuple(known.tolist()), None


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

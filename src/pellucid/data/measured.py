"""Measurements from a table, in which a row is a moment (wide) or one channel at a moment (long), sorted by time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName, shorten
from ..records.messages import Caution
from .cells import as_numbers, as_text, column_of, is_text, missing, rows_named

if TYPE_CHECKING:
    import pandas as pd

    from .wishes import Wishes


@dataclass(frozen=True, eq=False)
class Measured:
    """M moments; those of one series stand side by side, in the order of their times.

    Attributes
    ----------
    series: ``Object[M]``, the name of the series that a moment belongs to.
    when, told: ``Float64[M]``, its time (dates in seconds), and as it is written, ``Object[M]``.
    dated: whether times are dates.
    channels, values: the channels' names, and ``Float64[M, C]``.
    label, groups: the cells of these columns, or None.
    rows: ``Int64[M]``, where a moment first stands in the file; 1 is the first row.
    cautions: what had to be put right.
    """

    series: np.ndarray
    when: np.ndarray
    told: np.ndarray
    dated: bool
    channels: tuple[str, ...]
    values: np.ndarray
    label: pd.Series | None
    groups: np.ndarray | None
    rows: np.ndarray
    cautions: tuple[Caution, ...] = ()

    def __len__(self) -> int:
        return len(self.when)

    def take(self, places: np.ndarray, **changes: Any) -> Measured:
        """The moments at these places, in this order."""
        taken = replace(
            self, series=self.series[places], when=self.when[places], told=self.told[places],
            values=self.values[places], label=None if self.label is None else self.label.iloc[places],
            groups=None if self.groups is None else self.groups[places], rows=self.rows[places],
        )  # fmt: skip
        return replace(taken, **changes)


def measured(frame: pd.DataFrame, where: str, wishes: Wishes) -> Measured:
    """What a table measures: by the columns ``channel`` and ``value`` where these are named, else column by column.

    Raises :class:`UnknownName` for a column that is not there; :class:`InputError`, with the rows, for cells that are
    empty, times of different zones, two measurements of one channel at one time, and channels that are no numbers.
    """
    columns = {str(name): column_of(frame, str(name)) for name in frame.columns}
    _refuse_wishes(wishes, where)
    groups = wishes.groups if isinstance(wishes.groups, str) else None
    named = [wishes.time, wishes.id, wishes.label, groups, wishes.channel, wishes.value]
    for name in named:
        if name is not None and name not in columns:
            raise UnknownName.among("column", name, columns)
    assert wishes.time is not None
    when, dated = _times(columns[wishes.time], wishes.time, where)
    series = np.zeros(len(frame), dtype=object) if wishes.id is None else _texts(columns[wishes.id], where)
    whole = Measured(
        series, when, columns[wishes.time].astype(str).to_numpy(dtype=object), dated, (), np.zeros((len(frame), 0)),
        None if wishes.label is None else columns[wishes.label], None if groups is None else as_text(columns[groups]),
        frame.index.to_numpy(),
    )  # fmt: skip
    others = {name: column for name, column in columns.items() if name not in named}
    found = (
        _wide(whole, others, wishes, where) if wishes.channel is None else _long(whole, columns, others, wishes, where)
    )
    return _in_order(found, wishes, where)


def _refuse_wishes(wishes: Wishes, where: str) -> None:
    tables = {
        "protected": wishes.protected, "immutable": wishes.immutable, "schema": wishes.schema, "text": wishes.text,
        "evidence": wishes.evidence,
    }  # fmt: skip
    told = next((name for name, value in tables.items() if value), None)
    if told is not None:
        raise InputError(f"{told}= is said of tables whose rows are no moments of time series", where=where)
    if wishes.groups is not None and not isinstance(wishes.groups, str):
        raise InputError("groups= of series names a column", where=where, fix="add it to the table")


def _times(column: pd.Series, name: str, where: str) -> tuple[np.ndarray, bool]:
    """Times as ``Float64[N]`` (dates in seconds), and whether they are dates."""
    import pandas as pd

    _refuse_empty(column, where, "without a time")
    numbers, bad = as_numbers(column, missing(column), None, None)
    if not bad.any():
        _refuse_endless(column, numbers, where)
        return numbers.astype(np.float64), False
    try:
        dates = pd.DatetimeIndex(_dates(column.tolist()))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"column {shorten(name)!r} holds times that are neither numbers nor dates of one time zone",
            where=where,
            why=shorten(error, 200),
            fix="write all of them alike, as 2024-05-01 12:30, and all with a zone or all without",
        ) from error
    if dates.tz is not None:
        dates = dates.tz_convert("UTC").tz_localize(None)
    return dates.to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9, True


def _dates(cells: list[Any]) -> Any:
    """Dates; those whose offsets differ, as over the end of summer time, where all of them have one."""
    import pandas as pd

    try:
        return pd.to_datetime(cells)
    except ValueError:
        if all(pd.Timestamp(cell).tz is not None for cell in cells):
            return pd.to_datetime(cells, utc=True)
        raise


def _texts(column: pd.Series, where: str) -> np.ndarray:
    _refuse_empty(column, where, "without a name")
    return as_text(column)


def _refuse_empty(column: pd.Series, where: str, what: str) -> None:
    empty = missing(column)
    if empty.any():
        raise InputError(f"column {shorten(column.name)!r} has rows {what} ({_named(column, empty)})", where=where)


def _refuse_endless(column: pd.Series, numbers: np.ndarray, where: str) -> None:
    wild = ~np.isfinite(numbers)
    if wild.any():
        raise InputError(f"column {shorten(column.name)!r} holds infinity ({_named(column, wild)})", where=where)


def _named(column: pd.Series, chosen: np.ndarray) -> str:
    return rows_named(column.index.to_numpy()[chosen])


def _wide(whole: Measured, others: Mapping[str, pd.Series], wishes: Wishes, where: str) -> Measured:
    if not others:
        raise InputError("the table has no channels beside time, id and label", where=where)
    values = np.stack([_numbers(name, column, others, where, wishes) for name, column in others.items()], axis=1)
    return whole.take(np.arange(len(whole)), values=values, channels=tuple(others))


def _long(
    whole: Measured, columns: Mapping[str, pd.Series], others: Mapping[str, pd.Series], wishes: Wishes, where: str
) -> Measured:
    """Moments from rows that are one channel's value each; channels stand in the order in which they first come."""
    import pandas as pd

    assert wishes.channel is not None and wishes.value is not None
    own, names = pd.factorize(_texts(columns[wishes.channel], where))
    values = _numbers(wishes.value, columns[wishes.value], {}, where)
    of, at = pd.factorize(whole.series)[0], pd.factorize(whole.when)[0]
    moment, kinds = pd.factorize(of * (int(at.max()) + 1) + at)
    first = np.unique(moment, return_index=True)[1]
    cells = moment * len(names) + own
    _refuse_twice(cells, whole, f" in channel {shorten(wishes.channel)!r}", where, "give each measurement once")
    if len(cells) < len(kinds) * len(names):
        raise _gap(whole, moment, own, [str(name) for name in names], where)
    _refuse_changing(whole, moment, first, wishes, where)
    grid = np.empty(len(cells))
    grid[cells] = values
    left = tuple(shorten(name, 30) for name in others)
    note = (Caution.of("columns_left", "note", columns=", ".join(left)),) if left else ()
    return whole.take(
        first, values=grid.reshape(-1, len(names)), channels=tuple(map(str, names)), cautions=note
    )  # fmt: skip


def _refuse_changing(whole: Measured, moment: np.ndarray, first: np.ndarray, wishes: Wishes, where: str) -> None:
    """Raise :class:`InputError` where rows of one moment have different labels or groups."""
    for name, cells in ((wishes.label, whole.label), (wishes.groups, whole.groups)):
        texts = None if cells is None else cells if isinstance(cells, np.ndarray) else as_text(cells)
        if texts is None:
            continue
        other = texts != texts[first][moment]
        if other.any():
            raise InputError(
                f"column {shorten(name)!r} says two things of one moment ({rows_named(whole.rows[other])} and rows "
                "above)",
                where=where,
                fix="give each moment of a series one label",
            )


def _gap(whole: Measured, moment: np.ndarray, own: np.ndarray, names: list[str], where: str) -> InputError:
    """What to say where some channel was not measured at some moment."""
    counts, moments = np.bincount(own, minlength=len(names)), int(moment.max()) + 1
    channel = int(counts.argmin())
    absent = np.ones(moments, dtype=bool)
    absent[moment[own == channel]] = False
    place = int(np.flatnonzero(moment == int(absent.argmax()))[0])
    of = f"of series {shorten(whole.series[place])!r} " if isinstance(whole.series[place], str) else ""
    return InputError(
        f"channel {shorten(names[channel])!r} has gaps: it was not measured at {int(absent.sum())} of {moments:,} "
        f"moments, first {of}at {shorten(whole.told[place])} (row {whole.rows[place]} has another channel's value)",
        where=where,
        fix="bring the channels to common times, by linear interpolation say, or leave this one out",
    )


def _numbers(
    name: str, column: pd.Series, others: Mapping[str, pd.Series], where: str, wishes: Wishes | None = None
) -> np.ndarray:
    """A channel's values. Raises :class:`InputError`, with the rows, for gaps and for cells that are no numbers."""
    empty = missing(column)
    numbers, bad = as_numbers(column, empty, None, None)
    if bad.any():
        raise InputError(
            f"channel {shorten(name)!r} holds no numbers ({_named(column, bad)})", where=where,
            fix=_meant(name, others, wishes)
            or "a table of series has a time, channels, and where there are any an id and a label",
        )  # fmt: skip
    if empty.any():
        raise InputError(
            f"channel {shorten(name)!r} has gaps: {int(empty.sum())} of {len(column):,} rows are empty "
            f"({_named(column, empty)})",
            where=where,
            fix="fill them, by linear interpolation say, or leave the channel out",
        )
    _refuse_endless(column, numbers, where)
    return numbers.astype(np.float64)


def _meant(name: str, others: Mapping[str, pd.Series], wishes: Wishes | None) -> str:
    """How to say what a column of texts is, where nobody said it."""
    if wishes is None or not is_text(others[name]):
        return ""
    values = [other for other in others if other != name]
    told = f"channel={shorten(name, 40)!r}, value={shorten(values[0], 40) if len(values) == 1 else '…'!r}"
    long = f"where each row is one channel's value, {told}" if values else ""
    apart = f"where it tells series apart, id={shorten(name, 40)!r}" if wishes.id is None else ""
    return "; ".join([*filter(None, (apart, long)), "else leave the column out"])


def _in_order(found: Measured, wishes: Wishes, where: str) -> Measured:
    """The moments series by series, as these first come, each in the order of its times."""
    import pandas as pd

    of = pd.factorize(found.series)[0]
    order = np.lexsort((found.when, of))
    fix = "give each moment once" + ("" if wishes.id else ", or name the column that tells series apart: id=…")
    at = pd.factorize(found.when)[0]
    _refuse_twice(of * (int(at.max()) + 1) + at, found, "", where, fix)
    apart = np.argsort(of, kind="stable")
    falls = int(((np.diff(found.when[apart]) < 0) & (np.diff(of[apart]) == 0)).sum())
    if not falls:
        return found.take(order)
    code, severity = ("times_sorted", "note") if wishes.id is not None else ("times_sorted_as_one", "yellow")
    said = Caution.of(code, severity, rows=falls, total=len(found))
    return found.take(order, cautions=(*found.cautions, said))


def _refuse_twice(keys: np.ndarray, found: Measured, what: str, where: str, fix: str) -> None:
    """Raise :class:`InputError` where two rows have one key."""
    import pandas as pd

    again = pd.Series(keys).duplicated().to_numpy()
    if not again.any():
        return
    second = int(again.argmax())
    first = int((keys == keys[second]).argmax())
    series = f"series {shorten(found.series[first])!r} has " if isinstance(found.series[first], str) else ""
    raise InputError(
        f"{series}two measurements{what} at the time {shorten(found.told[first])}: rows {found.rows[first]} and "
        f"{found.rows[second]}, and {int(again.sum())} such rows in all",
        where=where,
        fix=fix,
    )

"""A data set at a glance: how its columns are distributed, how they hang together, and what looks suspicious."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..records.errors import shorten
from ..records.messages import Caution
from ..records.profile import ColumnProfile, Profile
from ..records.schema import Column
from . import cells, text_profile
from .association import correlation_ratio, cramers_v, pearson, separation
from .cells import column_of
from .dataset import SPLITS, Dataset
from .namesakes import namesakes

BINS = 20
MOST_CATEGORIES = 50
MOST_CORRELATED = 100  # columns between which correlations are computed: c (c - 1) / 2 pairs
MOST_CAUTIONS = 20  # of one kind
SUSPICIOUS = 0.98
FEW_TEST_ROWS = 10
OTHER = "(other)"


def profile(data: Dataset) -> Profile:
    """Describe a data set.

    Correlations are Pearson's between numbers, Cramér's V between categories, and the correlation
    ratio between one of each, the latter two with their corrections for many categories (see
    :mod:`pellucid.data.association`). In a wide table they are computed between the hundred columns
    that are most associated with the label. For arrays one column, ``intensity``, holds all values; of texts there are
    their lengths and the words that go with the label.
    """
    splits = {name: int((data.splits == code).sum()) for code, name in enumerate(SPLITS)}
    labels = {name: int(rows.sum()) for name, rows in _rows_by_class(data).items()}
    common = {"rows": len(data), "splits": splits, "labels": labels, "shape": data.shape}
    if data.schema is None:
        warnings = (*namesakes(data.columns, data.label), *data.mended, *_short_classes(data))
        return Profile(**common, columns=(_intensities(data),), warnings=warnings)
    if data.is_text:
        return _of_texts(data, common)
    shown = [column for column in data.schema if column.role in ("feature", "label")]
    parts = {column.name: _part(data, column) for column in shown}
    features = {column.name: parts[column.name] for column in data.schema.features}
    label = _label_part(data)
    association = {} if label is None else {name: abs(_strength(part, label)) for name, part in features.items()}
    names = _most_associated(list(features), association)
    correlation = _correlations([parts[name] for name in names])
    warnings = (
        *namesakes(data.columns, data.label),
        *_leaks(features, label),
        *_constants(features),
        *_twins(names, correlation),
        *_short_classes(data),
    )
    columns = tuple(_described(part, data) for part in parts.values())
    return Profile(
        **common, columns=columns, names=names, correlation=correlation, association=association, warnings=warnings
    )


def _of_texts(data: Dataset, common: Mapping[str, Any]) -> Profile:
    lengths = text_profile.word_counts(data)
    head = (text_profile.LENGTHS, "numeric", len(data), 0, len(np.unique(lengths)))
    words, strength = text_profile.telling_words(data, _rows_by_class(data))
    label = _label_part(data)
    shown = [] if label is None else [_described(label, data)]
    named = namesakes(data.columns, data.label)
    warnings = (*named, *text_profile.suspicions(data, strength), *_short_classes(data))
    columns = (_histogram(head, lengths.astype(np.float64), data), words, *shown)
    return Profile(**common, columns=columns, warnings=warnings)


@dataclass(frozen=True, eq=False)
class _Part:
    """One column ready for counting: numbers ``Float64[N]`` with NaN, or codes ``Int64[N]`` in ``names``, with -1."""

    column: Column
    values: np.ndarray
    names: tuple[str, ...] | None = None

    @property
    def filled(self) -> np.ndarray:
        return np.isfinite(self.values) if self.names is None else self.values >= 0

    @property
    def distinct(self) -> int:
        return len(np.unique(self.values[self.filled]))


def _part(data: Dataset, column: Column) -> _Part:
    assert not isinstance(data.content, np.ndarray)
    values = column_of(data.content, column.name)
    if column.type == "numeric":
        return _Part(column, cells.as_numbers(values, cells.missing(values))[0])
    codes, found = cells.distinct(values)
    return _Part(column, codes, tuple(found))


def _label_part(data: Dataset) -> _Part | None:
    """The label as the task sees it: a number for a regression, else its class."""
    if data.label is None or data.labels is None or data.schema is None:
        return None
    column = data.schema[data.label]
    return _Part(column, data.labels) if data.task == "regression" else _Part(column, data.labels, data.classes)


def _rows_by_class(data: Dataset) -> dict[str, np.ndarray]:
    if data.task != "classification" or data.labels is None:
        return {}
    return {name: data.labels == code for code, name in enumerate(data.classes)}


def _described(part: _Part, data: Dataset) -> ColumnProfile:
    missing = int((~part.filled).sum())
    common = (part.column.name, part.column.type, len(part.values), missing, part.distinct)
    if part.names is None:
        return _histogram(common, part.values, data, part.column.unit)
    order = _category_order(part)
    names = tuple(part.names[code] for code in order)
    head = MOST_CATEGORIES - 1 if len(names) > MOST_CATEGORIES else len(names)

    def count(rows: np.ndarray) -> tuple[int, ...]:
        totals = np.bincount(part.values[rows & part.filled], minlength=len(order))[order].tolist()
        return (*totals[:head], sum(totals[head:])) if head < len(order) else tuple(totals)

    return ColumnProfile(
        *common,
        categories=(*names[:head], OTHER) if head < len(names) else names,
        counts=count(np.ones(len(part.values), dtype=bool)),
        by_label={name: count(rows) for name, rows in _rows_by_class(data).items()},
        unit=part.column.unit,
    )


def _category_order(part: _Part) -> np.ndarray:
    """Codes in their own order for ordinal and boolean columns, else by frequency."""
    names = part.names or ()
    if part.column.type in ("ordinal", "boolean"):
        place = {name: number for number, name in enumerate(part.column.categories)}
        return np.array(sorted(range(len(names)), key=lambda code: place[names[code]]), dtype=np.int64)
    counts = np.bincount(part.values[part.filled], minlength=len(names))
    return np.array(sorted(range(len(names)), key=lambda code: (-counts[code], names[code])), dtype=np.int64)


def _histogram(
    common: tuple[str, str, int, int, int], values: np.ndarray, data: Dataset, unit: str = ""
) -> ColumnProfile:
    """A numeric column from its values, ``Float[N]`` or ``Float[N, ...]`` with one label per leading row."""
    given = values[np.isfinite(values)]
    if len(given) == 0:
        return ColumnProfile(*common, unit=unit)
    edges = np.histogram_bin_edges(given, bins=BINS)
    low, quarter, half, three, high = (float(q) for q in np.quantile(given, (0, 0.25, 0.5, 0.75, 1)))

    def count(chosen: np.ndarray) -> tuple[int, ...]:
        return tuple(np.histogram(chosen[np.isfinite(chosen)], bins=edges)[0].tolist())

    return ColumnProfile(
        *common,
        mean=float(given.mean(dtype=np.float64)),
        std=float(given.std(dtype=np.float64)),
        quantiles=(low, quarter, half, three, high),
        edges=tuple(edges.tolist()),
        counts=count(values),
        by_label={name: count(values[rows]) for name, rows in _rows_by_class(data).items()},
        unit=unit,
    )


def _intensities(data: Dataset) -> ColumnProfile:
    """All values of all arrays as one column, whose ``rows`` counts values."""
    content = data.content
    assert isinstance(content, np.ndarray)
    common = ("intensity", "numeric", int(content.size), 0, len(np.unique(content)))
    return _histogram(common, content.reshape(len(content), -1).astype(np.float32), data)


def _strength(first: _Part, second: _Part) -> float:
    """Association of two columns over the rows in which both are filled, -1…1; 0 when undefined."""
    both = first.filled & second.filled
    if both.sum() < 3:
        return 0.0
    a, b = first.values[both], second.values[both]
    if first.names is None and second.names is None:
        value = pearson(a, b)
    elif first.names is not None and second.names is not None:
        value = cramers_v(a, b)
    else:
        value = correlation_ratio(a, b) if first.names is not None else correlation_ratio(b, a)
    return 0.0 if math.isnan(value) else value


def _most_associated(features: list[str], association: Mapping[str, float]) -> tuple[str, ...]:
    ranked = sorted(features, key=lambda name: -association.get(name, 0.0))
    kept = set(ranked[:MOST_CORRELATED])
    return tuple(name for name in features if name in kept)


def _correlations(parts: list[_Part]) -> np.ndarray:
    """``Float64[c, c]``, symmetric, 1 on the diagonal."""
    out = np.eye(len(parts))
    for row, first in enumerate(parts):
        for column in range(row):
            out[row, column] = out[column, row] = _strength(first, parts[column])
    return out


def _leaks(features: Mapping[str, _Part], label: _Part | None) -> list[Caution]:
    """Columns that tell the label almost alone, the strongest first."""
    if label is None:
        return []
    found = []
    for name, part in features.items():
        measure, value = _telling(part, label)
        if value > SUSPICIOUS:
            found.append((value, Caution.of("leakage", "red", column=shorten(name), measure=measure, value=value)))
    return [caution for _, caution in sorted(found, key=lambda pair: -pair[0])[:MOST_CAUTIONS]]


def _telling(part: _Part, label: _Part) -> tuple[str, float]:
    """How well a column alone tells the label, and by which measure."""
    both = part.filled & label.filled
    if part.names is None and label.names is not None and len(label.names) == 2 and both.sum() >= 3:
        value = separation(part.values[both], label.values[both] == 1)
        return "AUC", 0.0 if math.isnan(value) else value
    if part.names is None and label.names is None:
        return "correlation", abs(_strength(part, label))
    name = "Cramér's V" if part.names is not None and label.names is not None else "correlation ratio"
    return name, abs(_strength(part, label))


def _constants(features: Mapping[str, _Part]) -> list[Caution]:
    constant = [name for name, part in features.items() if part.distinct <= 1 and part.filled.all()]
    empty = [name for name, part in features.items() if not part.filled.any()]
    names = sorted({*constant, *empty}, key=list(features).index)[:MOST_CAUTIONS]
    return [Caution.of("constant_column", column=shorten(name)) for name in names]


def _twins(names: tuple[str, ...], correlation: np.ndarray) -> list[Caution]:
    """Pairs of columns that move together, the closest first."""
    first, second = np.nonzero(np.triu(np.abs(correlation) > SUSPICIOUS, k=1))
    order = np.argsort(-np.abs(correlation[first, second]), kind="stable")[:MOST_CAUTIONS]
    return [
        Caution.of(
            "twin_columns",
            first=shorten(names[first[place]]),
            second=shorten(names[second[place]]),
            value=float(correlation[first[place], second[place]]),
        )
        for place in order
    ]


def _short_classes(data: Dataset) -> list[Caution]:
    """Classes with few test rows, when there is a test split at all."""
    test = data.splits == SPLITS.index("test")
    if not test.any():
        return []
    counts = {name: int((rows & test).sum()) for name, rows in _rows_by_class(data).items()}
    short = sorted((n, name) for name, n in counts.items() if n < FEW_TEST_ROWS)[:MOST_CAUTIONS]
    return [Caution.of("short_class", name=shorten(name), rows=n) for n, name in short]

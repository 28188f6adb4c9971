"""Arrays from an NPZ file (images, series) as a Dataset, with the file's own splits and class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..records.errors import InputError, NotFiniteError, UnknownName, shorten
from .archives import read_archive
from .cells import rows_named
from .dataset import SPLITS, Dataset, Source, Task
from .series_arrays import series_axes
from .splitting import checked_groups, split_rows

if TYPE_CHECKING:
    from .wishes import Wishes

CONTENT_NAMES = ("images", "X", "x", "inputs", "series", "data")
LABEL_NAMES = ("labels", "label", "y", "targets", "target")
SPLIT_WORDS = {
    "train": 0, "training": 0,
    "validation": 1, "valid": 1, "val": 1, "dev": 1,
    "test": 2, "testing": 2,
}  # fmt: skip
MOST_CLASSES = 1000


def from_archive(path: Path, source: Source, wishes: Wishes) -> Dataset:
    """The arrays of an NPZ file: ``images`` (or the first array with one item per label) and its labels.

    A ``split`` array of texts, ``X_train``/``X_test`` pairs, ``class_names`` and the array named by
    ``groups=`` are honoured. Without validation rows of its own, some train rows become them.
    """
    if wishes.of_series:
        said = next(iter(wishes.of_series))
        raise InputError(f"{said}= is said of tables of series, and these are arrays", where=path.name)
    arrays = _joined(read_archive(path))
    label = _label_name(arrays, wishes.label)
    name = _content_name(arrays, label, path)
    content = arrays[name]
    if len(content) == 0:
        raise InputError(f"array {shorten(name)!r} has no rows", where=path.name)
    if content.dtype.kind not in "biuf":
        raise InputError(f"array {shorten(name)!r} holds no real numbers ({content.dtype})", where=path.name)
    checked_finite(content, name, path.name)
    axes, cautions = series_axes(name, arrays, wishes)
    made = from_arrays(
        content,
        labels=None if label is None else _same_length(arrays, label, len(content), path),
        class_names=arrays.get("class_names"),
        own_split=_same_length(arrays, "split", len(content), path) if "split" in arrays else None,
        groups=_group_array(arrays, wishes.groups, len(content)),
        label=label,
        task=wishes.task,
        fractions=wishes.split,
        seed=wishes.seed,
        source=source,
    )
    ends = _same_length(arrays, "lengths", len(content), path) if axes is not None and "lengths" in arrays else None
    return replace(made, axes=axes, lengths=ends, mended=cautions)


def from_arrays(
    content: np.ndarray,
    *,
    labels: np.ndarray | None,
    source: Source,
    class_names: np.ndarray | None = None,
    own_split: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    label: str | None = "labels",
    task: Task | None = None,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Dataset:
    """A Dataset of arrays ``[N, ...]`` that are in memory already."""
    where = source.path and Path(source.path).name
    chosen, codes, classes = (None, None, ()) if labels is None else _labels(labels, class_names, task, where)
    if own_split is None:
        splits = split_rows(len(content), fractions, seed, codes, chosen, groups)
    else:
        splits = own_splits(own_split, fractions, seed, codes, chosen, groups, where)
    numbers = np.arange(1, len(content) + 1)
    return Dataset(
        content=content,
        schema=None,
        label=label if labels is not None else None,
        task=chosen,
        labels=codes,
        classes=classes,
        ids=numbers.astype(str),
        row_numbers=numbers,
        splits=splits,
        source=source,
        groups=groups,
    )


def _joined(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``X_train`` and ``X_test`` (and every such pair) as one array, with the split they stand for."""
    if "split" in arrays or "X_train" not in arrays:
        return arrays
    parts = [part for part in SPLITS if f"X_{part}" in arrays]
    names = [name.removesuffix("_train") for name in arrays if name.endswith("_train")]
    whole = {name: value for name, value in arrays.items() if not name.endswith(tuple(f"_{part}" for part in parts))}
    for name in names:
        pieces = [arrays[f"{name}_{part}"] for part in parts if f"{name}_{part}" in arrays]
        if len(pieces) == len(parts) and len({piece.shape[1:] for piece in pieces}) == 1:
            whole[name] = np.concatenate(pieces)
    whole["split"] = np.concatenate([np.full(len(arrays[f"X_{part}"]), part) for part in parts])
    return whole


def _label_name(arrays: dict[str, np.ndarray], given: str | None) -> str | None:
    if given is not None:
        if given not in arrays:
            raise UnknownName.among("array", given, arrays)
        return given
    return next((name for name in LABEL_NAMES if name in arrays and arrays[name].ndim == 1), None)


def _content_name(arrays: dict[str, np.ndarray], label: str | None, path: Path) -> str:
    for name in CONTENT_NAMES:
        if name in arrays and name != label and arrays[name].ndim >= 2:
            return name
    rows = len(arrays[label]) if label is not None and arrays[label].ndim else None
    for name, array in arrays.items():
        if name != label and array.ndim >= 2 and array.dtype.kind in "biuf" and rows in (None, len(array)):
            return name
    shapes = ", ".join(f"{shorten(name)} {array.shape}" for name, array in list(arrays.items())[:8])
    raise InputError(
        "the file holds no array with one item per row", where=path.name, why=f"it holds {shapes or 'nothing'}",
        fix="store the items as an array named images, with N first",
    )  # fmt: skip


def _same_length(arrays: dict[str, np.ndarray], name: str, rows: int, path: Path) -> np.ndarray:
    array = arrays[name]
    if array.shape != (rows,):
        raise InputError(f"array {shorten(name)!r} has shape {array.shape} for {rows} rows", where=path.name)
    return array


def _labels(
    labels: np.ndarray, class_names: np.ndarray | None, task: Task | None, where: str
) -> tuple[Task, np.ndarray, tuple[str, ...]]:
    """Task, labels and class names; ``class_names`` are indexed by whole-number labels."""
    if labels.dtype.kind not in "biufU":
        raise InputError(f"the labels are neither numbers nor texts ({labels.dtype})", where=where)
    checked_finite(labels, "labels", where)
    if task is None:
        task = "regression" if labels.dtype.kind == "f" and class_names is None else "classification"
    if task == "regression":
        if labels.dtype.kind == "U":
            raise InputError("the labels are texts", where=where, fix="pass task='classification'")
        return task, labels.astype(np.float64), ()
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) > MOST_CLASSES:
        raise InputError(f"the labels have {len(found):,} values", where=where, fix="pass task='regression'")
    if class_names is None or labels.dtype.kind == "U":
        return task, codes.astype(np.int64), tuple(str(value) for value in found.tolist())
    names = tuple(str(name) for name in np.atleast_1d(class_names).tolist())
    whole = labels.astype(np.int64)
    if (whole != labels).any() or whole.min() < 0 or whole.max() >= len(names):
        raise InputError(
            f"the labels run from {found[0]} to {found[-1]} and there are {len(names)} class_names", where=where
        )
    return task, whole, names


def _group_array(arrays: dict[str, np.ndarray], given: object, rows: int) -> np.ndarray | None:
    if given is None:
        return None
    if isinstance(given, str):
        if given not in arrays:
            raise UnknownName.among("array", given, arrays)
        return checked_groups(arrays[given], rows)
    return checked_groups(np.asarray(given), rows)


def own_splits(
    own: np.ndarray,
    fractions: Sequence[float],
    seed: int,
    labels: np.ndarray | None,
    task: Task | None,
    groups: np.ndarray | None,
    where: str,
) -> np.ndarray:
    """The file's splits; when it has no validation rows, a share of its train rows becomes them."""
    words = [str(word).strip().lower() for word in own]
    strange = next((word for word in words if word not in SPLIT_WORDS), None)
    if strange is not None:
        raise UnknownName.among("split", strange, SPLIT_WORDS)
    splits = np.array([SPLIT_WORDS[word] for word in words], dtype=np.int8)
    if groups is not None:
        _refuse_crossing(groups, splits, where)
    train = np.flatnonzero(splits == 0)
    share = fractions[1] / (fractions[0] + fractions[1])
    if (splits == 1).any() or share == 0 or len(train) < 2:
        return splits
    splits[train] = split_rows(
        len(train),
        (1 - share, share, 0.0),
        seed,
        None if labels is None else labels[train],
        task,
        None if groups is None else groups[train],
    )
    return splits


def _refuse_crossing(groups: np.ndarray, splits: np.ndarray, where: str) -> None:
    names, member = np.unique(groups, return_inverse=True)
    lowest, highest = np.full(len(names), 9), np.full(len(names), -1)
    np.minimum.at(lowest, member, splits)
    np.maximum.at(highest, member, splits)
    crossing = np.flatnonzero(lowest != highest)
    if len(crossing):
        first = crossing[0]
        raise InputError(
            f"{len(crossing)} groups stand in more than one split, e.g. {shorten(names[first])!r} in"
            f" {SPLITS[lowest[first]]} and {SPLITS[highest[first]]}",
            where=where,
            fix="repair the split array, or leave it out and let groups= decide",
        )


def checked_finite(array: np.ndarray, name: str, where: str) -> None:
    """Refuse NaN and infinity in an array ``[N, ...]``, naming the first rows (1 is the first)."""
    if array.dtype.kind != "f":
        return
    fault = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if fault.any():
        rows = np.flatnonzero(fault) + 1
        raise NotFiniteError(
            f"array {shorten(name)!r}: NaN or infinity in {len(rows)} of {len(array):,} rows ({rows_named(rows)})",
            where=where,
            fix="repair or drop these rows",
        )

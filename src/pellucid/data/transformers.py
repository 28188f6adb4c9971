"""A fitted scikit-learn transformer as an encoding: which raw column each of its outputs belongs to.

The structure of the transformer is walked (pipelines, column transformers, one-hot encoders), so
that a column ``a`` with category ``b_c`` and a column ``a_b`` with category ``c`` are not confused;
only steps of an unknown kind are read by the names they give their outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import EncodingError, InputError, shorten
from .cells import rows_named
from .encoding import frame_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Element:
    """One number between two steps: its name, the raw column it comes from, and what kind that column is."""

    name: str
    column: str
    kind: str


@dataclass(frozen=True, eq=False)
class FittedEncoding:
    """Raw rows → network inputs by a scikit-learn transformer that its owner fitted.

    ``dtype`` is that of the inputs. With ``reads_arrays`` an array as wide as the raw table is a table of raw rows,
    also where the network takes as many numbers.

    It cannot be saved (scikit-learn objects are kept as pickles only); fit an
    :class:`~pellucid.data.encoding.Encoding` to have a file.
    """

    transformer: Any
    columns: tuple[str, ...]
    plan: tuple[_Element, ...]
    dtype: np.dtype[Any] = field(default=np.dtype(np.float32))
    reads_arrays: bool = False

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Raw column → positions of its input elements; a dropped column has none."""
        found: dict[str, list[int]] = {name: [] for name in self.columns}
        for place, element in enumerate(self.plan):
            found[element.column].append(place)
        return found

    @property
    def types(self) -> dict[str, str]:
        """Raw column → numeric, categorical or ordinal."""
        kinds = dict.fromkeys(self.columns, "numeric")
        return kinds | {element.column: element.kind for element in self.plan if element.kind != "numeric"}

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(element.name for element in self.plan)

    @property
    def width(self) -> int:
        return len(self.plan)

    def encode(self, rows: Any) -> np.ndarray:
        """Raw rows as ``Float[N, D]`` of its ``dtype``.

        Raises EncodingError for a missing column, InputError for what the transformer refuses and
        for NaN or infinity in what it returns.
        """
        frame = frame_of(rows, self.columns).loc[:, list(self.columns)]
        try:
            out = self.transformer.transform(_eaten(self.transformer, frame))
        except (ValueError, TypeError) as error:
            raise InputError("the transformer refused the rows", why=shorten(error, 300)) from error
        out = np.asarray(out.toarray() if hasattr(out, "toarray") else out, dtype=self.dtype)
        wild = ~np.isfinite(out)
        if wild.any():
            column = self.plan[int(np.flatnonzero(wild.any(axis=0))[0])].column
            labels = frame.index.to_numpy()[wild.any(axis=1)]
            raise InputError(
                f"column `{shorten(column)}`: NaN or infinity after the transformer ({rows_named(labels)})",
                fix="fill in these cells, or add an imputer to the transformer",
            )
        return out

    def decode(self, array: np.ndarray) -> pd.DataFrame:
        """Network inputs ``Float[N, D]`` as raw rows. Raises EncodingError when a step cannot be undone."""
        import pandas as pd

        array = np.asarray(array, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.width:
            raise EncodingError(f"expected an array [N, {self.width}], got {list(array.shape)}")
        return pd.DataFrame(_undone(self.transformer, array, list(self.columns))).reindex(columns=list(self.columns))


def from_sklearn(transformer: Any, columns: Sequence[str]) -> FittedEncoding:
    """An encoding from a **fitted** ColumnTransformer, Pipeline, scaler or encoder.

    ``columns`` are the raw columns in the order in which the transformer was fitted. Raises
    EncodingError when it is not fitted, was fitted on other columns, or mixes columns (as PCA does).
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    columns = tuple(str(name) for name in columns)
    try:
        check_is_fitted(transformer)
    except NotFittedError as error:
        raise EncodingError("the transformer is not fitted", fix="call fit on the train rows first") from error
    except TypeError as error:
        raise EncodingError(f"a {type(transformer).__name__} is not a scikit-learn transformer") from error
    fitted = getattr(transformer, "feature_names_in_", None)
    if fitted is not None and list(fitted) != list(columns):
        raise EncodingError(
            f"the transformer was fitted on {shorten(', '.join(map(str, fitted)), 200)}",
            fix="give columns= in that order",
        )
    count = getattr(transformer, "n_features_in_", len(columns))
    if count != len(columns):
        raise EncodingError(f"the transformer was fitted on {count} columns, and {len(columns)} are named")
    start = [_Element(name, name, "numeric") for name in columns]
    return FittedEncoding(transformer, columns, tuple(_through(transformer, start)))


def _eaten(step: Any, frame: pd.DataFrame) -> Any:
    """Rows as the step was fitted: with names, or as a plain array."""
    return frame if hasattr(step, "feature_names_in_") else frame.to_numpy()


def _through(step: Any, given: list[_Element]) -> list[_Element]:
    """What comes out of a fitted step when ``given`` goes in."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    if step is None or (isinstance(step, str) and step == "passthrough"):
        return given
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            given = _through(inner, given)
        return given
    if isinstance(step, ColumnTransformer):
        return _through_columns(step, given)
    if isinstance(step, OneHotEncoder):
        return [
            _Element(f"{element.name}={value}", element.column, "categorical")
            for element, values in zip(given, _hot_values(step), strict=True)
            for value in values
        ]
    if isinstance(step, OrdinalEncoder):
        return [_Element(element.name, element.column, "ordinal") for element in given]
    return _by_name(step, given)


def _through_columns(step: Any, given: list[_Element]) -> list[_Element]:
    width = max((part.stop for part in step.output_indices_.values()), default=0)
    out: list[_Element | None] = [None] * width
    for name, inner, chosen in step.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        place = step.output_indices_[name]
        if place.stop > place.start:
            out[place] = _through(inner, [given[index] for index in _chosen(chosen, given)])
    if len(out) != width or any(element is None for element in out):
        raise EncodingError("the outputs of the column transformer could not be traced to their columns")
    return [element for element in out if element is not None]


def _chosen(chosen: Any, given: list[_Element]) -> list[int]:
    """The positions that a ColumnTransformer's selection (names, numbers, a slice or a mask) stands for."""
    names = [element.name for element in given]
    if isinstance(chosen, slice) and not isinstance(chosen.start, str) and not isinstance(chosen.stop, str):
        return list(range(len(names)))[chosen]
    if isinstance(chosen, slice):
        start = 0 if chosen.start is None else names.index(chosen.start)
        stop = len(names) if chosen.stop is None else names.index(chosen.stop) + 1
        return list(range(start, stop))
    many: list[Any] = [chosen] if isinstance(chosen, (str, int, np.integer)) else list(chosen)
    if many and all(isinstance(item, (bool, np.bool_)) for item in many):
        return np.flatnonzero(many).tolist()
    return [names.index(item) if isinstance(item, str) else int(item) % len(names) for item in many]


def _hot_values(step: Any) -> list[list[str]]:
    """The categories behind the outputs of a OneHotEncoder, column by column."""
    nothing: list[Any] = [None] * len(step.categories_)
    dropped = nothing if step.drop_idx_ is None else step.drop_idx_
    rare = getattr(step, "infrequent_categories_", None) or nothing
    out = []
    for values, drop, few in zip(step.categories_, dropped, rare, strict=True):
        gone = set() if few is None else {str(value) for value in few}
        names = [str(value) for place, value in enumerate(values) if place != drop and str(value) not in gone]
        out.append(names + (["infrequent"] if gone and (drop is None or str(values[drop]) not in gone) else []))
    return out


def _by_name(step: Any, given: list[_Element]) -> list[_Element]:
    """Trace a step of an unknown kind by its output names: the input's own, or it with something before or behind."""
    names = [element.name for element in given]
    try:
        out = [str(name) for name in step.get_feature_names_out(np.array(names, dtype=object))]
    except (AttributeError, ValueError) as error:
        raise EncodingError(
            f"a {type(step).__name__} does not say what its outputs are",
            why=shorten(error, 200),
            fix="use steps with get_feature_names_out",
        ) from error
    if out == names:
        return given
    traced = []
    for name in out:
        fitting = [
            element
            for element in given
            if name == element.name or name.startswith(f"{element.name}_") or name.endswith(f"_{element.name}")
        ]
        if not fitting:
            raise EncodingError(
                f"output {shorten(name)!r} of {type(step).__name__} belongs to no single raw column",
                fix="explain a network whose inputs each come from one column, or give the encoded rows themselves",
            )
        longest = max(fitting, key=lambda element: len(element.name))
        traced.append(_Element(name, longest.column, longest.kind))
    return traced


def _undone(step: Any, array: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Raw columns from the outputs of a fitted step."""
    from sklearn.compose import ColumnTransformer

    if isinstance(step, ColumnTransformer):
        given = [_Element(name, name, "numeric") for name in names]
        found: dict[str, np.ndarray] = {}
        for name, inner, chosen in step.transformers_:
            if isinstance(inner, str) and inner == "drop":
                continue
            part = array[:, step.output_indices_[name]]
            found |= _undone(inner, part, [names[index] for index in _chosen(chosen, given)])
        return found
    if step is not None and not isinstance(step, str):
        try:
            array = step.inverse_transform(array)
        except AttributeError as error:
            raise EncodingError(f"a {type(step).__name__} cannot be undone", why=shorten(error, 200)) from error
    array = np.asarray(array)
    return {name: array[:, place] for place, name in enumerate(names)}

"""An explanation under the names that shap's users know, sliced by row, feature and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from .errors import InputError, UnknownName

ROW, OUTPUT = "row", "output"
HOLDS: dict[str, Callable[[str], bool]] = {
    "values": lambda axis: True,
    "error_std": lambda axis: True,
    "base_values": lambda axis: axis in (ROW, OUTPUT),
    "data": lambda axis: axis != OUTPUT,
}
"""Which of the axes of ``values`` each array has."""


@dataclass(frozen=True)
class Chain:
    """Verbs to be done later: ``Sliced.abs.mean(0)`` is a function of an explanation."""

    steps: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def then(self, verb: str, *given: Any) -> Chain:
        return Chain((*self.steps, (verb, given)))

    @property
    def abs(self) -> Chain:
        return self.then("abs")

    @property
    def argsort(self) -> Chain:
        return self.then("argsort")

    @property
    def flip(self) -> Chain:
        return self.then("flip")

    def mean(self, axis: int) -> Chain:
        return self.then("mean", axis)

    def max(self, axis: int) -> Chain:
        return self.then("max", axis)

    def __getitem__(self, key: Any) -> Chain:
        return self.then("take", key)


class _Verb:
    """A verb of an explanation that, asked of the class, begins a :class:`Chain`."""

    def __init__(self, do: Callable[[Any], Any]):
        self.do, self.name = do, do.__name__
        self.__doc__ = do.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Chain: ...
    @overload
    def __get__(self, instance: Sliced, owner: type) -> Sliced: ...
    def __get__(self, instance: Sliced | None, owner: type) -> Any:
        return Chain().then(self.name) if instance is None else self.do(instance)


@dataclass(frozen=True, eq=False)
class Sliced:
    """Values, base values and data that are cut together.

    Attributes
    ----------
    values: ``[N, n]``, ``[N, n, K]`` with several outputs, ``[N, …, K]`` where a row has axes of its own.
    base_values: ``[N]`` or ``[N, K]``.
    data: ``[N, n]``, or a row's own shape.
    error_std: standard errors, as ``values``; None for a method that does not sample.
    feature_names, output_names: lists; one name where a single one was picked, a list for each row where rows were
        asked for different outputs.
    axes: what each axis of ``values`` is: ``"row"``, ``"feature"`` (``"feature 1"`` …), ``"output"``.
    record: the whole record with its question, cost and cautions, until something is cut out of it.
    """

    values: np.ndarray
    base_values: Any = None
    data: Any = None
    feature_names: Any = None
    output_names: Any = None
    error_std: np.ndarray | None = None
    axes: tuple[str, ...] = ()
    record: Any = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        object.__setattr__(self, "values", values)
        if not self.axes:
            features = [f"feature {i}" if i else "feature" for i in range(max(values.ndim - 1, 1))]
            object.__setattr__(self, "axes", ((ROW, *features) if values.ndim > 1 else ("feature",))[: values.ndim])
        if len(self.axes) != values.ndim:
            raise InputError(f"values of {values.ndim} axes, and {len(self.axes)} names of axes")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: Any) -> Sliced:
        """A part: ``ex[0]``, ``ex[:, "age"]``, ``ex[..., 1]``; names of features and outputs stand for their places."""
        keys = key if isinstance(key, tuple) else (key,)
        gaps = [place for place, part in enumerate(keys) if part is Ellipsis]
        if len(gaps) > 1 or len(keys) - len(gaps) > len(self.axes):
            raise InputError(f"{len(keys)} indices for values of {len(self.axes)} axes ({', '.join(self.axes)})")
        place = gaps[0] if gaps else len(keys)
        tail = keys[place + 1 :]
        filled = (*keys[:place], *[slice(None)] * (len(self.axes) - place - len(tail)), *tail)
        picked = {axis: self._place(axis, part) for axis, part in zip(self.axes, filled, strict=True)}
        return self._cut(picked)

    def _place(self, axis: str, key: Any) -> Any:
        """An index of one axis; a name becomes its place."""
        if isinstance(key, Chain):
            return applied(key, self)
        if not isinstance(key, str):
            return np.asarray(key) if isinstance(key, (list, Sliced)) else key
        names = self.output_names if axis == OUTPUT else self.feature_names if axis == "feature" else None
        if names is None or isinstance(names, str) or _by_row(names):
            names = []
        if key not in list(names):
            raise UnknownName.among(axis, key, names)
        return list(names).index(key)

    def _cut(self, picked: dict[str, Any]) -> Sliced:
        whole = all(isinstance(part, slice) and part == slice(None) for part in picked.values())
        arrays = {name: self._cut_array(name, array, picked) for name, array in self._arrays().items()}
        names = {
            "feature_names": _named(self.feature_names, picked.get("feature", slice(None))),
            "output_names": self._outputs(picked),
        }
        axes = tuple(axis for axis in self.axes if not isinstance(picked[axis], (int, np.integer)))
        return replace(self, **arrays, **names, axes=axes, record=self.record if whole else None)

    def _outputs(self, picked: dict[str, Any]) -> Any:
        """The names of the outputs that are left, which may be other ones in each row."""
        names, key = self.output_names, picked.get(OUTPUT, slice(None))
        if not _by_row(names):
            return _named(names, key)
        rows = picked.get(ROW, slice(None))
        if isinstance(rows, (int, np.integer)):
            return _named(names[rows], key)
        kept = [_named(names[i], key) for i in np.arange(len(names))[rows]]
        return kept if kept and _by_row(kept) else None

    def _arrays(self) -> dict[str, Any]:
        return {"values": self.values, "error_std": self.error_std, "base_values": self.base_values, "data": self.data}

    def _cut_array(self, name: str, array: Any, picked: dict[str, Any]) -> Any:
        """The same part of one array, which may lack some of the axes."""
        if array is None or (name == "base_values" and np.ndim(array) == 0):
            return array
        own = [axis for axis in self.axes if HOLDS[name](axis)]
        found = np.asarray(array)
        for place in reversed(range(min(len(own), found.ndim))):
            found = found[(*[slice(None)] * place, picked[own[place]])]
        return found.item() if name == "base_values" and np.ndim(found) == 0 else found

    # Verbs -----------------------------------------------------------------------------------

    @_Verb
    def abs(self) -> Any:
        """Sizes."""
        return replace(self, values=np.abs(self.values), record=None)

    @_Verb
    def argsort(self) -> Any:
        """The order of the values from small to large, along the last axis."""
        return np.argsort(self.values, axis=-1)

    @_Verb
    def flip(self) -> Any:
        """Values in reverse order, along the last axis."""
        return replace(self, values=np.flip(self.values, -1), record=None)

    def mean(self, axis: int) -> Sliced:
        """The mean along an axis; what is undefined (a row has fewer features) is left out."""
        return self._folded(np.nanmean, axis)

    def max(self, axis: int) -> Sliced:
        return self._folded(np.nanmax, axis)

    def min(self, axis: int) -> Sliced:
        return self._folded(np.nanmin, axis)

    def sum(self, axis: int) -> Sliced:
        return self._folded(np.nansum, axis)

    def percentile(self, q: float, axis: int) -> Sliced:
        return self._folded(lambda values, axis: np.nanpercentile(values, q, axis=axis), axis)

    def _folded(self, fold: Callable[..., np.ndarray], axis: int) -> Sliced:
        """One number for each place along an axis. Base values and data belong to rows, and go with them."""
        gone = self.axes[axis]
        kept: dict[str, Any] = {"base_values": self.base_values, "data": None if gone != OUTPUT else self.data}
        if gone in (ROW, OUTPUT) and np.ndim(self.base_values):
            own = [name for name in self.axes if name in (ROW, OUTPUT)]
            kept["base_values"] = fold(np.asarray(self.base_values, dtype=np.float64), axis=own.index(gone))
        axes = tuple(name for name in self.axes if name != gone)
        return replace(self, values=fold(self.values, axis=axis), error_std=None, axes=axes, record=None, **kept)

    def sample(self, max_samples: int, random_state: int = 0) -> Sliced:
        """Some of the rows, drawn without replacement; all of them where there are no more."""
        if max_samples >= len(self):
            return self
        return self[np.sort(np.random.default_rng(random_state).choice(len(self), max_samples, replace=False))]

    def __repr__(self) -> str:
        told = ", ".join(f"{size} {axis}s" for axis, size in zip(self.axes, self.shape, strict=True))
        return f"Explanation of {told or 'one number'}\n.values =\n{self.values}\n.base_values =\n{self.base_values}"


def applied(chain: Chain, to: Any) -> Any:
    """What a chain of verbs makes of an explanation (or of an array)."""
    for verb, given in chain.steps:
        if verb == "take":
            to = to[given[0]]
        elif verb in ("abs", "argsort", "flip"):
            arrays = {"abs": np.abs, "argsort": np.argsort, "flip": lambda array: np.flip(array, -1)}
            own = {"abs": lambda ex: ex.abs, "argsort": lambda ex: ex.argsort, "flip": lambda ex: ex.flip}
            to = own[verb](to) if isinstance(to, Sliced) else arrays[verb](to)
        else:
            to = {"mean": Sliced.mean, "max": Sliced.max}[verb](to, *given)
    return to.values if isinstance(to, Sliced) else to


def _by_row(names: Any) -> bool:
    """Whether each row has names of its own."""
    return isinstance(names, list) and bool(names) and not isinstance(names[0], str)


def _named(names: Any, key: Any) -> Any:
    """The names of what was picked; one name for one place."""
    if names is None or isinstance(names, str):
        return names
    if isinstance(key, slice):
        return list(names)[key]
    picked = np.asarray(list(names), dtype=object)[key]
    return picked if isinstance(picked, str) else list(picked)


def sliced(explanation: Any) -> Sliced:
    """An explanation of ours, cut out by its axes.

    Where players are parts of a picture, a part's value is shared out evenly among its elements, so that any area
    adds up, and standard errors (which do not) are left out.
    """
    layout, players = explanation.players.layout, explanation.players
    values, errors = explanation.attributions, explanation.errors
    data: Any = explanation.rows
    names: Sequence[str] | None = list(players.of(0)) if players.is_shared else None
    features: tuple[str, ...] = ("feature",)
    if len(layout) > 1:
        values, errors, names = _shared_out(explanation), None, None
        features = tuple(f"feature {i}" if i else "feature" for i in range(len(layout)))
    elif not isinstance(data, np.ndarray):
        data = _cells(explanation)
    outputs = set(explanation.outputs)
    told: Any = list(explanation.outputs[0]) if len(outputs) == 1 else [list(names) for names in explanation.outputs]
    if not explanation.several:
        values, errors = values[..., 0], None if errors is None else errors[..., 0]
        told = None if _by_row(told) else told[0]
    return Sliced(
        values=values,
        base_values=explanation.base if explanation.several else explanation.base[:, 0],
        data=data,
        feature_names=names,
        output_names=told,
        error_std=errors,
        axes=(ROW, *features, *((OUTPUT,) if explanation.several else ())),
        record=explanation,
    )


def _shared_out(explanation: Any) -> np.ndarray:
    """``Float64[N, …layout, T]``: each player's value divided evenly among its elements; 0 where nobody owns one."""
    laid = []
    for row, values in enumerate(explanation.attributions):
        labels = explanation.players.map_of(row)
        sizes = np.bincount(labels[labels >= 0], minlength=len(explanation.players.of(row)))
        own = values[: len(sizes)] / sizes[:, None]
        laid.append(np.stack([explanation.players.spread(column, row) for column in own.T], axis=-1))
    return np.nan_to_num(np.array(laid))


def _cells(explanation: Any) -> np.ndarray | None:
    """What each player was in each row, ``[N, n]``: numbers where all are, else objects; None where it is not known."""
    rows = explanation.rows
    if rows is None:
        return None
    listed = []
    for place, row in enumerate(rows):
        names = explanation.players.of(place)
        own = [row.get(name) for name in names] if isinstance(row, dict) else list(names)
        listed.append(own + [None] * (explanation.players.most - len(own)))
    found = np.array(listed, dtype=object)
    numbers = all(isinstance(value, (int, float, type(None))) and not isinstance(value, bool) for value in found.flat)
    return np.array(listed, dtype=np.float64) if numbers else found

"""Tables under lime's names: ``LimeTabularExplainer(train, …).explain_instance(row, predict_fn)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from ...doors.wrap import wrap
from ...methods.neighbourhoods import Distance
from ...records.errors import InputError, NotApplicable, shorten
from ...records.explanation import Explanation as Record
from ...records.players import Players
from ...records.settings import is_number
from ...studies.explaining import explain
from ..asked import listed, numbers
from .explanation import Explanation, asked_labels, seed_of, selection_of, unrecorded, weights_of


class LimeTabularExplainer:
    """Lines fitted to a model's answers around single rows of a table.

    Parameters
    ----------
    training_data: ``[N, n]`` numbers, categories as their codes. A seeded 100 of more rows tell spreads and quartiles.
    mode: ``"classification"`` or ``"regression"``.
    feature_names, class_names: names for the answer.
    categorical_features: places of the columns that hold categories; categorical_names: place → names of the codes.
    kernel_width: in lime's units; none: 0.75·√n. discretize_continuous: numbers as the quarter they fall in.
    random_state: a seed; None is 0, so that calls repeat themselves.

    feature_selection: ``"auto"`` (``"forward_selection"`` for up to 6 features), ``"highest_weights"`` or ``"none"``.

    Rows are drawn around the one explained. ``training_labels`` and ``verbose`` are ignored; another ``kernel`` or
    ``discretizer``, ``sample_around_instance`` of quartiles and ``training_data_stats`` are refused.
    """

    def __init__(
        self,
        training_data: Any,
        mode: str = "classification",
        training_labels: Any = None,
        feature_names: Sequence[str] | None = None,
        categorical_features: Sequence[int] | None = None,
        categorical_names: Mapping[int, Sequence[str]] | None = None,
        kernel_width: float | None = None,
        kernel: Any = None,
        verbose: bool = False,
        class_names: Sequence[str] | None = None,
        feature_selection: str = "auto",
        discretize_continuous: bool = True,
        discretizer: str = "quartile",
        sample_around_instance: bool = False,
        random_state: Any = None,
        training_data_stats: Any = None,
    ):
        if mode not in ("classification", "regression"):
            raise NotApplicable(f"mode={mode!r}", fix='use "classification" or "regression"')
        _refuse(kernel=kernel, training_data_stats=training_data_stats)
        if discretize_continuous and discretizer != "quartile":
            raise NotApplicable(f"discretizer={discretizer!r} is not offered here", fix='use "quartile"')
        if sample_around_instance and discretize_continuous:
            raise NotApplicable("quartiles are not sampled around a row", fix="give discretize_continuous=False")
        self.training_data = numbers(training_data, "training data")
        if self.training_data.ndim != 2:
            raise InputError(f"training data of shape {self.training_data.shape}", fix="give rows × columns")
        count = self.training_data.shape[1]
        self.feature_names = [str(i) for i in range(count)] if feature_names is None else list(map(str, feature_names))
        self.categorical_features = _places(categorical_features, count)
        self.categorical_names = dict(categorical_names or {})
        self.feature_selection = feature_selection
        self.mode, self.kernel_width, self.discretize = mode, kernel_width, discretize_continuous
        classes = class_names if class_names is not None and mode == "classification" else ()
        self.class_names = list(map(str, classes))
        self.seed = seed_of(random_state)

    def explain_instance(
        self,
        data_row: Any,
        predict_fn: Callable[[np.ndarray], Any],
        labels: Sequence[int] = (1,),
        top_labels: int | None = None,
        num_features: int = 10,
        num_samples: int = 5000,
        distance_metric: str = "euclidean",
        model_regressor: Any = None,
    ) -> Explanation:
        """The weights near one row: of ``labels``, or of the ``top_labels`` most probable ones.

        ``distance_metric`` is ``"euclidean"``, ``"cosine"`` or ``"manhattan"``. Raises :class:`NotApplicable` for
        another, and for a regressor of one's own: the line is ridge regression, its robust errors are in ``stderr``.
        """
        _refuse(model_regressor=model_regressor)
        if distance_metric not in get_args(Distance):
            raise NotApplicable(f"distance_metric={distance_metric!r}", fix=f"use one of {get_args(Distance)}")
        row = numbers(data_row, "row").reshape(1, -1)
        count = row.shape[1]
        record = explain(
            wrap(predict_fn, outputs=self.class_names or None), row, "lime", target="all",
            background=self.training_data, seed=self.seed, players=self._players(), samples=num_samples,
            kernel_width=self.kernel_width, discretise=self.discretize, report="weights", intercept=True,
            distance=distance_metric, selection=selection_of(self.feature_selection, num_features),
            complexity=num_features if num_features < count and self.feature_selection != "none" else None,
        )  # fmt: skip
        outputs = record.full[0]
        regression = self.mode == "regression"
        if regression and len(outputs) != 1:
            raise InputError(
                f"a regression gives one number a row, not {len(outputs)}", fix='use mode="classification"'
            )
        if not regression and len(outputs) == 1:
            raise InputError("a classification gives a number for each class", fix="give predict_proba")
        places = {1: 0} if regression else {label: label for label in asked_labels(outputs, labels, top_labels)}
        weights, errors, scores = weights_of(record, places)
        if regression:
            weights[0] = [(feature, -weight) for feature, weight in weights[1]]
        return Explanation(
            mode=self.mode, local_exp=weights, stderr=errors, intercept=unrecorded(list(weights)), scores=scores,
            local_pred=np.array([np.nan]), predict_proba=np.array(outputs),
            names=self._names(record, row[0]), record=record, class_names=self.class_names,
            top_labels=list(places) if top_labels else None, places=places,
        )  # fmt: skip

    def _players(self) -> Players:
        """Every column a player of its own, categories told from numbers."""
        count = len(self.feature_names)
        types = tuple("categorical" if i in self.categorical_features else "numeric" for i in range(count))
        return Players.shared(np.arange(count), self.feature_names, kind="column", types=types)

    def _names(self, record: Record, row: np.ndarray) -> list[str]:
        """What each column is in this row, as lime writes it."""
        quartiles = np.quantile(np.asarray(record.background, dtype=np.float64), [0.25, 0.5, 0.75], axis=0).T
        return [
            self._category(i, row[i]) if i in self.categorical_features
            else _bin(name, row[i], quartiles[i]) if self.discretize else name
            for i, name in enumerate(self.feature_names)
        ]  # fmt: skip

    def _category(self, feature: int, value: float) -> str:
        known = self.categorical_names.get(feature)
        code = int(value)
        named = known is not None and code == value and 0 <= code < len(known)
        return f"{self.feature_names[feature]}={known[code] if named and known is not None else f'{value:g}'}"


def _bin(name: str, value: float, marks: np.ndarray) -> str:
    """The quarter that a number falls in; marks that coincide are one."""
    marks = np.unique(marks)
    place = int(np.searchsorted(marks, value))
    if place == 0:
        return f"{name} <= {marks[0]:.2f}"
    if place == len(marks):
        return f"{name} > {marks[-1]:.2f}"
    return f"{marks[place - 1]:.2f} < {name} <= {marks[place]:.2f}"


def _places(given: Any, count: int) -> list[int]:
    """The places of columns, in order. Raises :class:`InputError` for what is no place of one."""
    places = [] if given is None else listed(given, "categorical_features")
    strange = [place for place in places if not (is_number(place) and place in range(count))]
    if strange:
        raise InputError(
            f"categorical_features holds {shorten(repr(strange[0]))}, which is no column's place",
            fix=f"columns are told by their places, 0 to {count - 1}",
        )
    return sorted(map(int, places))


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise NotApplicable(f"{name}= is not offered here", fix="leave it out")

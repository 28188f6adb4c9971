"""scikit-learn estimators as models: linear models and MLPs become torch networks, the others are asked as they are.

A pipeline's last steps that are sums, products and known functions become one network in float64 (its *twin*), so that
gradients are with respect to the columns it takes. What stands before them (encoders, imputers) becomes the encoding.
Twin and estimator are compared on rows drawn about the data they were fitted on; where they differ, or a step has no
twin, the estimator is a black box whose ``reason`` says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.transformers import FittedEncoding, from_sklearn
from ..problem.model import HANDLED, Model, Output
from ..records.errors import EncodingError, ModelError, shorten
from .estimator_layers import NoTwin, refuse_without_layers, typical_rows, with_heads
from .function import FunctionModel
from .torch_module import TorchModel

PROBES = 16
AGREE = 1e-7
"""Twin and estimator may differ by so much of the largest output; rounding in float64 stays a million times below."""


@dataclass(frozen=True)
class Asked:
    """The function of an estimator that returns numbers, the columns it was fitted with, the names of its outputs."""

    function: Callable[[Any], Any]
    columns: tuple[str, ...]
    labels: tuple[str, ...] | None


def asked(estimator: Any) -> Asked | None:
    """What to ask an estimator for; None where ``estimator`` is none.

    A classifier is asked for probabilities, else for its decision function: the labels it predicts are no numbers
    to be explained. Raises :class:`ModelError` for one that has neither.
    """
    columns = tuple(map(str, getattr(estimator, "feature_names_in_", ())))
    classes = getattr(estimator, "classes_", None)
    known = None if classes is None or not hasattr(classes, "dtype") else tuple(map(str, classes))
    if hasattr(estimator, "predict_proba"):
        return Asked(estimator.predict_proba, columns, known)
    if hasattr(estimator, "decision_function"):
        return Asked(estimator.decision_function, columns, known if known and len(known) > 2 else None)
    if callable(estimator) or not hasattr(estimator, "predict"):
        return None
    if known is not None:
        raise ModelError(
            f"{type(estimator).__name__} predicts labels, not numbers", fix="give a function that returns scores"
        )
    return Asked(estimator.predict, columns, None)


def estimator_model(
    estimator: Any, ask: Asked, *, name: str, labels: tuple[str, ...] | None, encoding: Any, output: Output
) -> Model:
    """A fitted estimator: a differentiable twin where its parts have one, else a black box that says why."""
    name, labels = name or type(estimator).__name__, labels or ask.labels
    if (best := _best(estimator)) is not estimator:
        return estimator_model(best, asked(best) or ask, name=name, labels=labels, encoding=encoding, output=output)
    columns = () if encoding is not None else ask.columns
    reason = ""
    if output.key is None:
        try:
            return _twin(estimator, ask, name, labels, encoding)
        except NoTwin as without:
            reason = str(without)
    model = FunctionModel(
        ask.function, name=name, labels=labels, encoding=encoding, output=output, columns=columns,
        takes_tables=bool(ask.columns), reason=reason,
    )  # fmt: skip
    model.missing = HANDLED if _takes_missing(estimator) else ""
    return model


def _takes_missing(estimator: Any) -> bool:
    """Whether an estimator says itself that cells may be missing; of a pipeline, all its steps up to an imputer."""
    for _, step in _steps(estimator):
        if type(step).__name__.endswith("Imputer"):
            return True
        tags = getattr(step, "__sklearn_tags__", None)
        told: Any = tags() if callable(tags) else None
        if step != "passthrough" and not (told is not None and told.input_tags.allow_nan):
            return False
    return True


def _best(estimator: Any) -> Any:
    """What a search over settings found; the estimator itself where it is none."""
    searching = type(estimator).__module__.startswith("sklearn.model_selection._search")
    return getattr(estimator, "best_estimator_", estimator) if searching else estimator


class EstimatorTwin(TorchModel):
    """The torch twin of an estimator; it refuses to answer once the estimator was fitted anew."""

    def __init__(self, module: Any, estimator: Any, columns: tuple[str, ...], **given: Any):
        super().__init__(module, **given)
        self.estimator, self.columns = estimator, columns
        self._fitted = _fitted(estimator)

    @property
    def identity(self) -> object:
        return self.estimator

    def untouched(self) -> Any:
        now = _fitted(self.estimator)
        if len(now) != len(self._fitted) or not all(map(_same, now, self._fitted)):
            raise ModelError("the estimator was fitted anew since it was wrapped", where=self.name, fix="wrap it again")
        return super().untouched()


def _twin(estimator: Any, ask: Asked, name: str, labels: tuple[str, ...] | None, encoding: Any) -> EstimatorTwin:
    steps = _steps(estimator)
    start = _first_layer(steps)
    before = None
    if start:
        if encoding is not None:
            raise NoTwin(f"its step {shorten(steps[start - 1][0])!r} has no derivative here, and it has an encoding")
        before = _encoding_of(estimator, start)
    rest = estimator[start:] if start else estimator
    module = _agreeing(rest, steps[start:])
    columns = ask.columns if encoding is None and before is None else ()
    return EstimatorTwin(module, estimator, columns, name=name, labels=labels, encoding=encoding or before)


def _steps(estimator: Any) -> list[tuple[str, Any]]:
    """The steps of a pipeline (of pipelines in it too) by name; an estimator alone is one step without a name."""
    if type(estimator).__name__ != "Pipeline" or not type(estimator).__module__.startswith("sklearn."):
        return [("", estimator)]
    return [(str(name), step) for name, step in estimator.steps]


def _first_layer(steps: list[tuple[str, Any]]) -> int:
    """The first step from which on all have a twin. Raises :class:`NoTwin` where the last has none."""
    start = len(steps)
    while start:
        try:
            refuse_without_layers(steps[start - 1][1], last=start == len(steps))
        except NoTwin:
            if start == len(steps):
                raise
            break
        start -= 1
    return start


def _encoding_of(pipeline: Any, stop: int) -> FittedEncoding:
    """The first steps of a pipeline as the encoding of what follows."""
    names = getattr(pipeline, "feature_names_in_", None)
    step = shorten(pipeline.steps[stop - 1][0])
    if names is None:
        raise NoTwin(f"its step {step!r} encodes columns, whose names are not known: fit it on a DataFrame")
    try:
        found = from_sklearn(pipeline[:stop], [str(name) for name in names])
    except EncodingError as error:
        raise NoTwin(f"its step {step!r} cannot be told column by column: {error.what}") from error
    return replace(found, dtype=np.dtype(np.float64), reads_arrays=True)


def _agreeing(estimator: Any, steps: list[tuple[str, Any]]) -> Any:
    """The first of the twins that could be meant which answers as the estimator does. Raises :class:`NoTwin`."""
    ask = asked(estimator)
    assert ask is not None
    gap = np.inf
    for module in with_heads(steps):
        rows = typical_rows(module, _width(steps), PROBES)
        wanted, found = _answers(ask, rows), module(rows).detach().numpy()
        if wanted.shape == found.shape and np.isfinite(wanted).all():
            largest = max(np.abs(wanted).max(initial=0.0), 1e-300)
            gap = min(gap, float(np.abs(wanted - found).max(initial=0.0) / largest))
            if gap <= AGREE:
                return module
    told = f"differs from it by {gap:.1e} of the largest output" if np.isfinite(gap) else "has outputs of another kind"
    raise NoTwin(f"a network made from its weights {told}")


def _width(steps: list[tuple[str, Any]]) -> int:
    """The columns that the first step takes which does anything."""
    return next(int(step.n_features_in_) for _, step in steps if hasattr(step, "n_features_in_"))


def _answers(ask: Asked, rows: Any) -> np.ndarray:
    """What the estimator says to rows ``Float64[b, D]``, as ``[b, K]``."""
    given: Any = rows.numpy()
    if ask.columns:
        import pandas as pd

        given = pd.DataFrame(given, columns=list(ask.columns))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rows drawn at random may overflow what was fitted on others
            found = np.asarray(ask.function(given), dtype=np.float64)
    except Exception as error:  # a stranger's estimator may raise anything
        raise NoTwin(f"it could not be compared with its twin: {shorten(error, 100)}") from error
    return found[:, None] if found.ndim == 1 else found


def _fitted(estimator: Any) -> list[Any]:
    """What fitting sets: the arrays and counts of an estimator, or of the steps of a pipeline."""
    return [
        value
        for _, step in _steps(estimator)
        for name, value in getattr(step, "__dict__", {}).items()
        if name.endswith("_") and not name.startswith("_")
    ]


def _same(now: Any, then: Any) -> bool:
    return now is then or (isinstance(now, (int, float)) and type(now) is type(then) and now == then)

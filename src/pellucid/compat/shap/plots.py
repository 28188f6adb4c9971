"""Plots under shap's names, as Altair charts: a notebook shows them, ``chart.save("row.html")`` keeps them.

``show`` and keywords that style matplotlib's figures (colours, sizes, axes) are accepted and ignored. What is drawn
may be ours or shap's own Explanation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...records.errors import InputError, NotApplicable
from ...records.explanation import Explanation
from ...records.players import Players
from ...reports import figures
from ..asked import counted, numbers


def waterfall(shap_values: Any, max_display: int = 10, show: bool = True) -> Any:
    """One row, from its base value to its output, the largest contributions first."""
    record = _one_row(shap_values, "waterfall")
    return _shown(figures.waterfall(record, k=_others(record, max_display)))


def force(
    base_value: Any, shap_values: Any = None, features: Any = None, feature_names: Any = None, **ignored: Any
) -> Any:
    """One row as a strip of what raises and what lowers its output; of several rows the first is refused.

    ``base_value`` is an Explanation, or a number with ``shap_values``, ``features`` and ``feature_names`` beside it.
    """
    given = base_value if shap_values is None or hasattr(base_value, "values") else None
    if given is None and not hasattr(shap_values, "values"):
        record = _told(shap_values, base_value, features, feature_names)
    else:
        record = _of(given if given is not None else shap_values)
    if len(record) != 1:
        raise NotApplicable(f"a force plot of {len(record)} rows", fix="pick one: ex[0], or use beeswarm(ex)")
    return _shown(figures.force(record))


def bar(shap_values: Any, max_display: int = 10, show: bool = True, **ignored: Any) -> Any:
    """One row's contributions with their signs, or the mean sizes over rows; with intervals where errors are known."""
    record = _of(shap_values)
    if len(record) == 1:
        return _shown(figures.contributions(record, k=_others(record, max_display)))
    return _shown(figures.importance(record, k=_most(max_display)))


def beeswarm(shap_values: Any, max_display: int | None = 10, show: bool = True, **ignored: Any) -> Any:
    """A dot for each row and feature, coloured by the feature's value."""
    record = _of(shap_values)
    _refuse_outputs(record, "beeswarm")
    return _shown(figures.beeswarm(record, k=_most(max_display, record.players.most)))


def summary_plot(
    shap_values: Any,
    features: Any = None,
    feature_names: Any = None,
    max_display: int | None = None,
    plot_type: str | None = None,
    class_names: Sequence[str] | None = None,
    show: bool = True,
    **ignored: Any,
) -> Any:
    """The swarm of one output, or the mean sizes for several; ``plot_type`` is ``"dot"`` or ``"bar"``.

    ``shap_values`` is an Explanation, ``[N, n]``, ``[N, n, K]`` or a list of K arrays.
    """
    if hasattr(shap_values, "values"):
        record = _of(shap_values)
    else:
        if feature_names is None and isinstance(features, list) and all(isinstance(one, str) for one in features):
            features, feature_names = None, features  # shap takes names in their place
        record = _told(_stacked(shap_values), None, features, feature_names, class_names)
    kinds = {None: "summary", "dot": "beeswarm", "bar": "bar", "violin": "beeswarm", "layered_violin": "beeswarm"}
    if plot_type not in kinds:
        raise NotApplicable(f"plot_type={plot_type!r} is not drawn here", fix='use "dot" or "bar"')
    several = record.attributions.shape[-1] > 1
    draw = figures.summary if several or kinds[plot_type] != "bar" else figures.importance
    return _shown(draw(record, k=_most(max_display, 20)))


def image(shap_values: Any, pixel_values: Any = None, labels: Any = None, show: bool = True, **ignored: Any) -> Any:
    """Pictures (channels last) and, beside each, its contributions to every output.

    ``shap_values`` is an Explanation, ``[N, H, W, C]``, ``[N, H, W, C, K]`` or a list of K such arrays.
    """
    explained = hasattr(shap_values, "values")
    if not explained and pixel_values is None:
        raise InputError("there are no pictures to lie below", fix="give pixel_values=")
    picture = np.asarray(shap_values.data if pixel_values is None else pixel_values)
    outputs = labels if labels is not None else getattr(shap_values, "output_names", None)
    values = numbers(shap_values.values, "values") if explained else _stacked(shap_values)
    if values.ndim == picture.ndim:
        values = values[..., None]
    if values.ndim != picture.ndim + 1 or values.shape[:3] != picture.shape[:3]:
        raise InputError(f"values of shape {values.shape} for pictures of shape {picture.shape}")
    summed = values.sum(3) if picture.ndim == 4 else values
    return _shown(figures.image_grid(_pixels(summed, picture, outputs)))


def initjs() -> None:
    """Nothing: charts bring what they need."""


# From shap's shapes to a record ----------------------------------------------------------------


def _shown(chart: Any) -> Any:
    return chart.properties(background="white")


def _others(record: Explanation, most: int) -> int:
    """Of ``most`` lines the last one is for all others, where there are more."""
    most = _most(most)
    return most if record.players.most <= most else max(most - 1, 1)


def _most(given: int | None, usual: int = 10) -> int:
    """How many lines are shown."""
    return usual if given is None else counted(given, "max_display")


def _one_row(given: Any, what: str) -> Explanation:
    axes = np.ndim(getattr(given, "values", given))
    if axes != 1:
        raise InputError(
            f"a {what} plot is of one row and one output, these values have {axes} axes",
            fix="pick them: ex[0], or ex[0, :, 1] with several outputs",
        )
    return _of(given)


def _refuse_outputs(record: Explanation, what: str) -> None:
    if record.attributions.shape[-1] > 1:
        raise InputError(f"a {what} plot is of one output, here are several", fix="pick one: ex[..., 1]")


def _of(given: Any) -> Explanation:
    """Whatever has ``values``: our own explanations, what explainers here answer with, shap's own."""
    if isinstance(given, Explanation):
        return given
    axes = tuple(getattr(given, "axes", ()))
    if axes and "row" not in axes and "output" in axes:
        raise InputError(
            "these are several outputs of one row", fix="pick one: ex[0, :, 1]; or keep the rows: ex[..., 1]"
        )
    if getattr(given, "record", None) is not None and np.ndim(given.values) == 2:
        return given.record
    if not hasattr(given, "values"):
        raise InputError(f"a {type(given).__name__} has no values to draw", fix="give what an explainer answered")
    errors = getattr(given, "error_std", None)
    outputs = getattr(given, "output_names", None)
    base, names = given.base_values, given.feature_names
    return _record(numbers(given.values, "values"), base, given.data, names, outputs, errors)


def _told(values: Any, base: Any, features: Any, names: Any, outputs: Any = None) -> Explanation:
    """A record of what was given piece by piece. Raises :class:`InputError` for pieces that do not fit each other."""
    record = _record(numbers(values, "values"), base, features, names, outputs)
    if features is not None and record.rows is None:
        raise InputError(
            f"features of shape {np.shape(features)} do not fit contributions of shape {np.shape(values)}",
            fix="give the features of the same rows, in the same order",
        )
    if outputs is not None and list(outputs) != list(record.outputs[0]):
        raise InputError(f"{len(outputs)} class names for {len(record.outputs[0])} outputs", fix="give one for each")
    return record


def _stacked(values: Any) -> np.ndarray:
    """One array of what shap gives as a list, an array for each output."""
    if isinstance(values, list) and len({np.shape(one) for one in map(_array, values)}) > 1:
        raise InputError("the outputs' contributions have different shapes", fix="give each output the same rows")
    return np.stack([_array(one) for one in values], -1) if isinstance(values, list) else _array(values)


def _array(values: Any) -> np.ndarray:
    return numbers(values, "values")


def _record(
    values: np.ndarray,
    base: Any = None,
    data: Any = None,
    names: Any = None,
    outputs: Any = None,
    errors: Any = None,
) -> Explanation:
    """Values ``[n]``, ``[N, n]`` or ``[N, n, K]`` as a record that figures can draw."""
    several = values.ndim == 3
    laid = np.asarray(values, dtype=np.float64).reshape((1,) * (values.ndim == 1) + values.shape + (1,) * (not several))
    if laid.ndim != 3:
        raise InputError(f"values of shape {values.shape} are not rows of features", fix="use plots.image for pictures")
    rows, n, count = laid.shape
    if names is None and (hasattr(data, "columns") or (hasattr(data, "index") and not isinstance(data, list))):
        names = list(getattr(data, "columns", data.index))
    listed = [f"Feature {i}" for i in range(n)] if names is None or isinstance(names, str) else list(map(str, names))
    if len(listed) != n:
        raise InputError(f"{len(listed)} names for {n} features", fix="give one for each, in their order")
    start = _bases(base, rows, count)
    told = [outputs] if isinstance(outputs, str) else outputs
    known = told is not None and len(told) == count and all(isinstance(name, str) for name in told)
    named = tuple(told) if told is not None and known else _numbered(count)
    return Explanation(
        attributions=laid,
        errors=None if errors is None else np.asarray(errors, dtype=np.float64).reshape(laid.shape),
        players=Players.elements(listed, kind="column"),
        base=start,
        full=start + np.nansum(laid, axis=1),
        outputs=(named,) * rows,
        method="shapley",
        rows=_dicts(data, listed, rows),
        several=several,
    )


def _bases(base: Any, rows: int, count: int) -> np.ndarray:
    """Base values ``[N, K]`` from one number, one for each row, or one for each output."""
    laid = np.zeros(()) if base is None else numbers(base, "base values")
    if laid.ndim == 1 and count == 1 and len(laid) == rows:
        laid = laid[:, None]
    try:
        return np.array(np.broadcast_to(laid, (rows, count)))
    except ValueError as error:
        raise InputError(
            f"base values of shape {laid.shape} for {rows} rows and {count} outputs", fix="give one for each output"
        ) from error


def _numbered(count: int) -> tuple[str, ...]:
    return ("output",) if count == 1 else tuple(f"output {k}" for k in range(count))


def _dicts(data: Any, names: Sequence[str], rows: int) -> list[dict[str, Any]] | None:
    """The features of each row by name; None where they are not known."""
    if data is None:
        return None
    laid = np.asarray(data, dtype=object)
    laid = laid[None] if laid.ndim == 1 else laid
    if laid.shape != (rows, len(names)):
        return None
    return [dict(zip(names, map(_cell, row), strict=True)) for row in laid]


def _cell(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _pixels(values: np.ndarray, pictures: np.ndarray, outputs: Any) -> Explanation:
    """``Float64[N, H, W, K]`` as a record whose players are pixels."""
    rows, height, width, count = values.shape
    listed = np.asarray(_numbered(count) if outputs is None else outputs, dtype=object)
    if listed.size not in (count, rows * count):
        raise InputError(f"{listed.size} labels for {count} outputs of {rows} pictures", fix="give one for each output")
    named = np.broadcast_to(listed.reshape(-1, count), (rows, count))
    return Explanation(
        attributions=np.asarray(values, dtype=np.float64).reshape(rows, height * width, count),
        players=Players.elements(list(map(str, range(height * width))), layout=(height, width), kind="pixel"),
        base=np.zeros((rows, count)),
        full=values.sum((1, 2)),
        outputs=tuple(tuple(map(str, row)) for row in named),
        method="shapley",
        rows=pictures,
        several=count > 1,
    )

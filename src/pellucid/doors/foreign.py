"""The door for explanations made elsewhere: captum tensors, shap Explanations and arrays become records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.engine import background_of
from ..engine.opening import Opened, opened
from ..engine.session import Session
from ..problem.problem import Problem
from ..problem.target import BoundTarget
from ..records.errors import InputError
from ..records.explanation import Explanation
from ..records.messages import Caution

DIFFERENT_BASE = 0.01
"""A tool's base value may miss v(nobody) by this share of the change."""


def as_explanation(problem: Problem, given: Any, *, name: str = "", pooling: str = "sum") -> Explanation:
    """Attributions made elsewhere, as a record of ``problem``'s question.

    ``given`` is an array or tensor ``[N, n]`` (one value per player), ``[N, D]`` or the input's own shape (element
    values, pooled over each player by their sum, or their norm where ``pooling="norm"``), with a last axis of
    outputs where a tool explains all of them at once; a tuple of tensors (one per input), or anything with
    ``.values`` (``shap.Explanation``). Raises :class:`InputError` for shapes that fit neither.
    """
    if pooling not in ("sum", "norm"):
        raise InputError(f"pooling={pooling!r}", fix='use "sum" or "norm"')
    with opened(problem, "foreign") as run:
        return _as_explanation(problem, run, given, name, pooling)


def _as_explanation(problem: Problem, run: Opened, given: Any, name: str, pooling: str) -> Explanation:
    values, label = _values(given, problem, run.outputs.shape[1])
    _refuse_unusable(values, given, problem)
    back = np.argsort(run.order)
    target, outputs = run.target, run.outputs.shape[1]
    columns = target.columns.numpy()[back]
    full = np.concatenate([s.full.reshape(len(r), -1) for r, s in run.parts])
    base = np.concatenate([s.empty.reshape(len(r), -1) for r, s in run.parts])
    order = np.argsort(np.concatenate([r for r, _ in run.parts]))
    names = tuple(target.names[place] for place in back)
    against = None if target.against is None else target.against.numpy()[back]
    cautions = (*problem.cautions, Caution.of("foreign_method", "note"))
    cautions += _other_base(given, base[order], full[order], columns, against)
    laid = _per_player(problem, _of_target(values, columns, against, outputs, problem), pooling)
    return Explanation(
        attributions=laid,
        players=problem.players,
        base=base[order],
        full=full[order],
        outputs=names,
        method=name or label,
        settings={"pooling": pooling},
        notes={"foreign": True},
        removal=problem.removal.settings(),
        background=background_of(run),
        target=target.asked,
        columns=columns if against is None else np.stack([columns, against], axis=-1),
        warnings=cautions,
        rows=problem.inputs.raw,
        ids=problem.inputs.ids,
        model=problem.model.name,
        pooling=pooling,
        several=columns.shape[1] > 1,
    )


def is_foreign(explanation: Explanation) -> bool:
    """Whether a record was made from attributions made elsewhere; its name then says nothing of how."""
    return bool(explanation.notes.get("foreign"))


def foreign_explainer(
    problem: Problem, explainer: Callable[[Any], Any], pooling: str = "sum"
) -> Callable[[Session], np.ndarray]:
    """A user's function from rows to attributions, as a function from a session to values ``[Q, n]``.

    It is given the model-space tensor (several: a dict of them by name; a black box: the list of rows). What it
    returns is read as :func:`as_explanation` reads it, of the target that the session is bound to.
    """
    with opened(problem, "foreign") as run:
        outputs = run.outputs.shape[1]

    def again(session: Session) -> np.ndarray:
        inputs = session.inputs
        part = Problem(problem.model, inputs, session.players, problem.removal, problem.target, problem.kind)
        tensors = {name: tensor.detach().clone() for name, tensor in inputs.tensors.items()}
        rows: Any = list(inputs.opaque) if inputs.opaque is not None else tensors
        given = explainer(next(iter(tensors.values())) if len(tensors) == 1 else rows)
        values, _ = _values(given, part, outputs)
        _refuse_unusable(values, given, part)
        laid = _per_player(part, _of_target(values, *_bound_columns(session.bound), outputs, part), pooling)
        return np.ascontiguousarray(laid.transpose(0, 2, 1).reshape(session.questions, -1))

    return again


def _bound_columns(target: BoundTarget) -> tuple[np.ndarray, np.ndarray | None]:
    return target.columns.cpu().numpy(), None if target.against is None else target.against.cpu().numpy()


def _refuse_unusable(values: np.ndarray, given: Any, problem: Problem) -> None:
    """Attributions of other rows, of too many or too few, or with NaN in them; beyond a row's players there may be."""
    _refuse_other_rows(problem, given)
    faults = ~np.isfinite(values)
    if values.shape[:2] == (len(problem.inputs), problem.players.most):
        faults[_beyond(problem)] = False
    if faults.any():
        rows = np.unique(np.argwhere(faults)[:, 0])[:3]
        raise InputError("the attributions hold NaN or infinity", where=f"row {', '.join(map(str, rows))}")
    if len(values) != len(problem.inputs):
        raise InputError(f"attributions for {len(values)} rows, but {len(problem.inputs)} rows were given")


def _beyond(problem: Problem) -> np.ndarray:
    """``Bool[N, n]``: where a row has no player."""
    counts = np.broadcast_to(problem.players.counts, len(problem.inputs))
    return np.arange(problem.players.most) >= counts[:, None]


def _values(given: Any, problem: Problem, outputs: int) -> tuple[np.ndarray, str]:
    label = "foreign"
    if not isinstance(given, (np.ndarray, Tensor, list, tuple)) and hasattr(given, "values"):
        label = type(given).__module__.split(".")[0]
        given = given.values() if callable(given.values) else given.values
    ragged = _padded(given, problem)
    if ragged is not None:
        return ragged, label
    if isinstance(given, (tuple, list)) and given and all(isinstance(part, (Tensor, np.ndarray)) for part in given):
        return _joined([_as_double(part) for part in given], problem, outputs), label
    if isinstance(given, Tensor):
        return _with_rows(given.detach().cpu().double().numpy(), problem), label
    try:
        return _with_rows(np.asarray(given, dtype=np.float64), problem), label
    except (TypeError, ValueError) as error:
        raise InputError(f"a {type(given).__name__} is not attributions", why=str(error)) from error


def _padded(given: Any, problem: Problem) -> np.ndarray | None:
    """Rows of different lengths, a number (or ``[T]`` of them) for each player, with NaN beyond; None for all else."""
    objects = isinstance(given, np.ndarray) and given.dtype.kind == "O"
    rows = given if objects or isinstance(given, (list, tuple)) else ()
    counts = np.broadcast_to(problem.players.counts, len(problem.inputs))
    if (
        len(set(counts.tolist())) < 2
        or [len(row) if hasattr(row, "__len__") else -1 for row in rows] != counts.tolist()
    ):
        return None
    try:
        parts = [np.asarray(row, dtype=np.float64) for row in rows]
    except (TypeError, ValueError):
        return None
    if len({part.shape[1:] for part in parts}) > 1:
        return None
    padded = np.full((len(parts), problem.players.most, *parts[0].shape[1:]), np.nan)
    for row, part in enumerate(parts):
        padded[row, : len(part)] = part
    return padded


def _as_double(part: Tensor | np.ndarray) -> Tensor:
    return part.detach().cpu().double() if isinstance(part, Tensor) else torch.from_numpy(np.array(part, np.float64))


def _joined(parts: list[Tensor], problem: Problem, outputs: int) -> np.ndarray:
    """Several arrays as one: one per input tensor lie side by side, one per output along a last axis."""
    shapes = {part.shape for part in parts}
    one = next(iter(shapes)) if len(shapes) == 1 else ()
    if len(parts) == outputs != len(problem.inputs.shapes) and tuple(one[1:]) in _row_shapes(problem):
        return torch.stack(parts, dim=-1).numpy()
    if any(not part.ndim for part in parts) or len({len(part) for part in parts}) > 1:
        raise InputError("the arrays of attributions disagree on the number of rows")
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1).numpy()


def _row_shapes(problem: Problem) -> list[tuple[int, ...]]:
    """The shapes that attributions of one row and one output may have."""
    return [(problem.players.most,), (problem.inputs.width,), *problem.inputs.shapes.values()]


def _with_rows(values: np.ndarray, problem: Problem) -> np.ndarray:
    """The attributions of a single row may lack the axis of rows."""
    if len(problem.inputs) == 1 and values.shape in _row_shapes(problem):
        return values[None]
    if not values.ndim:
        raise InputError("one number is not attributions")
    return values


def _refuse_other_rows(problem: Problem, given: Any) -> None:
    """What a tool says it explained (``.data`` of a shap.Explanation) must be these rows."""
    told, inputs = getattr(given, "data", None), problem.inputs
    if isinstance(given, (np.ndarray, Tensor)) or inputs.opaque is not None or problem.model.encoding is not None:
        return  # an array's own .data is its memory
    told = np.asarray(told) if isinstance(told, (np.ndarray, list)) else None
    own = inputs.flat.detach().cpu().double().numpy()
    if told is None or told.dtype.kind not in "iuf" or told.shape != own.shape:
        return
    if not np.allclose(told, own, rtol=1e-3, atol=1e-5 * (np.abs(own).max() + 1e-12)):
        raise InputError("the attributions are of other rows", why="their .data differs from the rows given")


def _other_base(
    given: Any, base: np.ndarray, full: np.ndarray, columns: np.ndarray, against: np.ndarray | None
) -> tuple[Caution, ...]:
    """A caution where the tool's own base values are not v(nobody): it was run with another baseline."""
    told = getattr(given, "base_values", None)
    if told is None or isinstance(given, (np.ndarray, Tensor)):
        return ()
    told = np.asarray(told, dtype=np.float64)
    if told.ndim == 1 and len(told) == len(base) and columns.shape[1] == 1:
        own = told[:, None]  # one per row
    elif told.ndim == 0:
        own = np.full(base.shape, float(told))
    elif told.shape[-1] > columns.max():
        rows = np.broadcast_to(told, (len(base), told.shape[-1]))
        own = np.take_along_axis(rows, columns, 1)
        own = own if against is None else own - np.take_along_axis(rows, against, 1)
    else:
        return ()
    scale = np.maximum(np.abs(full - base), 1e-3 * np.abs(base) + 1e-12)
    off = np.abs(own - base) / scale
    rows = int((off > DIFFERENT_BASE).any(1).sum())
    if not rows:
        return ()
    return (Caution.of("foreign_base", "yellow", rows=rows, total=len(base), worst=float(off.max())),)


def _of_target(
    values: np.ndarray, columns: np.ndarray, against: np.ndarray | None, outputs: int, problem: Problem
) -> np.ndarray:
    """``[N, …, T]``: of attributions for all outputs the explained ones, of others the only ones."""
    own = _row_shapes(problem)
    if values.shape[1:] in own:
        if columns.shape[1] != 1:
            raise InputError(f"{columns.shape[1]} targets are asked for, the attributions speak of one")
        return values[..., None]
    if values.shape[1:-1] in own and values.shape[-1] == outputs:
        spread = columns.reshape(len(values), *(1,) * (values.ndim - 2), -1)
        picked = np.take_along_axis(values, spread, axis=-1)
        if against is None:
            return picked
        return picked - np.take_along_axis(values, against.reshape(spread.shape), axis=-1)
    raise InputError(
        f"attributions of shape {_times(values.shape[1:])} per row fit neither {own[0][0]} players nor rows of "
        f"{' or '.join(dict.fromkeys(map(_times, own[1:])))}",
        fix="give one value per player, or one per input element",
    )


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _per_player(problem: Problem, values: np.ndarray, pooling: str) -> np.ndarray:
    """``[N, n, T]``: element values pooled over each row's players, player values as they are."""
    N, n, T = len(values), problem.players.most, values.shape[-1]
    flat = values.reshape(N, -1, T)
    if flat.shape[1] == n and (problem.inputs.opaque is not None or n != problem.inputs.width):
        return np.where(_beyond(problem)[:, :, None], np.nan, flat)
    if problem.players.every_element:
        return np.abs(flat) if pooling == "norm" else flat
    laid = np.full((N, n, T), np.nan)
    for row in range(N):
        labels = problem.players.labels[0 if problem.players.is_shared else row]
        for player in range(len(problem.players.of(row))):
            own = flat[row, labels == player]
            laid[row, player] = np.sqrt(np.square(own).sum(0)) if pooling == "norm" else own.sum(0)
    return laid

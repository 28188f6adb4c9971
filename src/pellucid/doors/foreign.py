"""The door for explanations made elsewhere: captum tensors, shap Explanations and arrays become records."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.engine import opened
from ..problem.problem import Problem
from ..records.errors import InputError
from ..records.explanation import Explanation
from ..records.messages import Caution


def as_explanation(problem: Problem, given: Any, *, name: str = "", pooling: str = "sum") -> Explanation:
    """Attributions made elsewhere, as a record of ``problem``'s question.

    ``given`` is an array or tensor ``[N, n]`` (one value per player), ``[N, D]`` or the input's own shape (element
    values, pooled over each player by their sum, or their norm where ``pooling="norm"``), with a last axis of
    outputs where a tool explains all of them at once; a tuple of tensors (one per input), or anything with
    ``.values`` (``shap.Explanation``). Raises :class:`InputError` for shapes that fit neither.
    """
    if pooling not in ("sum", "norm"):
        raise InputError(f"pooling={pooling!r}", fix='use "sum" or "norm"')
    values, label = _values(given)
    if not np.isfinite(values).all():
        rows = np.unique(np.argwhere(~np.isfinite(values))[:, 0])[:3]
        raise InputError("the attributions hold NaN or infinity", where=f"row {', '.join(map(str, rows))}")
    N, n = len(problem.inputs), problem.players.most
    if len(values) != N:
        raise InputError(f"attributions for {len(values)} rows, but {N} rows were given")
    with opened(problem, "foreign") as run:
        back = np.argsort(run.order)
        target, outputs = run.target, run.outputs.shape[1]
        columns = target.columns.numpy()[back]
        full = np.concatenate([s.full.reshape(len(r), -1) for r, s in run.parts])
        base = np.concatenate([s.empty.reshape(len(r), -1) for r, s in run.parts])
        order = np.argsort(np.concatenate([r for r, _ in run.parts]))
        names = tuple(target.names[place] for place in back)
        against = None if target.against is None else target.against.numpy()[back]
        references = None if problem.inputs.opaque is not None else run.parts[0][1].references
    laid = _per_player(problem, _of_target(values, columns, against, outputs, problem), pooling)
    return Explanation(
        attributions=laid,
        players=problem.players,
        base=base[order],
        full=full[order],
        outputs=names,
        method=name or label,
        settings={"pooling": pooling},
        removal=problem.removal.settings(),
        background=None if references is None or len(references) != 1 else references[0].float().cpu().numpy(),
        target=target.asked,
        columns=columns if against is None else np.stack([columns, against], axis=-1),
        warnings=(*problem.cautions, Caution.of("foreign_method", "note")),
        rows=problem.inputs.raw,
        ids=problem.inputs.ids,
        model=problem.model.name,
        pooling=pooling,
        several=columns.shape[1] > 1 and laid.shape[1] == n,
    )


def _values(given: Any) -> tuple[np.ndarray, str]:
    label = "foreign"
    if not isinstance(given, (np.ndarray, Tensor, list, tuple)) and hasattr(given, "values"):
        label = type(given).__module__.split(".")[0]
        given = given.values() if callable(given.values) else given.values
    if isinstance(given, (tuple, list)) and given and all(isinstance(part, (Tensor, np.ndarray)) for part in given):
        parts = [torch.as_tensor(part).detach().cpu().reshape(len(part), -1) for part in given]
        return torch.cat(parts, dim=1).double().numpy(), label
    if isinstance(given, Tensor):
        return given.detach().cpu().double().numpy(), label
    try:
        return np.asarray(given, dtype=np.float64), label
    except (TypeError, ValueError) as error:
        raise InputError(f"a {type(given).__name__} is not attributions", why=str(error)) from error


def _of_target(
    values: np.ndarray, columns: np.ndarray, against: np.ndarray | None, outputs: int, problem: Problem
) -> np.ndarray:
    """``[N, …, T]``: of attributions for all outputs the explained ones, of others the only ones."""
    own = [(problem.players.most,), (problem.inputs.width,), *problem.inputs.shapes.values()]
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
        f"attributions of shape {values.shape[1:]} per row fit neither {own[0][0]} players nor rows of "
        f"{', '.join(map(str, dict.fromkeys(own[1:])))}",
        fix="give one value per player, or one per input element",
    )


def _per_player(problem: Problem, values: np.ndarray, pooling: str) -> np.ndarray:
    """``[N, n, T]``: element values pooled over each row's players, player values as they are."""
    N, n, T = len(values), problem.players.most, values.shape[-1]
    flat = values.reshape(N, -1, T)
    if flat.shape[1] == n and (problem.inputs.opaque is not None or n != problem.inputs.width):
        return flat
    if problem.players.every_element:
        return np.abs(flat) if pooling == "norm" else flat
    laid = np.full((N, n, T), np.nan)
    for row in range(N):
        labels = problem.players.labels[0 if problem.players.is_shared else row]
        for player in range(len(problem.players.of(row))):
            own = flat[row, labels == player]
            laid[row, player] = np.sqrt(np.square(own).sum(0)) if pooling == "norm" else own.sum(0)
    return laid

"""Joining: the parts of an explanation that were computed block by block become one record again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from .answer import Cost
from .errors import InputError
from .explanation import Explanation
from .messages import RANK, Caution, Severity
from .players import Players

JOINED = {"rows": add, "total": add, "worst": max, "difference": max, "lowest": min}
"""How the figures in a caution are put together when several parts of a batch raise the same one."""
BY_PLAYER, BY_TARGET = ("attributions", "errors", "spreads"), ("base", "full", "gaps")
"""The arrays ``[N, n, T]`` and ``[N, T]`` of an explanation."""


def joined(parts: Sequence[tuple[Sequence[int], Explanation]], players: Players, ids: tuple[str, ...]) -> Explanation:
    """One explanation of ``len(ids)`` rows from parts of them; rows that no part covers are NaN.

    Raises :class:`InputError` where there are no parts, or where they answer different questions.
    """
    if not parts:
        raise InputError("there are no parts to join")
    first = parts[0][1]
    if any((part.method, part.settings, part.seed) != (first.method, first.settings, first.seed) for _, part in parts):
        raise InputError("the parts answer different questions")
    N, n, T = len(ids), players.most, first.attributions.shape[2]
    arrays: dict[str, Any] = {}
    for name, shape in zip(BY_PLAYER + BY_TARGET, [(N, n, T)] * 3 + [(N, T)] * 3, strict=True):
        if getattr(first, name) is not None:
            arrays[name] = np.full(shape, np.nan)
    if first.maps is not None:
        arrays["maps"] = np.full((N, *first.maps.shape[1:]), np.nan)
    columns = None if first.columns is None else np.full((N, *first.columns.shape[1:]), -1)
    outputs = [("",) * T] * N
    for rows, part in parts:
        rows = np.asarray(rows)
        for name, array in arrays.items():
            found = getattr(part, name)
            array[rows] = np.nan if found is None else 0
            if found is not None and found.ndim == 3:
                array[rows] = np.nan
                array[rows, : found.shape[1]] = found
            elif found is not None:
                array[rows] = found
        if columns is not None and part.columns is not None:
            columns[rows] = part.columns
        for row, names in zip(rows, part.outputs, strict=True):
            outputs[row] = names
    return replace(
        first,
        **arrays,
        players=players,
        columns=columns,
        target=_target(parts, N),
        outputs=tuple(outputs),
        cost=_total([part.cost for _, part in parts]),
        warnings=merged([caution for _, part in parts for caution in part.warnings]),
        notes=_notes(parts, N),
        rows=_rows(parts, N),
        ids=ids,
    )


def merged(cautions: Sequence[Caution]) -> tuple[Caution, ...]:
    """Cautions with those of several parts of a batch put together: rows add up, the worst and the gravest stay."""
    kept: dict[tuple[str, Any], Caution] = {}
    for caution in cautions:
        fixed = tuple(sorted((k, str(v)) for k, v in caution.values.items() if k not in JOINED))
        before = kept.get((caution.code, fixed))
        values = dict(caution.values)
        if before is not None:
            values |= {k: JOINED[k](before.values[k], v) for k, v in caution.values.items() if k in JOINED}
        severities: list[Severity] = [caution.severity] if before is None else [before.severity, caution.severity]
        kept[caution.code, fixed] = Caution.of(caution.code, min(severities, key=lambda grave: RANK[grave]), **values)
    return tuple(kept.values())


def _total(costs: Sequence[Cost]) -> Cost:
    return Cost(
        evaluations=max(cost.evaluations for cost in costs),
        rows=sum(cost.rows for cost in costs),
        gradients=sum(cost.gradients for cost in costs),
        seconds=reduce(add, (cost.seconds for cost in costs)),
        batch=max(cost.batch for cost in costs),
    )


def _target(parts: Sequence[tuple[Sequence[int], Explanation]], N: int) -> Mapping[str, Any]:
    """What was asked: the first part's; what was asked of each row is laid out over all rows."""
    target = dict(parts[0][1].target)
    if len(parts) > 1:
        target.pop("labels", None)  # the hash of a part's labels
    if target.get("kind") == "each row":
        target["which"] = [None] * N
        for rows, part in parts:
            for row, which in zip(rows, part.target["which"], strict=True):
                target["which"][row] = which
    return target


def _notes(parts: Sequence[tuple[Sequence[int], Explanation]], N: int) -> Mapping[str, Any]:
    """Notes per row are laid out over all rows; the others are the first part's."""
    notes: dict[str, Any] = {}
    for rows, part in parts:
        for name, value in part.notes.items():
            if isinstance(value, list) and len(value) == len(part):
                laid = notes.setdefault(name, [None] * N)
                for row, one in zip(rows, value, strict=True):
                    laid[row] = one
            else:
                notes.setdefault(name, value)
    return notes


def _rows(parts: Sequence[tuple[Sequence[int], Explanation]], N: int) -> Any:
    first = parts[0][1].rows
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        laid = np.zeros((N, *first.shape[1:]), dtype=first.dtype)
        for rows, part in parts:
            laid[np.asarray(rows)] = part.rows
        return laid
    listed: list[Any] = [None] * N
    for rows, part in parts:
        for row, one in zip(rows, part.rows, strict=True):
            listed[row] = one
    return listed

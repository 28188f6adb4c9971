"""What is this model? A few dozen calls on a few rows, before anybody asks it why."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..catalog import everything
from ..data.dataset import Dataset
from ..doors.question import as_problem
from ..engine.listener import Listener
from ..engine.probing import TRIED, Probed, probed, reasons_against
from ..measures.meaning import meaning
from ..problem.model import Differentiable, Inspectable, Model, Traceable
from ..problem.problem import Problem
from ..records.messages import Caution
from ..records.preflight import Preflight

CAPABILITY = {Differentiable: "gradients", Inspectable: "layers", Traceable: "operations"}
NAMED = 3
"""Rows that a caution names."""


def preflight(model: Any, rows: Any, *, listener: Listener | None = None) -> Preflight:
    """What a model is found to be on the first eight of ``rows``, as a :class:`Preflight`.

    Its outputs and what they mean; whether it repeats itself, keeps a state, or mixes the rows of a batch; what it
    costs; whether it has gradients, layers and operations to be followed, and where these end; which methods apply,
    and why others do not. A few dozen calls; the model is left as it was.

    Parameters
    ----------
    model, rows: as for :func:`pellucid.explain`.

    Raises :class:`ModelError` where the model does not answer a single row, and what reading rows raises.
    """
    few = rows[:TRIED] if isinstance(rows, Dataset) else rows
    task = rows.task if isinstance(rows, Dataset) else None
    return preflight_of(as_problem(model, few, fine=False), task=task, listener=listener)


def preflight_of(
    problem: Problem, *, task: str | None = None, listener: Listener | None = None, whole: bool = True
) -> Preflight:
    """The same for a question that is put already.

    Only the ``whole`` of it follows the model's operations and asks each method whether it applies.
    """
    found = probed(problem, listener, whole=whole)
    model, inputs, few = problem.model, problem.inputs, found.problem
    read = meaning(found.outputs)
    read = "number" if task == "regression" and read == "probability" else read
    sums = found.outputs.sum(1)
    parameters, devices = _weights(model)
    return Preflight(
        model=model.name,
        class_name=type(model).__name__,
        kind=problem.kind,
        rows=len(few.inputs),
        inputs={
            name: (tuple(tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."), str(tensor.device))
            for name, tensor in inputs.tensors.items()
        },
        width=found.outputs.shape[1],
        labels=tuple(model.labels or ()),
        dtype=found.dtype,
        meaning=read,
        low=float(found.outputs.min()),
        high=float(found.outputs.max()),
        sums=(float(sums.min()), float(sums.max())),
        capabilities=dict(found.lost),
        methods=_methods(few, found) if whole else {},
        parameters=parameters,
        devices=devices,
        unstable=found.unstable,
        reseeded=found.reseeded,
        stateful=found.stateful,
        coupled=found.coupled,
        mutates=found.mutates,
        least=found.learned.least,
        fixed=model.fixed_batch or found.learned.fixed,
        batch=found.batch,
        costs=found.costs,
        flops=found.learned.flops,
        bytes=found.learned.bytes,
        flat=None if found.steepest is None else tuple(np.flatnonzero(found.steepest == 0).tolist()),
        training=found.training,
        warnings=_cautions(found, read, isinstance(model, Differentiable) and not found.lost["gradients"]),
    )


def _weights(model: Model) -> tuple[int | None, tuple[str, ...]]:
    """The number of weights and where they lie; None where they cannot be seen."""
    module = model.layers.get("") if isinstance(model, Traceable) else None
    if module is None:
        return None, ()
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters), tuple(sorted({str(p.device) for p in parameters}))


def _methods(problem: Problem, found: Probed) -> dict[str, str]:
    """Why each method does not apply, "" where it does."""
    kinds = {name: kind for name, kind in everything("methods").items() if kind.role == "method"}
    reasons = {name: _lacking(kind, problem, found) for name, kind in kinds.items()}
    open_yet = {name: kinds[name]() for name, reason in reasons.items() if not reason}
    return reasons | reasons_against(problem, open_yet)


def _lacking(kind: Any, problem: Problem, found: Probed) -> str:
    """What a method declares to need and this problem lacks."""
    if kind.kinds and problem.kind not in kind.kinds:
        return f"it explains {', '.join(kind.kinds)}, and these rows are {problem.kind}"
    for need in kind.needs:
        name = CAPABILITY.get(need)
        reason = found.lost.get(name, "") if name else ""
        if reason or not (name or isinstance(problem.model, need)):
            return f"it needs {name or need.__name__.lower()}: {reason or 'the model has none'}"
    return ""


def _cautions(found: Probed, read: str, steep: bool) -> tuple[Caution, ...]:
    """What to be careful of; what the caller has learned comes first."""
    cautions = [*found.cautions, *found.problem.model.cautions()]
    known = {caution.code for caution in cautions}
    if found.unstable and "not_repeatable" not in known:
        cautions.append(Caution.of("not_repeatable", "red", difference=found.unstable))
    if found.stateful:
        cautions.append(Caution.of("stateful", "red", difference=found.stateful))
    if found.coupled and "batch_coupled" not in known:
        cautions.append(Caution.of("place_coupled", "red", difference=found.coupled))
    if found.mutates:
        cautions.append(Caution.of("writes_over", "note", names=", ".join(found.mutates)))
    if found.refused is not None:
        cautions.append(Caution.of("batch_refused", "yellow", rows=found.refused[0], reason=found.refused[1]))
    return (*cautions, *_of_outputs(found, read, steep), *_of_slopes(found))


def _of_outputs(found: Probed, read: str, steep: bool) -> list[Caution]:
    outputs, cautions = found.outputs, []
    bad = np.flatnonzero(~np.isfinite(outputs).all(1))
    if len(bad):
        rows = ", ".join(map(str, bad[:NAMED]))
        told = {"count": len(bad), "total": len(outputs), "rows": rows, "layer": found.broken}
        return [Caution.of("outputs_not_finite", "red", **told)]
    if read == "probabilities" and steep:
        cautions.append(Caution.of("softmaxed", "yellow"))
    if read == "independent":
        sums = outputs.sum(1)
        cautions.append(Caution.of("sums_not_one", "note", low=float(sums.min()), high=float(sums.max())))
    if len(outputs) > 1 and not np.ptp(outputs, axis=0).any():
        cautions.append(Caution.of("same_answers", "yellow", rows=len(outputs)))
    return cautions


def _of_slopes(found: Probed) -> list[Caution]:
    steepest, cautions = found.steepest, []
    if steepest is None:
        return cautions
    zero, wild = int((steepest == 0).sum()), int((~np.isfinite(steepest)).sum())
    if zero:
        cautions.append(Caution.of("slopes_zero", "yellow", rows=zero, total=len(steepest), layer=found.flattened))
    if wild:
        cautions.append(Caution.of("slopes_not_finite", "red", rows=wild, total=len(steepest), layer=found.broken))
    return cautions

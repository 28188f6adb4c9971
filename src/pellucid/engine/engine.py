"""The engine: asks a method about a problem's sessions, and turns its estimates into a sealed explanation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..measures.intervals import order_is_open
from ..problem.model import Differentiable, Traceable
from ..problem.problem import Problem
from ..problem.removal import TensorRemoval
from ..problem.target import BoundTarget
from ..records.answer import Answer, Cost
from ..records.errors import ModelError, NotApplicable
from ..records.explanation import Explanation
from ..records.joining import merged
from ..records.messages import Caution
from .budget import Budget
from .estimate import Estimate, Estimator
from .lengths import looks_inside
from .listener import Listener
from .members import with_members
from .memory import CACHE
from .opening import Opened, opened
from .session import Session

GAP_TOLERANCE = 1e-3
"""A completeness gap above this is worth a caution, above ten times this a grave one."""
FLAT = 1e-9
LITTLE = 0.01
ROUNDING = 1e-7
"""What is smaller than this share of the ends is their rounding."""
OF_REMOVAL = ("zero_baseline", "background_of_one", "background_reduced")
"""Cautions about what stands for the absent, which a method that decides it itself does not deserve."""
FIRST = 3


def refuse_unmet_needs(method: Estimator, problem: Problem) -> None:
    """Raise :class:`NotApplicable` where the model or the rows lack what the method declares it needs."""
    for need in method.needs:
        if not isinstance(problem.model, need):
            raise NotApplicable(
                f"{method.name} needs a model that is {need.__name__.lower()}, {problem.model.name} is not",
                why=problem.model.reason,
                fix="kernel_shapley, lime and occlusion work with any model",
            )
    if {Differentiable, Traceable} & set(method.needs) and problem.blank:
        raise NotApplicable(
            f"{method.name} follows gradients, and cells of these rows are missing",
            why="a missing cell is no number that could change a little",
            fix="use a method that only asks for outputs, such as shapley, lime or occlusion",
        )
    if method.kinds and problem.kind not in method.kinds:
        raise NotApplicable(f"{method.name} explains {', '.join(method.kinds)}, not {problem.kind}")


def explain(
    problem: Problem,
    method: Estimator,
    *,
    seed: int = 0,
    budget: Budget | int | None = None,
    listener: Listener | None = None,
    bound: BoundTarget | None = None,
) -> Answer:
    """Explain every row of ``problem`` by ``method``; the record is of the kind that the method answers with.

    ``bound`` replaces the binding of the target. Of a mean of networks each is explained too, to say what they differ
    by; limits of rows and seconds are halved between the two.

    Raises :class:`NotApplicable`, :class:`TargetError`, :class:`BudgetError`, :class:`NotFiniteError`.
    """
    refuse_unmet_needs(method, problem)
    budget, members = Budget.of(budget), problem.model.members
    budget = budget.halved() if members else budget
    began = time.perf_counter()
    with opened(
        problem, method.name, seed=seed, budget=budget, listener=listener, bound=bound, slopes=method.at_rows,
        look=method.look, manner=method.manner, ends=_asks_nobody(method, problem), inside=looks_inside(method.needs),
    ) as run:  # fmt: skip
        estimates = [
            (rows, session, _checked(method.estimate(session), session, method)) for rows, session in run.parts
        ]
        found = _sealed(problem, method, run, estimates, seed, time.perf_counter() - began)
        asked = run.target.take(np.argsort(run.order).tolist())

    def apart(each: Problem, rows: np.ndarray) -> Answer:
        own = asked.take(rows.tolist())
        return explain(each, method, seed=seed, budget=run.budget, listener=listener, bound=own)

    return found if members is None else with_members(found, problem, members, apart, order_cautions)


def _checked(estimate: Estimate, session: Session, method: Estimator) -> Estimate:
    count = session.targets if method.answers.everywhere else session.questions
    due = (count, session.n) if method.answers.each_player else (count, *estimate.values.shape[1:])
    if estimate.values.shape != due:
        raise ModelError(f"{method.name} returned {estimate.values.shape} where {due} was due")
    if not np.isfinite(estimate.values).all():
        raise ModelError(f"{method.name} returned NaN or infinite contributions")
    return estimate


def _asks_nobody(method: Estimator, problem: Problem) -> bool:
    """Whether v(nobody) is worth asking: for a method that removes nothing, only where "absent" was given a meaning."""
    return method.removes or all(caution.code != "zero_baseline" for caution in problem.cautions)


Parts = Sequence[tuple[np.ndarray, Session, Estimate]]
"""What a method found: (rows in the caller's order, session, estimate) of each part."""


def _sealed(problem: Problem, method: Estimator, run: Opened, estimates: Parts, seed: int, seconds: float) -> Answer:
    kind = method.answers
    if kind.everywhere and len(estimates) > 1:
        raise NotApplicable(
            f"{method.name} speaks of all rows together, and these rows differ in their players or their length",
            fix="give rows of one length, and players that all of them share",
        )
    told = [(rows, session, _with_base(method, problem, session, estimate)) for rows, session, estimate in estimates]
    arrays = _arrays(kind, told, len(problem.inputs), run.target.count)
    base, full = arrays["base"], arrays["full"]
    own = method.own_removal
    unmoved = bool(own) or not _asks_nobody(method, problem)
    given = [caution for caution in problem.cautions if not unmoved or caution.code not in OF_REMOVAL]
    cautions = [*given, *run.cautions, *problem.model.cautions(), *_value_cautions(base, full, problem.kind)]
    if "gaps" in kind.by_row and "gaps" not in arrays:  # a method that has gaps of its own warns of them itself
        values = arrays[kind.of_estimate["values"]]
        arrays["gaps"] = completeness_gap(values, base, full) if _complete(method, estimates) else None
        cautions += gap_cautions(method.name, arrays["gaps"])
    if issubclass(kind, Explanation):
        cautions += order_cautions(method.name, arrays["attributions"], arrays.get("errors"))
        arrays["pooling"] = estimates[0][2].pooling or method.pooling
    cautions += [caution for _, _, estimate in estimates for caution in estimate.cautions]
    back = np.argsort(run.order)
    spent = round(max((s.spent.evaluations + s.spent.gradient_steps for _, s, _ in estimates), default=0.0), 6) + 1
    return kind(
        **arrays,
        players=problem.players,
        outputs=_outputs(run.target, back, kind.everywhere),
        method=method.name,
        settings=method.settings(),
        seed=seed,
        removal={"name": own} if own else problem.removal.settings(),
        background=None if own else background_of(run),
        target=_asked(problem, run.target),
        columns=_columns(run.target)[back[: len(base)]],
        budget={name: value for name, value in vars(run.budget).items() if value is not None},
        cost=Cost(spent, run.caller.tally.rows, run.caller.tally.gradients, seconds, run.caller.batch),
        warnings=merged(cautions),
        notes=_notes(estimates, len(problem.inputs)),
        rows=None if kind.everywhere else problem.inputs.raw,
        ids=problem.inputs.ids,
        model=problem.model.name,
        several=run.target.count > 1,
    )


def _with_base(method: Estimator, problem: Problem, session: Session, estimate: Estimate) -> Estimate:
    """The estimate with where its contributions start: at v(nobody) where it does not say; NaN where nobody asked."""
    if estimate.base is not None:
        return estimate
    unasked = np.full(session.questions, np.nan)
    return replace(estimate, base=session.empty if _asks_nobody(method, problem) else unasked)


def _complete(method: Estimator, estimates: Parts) -> bool:
    """Whether the values should add up: as a setting decided, or as the method declares."""
    decided = estimates[0][2].complete
    return "completeness" in method.promises if decided is None else decided


def _arrays(kind: type[Answer], estimates: Parts, rows_in_all: int, T: int) -> dict[str, Any]:
    """The record's arrays: ``[Q, m]`` of each part laid out as ``[N, m, T]``, ``[Q]`` as ``[N, T]``.

    Parts with fewer players fill the first places; the rest is NaN (False, where the array holds truth values).
    """
    N = 1 if kind.everywhere else rows_in_all
    found: dict[str, Any] = {}
    for rows, session, estimate in estimates:
        places = np.zeros(1, dtype=int) if kind.everywhere else rows
        for name, array in _named(kind, session, estimate).items():
            if name in kind.shared:  # of the rows with the most players, which hold those of all others
                found[name] = max(found.get(name, array), array, key=np.size)
                continue
            laid = np.moveaxis(array.reshape(len(places), T, *array.shape[1:]), 1, -1)
            laid = kind.beside(name, laid, estimate.notes, estimates[0][2].notes)
            known = found.get(name)
            if known is None and len(places) == N:  # all rows at once: nothing is left to stay undefined
                found[name] = known = np.empty(laid.shape, bool if laid.dtype.kind == "b" else float)
            elif known is None or any(a < b for a, b in zip(known.shape[1:], laid.shape[1:], strict=True)):
                found[name] = known = _wider(known, (N, *laid.shape[1:]), laid.dtype)
            known[(places, *(slice(size) for size in laid.shape[1:]))] = laid
    for name in set(found).difference(kind.shared):
        found[name].setflags(write=False)  # nobody else has them, so the record need not copy them
    return found


def _named(kind: type[Answer], session: Session, estimate: Estimate) -> dict[str, np.ndarray]:
    """An estimate's arrays by the record's names, the ends among them."""
    assert estimate.base is not None
    full = session.full if estimate.full is None else estimate.full
    arrays: dict[str, np.ndarray] = {"base": estimate.base, "full": full}
    if kind.everywhere:  # the ends of all rows, on average
        arrays = {name: ends.reshape(-1, session.targets).mean(0) for name, ends in arrays.items()}
    arrays[kind.of_estimate["values"]] = estimate.values
    if estimate.stderr is not None:
        arrays[kind.of_estimate["stderr"]] = estimate.stderr
    arrays.update(estimate.arrays)
    return arrays


def _wider(known: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    made = np.zeros(shape, dtype=bool) if dtype.kind == "b" else np.full(shape, np.nan)
    if known is not None:
        made[tuple(slice(size) for size in known.shape)] = known
    return made


def completeness_gap(values: np.ndarray, base: np.ndarray, full: np.ndarray) -> np.ndarray:
    """|Σφ − (full − base)| / max(Σ|φ|, |full − base|) of ``[N, n, T]`` values: ``Float64[N, T]``.

    0 where all of it is rounding of the ends.
    """
    delta, (total, size) = full - base, _totals(values)
    gap = np.abs(total - delta)
    scale = np.maximum(size, np.abs(delta))
    rounding = ROUNDING * np.maximum(np.abs(full), np.abs(base))
    return np.divide(gap, scale, out=np.zeros_like(gap), where=scale > np.nan_to_num(rounding))


def _totals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σφ and Σ|φ| over the players of ``[N, n, T]`` values, ``Float64[N, T]`` each; what is not there is left out.

    A few rows at a time, which stay in the cache: for pictures, memory made and left costs more than the sums.
    """
    totals, sizes = np.zeros((2, len(values), values.shape[2]))
    step = max(1, CACHE // (values[:1].nbytes + 1))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        total = part.sum(1)
        if np.isnan(total).any():  # some rows have fewer players
            part = np.nan_to_num(part)
            total = part.sum(1)
        totals[start : start + step], sizes[start : start + step] = total, np.abs(part).sum(1)
    return totals, sizes


def gap_cautions(method: str, gaps: np.ndarray | None) -> list[Caution]:
    """A caution where some of the gaps ``[N, ·]`` are too large to be rounding."""
    if gaps is None or not (gaps > GAP_TOLERANCE).any():
        return []
    rows = int((gaps > GAP_TOLERANCE).any(1).sum())
    grave = "red" if gaps.max() > 10 * GAP_TOLERANCE else "yellow"
    return [Caution.of("gap", grave, method=method, rows=rows, total=len(gaps), worst=float(gaps.max()))]


def _value_cautions(base: np.ndarray, full: np.ndarray, kind: str) -> list[Caution]:
    """Where taking everything away changes nothing; of texts, where it changes next to nothing of what they differ by.

    A network that never saw its mask token while it was trained may well say of masks alone what it says of a text.
    """
    change = np.abs(full - base)
    flat = (change <= FLAT * np.maximum(np.abs(full), 1e-12)).all(1)
    found = [Caution.of("flat_output", "yellow", rows=int(flat.sum()), total=len(base))] if flat.any() else []
    alike = (change <= LITTLE * np.ptp(full, axis=0)).all(1) & ~flat
    if kind == "text" and len(full) > 1 and alike.any():
        found.append(Caution.of("hardly_changes", "yellow", rows=int(alike.sum()), total=len(base)))
    return found


def order_cautions(method: str, values: np.ndarray, errors: np.ndarray | None) -> list[Caution]:
    """A note on rows whose first :data:`FIRST` contributions ``[N, n, T]`` could stand in another order."""
    if errors is None or values.shape[1] < 2 or not np.nansum(errors):
        return []
    rows = int(order_is_open(values, errors, FIRST).any(1).sum())
    return [Caution.of("uncertain_order", "note", method=method, k=FIRST, rows=rows, total=len(values))] if rows else []


def _outputs(target: BoundTarget, back: np.ndarray, everywhere: bool) -> tuple[tuple[str, ...], ...]:
    """The outputs' names of each row; of all rows together, "predicted" and the like where they differ."""
    names = tuple(target.names[place] for place in back.tolist())
    if not everywhere:
        return names
    alike = len(set(names)) == 1
    return (
        names[:1] if alike else (tuple(f"{target.asked['kind']} {t}".removesuffix(" 0") for t in range(target.count)),)
    )


def _asked(problem: Problem, target: BoundTarget) -> dict[str, Any]:
    """What was asked, and on what scale the model answers, where the number is one of its outputs."""
    own = problem.model.scale if target.rule is None else ""
    return target.asked | ({"scale": own} if own else {})


def _columns(target: BoundTarget) -> np.ndarray:
    """The bound output columns, ``Int[N, T]`` (``[N, T, 2]`` for contrasts)."""
    if target.against is None:
        return target.columns.numpy()
    return np.stack([target.columns.numpy(), target.against.numpy()], axis=-1)


def background_of(run: Opened) -> np.ndarray | None:
    """The rows that "absent" is made from, where they are shared: they are part of the question."""
    problem, removal = run.problem, run.problem.removal
    session = max((session for _, session in run.parts), key=len)
    if problem.inputs.opaque is not None or len(session.background) != 1:
        return None
    rows = session.background
    if len(run.parts) > 1 and isinstance(removal, TensorRemoval):  # a part may be shorter, or one row with its own
        references = removal.references(problem.inputs, problem.players, session.removal_seed)
        rows = removal.background(problem.inputs, references)
    return shared_rows(rows) if len(rows) == 1 else None


def shared_rows(references: torch.Tensor) -> np.ndarray:
    """Reference rows ``[1, S, D]`` as an array, in their own type where numpy has it."""
    rows = references[0].detach().cpu()
    return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()


def _notes(estimates: Parts, N: int) -> dict[str, Any]:
    """Notes of all parts: arrays ``[Q]`` are laid out by row, the rest is taken from the first part.

    A note of each question is a list of N numbers (or texts), of N lists of T with several targets. A part that says
    one number for all of its questions says it of each, where other parts tell theirs apart.
    """
    notes: dict[str, Any] = {}
    apart = {
        name: value.dtype
        for _, session, estimate in estimates
        for name, value in estimate.notes.items()
        if isinstance(value, np.ndarray) and value.shape == (session.questions,)
    }
    for rows, session, estimate in estimates:
        for name, value in estimate.notes.items():
            if name not in apart:
                notes.setdefault(name, value)
                continue
            table = notes.setdefault(name, np.full((N, session.targets), None if apart[name].kind == "O" else np.nan))
            table[rows] = value.reshape(len(rows), -1) if isinstance(value, np.ndarray) else value
    return {name: _listed(value) if name in apart else value for name, value in notes.items()}


def _listed(table: np.ndarray) -> list[Any]:
    """``[N, T]`` as N numbers where T is 1, else as N lists."""
    return table[:, 0].tolist() if table.shape[1] == 1 else table.tolist()


def answers(problem: Problem) -> np.ndarray:
    """The model's outputs ``Float64[N, K]`` for the rows as they are, in the caller's order."""
    return answers_and_target(problem)[0]


def answers_and_target(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The outputs ``Float64[N, K]`` and the target's values ``Float64[N, T]``, in the caller's order."""
    with opened(problem, "answers", ends=False) as run:
        back = np.argsort(run.order)
        full = run.target.select(torch.from_numpy(run.outputs), torch.arange(len(back)))
        return run.outputs[back], full.double().numpy()[back]

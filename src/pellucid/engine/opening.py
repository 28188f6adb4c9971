"""Opening a problem: under the guard its target is bound, and its rows become sessions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..problem.problem import Problem
from ..problem.target import BoundTarget
from ..records.errors import ModelError, NotApplicable
from ..records.messages import Caution
from .budget import Budget
from .caller import Caller
from .first_pass import Bind, First, binding, first_pass, first_walk, single_reference
from .inside import Look, Places
from .lengths import by_length
from .listener import Listener, Silent
from .session import Session
from .walking import Asked, walk_of


@dataclass
class Opened:
    """A problem under the guard: its target bound, its rows in the order of their ids, split by number of players.

    Rows of different lengths may be split by length too; the ``caller`` is then that of the longest.
    """

    problem: Problem
    caller: Caller
    target: BoundTarget
    outputs: np.ndarray
    order: np.ndarray
    cautions: list[Caution]
    budget: Budget
    parts: list[tuple[np.ndarray, Session]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Group:
    """Rows that are asked together: their ``places`` in the order of the ids, and what their first pass gave."""

    places: np.ndarray
    problem: Problem
    caller: Caller
    first: First
    references: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the first pass is to give beside the outputs; nothing where the target is bound on all rows ``at_once``."""

    slopes: bool
    look: Callable[[Places], Look | None] | None
    manner: Asked | None
    at_once: bool

    def first(self, caller: Caller, bind: Bind, references: torch.Tensor | None) -> First:
        wanted = None if self.look is None else self.look(Places(caller))
        walk = None if self.manner is None else walk_of(caller, self.manner, references)
        if self.at_once:
            return first_pass(caller, bind, references)
        if walk is not None:
            return first_walk(caller, bind, walk, references)
        return first_pass(caller, bind, references, self.slopes, wanted)


@contextmanager
def opened(
    problem: Problem,
    key: str,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    listener: Listener | None = None,
    bound: BoundTarget | None = None,
    slopes: bool = False,
    look: Callable[[Places], Look | None] | None = None,
    manner: Asked | None = None,
    ends: bool = True,
    inside: bool = False,
) -> Generator[Opened]:
    """Sessions on ``problem``; the model is alone with us inside and untouched afterwards.

    ``parts`` holds (rows in the caller's order, session). ``bound`` replaces the binding of the target,
    for judging an explanation by the very numbers it explained. With ``slopes`` the pass that binds the target
    also gives the gradients at the rows; with ``look``, what is to be seen inside the network at them; with ``manner``,
    what walking back from them gives; with ``ends`` also v(nobody), where it can be had along the way. ``inside``
    asks for sessions of one length.
    """
    if type(seed) is bool or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise NotApplicable(f"the seed must be a whole number from 0 on, not {seed!r}")
    ties = sorted(range(len(problem.inputs)), key=problem.target.tie)
    order = np.array(sorted(ties, key=problem.inputs.ids.__getitem__))
    split = by_length(problem.take(order, display=False), inside)
    caller = Caller(problem.model, split[0][1].inputs, listener or Silent(), columns=problem.inputs.columns)
    asked = _Asked(slopes, look, manner, bound is None and problem.target.at_once)
    with caller.guarded():
        caller.learn()
        groups = []
        for places, own in split:
            asking = replace(caller, inputs=own.inputs)
            references = single_reference(own, own.inputs, int(seed)) if ends and len(split) == 1 else None
            first = asked.first(asking, binding(problem, order[places], bound), references)
            groups.append(_Group(places, own, asking, first, references))
        outputs = _together(groups, len(order))
        target = binding(problem, order, bound)(outputs, slice(0, len(order)))
        full = target.select(outputs, torch.arange(len(order))).double().cpu().numpy()
        if not np.isfinite(full).all():
            raise _not_finite(groups, order, int(np.argwhere(~np.isfinite(full))[0][0]))
        answers = outputs.double().cpu().numpy()
        run = Opened(problem, groups[0].caller, target, answers, order, learned_cautions(caller), budget or Budget())
        for group in groups:
            for own in _by_count(group.problem):
                session = _session(run, group, own, full, key, int(seed))
                run.parts.append((order[group.places[own]], session))
        _settle(run)
        yield run


def _together(groups: Sequence[_Group], rows: int) -> torch.Tensor:
    """The outputs ``[N, K]`` of all groups. Raises :class:`ModelError` where they have different numbers of them."""
    if len(groups) == 1:
        return groups[0].first.outputs
    counts = {group.first.outputs.shape[1] for group in groups}
    if len(counts) > 1:
        raise ModelError(
            f"rows of different lengths have {min(counts)} to {max(counts)} outputs",
            fix="explain those of each length by themselves",
        )
    found = groups[0].first.outputs.new_empty((rows, counts.pop()))
    for group in groups:
        found[torch.from_numpy(group.places).to(found.device)] = group.first.outputs
    return found


def _not_finite(groups: Sequence[_Group], order: np.ndarray, place: int) -> ModelError:
    """What is said of a row whose output is no number; the layer is looked for."""
    group = next(group for group in groups if place in group.places)
    layer = group.caller.arises_at(int(np.flatnonzero(group.places == place)[0]))
    return ModelError(
        "the model's output is NaN or infinite",
        where=f"row {order[place]}",
        why=f"it becomes so in {layer}" if layer else "",
    )


def _settle(run: Opened) -> None:
    """Turn rows or seconds into evaluations once, all parts together."""
    if run.budget.limited:
        tally, sessions = run.caller.tally, [session for _, session in run.parts]
        rows = sum(session.questions * session.draws for session in sessions)
        run.budget = run.budget.settled(rows, tally.seconds / max(tally.rows, 1))
        for session in sessions:
            session.budget = run.budget


def _session(run: Opened, group: _Group, own: np.ndarray, full: np.ndarray, key: str, seed: int) -> Session:
    """The session on some of a group's rows, of what the first pass gave of them."""
    first, places = group.first, group.places[own]
    whole = len(own) == len(group.places)
    part, caller = group.problem, group.caller
    if not whole:
        part = part.take(own, display=False)
        caller = replace(caller, inputs=part.inputs)
    target = run.target if len(own) == len(run.order) else run.target.take(places.tolist())
    index = torch.from_numpy(own)
    slopes = None if first.slopes is None else first.slopes[index].flatten(0, 1)
    seen = None if first.seen is None or first.look is None else (first.look, first.seen[index].flatten(0, 1))
    walked = None
    if first.walked is not None:
        walk, found = first.walked
        walked = replace(walk, caller=caller), replace(found, values=found.values[index], left=found.left[index])
    session = Session(
        part, caller, target, full[places].reshape(-1), run.order[places].tolist(), key=key, seed=seed,
        budget=run.budget, nobody=first.nobody, slopes=slopes, seen=seen, walked=walked,
    )  # fmt: skip
    if group.references is not None:
        session.references = group.references
    return session


def _by_count(problem: Problem) -> list[np.ndarray]:
    """Places of the rows grouped by their number of players."""
    if problem.players.is_shared:
        return [np.arange(len(problem.inputs))]
    counts = problem.players.counts
    return [np.flatnonzero(counts == count) for count in np.unique(counts)]


def learned_cautions(caller: Caller) -> list[Caution]:
    """What was noticed about the model while it was learned how to ask it."""
    cautions = []
    if caller.learned.unstable:
        cautions.append(Caution.of("not_repeatable", "red", difference=caller.learned.unstable))
    if caller.learned.coupled:
        cautions.append(Caution.of("batch_coupled", "yellow", difference=caller.learned.coupled))
    chosen = getattr(caller.model, "chosen", None)
    if chosen:
        cautions.append(Caution.of("output_chosen", "note", name=chosen["name"]))
    if getattr(caller.model, "fixed_mode", False):
        cautions.append(Caution.of("fixed_training", "yellow"))
    elif getattr(caller.model, "was_training", False) and not caller.model.cautions():
        cautions.append(Caution.of("train_mode", "note"))
    return cautions

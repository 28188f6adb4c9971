"""How far the members of a mean of networks disagree: the mean is explained, and then each of them in the same way.

Every member answers the very question that the mean answered: the same players, the same bound target, the same
designs, the same noise. So what their explanations differ by is what the networks differ by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from ..problem.model import Members
from ..problem.problem import Problem
from ..records.answer import Answer, Cost
from ..records.explanation import Explanation
from ..records.joining import merged
from ..records.messages import Caution

AT_ONCE = 2**26
"""Bytes of rows: as many members are asked together as need no more."""
Ask = Callable[[Problem, np.ndarray], Answer]
"""Explains a problem whose rows are these of the rows at hand, with the target bound as it was for them."""
OrderCautions = Callable[[str, np.ndarray, np.ndarray], list[Caution]]


def with_members(found: Answer, problem: Problem, members: Members, ask: Ask, order: OrderCautions) -> Answer:
    """The explanation of a mean of networks, with the spread of theirs; an answer of another kind as it is.

    ``spreads`` are standard deviations over members, unless the method found some of its own. The standard errors are
    then of the mean over all networks of which these are a sample: √(errors² + spreads² / m). ``order`` says of a
    method's values and errors whether their order is open.
    """
    if not isinstance(found, Explanation):
        return found
    told = [ask(*part) for part in _parts(problem, members)]
    assert all(isinstance(part, Explanation) for part in told)
    laid = {name: _spread(told, name, members.count) for name in ("attributions", "base", "full")}
    spreads = laid.pop("attributions")
    own = 0.0 if found.errors is None else np.square(found.errors)
    errors = np.sqrt(own + np.square(spreads) / members.count)
    notes = {f"{name}_spread": (ends if found.several else ends[:, 0]).tolist() for name, ends in laid.items()}
    judged = replace(
        found,
        errors=errors,
        spreads=spreads if found.spreads is None else found.spreads,
        cost=_added(found.cost, [part.cost for part in told], members.count),
        notes={**found.notes, "members": members.count, **notes},
    )
    kept = [caution for caution in found.warnings if caution.code != "uncertain_order"]
    return replace(
        judged, warnings=merged([*kept, *order(found.method, found.attributions, errors), *_doubts(judged, spreads)])
    )


def _parts(problem: Problem, members: Members) -> Iterator[tuple[Problem, np.ndarray]]:
    """The rows once for each member, a few members at a time: row after row, for one member after another."""
    N, tensors = len(problem.inputs), problem.inputs.tensors.values()
    size, device = sum(tensor.nbytes for tensor in tensors), next(iter(tensors)).device
    step = max(1, min(members.count, AT_ONCE // max(size, 1)))
    for first in range(0, members.count, step):
        which = torch.arange(first, min(first + step, members.count), device=device)
        rows = np.tile(np.arange(N), len(which))
        taken = problem.take(rows)
        inputs = replace(
            taken.inputs,
            tensors={**taken.inputs.tensors, members.name: which.repeat_interleave(N)},
            carried=(*taken.inputs.carried, members.name),
        )
        inputs.__dict__["ids"] = taken.inputs.ids  # the noise of a row is the same for all members
        yield replace(taken, model=members.model, inputs=inputs), rows


def _spread(told: list[Answer], name: str, count: int) -> np.ndarray:
    """The standard deviation over members of an array ``[N · m, …]`` in parts."""
    found = np.concatenate([getattr(part, name) for part in told])
    return found.reshape(count, -1, *found.shape[1:]).std(0, ddof=1)


def _added(cost: Cost, own: list[Cost], count: int) -> Cost:
    """A row of a member is one of ``count`` parts of a row of the mean."""
    return replace(
        cost,
        rows=cost.rows + round(sum(each.rows for each in own) / count),
        gradients=cost.gradients + round(sum(each.gradients for each in own) / count),
        seconds=cost.seconds + sum(each.seconds for each in own),
    )


def _doubts(found: Explanation, spreads: np.ndarray) -> list[Caution]:
    """A caution where members differ about a row's strongest contribution by more than it is."""
    sizes = np.nan_to_num(np.abs(found.attributions), nan=-1.0)
    if not sizes.size:
        return []
    first = sizes.argmax(1)[:, None]
    unsure = (np.take_along_axis(spreads, first, 1) > np.take_along_axis(sizes, first, 1)).any((1, 2))
    rows, total = int(unsure.sum()), len(found)
    return [Caution.of("draws_disagree", "yellow", method=found.method, rows=rows, total=total)] if rows else []

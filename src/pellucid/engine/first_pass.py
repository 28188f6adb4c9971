"""The first pass: the rows as they are are asked once, and that pass also gives whatever else can be had from it.

The target is bound on its outputs. With them come v(nobody) of a single reference row, the gradients at the rows, and
what a method wants to see inside the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.model import Differentiable
from ..problem.problem import Problem
from ..problem.removal import TensorRemoval
from ..problem.target import BoundTarget
from .caller import Caller
from .inside import Look, Places, seen
from .memory import edges
from .walking import Walk, Walked


@dataclass
class First:
    """What the first pass over the rows as they are gives.

    ``outputs`` ``[N, K]`` is what targets are bound on and v(everyone); ``nobody`` ``[1, K]`` are the outputs of a
    single reference row, ``slopes`` ``[N, T, D]`` the gradients of the target where they were asked for, ``seen``
    ``[N, T, …]`` what was to be seen inside, with the look that it is of; ``walked`` likewise what a walk back gave.
    """

    outputs: Tensor
    nobody: Tensor | None = None
    slopes: Tensor | None = None
    seen: Tensor | None = None
    look: Look | None = None
    walked: tuple[Walk, Walked] | None = None


Bind = Callable[[Tensor, slice], BoundTarget]


def binding(problem: Problem, order: np.ndarray, bound: BoundTarget | None) -> Bind:
    """How the outputs of a run of rows, counted in ``order``, are bound; of a problem's rows, or of some of them."""
    target, labels = problem.target, problem.model.labels

    def bind(outputs: Tensor, places: slice) -> BoundTarget:
        rows = order[places].tolist()  # what is said row by row is given in the caller's order
        if bound is not None:
            return bound.take(rows)
        bound_here = target.take(rows).bind(outputs, labels)
        return replace(bound_here, asked=target.described(bound_here.asked))

    return bind


def single_reference(problem: Problem, inputs: Inputs, seed: int) -> Tensor | None:
    """The reference row ``[1, 1, D]`` where one stands for all rows and is worth asking along with them.

    A row alone costs as much as two or three: the weights have to be fetched all the same.
    """
    removal, players = problem.removal, problem.players
    plain = inputs.opaque is None and players.is_shared and len(inputs.elements) == len(inputs.tensors)
    if not plain or not isinstance(removal, TensorRemoval) or bool((players.labels < 0).any()):
        return None
    references = removal.references(inputs, players, seed)
    return references if references.shape[:2] == (1, 1) else None


def first_pass(
    caller: Caller, bind: Bind, reference: Tensor | None, slopes: bool = False, look: Look | None = None
) -> First:
    """Ask the rows as they are, the single reference row with the last of them."""
    inputs, parts, more, start = caller.inputs, [], [], 0
    N, slopes = len(inputs), slopes and isinstance(caller.model, Differentiable) and _floats(inputs)
    total = N + (reference is not None)
    while start < total:
        stop = start + edges(total - start, caller.batch)[0][1]
        try:
            if inputs.opaque is not None:
                parts.append(caller.opaque(list(inputs.opaque[start:stop])))
            elif (slopes or look is not None) and start < N:
                differentiate = _with_slopes if look is None else _with_look(look)
                found, extra = differentiate(caller, _rows(inputs, reference, start, stop), start, bind)
                parts.append(found)
                more.append(extra)
            else:
                with torch.no_grad():
                    index = torch.arange(start, stop).clamp(max=N - 1)
                    parts.append(caller.outputs(_rows(inputs, reference, start, stop), index))
        except torch.OutOfMemoryError as error:
            caller.halve(error)
            continue
        start = stop
    outputs = parts[0] if len(parts) == 1 else torch.cat(parts)
    extra = torch.cat(more) if more else None
    first = First(outputs[:N], outputs[N:] if total > N else None)
    return replace(first, slopes=extra) if look is None else replace(first, seen=extra, look=look)


def first_walk(caller: Caller, bind: Bind, walk: Walk, reference: Tensor | None) -> First:
    """The same by the graph of the model's operations, which is walked back block by block on the way."""
    N, outputs, parts, start = len(caller.inputs), [], [], 0
    while start < N:
        stop = start + edges(N - start, walk.pairs(1))[0][1]
        block = slice(start, stop)
        try:
            with torch.no_grad():
                found = walk.forward(block, caller.inputs.flat[block])
                parts.append(walk.back(block, slice(0, 1), bind(found[0], block), found))
        except torch.OutOfMemoryError as error:
            caller.halve(error)
            continue
        outputs.append(found[0])
        start = stop
    values, left = (torch.cat(each) for each in zip(*parts, strict=True))
    nobody = None
    if walk.references is not None:
        nobody = walk.nobody()
    elif reference is not None:
        with torch.no_grad():
            nobody = caller.outputs(reference[0].clone(), torch.zeros(1, dtype=torch.long))
    walked = walk, Walked(values, left, walk.replay.layers)
    return First(torch.cat(outputs), nobody, walked=walked)


def _floats(inputs: Inputs) -> bool:
    return inputs.opaque is None and inputs.flat.is_floating_point()


def _rows(inputs: Inputs, reference: Tensor | None, start: int, stop: int) -> Tensor:
    """A copy of the rows from ``start`` to ``stop``, the reference row behind the last."""
    taken = inputs.flat[start:stop]
    return taken.clone() if reference is None or stop <= len(inputs) else torch.cat([taken, reference[0]])


Differentiate = Callable[[Caller, Tensor, int, Bind], tuple[Tensor, Tensor]]
"""How outputs and something made of gradients come from rows that begin at a place, a reference row behind them."""


def _with_slopes(caller: Caller, rows: Tensor, start: int, bind: Bind) -> tuple[Tensor, Tensor]:
    """The outputs of rows and the gradients ``[·, T, D]`` of their targets, a reference row behind them left out."""
    count = min(len(rows), len(caller.inputs) - start)
    found, grads = caller.slopes(rows, _index(caller, rows, start), _totals(bind, start, count))
    return found, torch.stack(grads, dim=1)[:count]


def _with_look(look: Look) -> Differentiate:
    def differentiate(caller: Caller, rows: Tensor, start: int, bind: Bind) -> tuple[Tensor, Tensor]:
        """The outputs of rows and what is seen inside ``[·, T, …]``."""
        count = min(len(rows), len(caller.inputs) - start)
        places = [Places(caller).named(name) for name in look.places]
        found, activations, gradients = seen(
            caller, rows, _index(caller, rows, start), places, _totals(bind, start, count)
        )
        own = {name: tensor[:count] for name, tensor in activations.items()}
        made = [look.fold(own, {name: tensor[:count] for name, tensor in each.items()}) for each in gradients]
        return found, torch.stack(made, dim=1)

    return differentiate


def _index(caller: Caller, rows: Tensor, start: int) -> Tensor:
    """Whose row each is; the reference row goes as the last."""
    return torch.arange(start, start + len(rows)).clamp(max=len(caller.inputs) - 1)


def _totals(bind: Bind, start: int, count: int) -> Callable[[Tensor], list[Tensor]]:
    """The sums over rows of each of their T targets."""

    def totals(found: Tensor) -> list[Tensor]:
        target = bind(found[:count].detach(), slice(start, start + count))
        return list(target.select(found[:count], torch.arange(count)).sum(0))

    return totals

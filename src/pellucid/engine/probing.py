"""Probing: what a model is, found out by a few dozen calls on a few rows before it is asked why.

What asking a model at all needs to know (the rows it takes at once, whether it repeats itself, whether a row's answer
stands alone) is learned by the caller; this adds what a person wants to know before trusting an explanation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.differing import difference
from ..problem.inputs import same
from ..problem.model import Differentiable, Inspectable, Rows, Traceable
from ..problem.problem import Problem
from ..records.errors import ModelError, PellucidError, shorten
from ..records.messages import Caution
from ..records.preflight import Pace
from .caller import Caller, Learned
from .inside import Places
from .lengths import of_one_length
from .lifting import lifted
from .listener import Listener, Silent
from .opening import learned_cautions
from .walking import network_of

TRIED = 8
"""Rows that are looked at."""
TIMED = (1, 8, 64)
"""Numbers of rows at once that are timed, beside the best one."""
LONGEST = 0.5
"""Seconds: a number of rows that would take longer is not timed."""
WITHOUT = {
    "gradients": "it is known by its answers only",
    "layers": "its layers cannot be looked at",
    "operations": "its operations cannot be followed",
}
"""Why a model of a kind that lacks a capability lacks it."""


@dataclass
class Probed:
    """What was found: outputs ``Float64[N, K]`` (NaN where they are), differences as in the caller, reasons as texts.

    ``lost`` says of each capability why it is not there; ``steepest`` ``[N]`` is the largest |∂output/∂element| of each
    row, None without gradients; ``refused`` the number of rows that the model failed on, and how; ``broken`` the layer
    where outputs or gradients become NaN or infinite, ``flattened`` that where gradients become zero, the model's name
    where none is known.
    """

    problem: Problem
    learned: Learned
    outputs: np.ndarray
    dtype: str
    batch: int
    coupled: float
    unstable: float = 0.0
    reseeded: float = 0.0
    stateful: float = 0.0
    mutates: tuple[str, ...] = ()
    costs: tuple[Pace, ...] = ()
    refused: tuple[int, str] | None = None
    steepest: np.ndarray | None = None
    broken: str = ""
    flattened: str = ""
    lost: dict[str, str] = field(default_factory=dict)
    training: str = "off"
    cautions: tuple[Caution, ...] = ()


def probed(problem: Problem, listener: Listener | None = None, *, whole: bool = True) -> Probed:
    """Probe the model of ``problem`` on its first rows; it is left as it was.

    Only the ``whole`` of it follows the model's operations, which takes as long as some dozens of passes.

    Raises :class:`ModelError` where it does not answer a single row.
    """
    problem = of_one_length(problem)
    problem = problem.take(range(min(TRIED, len(problem.inputs))))
    caller = Caller(problem.model, problem.inputs, listener or Silent(), columns=problem.inputs.columns)
    with caller.guarded(), torch.no_grad():
        caller.learn()
    with caller.guarded(), caller.model.afresh(), torch.no_grad():
        first = caller.answers([0])
        found = _asked(problem, caller, first)
        found.training = _training(caller)
    with (
        caller.guarded(),
        caller.model.afresh(),
        torch.no_grad(),
    ):  # generators, modes and buffers are again what they were before ``first``
        found.reseeded = difference(first, caller.answers([0]))
    _looked(problem, found, whole)
    return found


def _asked(problem: Problem, caller: Caller, first: Tensor) -> Probed:
    """What answers alone tell: repeated, after others, beside others, in other numbers."""
    again = max(difference(first, caller.answers([0])) for _ in range(2))
    outputs = _each(caller)
    found = Probed(
        problem, caller.learned, outputs.double().cpu().numpy(), str(outputs.dtype).removeprefix("torch."),
        caller.batch, caller.learned.coupled, max(again, caller.learned.unstable),
    )  # fmt: skip
    if not found.unstable:
        caller.answers([len(outputs) - 1])  # another row in between
        found.stateful = difference(first, caller.answers([0]))
    if not found.unstable and not found.stateful:
        found.coupled = max(found.coupled, _coupled(caller, outputs))
    found.mutates = _written_over(caller)
    found.costs, found.refused = _timed(caller)
    found.cautions = tuple(learned_cautions(caller))
    return found


def _each(caller: Caller) -> Tensor:
    """The outputs of all rows, as many at once as the model bears."""
    N = len(caller.inputs)
    step = min(caller.batch, N)
    return torch.cat([caller.answers(list(range(at, min(at + step, N)))) for at in range(0, N, step)])


def _coupled(caller: Caller, outputs: Tensor) -> float:
    """How far a row's answer moves with its place and its neighbours; 0 where the model takes one row at once."""
    fixed = caller.model.fixed_batch or caller.learned.fixed
    if len(outputs) < 2 or fixed == 1:
        return 0.0
    turned = caller.answers([1, 0])
    return max(difference(turned[1:], outputs[:1]), difference(turned[:1], outputs[1:2]))


def _training(caller: Caller) -> str:
    if getattr(caller.model, "fixed_mode", False):
        return "fixed"
    return "switched off" if getattr(caller.model, "was_training", False) else "off"


def _written_over(caller: Caller) -> tuple[str, ...]:
    """The inputs whose numbers are others after the call; a black box of opaque rows is given copies unseen."""
    if caller.inputs.opaque is not None:
        return ()
    changed: set[str] = set()

    def ask(rows: Rows) -> Tensor:
        assert isinstance(rows, Mapping)
        before = {name: tensor.clone() for name, tensor in rows.items()}
        found = caller.model.outputs(rows)
        changed.update(name for name, tensor in rows.items() if not bool(same(tensor, before[name]).all()))
        return found

    caller.outputs(caller.inputs.flat[:1].clone(), torch.zeros(1, dtype=torch.long), ask)
    return tuple(sorted(changed))


def _timed(caller: Caller) -> tuple[tuple[Pace, ...], tuple[int, str] | None]:
    """Seconds per row at several numbers of rows at once; what the model fails on ends it."""
    fixed = caller.model.fixed_batch or caller.learned.fixed
    sizes = [fixed] if fixed else sorted({*TIMED, caller.batch})
    if caller.model.best_batch:  # it is asked once about equal rows, and each may have a price
        sizes = sorted({1, len(caller.inputs)})
    costs: list[Pace] = []
    for size in sizes if fixed or not caller.learned.coupled else [1]:
        if size < caller.learned.least or (costs and costs[-1].seconds * size > LONGEST):
            continue
        rows = [place % len(caller.inputs) for place in range(size)]
        try:
            costs.append(Pace(size, _seconds(caller, rows) / size))
        except torch.OutOfMemoryError:
            break
        except ModelError as error:
            return tuple(costs), (size, error.why or error.what)
    return tuple(costs), None


def _seconds(caller: Caller, rows: list[int]) -> float:
    """The shorter of two calls; of one, where that is long."""
    spent: list[float] = []
    while len(spent) < 2 and sum(spent) < LONGEST / 10:
        began = time.perf_counter()
        float(caller.answers(rows)[0, 0])  # an accelerator answers before it is done
        spent.append(time.perf_counter() - began)
    return min(spent)


# Inside ------------------------------------------------------------------------------------


def _looked(problem: Problem, found: Probed, whole: bool) -> None:
    """Which capabilities are there: each is tried, not only declared."""
    asked = of_one_length(lifted(problem, (Differentiable, Inspectable, Traceable)))
    caller = Caller(asked.model, asked.inputs, Silent())
    with caller.guarded():
        caller.learn()

        def slopes() -> None:
            steepest = found.steepest = _steepest(caller)
            found.flattened = _layer(caller, np.flatnonzero(steepest == 0), _predicted, vanishes=True)
            found.broken = found.broken or _layer(caller, np.flatnonzero(~np.isfinite(steepest)), _predicted)

        found.broken = _layer(caller, np.flatnonzero(~np.isfinite(found.outputs).all(1)))

        tries: dict[str, tuple[type, Callable[[], Any]]] = {
            "gradients": (Differentiable, slopes),
            "layers": (Inspectable, lambda: Places(caller).all),
        }
        if whole:
            tries["operations"] = (Traceable, lambda: network_of(caller))
        for name, (kind, attempt) in tries.items():
            found.lost[name] = reason_against(attempt) if isinstance(asked.model, kind) else WITHOUT[name]


def _steepest(caller: Caller) -> np.ndarray:
    """The largest |gradient| of the predicted output at each row."""
    N, step, found = len(caller.inputs), max(1, min(caller.batch, TRIED)), []
    for start in range(0, N, step):
        index = torch.arange(start, min(start + step, N))
        _, (grads,) = caller.slopes(caller.inputs.flat[index].clone(), index, lambda found: [_predicted(found)])
        found.append(grads.abs().amax(1).double().cpu())
    return torch.cat(found).numpy()


def _layer(
    caller: Caller, rows: np.ndarray, total: Callable[[Tensor], Tensor] | None = None, vanishes: bool = False
) -> str:
    """Where the outputs of the first of some ``rows``, or the gradient of ``total``, are lost; "" without rows."""
    if not len(rows):
        return ""
    return caller.arises_at(int(rows[0]), total, vanishes) or caller.model.name


def _predicted(outputs: Tensor) -> Tensor:
    return outputs.gather(1, outputs.detach().argmax(1, keepdim=True)).sum()


def reason_against(attempt: Callable[[], Any]) -> str:
    """Why ``attempt`` cannot be made, in a sentence; "" where it can."""
    try:
        attempt()
    except PellucidError as error:
        where = f" ({error.where})" if error.where else ""
        return f"{error.what}{where}" + (f": {error.why}" if error.why else "")
    except Exception as error:  # noqa: BLE001 — a stranger's network may raise anything when it is looked into
        return shorten(f"{type(error).__name__}: {error}".split("\n")[0], 200)
    return ""


def reasons_against(problem: Problem, methods: Mapping[str, Any], listener: Listener | None = None) -> dict[str, str]:
    """Why methods that declare what they want to see cannot see it: "" for those that can, or that declare nothing.

    Each method's layers are chosen and its walk is planned, on the first rows of ``problem``; nothing is estimated.
    """
    asked = {needs: lifted(problem, needs) for needs in {method.needs for method in methods.values()}}
    found = {}
    for name, method in methods.items():
        own = of_one_length(asked[method.needs])
        caller = Caller(own.model, own.inputs, listener or Silent())
        with caller.guarded():
            caller.learn()

            def attempt(caller: Caller = caller, method: Any = method) -> None:
                method.look(Places(caller))
                manner = method.manner(lambda: network_of(caller))
                if manner is not None:
                    network_of(caller).plan(manner)

            found[name] = reason_against(attempt)
    return found

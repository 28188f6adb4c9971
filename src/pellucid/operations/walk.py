"""The backward walk itself: from the output to the inputs, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from .plan import Plan, Step, Values, evaluate
from .rules import Rules

Watch = Callable[[Node, dict[Node, Tensor]], None]


def multipliers(
    plan: Plan, rules: Rules, at: Values, ref: Values, m: Tensor, watch: Watch | None = None
) -> dict[Node, Tensor]:
    """Walk back from multipliers ``m`` of the output to those of the inputs.

    ``watch`` is told each step's node with all that is on its way when the walk reaches it: multipliers by node, its
    own among them. In a walk that conserves, Σ m·Δ over these is the output's difference wherever one looks.
    """
    carried = {plan.output: m}
    for step in reversed(plan.steps):
        if step.node not in carried:
            continue
        if watch is not None:
            watch(step.node, carried)
        own = carried.pop(step.node)
        add(carried, step, at, rules[step.kind](step, at, ref, own))
    return carried


def add(carried: dict[Node, Tensor], step: Step, at: Values, parts: tuple[Tensor, ...]) -> None:
    """Add what a step passes back to each of its sources to what is on its way there."""
    for source, part in zip(step.sources, parts, strict=True):
        if at[source].is_floating_point():
            part = part.to(at[source].dtype)  # a network may compute in single here and in double there
        carried[source] = carried[source] + part if source in carried else part


@dataclass(frozen=True, eq=False)
class Passed:
    """What passed through the graph at one node of one row: ``through`` it ``[…]``, and ``besides``, summed."""

    node: Node
    through: Tensor
    besides: float

    @property
    def total(self) -> float:
        return float(self.through.sum()) + self.besides


def passed(plan: Plan, rules: Rules, row: tuple[Tensor, ...], reference: tuple[Tensor, ...] | None, m: Tensor,
           units: frozenset[Node] = frozenset()) -> list[Passed]:  # fmt: skip
    """What passes through each step's node, from the output to the inputs, for one row ``[1, …]``.

    Without a ``reference`` its values count as 0, those of ``units`` as one less than the row's.
    """
    at = values_of(plan, row)
    ref = values_of(plan, reference) if reference is not None else _without(at, units)
    found: list[Passed] = []

    def watch(node: Node, carried: dict[Node, Tensor]) -> None:
        parts = {n: part * (_as(at[n], part) - _as(ref[n], part)) for n, part in carried.items()}
        through = parts.pop(node)
        found.append(Passed(node, through, sum(float(part.sum()) for part in parts.values())))

    with torch.no_grad():
        ends = multipliers(plan, rules, at, ref, m, watch)
        for node in plan.inputs:
            if node in ends:
                watch(node, ends)
    return found


def _as(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like.dtype)


def _without(at: Values, units: frozenset[Node]) -> dict[Node, Any]:
    return {node: value - 1 if node in units else torch.zeros_like(value) for node, value in at.items()}


def values_of(plan: Plan, row: tuple[Tensor, ...]) -> dict[Node, Any]:
    """The values of everything a walk may ask for."""
    known: dict[Node, Any] = dict(zip(plan.inputs, row, strict=True))
    nodes = list(plan.graph.graph.nodes)[:-1]
    for node in nodes:
        if node.op == "get_attr":
            known[node] = plan.held(node)
    values = evaluate([node for node in nodes if node.op == "call_function"], known)
    return {node: values[node] for node in plan.needed}

"""The backward walk itself: from the output to the inputs, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from .plan import Plan, Step, Values, evaluate
from .rules import Rules

Watch = Callable[[Node, dict[Node, Tensor]], None]
Back = Callable[[Plan, Rules, Values, Values, Tensor, Watch | None], dict[Node, Tensor]]
"""A walk: what :func:`multipliers` is."""


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


def left_of(carried: Mapping[Node, Tensor], differences: Callable[[Node], Tensor]) -> Tensor:
    """Σ m·Δ of everything that is on its way, in one number."""
    parts = [m.flatten() @ differences(node).to(m.dtype).expand(m.shape).flatten() for node, m in carried.items()]
    return torch.stack(parts).sum()


def values_of(plan: Plan, row: tuple[Tensor, ...]) -> dict[Node, Any]:
    """The values of everything a walk may ask for."""
    known: dict[Node, Any] = dict(zip(plan.inputs, row, strict=True))
    nodes = list(plan.graph.graph.nodes)[:-1]
    for node in nodes:
        if node.op == "get_attr":
            known[node] = plan.held(node)
    values = evaluate([node for node in nodes if node.op == "call_function"], known)
    return {node: values[node] for node in plan.needed}

"""DeepLIFT's reveal-cancel rule: what pushes up and what pushes down is carried apart, so that it cannot hide.

Shrikumar, Greenside & Kundaje 2017 (arXiv 1704.02685), section 3.5.3. Of every value the difference to the reference is
kept as Δ⁺ + Δ⁻, and a one-variable function gives each its share, as the Shapley values of the two would:

    Δy⁺ = ½ (g(u′ + Δu⁺) − g(u′)) + ½ (g(u) − g(u′ + Δu⁻)),   Δy⁻ likewise.

Operations that mix signs in another way than by weights get one multiplier for both, by the rescale rule.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node

from .kinds import LAYERS, name_of
from .plan import Plan, Step, Values, keeps_sign
from .rules import Rules, as_float, function_of, linear, sum_to
from .walk import Watch

Parts = tuple[Tensor, Tensor]
"""Of Δ: what is above 0 and what is below. Of multipliers: those of either."""


def revealed(
    plan: Plan, rules: Rules, at: Values, ref: Values, m: Tensor, watch: Watch | None = None
) -> dict[Node, Tensor]:
    """Multipliers of the inputs, as :func:`pellucid.operations.walk.multipliers` gives them by the rescale rule."""
    differences = _differences(plan, at, ref)
    carried: dict[Node, Parts] = {plan.output: (m, m)}
    for step in reversed(plan.steps):
        if step.node not in carried:
            continue
        if watch is not None:
            watch(step.node, {node: _joined(own, differences[node]) for node, own in carried.items()})
        own = carried.pop(step.node)
        for source, parts in zip(step.sources, _back(step, rules, at, ref, own, differences), strict=True):
            kind = at[source].dtype if at[source].is_floating_point() else m.dtype
            up, down = (part.to(kind) for part in parts)
            before = carried.get(source)
            carried[source] = (up, down) if before is None else (before[0] + up, before[1] + down)
    return {node: _joined(own, differences[node]) for node, own in carried.items()}


def _joined(m: Parts, difference: Parts) -> Tensor:
    """One multiplier for the whole difference: that of the part which there is, or their mean by size."""
    up, down = difference
    whole = up + down
    mixed = ((m[0] * up + m[1] * down) / whole).nan_to_num(0, 0, 0)
    return torch.where((up == 0) & (down == 0), (m[0] + m[1]) / 2, mixed)


def _apart(difference: Tensor) -> Parts:
    return difference.clamp(min=0), difference.clamp(max=0)


def _differences(plan: Plan, at: Values, ref: Values) -> dict[Node, Parts]:
    """Δ⁺ and Δ⁻ of everything a walk passes."""
    found = {node: _apart(at[node] - ref[node]) for node in plan.inputs if node in plan.active}
    for step in plan.steps:
        found[step.node] = _forward(step, at, ref, [found[source] for source in step.sources])
    return found


def _forward(step: Step, at: Values, ref: Values, given: list[Parts]) -> Parts:
    if step.kind == "layer":
        ((up, down),) = given
        return _by_weights(step, at, up, down)
    if step.kind in ("elementwise", "rectifier"):
        return _shared(step, at, ref, given[0])
    if _is_difference(step):
        (up, down), (less, more) = given[0], given[1]
        return up - more, down - less
    if step.kind == "linear" and keeps_sign(step):
        nothing = step({**at, **{s: torch.zeros_like(at[s]) for s in step.sources}})
        sides = [dict(zip(step.sources, side, strict=True)) for side in zip(*given, strict=True)]
        up, down = (step({**at, **side}) - nothing for side in sides)
        return up, down
    value = as_float(at[step.node], at[step.sources[0]]) - as_float(ref[step.node], at[step.sources[0]])
    return _apart(value)


def _shared(step: Step, at: Values, ref: Values, given: Parts) -> Parts:
    """The Shapley values of Δu⁺ and Δu⁻ in the game of g."""
    (source,) = step.sources
    shape = at[step.node].shape
    g = function_of(step, at, at[source])
    start, up, down = (as_float(value, at[step.node]).expand(shape) for value in (ref[source], *given))
    none, both, above, below = g(start), g(start + up + down), g(start + up), g(start + down)
    return (above - none + both - below) / 2, (below - none + both - above) / 2


def _by_weights(step: Step, at: Values, up: Tensor, down: Tensor) -> Parts:
    """A layer's Δ⁺ and Δ⁻: positive weights keep signs, negative ones turn them."""
    above, below = _signed_weights(step)
    source = step.sources[0]

    def run(x: Tensor, weights: Values) -> Tensor:
        return step({**at, source: x}, weights)

    return run(up, above) + run(down, below), run(up, below) + run(down, above)


def _signed_weights(step: Step) -> tuple[Values, Values]:
    """The layer's constants with only its positive, and only its negative weights; without bias."""
    _, weights, bias = LAYERS[name_of(step.node)]
    weight, offset = step.argument(weights), None if bias is None else step.argument(bias)
    bare = {offset: torch.zeros_like(step.constants[offset])} if isinstance(offset, Node) else {}
    W = step.constants[weight]
    return {weight: W.clamp(min=0), **bare}, {weight: W.clamp(max=0), **bare}


def _is_difference(step: Step) -> bool:
    return step.kind == "linear" and name_of(step.node) == "sub" and len(step.sources) == 2 and not step.node.kwargs


def _back(step: Step, rules: Rules, at: Values, ref: Values, m: Parts, differences: dict[Node, Parts]) -> list[Parts]:
    """The multipliers of each source."""
    given = [differences[source] for source in step.sources]
    if step.kind == "layer":
        (above, below), source = _signed_weights(step), step.sources[0]
        sides = []
        for up, down in (m, m[::-1]):
            _, plus = torch.func.vjp(lambda x: step({**at, source: x}, above), torch.zeros_like(at[source]))[:2]
            _, minus = torch.func.vjp(lambda x: step({**at, source: x}, below), torch.zeros_like(at[source]))[:2]
            sides.append(plus(up)[0] + minus(down)[0])
        return [(sides[0], sides[1])]
    if step.kind in ("elementwise", "rectifier"):
        made = differences[step.node]
        pairs = zip(m, made, given[0], strict=True)
        u = at[step.sources[0]]
        up, down = (sum_to(part * (y / x).nan_to_num(0, 0, 0), u) for part, y, x in pairs)
        return [(up, down)]
    if _is_difference(step):
        one, other = step.sources
        return [
            (sum_to(m[0], at[one]), sum_to(m[1], at[one])),
            (sum_to(-m[1], at[other]), sum_to(-m[0], at[other])),
        ]
    if step.kind == "linear" and keeps_sign(step):
        sides = [linear(step, at, ref, part) for part in m]
        return list(zip(*sides, strict=True))
    whole = rules[step.kind](step, at, ref, _joined(m, differences[step.node]))
    return [(part, part) for part in whole]

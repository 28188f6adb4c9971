"""Layer-wise relevance propagation in multiplier form: what is carried is c = R / value.

It is the walk of :mod:`pellucid.operations.rules` with all reference values 0: sums, concatenations and reshapes then
conserve by themselves, a product of two active factors gives half to each (Achtibat et al. 2024, arXiv 2402.05602,
section 3.3). Only layers with weights have rules to choose from (Bach et al. 2015; Montavon et al. 2019, table 10.1).
What a softmax in attention or the statistics of a norm say counts as given: the values receive all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from ..records.errors import NotApplicable
from .kinds import LAYERS, PRODUCTS, RESHAPING, SOFTMAX, name_of
from .plan import Plan, Step, Values
from .rules import Rule, Rules, as_float, function_of, linear, product, pulled, sum_to
from .trace import spot


def gradient(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """The vector–Jacobian product at the row itself; conditions pass nothing."""
    _, pull = pulled(lambda *given: as_float(step.of_sources(at)(*given), m), *[at[s] for s in step.sources])
    return pull(m)


def elementwise(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """All relevance of g(u) goes to u: c g(u)/u."""
    (source,) = step.sources
    u = as_float(at[source], m)
    y = function_of(step, at, m)(u.expand(m.shape))
    return (sum_to(m * (y / u).nan_to_num(0, 0, 0), u),)


def rectifier(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    return (m * (at[step.sources[0]] > 0),)


def division(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """The numerator receives all."""
    over, under = step.argument(0), step.argument(1)
    parts = {over: sum_to(m / at[under], at[over]), under: torch.zeros_like(at[under])}
    return tuple(parts[s] for s in step.sources)


def branch(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """The branch that was taken receives all."""
    condition, one, other = (step.argument(place) for place in range(3))
    taken = as_float(at[condition], m)
    parts = {other: m * (1 - taken), one: m * taken, condition: m * 0}
    return tuple(sum_to(parts[s].expand(m.shape), at[s]) for s in step.sources)


def nothing(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(at[s], dtype=m.dtype) for s in step.sources)


BASE: Rules = {
    "linear": linear, "layer": linear, "product": product, "elementwise": elementwise, "rectifier": rectifier,
    "softmax": gradient, "log_softmax": gradient, "logsumexp": gradient, "division": division, "largest": gradient,
    "larger": gradient, "branch": branch, "comparison": nothing,
}  # fmt: skip
"""LRP-0 everywhere."""

GRADIENT: Rules = {kind: linear if kind in ("linear", "layer") else gradient for kind in BASE}
"""The plain gradient."""


def _guided(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    return (m.clamp(min=0) * (at[step.sources[0]] > 0),)


def _deconvolved(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    return (m.clamp(min=0),)


GUIDED: Rules = {**GRADIENT, "rectifier": _guided}
"""Springenberg et al. 2015 (arXiv 1412.6806), section 3.4: negative gradients do not pass a rectifier either."""
DECONVOLUTION: Rules = {**GRADIENT, "rectifier": _deconvolved}
"""Zeiler & Fergus 2014 (arXiv 1311.2901), section 2.1: a rectifier is applied to what comes back instead."""


# Rules for layers with weights ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epsilon:
    """z + ε sign z in the denominator (Bach et al. 2015, equation 58)."""

    epsilon: float = 1e-6

    def __call__(self, step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
        z = at[step.node]
        return linear(step, at, ref, m * (z / steadied(z, self.epsilon)).nan_to_num(1))


@dataclass(frozen=True)
class AlphaBeta:
    """α of the relevance by positive contributions, −β by negative ones, α − β = 1 (Bach et al. 2015, equation 60)."""

    alpha: float = 1.0
    beta: float = 0.0
    epsilon: float = 1e-6

    def __call__(self, step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
        R = m * at[step.node]
        found = _by_sign(step, at, R * self.alpha, self.epsilon, positive=True)
        if self.beta:
            found = found + _by_sign(step, at, -R * self.beta, self.epsilon, positive=False)
        return (found,)


@dataclass(frozen=True)
class Gamma:
    """Contributions of the output's own sign counted 1 + γ times (Montavon et al. 2019; Andéol et al. 2021)."""

    gamma: float = 0.25
    epsilon: float = 1e-6

    def __call__(self, step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
        z = at[step.node]
        R, up = m * z, z > 0
        raised = _parts(step, at, positive=True)
        lowered = _parts(step, at, positive=False)
        ups, downs = (z + self.gamma * sum(part.forward for part in parts) for parts in (raised, lowered))
        share = (R / steadied(torch.where(up, ups, downs), self.epsilon)).nan_to_num(0, 0, 0)
        found = linear(step, at, ref, share)[0]
        for parts, mask in ((raised, up), (lowered, ~up)):
            found = found + self.gamma * sum(part.back(share * mask) for part in parts)
        return (found,)


@dataclass(frozen=True)
class Flat:
    """Shared out equally over what a layer looks at (Bach et al. 2016; Lapuschkin et al. 2019): for first layers."""

    epsilon: float = 1e-6

    def __call__(self, step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
        u = at[step.sources[0]]
        weight = _weight(step)
        ones = {weight: torch.ones_like(step.constants[weight]), **_without_bias(step)}
        z, pull = pulled(lambda x: step({**at, step.sources[0]: x}, ones), torch.ones_like(u))
        return pull((m * at[step.node] / steadied(z, self.epsilon)).nan_to_num(0, 0, 0))


@dataclass(frozen=True)
class Box:
    """zᴮ: inputs known to lie between two values (Montavon et al. 2017, equation 21): for first layers."""

    low: float = 0.0
    high: float = 1.0
    epsilon: float = 1e-6

    def __call__(self, step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
        u, weight = at[step.sources[0]], _weight(step)
        W, bare = step.constants[weight], _without_bias(step)
        parts = [
            (u, W, 1.0), (torch.full_like(u, self.low), W.clamp(min=0), -1.0),
            (torch.full_like(u, self.high), W.clamp(max=0), -1.0),
        ]  # fmt: skip
        pulls, z = [], torch.zeros_like(m)
        for x, kernel, sign in parts:
            y, pull = pulled(
                lambda given, kernel=kernel: step({**at, step.sources[0]: given}, {weight: kernel, **bare}), x
            )
            z = z + sign * y
            pulls.append((x, pull, sign))
        share = (m * at[step.node] / steadied(z, self.epsilon)).nan_to_num(0, 0, 0)
        return (sum(sign * x * pull(share)[0] for x, pull, sign in pulls),)  # pyright: ignore[reportReturnType]


def steadied(z: Tensor, epsilon: float) -> Tensor:
    """z moved away from 0 by ε; 0 itself counts as positive."""
    return z if epsilon == 0 else z + epsilon * ((z >= 0) * 2.0 - 1.0)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some of a layer's contributions: ``forward`` their sum, ``back`` what multipliers of it give its input."""

    forward: Tensor
    back: Callable[[Tensor], Tensor]


def _parts(step: Step, at: Values, positive: bool) -> list[_Part]:
    """The positive (or negative) contributions: those of inputs above 0 and, where there may be any, of those below."""
    (source,), weight = step.sources, _weight(step)
    u, W = at[source], step.constants[weight]
    bias = _bias(step)
    own = (
        {}
        if bias is None
        else {bias: step.constants[bias].clamp(min=0) if positive else step.constants[bias].clamp(max=0)}
    )
    above, below = (W.clamp(min=0), W.clamp(max=0)) if positive else (W.clamp(max=0), W.clamp(min=0))
    if step.never_negative:
        return [_part(step, at, u, {weight: above, **own}, None)]
    kinds = [_part(step, at, u.clamp(min=0), {weight: above, **own}, u > 0)]
    return [*kinds, _part(step, at, u.clamp(max=0), {weight: below, **_without_bias(step)}, u < 0)]


def _part(step: Step, at: Values, u: Tensor, replaced: Values, mask: Tensor | None) -> _Part:
    y, pull = pulled(lambda x: step({**at, step.sources[0]: x}, replaced), u)
    return _Part(y, lambda m: pull(m)[0] if mask is None else pull(m)[0] * mask)


def _by_sign(step: Step, at: Values, R: Tensor, epsilon: float, positive: bool) -> Tensor:
    parts = _parts(step, at, positive)
    z = sum(part.forward for part in parts)
    share = (R / (z + epsilon if positive else z - epsilon)).nan_to_num(0, 0, 0)  # pyright: ignore[reportOperatorIssue]
    return sum(part.back(share) for part in parts)  # pyright: ignore[reportReturnType]


def _weight(step: Step) -> Node:
    return step.argument(LAYERS[name_of(step.node)][1])


def _bias(step: Step) -> Node | None:
    place = LAYERS[name_of(step.node)][2]
    found = None if place is None else step.argument(place)
    return found if isinstance(found, Node) else None


def _without_bias(step: Step) -> dict[Node, Tensor]:
    bias = _bias(step)
    return {} if bias is None else {bias: torch.zeros_like(step.constants[bias])}


# What counts as given -------------------------------------------------------------------------------------------


def given(node: Node) -> bool:
    """Whether relevance does not flow into a node: the weights of attention, the size that a norm divides by."""
    name = name_of(node)
    if name in SOFTMAX:
        return _is_factor(node)
    return name == "rsqrt" and _is_mean(node)


def _is_factor(node: Node, depth: int = 12) -> bool:
    """Whether it is multiplied with something before anything else is done with it."""
    for user in node.users:
        name = name_of(user)
        others = [other for other in user.all_input_nodes if other is not node]
        if name in PRODUCTS and any(other.op != "get_attr" for other in others):
            return True
        if depth and name not in ("sum", "mean") and user.op == "call_function" and _is_factor(user, depth - 1):
            return True
    return False


def _is_mean(node: Node, depth: int = 4) -> bool:
    """Whether it is a function of a mean of squares."""
    names = {name_of(parent) for parent in node.all_input_nodes}
    if names & {"mean", "var", "sum"}:
        return True
    return depth > 0 and any(
        _is_mean(parent, depth - 1) for parent in node.all_input_nodes if name_of(parent) in ("add", "mul", "div")
    )


def first_layers(plan: Plan) -> frozenset[Node]:
    """The layers that see the inputs themselves, reshaped at most."""
    shaped = _shaped(plan)
    return frozenset(step.node for step in plan.steps if step.kind == "layer" and step.sources[0] in shaped)


def _shaped(plan: Plan) -> frozenset[Node]:
    """The inputs, and what is only another shape of them."""
    shaped = {node for node in plan.inputs if node in plan.active}
    for step in plan.steps:
        if step.kind == "linear" and set(step.sources) <= shaped and name_of(step.node) in RESHAPING:
            shaped.add(step.node)
    return frozenset(shaped)


@dataclass(frozen=True)
class Composite:
    """Rules by the kind of layer: ``dense`` for matrix products, ``convolution``, ``first`` for what sees the inputs.

    None for ``first``: like any other layer of its kind.
    """

    dense: Rule
    convolution: Rule
    first: Rule | None = None

    def rules(self, plan: Plan) -> Rules:
        first = first_layers(plan) if self.first is not None else frozenset()

        def of_layer(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
            rule = self.convolution if name_of(step.node) == "convolution" else self.dense
            if step.node in first and self.first is not None:
                rule = self.first
            return rule(step, at, ref, m)

        return {**BASE, "layer": of_layer}

    def units(self, plan: Plan) -> frozenset[Node]:
        """The inputs, reshaped at most, where rules for first layers carry relevance itself: it may lie where x = 0.

        Raises :class:`NotApplicable` where the inputs also go elsewhere than into first layers.
        """
        if self.first is None:
            return frozenset()
        layers, shaped = first_layers(plan), _shaped(plan)
        elsewhere = [s for s in plan.steps if shaped & set(s.sources) and s.node not in shaped | layers]
        if elsewhere or not layers:
            raise NotApplicable(
                "a rule for first layers needs layers that alone see the inputs",
                where=spot(elsewhere[0].node) if elsewhere else "",
                fix='use rule="epsilon_plus" or "epsilon"',
            )
        return shaped

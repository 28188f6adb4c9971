"""DeepLIFT multipliers: for each kind of step, m with Δy = Σ m Δu exactly, Δ being the difference to a reference.

Shrikumar, Greenside & Kundaje 2017 (arXiv 1704.02685), sections 3.3 and 3.5.1 (rescale rule), carried over to every
operation: what is of degree two or less has the vector–Jacobian product at the midpoint, which is exact there; the few
others have a rule of their own. Rules never branch on values, so they can be mapped over rows and references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp
from torch.fx import Node

from .kinds import name_of
from .plan import Step, Values
from .pooling import winners_share

Rule = Callable[[Step, Values, Values, Tensor], tuple[Tensor, ...]]
"""(step, values at the row, at the reference, multiplier of the step's node) → a multiplier for each source."""
Rules = Mapping[str, Rule]
"""A rule for each kind of step."""


def pulled(function: Callable[..., Tensor], *given: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """The value of a function, and its vector–Jacobian product there."""
    found = vjp(function, *given)
    return found[0], found[1]


def linear(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """The transposed map; its forward pass is asked at zeros, whose values nothing depends on."""
    kinds = [at[s].dtype if at[s].is_floating_point() else m.dtype for s in step.sources]
    zeros = [torch.zeros(at[s].shape, dtype=kind, device=m.device) for s, kind in zip(step.sources, kinds, strict=True)]
    _, pull = pulled(step.of_sources(at), *zeros)
    return pull(m)


def product(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Of degree two: the vector–Jacobian product at the midpoint."""
    middle = [(as_float(at[s], m) + as_float(ref[s], m)) / 2 for s in step.sources]
    _, pull = pulled(step.of_sources(at), *middle)
    return pull(m)


def elementwise(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Δg/Δu, and where rounding would spoil it g′ at the midpoint."""
    (source,) = step.sources
    g = function_of(step, at, m)
    u, v = (as_float(values[source], m) for values in (at, ref))
    return (sum_to(m * secant(g, u.expand(m.shape), v.expand(m.shape)), u),)


def secant(g: Callable[[Tensor], Tensor], u: Tensor, v: Tensor) -> Tensor:
    """(g(u) − g(v))/(u − v) of an elementwise g, its derivative at the midpoint where u ≈ v.

    The derivative is taken wherever it explains the difference to the rounding of the values: there the quotient holds
    nothing but rounding. Masks are multiplied in, since choosing element by element takes eight times as long.
    """
    slope = derivative(g, (u + v) / 2).nan_to_num(0, 0, 0)
    y, z = g(u), g(v)
    step, rise = u - v, (y - z).nan_to_num(0)  # both may be infinite
    rounding = y.abs() + z.abs() + slope.abs() * (u.abs() + v.abs())
    near = (slope * step - rise).abs() <= 4 * torch.finfo(u.dtype).eps * rounding
    quotient = (rise / step).nan_to_num(0, 0, 0)
    return quotient + near * (slope - quotient)


def rectifier(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Of max(u, 0): the larger of u and u′ over their distance, between 0 and 1."""
    (source,) = step.sources
    u, v = at[source], ref[source]
    return (m * (torch.maximum(u, v) / (u - v).abs()).clamp(0, 1).nan_to_num(0),)


def derivative(g: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """g′(u) of an elementwise g."""
    y, pull = pulled(g, u)
    return pull(torch.ones(y.shape, dtype=y.dtype, device=y.device))[0]


def function_of(step: Step, at: Values, like: Tensor) -> Callable[[Tensor], Tensor]:
    """The step as a function of its only source; a condition counts as 0 or 1."""
    whole = step.of_sources(at)
    return lambda u: as_float(whole(u), like)


def as_float(value: Tensor, like: Tensor) -> Tensor:
    return value if value.is_floating_point() else value.to(like.dtype)


def sum_to(m: Tensor, like: Tensor) -> Tensor:
    """Summed over what ``like`` was repeated along."""
    return m if m.shape == like.shape else m.sum_to_size(like.shape)


def _shares(step: Step, at: Values, ref: Values, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """L, the logarithmic mean of p and p′ = softmax at row and reference; w = L/ΣL; the log of p.

    (p − p′)/(log p − log p′) has the series √(pp′)(1 + δ²/24 + δ⁴/1920) for small differences δ of the logs.
    """
    u, v = at[step.sources[0]], ref[step.sources[0]]
    log_p, log_q = torch.log_softmax(u, dim), torch.log_softmax(v, dim)
    p, q = log_p.exp(), log_q.exp()
    both = torch.isfinite(log_p) & torch.isfinite(log_q)
    d = torch.where(both, log_p - log_q, 1)
    small = d.abs() < 1e-2
    series = (p * q).sqrt() * (1 + d**2 / 24 + d**4 / 1920)
    mean = torch.where(both, torch.where(small, series, (p - q) / torch.where(small, 1, d)), 0)
    total = mean.sum(dim, keepdim=True)
    return mean, mean / torch.where(total == 0, 1, total), log_p


def softmax(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Δpᵢ = Lᵢ(Δuᵢ − Σ wⱼ Δuⱼ)."""
    dim = step.argument(1)
    mean, weight, _ = _shares(step, at, ref, dim)
    u, v = at[step.sources[0]], ref[step.sources[0]]
    passed = mean * m * ~(u == v).all(dim, keepdim=True)  # a mask may have swallowed what still differs before it
    return (passed - weight * passed.sum(dim, keepdim=True),)


def log_softmax(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Δlog pᵢ = Δuᵢ − Σ wⱼ Δuⱼ."""
    dim = step.argument(1)
    return (m - _shares(step, at, ref, dim)[1] * m.sum(dim, keepdim=True),)


def logsumexp(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Δlogsumexp = Σ wⱼ Δuⱼ, over one dimension or several at once."""
    dims = sorted(d % at[step.sources[0]].ndim for d in _listed(step.argument(1)))
    source = step.sources[0]
    flat_at, flat_ref = _last(at[source], dims), _last(ref[source], dims)
    weight = _shares(step, {source: flat_at}, {source: flat_ref}, -1)[1]
    shape = [1 if d in dims else size for d, size in enumerate(at[source].shape)]
    return (m.reshape(shape) * _unlast(weight, dims, at[source].shape),)


def _listed(dims: Any) -> list[int]:
    return [dims] if isinstance(dims, int) else list(dims)


def _last(x: Tensor, dims: list[int]) -> Tensor:
    """``dims`` as one last dimension."""
    kept = [d for d in range(x.ndim) if d not in dims]
    return x.permute(*kept, *dims).reshape(*[x.shape[d] for d in kept], -1)


def _unlast(x: Tensor, dims: list[int], shape: torch.Size) -> Tensor:
    """The inverse of :func:`_last`."""
    order = [*[d for d in range(len(shape)) if d not in dims], *dims]
    back = [order.index(d) for d in range(len(shape))]
    return x.reshape([shape[d] for d in order]).permute(back)


def division(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """Δ(u/v) = ½(1/v + 1/v′) Δu − ½(u + u′)/(v v′) Δv."""
    over, under = step.argument(0), step.argument(1)
    u, w, v, x = at[over], ref[over], at[under], ref[under]
    parts = {over: sum_to(m * (1 / v + 1 / x) / 2, u), under: sum_to(-m * (u + w) / 2 / (v * x), v)}
    return tuple(parts[s] for s in step.sources)


def largest(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """The largest (or smallest) over a window or along dimensions: see :mod:`pellucid.operations.pooling`."""
    (source,) = step.sources
    u, v = at[source], ref[source]
    if "pool" in name_of(step.node):
        kernel, stride, padding, dilation, *_ = [*step.region[0].args[1:], *[[]] * 4]
        n = 2 if "2d" in name_of(step.node) else 3
        fill = (_sized(kernel, n), _sized(stride or kernel, n), _sized(padding or 0, n), _sized(dilation or 1, n))
        return (torch.ops.pellucid.max_pool_shares(u, v, m, *fill),)
    dims = step.argument(1) if len(step.region[0].args) > 1 else None
    dims = list(range(u.ndim)) if dims is None or dims == [] else [d % u.ndim for d in _listed(dims)]
    sign = -1 if "min" in name_of(step.node) else 1
    shape = [1 if d in dims else size for d, size in enumerate(u.shape)]
    share = winners_share(sign * _last(u, dims), sign * _last(v, dims))
    return (m.reshape(shape) * _unlast(share, dims, u.shape),)


def _sized(given: Any, n: int) -> list[int]:
    """One number for each of ``n`` dimensions."""
    given = _listed(given)
    return given * n if len(given) == 1 else given


def larger(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """The larger (or smaller) of two."""
    sign = -1 if "min" in name_of(step.node) else 1
    u, v = (torch.stack([values[s].expand(m.shape) for s in step.sources], -1) for values in (at, ref))
    share = winners_share(sign * u, sign * v)
    return tuple(sum_to(m * share[..., place], at[s]) for place, s in enumerate(step.sources))


def branch(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """where(c, a, b) = b + c(a − b) with c ∈ {0, 1}: a product, at the midpoint."""

    def middle(argument: Any) -> Tensor:
        if argument in step.sources:
            return (as_float(at[argument], m) + as_float(ref[argument], m)) / 2
        value = {**step.constants, **at}[argument] if isinstance(argument, Node) else argument
        return as_float(torch.as_tensor(value, device=m.device), m)

    condition, one, other = (step.argument(place) for place in range(3))
    taken = middle(condition)
    parts = {other: m * (1 - taken), one: m * taken, condition: m * (middle(one) - middle(other))}
    if one is other:
        parts[one] = m
    return tuple(sum_to(parts[s].expand(m.shape), at[s]) for s in step.sources)


def comparison(step: Step, at: Values, ref: Values, m: Tensor) -> tuple[Tensor, ...]:
    """A step function of the difference of two."""
    one, other = step.sources
    change = as_float(step(at), m) - as_float(step({**at, **ref}), m)
    apart = (at[one] - at[other]) - (ref[one] - ref[other])
    slope = m * torch.where(apart == 0, 0, change / torch.where(apart == 0, 1, apart))
    return sum_to(slope, at[one]), sum_to(-slope, at[other])


RESCALE: Rules = {
    "linear": linear, "layer": linear, "product": product, "elementwise": elementwise, "rectifier": rectifier,
    "softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp, "division": division, "largest": largest,
    "larger": larger, "branch": branch, "comparison": comparison,
}  # fmt: skip
"""DeepLIFT with the rescale rule."""

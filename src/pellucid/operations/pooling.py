"""Who made the largest: how the change of a maximum is shared among the values it was taken of.

(a) Where some values are the largest at the row and at the reference, they share it equally, even if it is no change;
(b) else the largest of the higher side take it, with slope Δy/(k Δu) for k of them, which lies in (0, 1]; (c) else
nothing changed and nothing is shared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def winners_share(u: Tensor, v: Tensor) -> Tensor:
    """The slopes of max over the last dimension between ``u`` and ``v`` ``[…, k]``, of the same shape."""
    y, z = u.amax(-1, keepdim=True), v.amax(-1, keepdim=True)
    at, ref = u == y, v == z
    both = at & ref
    count = both.sum(-1, keepdim=True)
    side = torch.where(y > z, at, ref) & (y != z)
    step = torch.where(side & (u != v), u - v, 1)
    own = torch.where(side, (y - z) / step, 0) / side.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(count > 0, both.to(u.dtype) / count.clamp(min=1), own)


@torch.library.custom_op("pellucid::max_pool_shares", mutates_args=())
def max_pool_shares(
    u: Tensor, v: Tensor, m: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    """The multipliers of a max pool's input, where those of its output are ``m [*, C, *out]``.

    ``u`` and ``v`` are ``[*, C, *in]`` at the row and at the reference; leading dimensions may be 1 where ``m`` has
    more. A window's places are visited one after the other, so nothing as large as all windows is made.
    """
    n = len(kernel)
    low = -torch.inf
    rim = [size for pad, k, d in zip(padding[::-1], kernel[::-1], dilation[::-1], strict=True) for size in (pad, pad)]
    out = m.shape[-n:]
    extra = [max(0, (o - 1) * s + (k - 1) * d + 1 - (size + 2 * p)) for o, s, k, d, size, p in
             zip(out, stride, kernel, dilation, u.shape[-n:], padding, strict=True)]  # fmt: skip
    for axis, more in enumerate(reversed(extra)):
        rim[2 * axis + 1] += more  # windows that hang over the edge
    u, v = F.pad(u, rim, value=low), F.pad(v, rim, value=low)
    places = list(_places(out, kernel, stride, dilation))
    y, z = (_highest([x[place] for place in places]) for x in (u, v))
    up = y > z
    both = own = torch.zeros((), dtype=m.dtype, device=m.device)
    for place in places:
        at, ref = u[place] == y, v[place] == z
        both = both + (at & ref)
        own = own + _side(at, ref, up)
    passed = m / both.clamp(min=1)
    alone = (y - z).nan_to_num(0) * m / own.clamp(min=1) * (both == 0)
    full = torch.broadcast_shapes(u.shape[:-n], v.shape[:-n], m.shape[:-n])
    found = m.new_zeros((*full, *u.shape[-n:]))
    for place in places:
        a, b = u[place], v[place]
        at, ref = a == y, b == z
        quotient = (alone / (a - b)).nan_to_num(0, 0, 0)
        found[place] += passed * (at & ref) + quotient * _side(at, ref, up)
    kept = [slice(p, p + size - 2 * p - more) for p, size, more in zip(padding, found.shape[-n:], extra, strict=True)]
    return found[(..., *kept)].contiguous()


def _places(out: torch.Size, kernel: list[int], stride: list[int], dilation: list[int]) -> Iterator[Any]:
    """For every place in a window, where its values lie in the padded input."""
    for offsets in itertools.product(*[range(k) for k in kernel]):
        begin = [offset * d for offset, d in zip(offsets, dilation, strict=True)]
        yield (..., *[slice(b, b + (o - 1) * s + 1, s) for b, o, s in zip(begin, out, stride, strict=True)])


def _side(at: Tensor, ref: Tensor, up: Tensor) -> Tensor:
    """The winners of the higher side."""
    return (at & up) | (ref & ~up)


def _highest(parts: list[Tensor]) -> Tensor:
    found = parts[0]
    for part in parts[1:]:
        found = torch.maximum(found, part)
    return found


@max_pool_shares.register_fake  # pyright: ignore[reportFunctionMemberAccess]
def _shaped(u: Tensor, v: Tensor, m: Tensor, kernel: list[int], *_: object) -> Tensor:
    n = len(kernel)
    full = torch.broadcast_shapes(u.shape[:-n], v.shape[:-n], m.shape[:-n])
    return m.new_empty((*full, *u.shape[-n:]))


@max_pool_shares.register_vmap  # pyright: ignore[reportFunctionMemberAccess]
def _mapped(
    info: object, where: tuple[int | None, ...], u: Tensor, v: Tensor, m: Tensor, *window: list[int]
) -> tuple[Tensor, int]:
    parts = [x.unsqueeze(0) if dim is None else x.movedim(dim, 0) for x, dim in zip((u, v, m), where, strict=False)]
    return torch.ops.pellucid.max_pool_shares(*parts, *window), 0

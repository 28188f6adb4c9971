"""Own decompositions: normalisation written out as products, means and one function, so that no rule speaks of it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def standardised(x: Tensor, dims: list[int], eps: float, centred: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """(x − mean)·r with r = (mean of squares + eps)^(−½) over ``dims``; the mean and r beside it."""
    mean = x.mean(dims, keepdim=True) if centred else x.new_zeros(())
    c = x - mean if centred else x
    r = torch.rsqrt((c * c).mean(dims, keepdim=True) + eps)
    return c * r, mean, r


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None, shape: list[int] | None = None) -> Tensor:
    if weight is not None:
        y = y * (weight if shape is None else weight.view(shape))
    if bias is not None:
        y = y + (bias if shape is None else bias.view(shape))
    return y


def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    y, mean, r = standardised(x, list(range(-len(shape), 0)), eps)
    return _affine(y, weight, bias), mean, r


def rms_norm(x: Tensor, shape: list[int], weight: Tensor | None, eps: float | None) -> tuple[Tensor, Tensor]:
    small = torch.finfo(x.dtype).eps if eps is None else eps
    y, _, r = standardised(x, list(range(-len(shape), 0)), small, centred=False)
    return _affine(y, weight, None), r


def group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, channels: int, area: int, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    y, mean, r = standardised(x.reshape(n, groups, channels // groups * area), [-1], eps)
    shape = [1, channels, *[1] * (x.ndim - 2)]
    return _affine(y.reshape(x.shape), weight, bias, shape), mean, r


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """With kept statistics one product and one sum; with the row's own (instance norm) like any other norm."""
    shape = [1, x.shape[1], *[1] * (x.ndim - 2)]
    if training or mean is None or variance is None:
        y, own, r = standardised(x, [0, *range(2, x.ndim)], eps)
        return _affine(y, weight, bias, shape), own.flatten(), r.flatten()
    factor = torch.rsqrt(variance + eps)
    factor = factor if weight is None else factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    empty = x.new_zeros(0)
    return _affine(x, factor, shift, shape), empty, empty


def _inference(
    x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return batch_norm(x, weight, bias, mean, variance, False, momentum, eps)


def adaptive_max_pool2d(x: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
    """Where the windows are equal it is a plain max pool; elsewhere it stays as it is, and has no rule."""
    height, width = x.shape[-2:]
    if height % size[0] or width % size[1]:
        return NotImplemented
    kernel = [height // size[0], width // size[1]]
    return aten.max_pool2d_with_indices(x, kernel, kernel)


def vector_norm(x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    if order != 2:
        return NotImplemented
    x = x if dtype is None else x.to(dtype)
    dims = list(range(x.ndim)) if dim is None else dim
    return torch.sqrt((x * x).sum(dims, keepdim=keepdim))


def variance(x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Tensor:
    dims = list(range(x.ndim)) if dim is None else list(dim)
    c = x - x.mean(dims, keepdim=True)
    count = prod(x.shape[d] for d in dims) - (1 if correction is None else correction)
    return (c * c).sum(dims, keepdim=keepdim) / count


def variance_mean(
    x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    dims = list(range(x.ndim)) if dim is None else list(dim)
    return variance(x, dim, correction=correction, keepdim=keepdim), x.mean(dims, keepdim=keepdim)


def convolution(*args: Any) -> Tensor:
    """As a traced TorchScript program calls it: the same, with flags of the kernel behind."""
    return aten.convolution(*args[:9])


def copied(onto: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """What is written over does not matter any more."""
    return source.to(onto.dtype).expand(onto.shape)


def both(one: Tensor, other: Tensor) -> Tensor:
    """Of conditions a product of 0 and 1."""
    return one * other if one.dtype == other.dtype == torch.bool else NotImplemented


def either(one: Tensor, other: Tensor) -> Tensor:
    if not one.dtype == other.dtype == torch.bool:
        return NotImplemented
    return (one.logical_not() * other.logical_not()).logical_not()


def clamped(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """With bounds that are tensors: the larger, then the smaller of two."""
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


OWN: dict[Any, Callable[..., Any]] = {
    aten._convolution.default: convolution,
    aten._convolution.deprecated: convolution,
    aten.copy.default: copied,
    aten.bitwise_and.Tensor: both,
    aten.logical_and.default: both,
    aten.bitwise_or.Tensor: either,
    aten.logical_or.default: either,
    aten.clamp.Tensor: clamped,
    aten.fmax.default: torch.maximum,
    aten.fmin.default: torch.minimum,
    aten.native_layer_norm.default: layer_norm,
    aten._fused_rms_norm.default: rms_norm,
    aten.native_group_norm.default: group_norm,
    aten.native_batch_norm.default: batch_norm,
    aten._native_batch_norm_legit_no_training.default: _inference,
    aten.adaptive_max_pool2d.default: adaptive_max_pool2d,
    aten.linalg_vector_norm.default: vector_norm,
    aten.var.correction: variance,
    aten.var_mean.correction: variance_mean,
}
"""Operation → what it is written out as; beside torch's own core decompositions."""

KEPT = ("_softmax", "_safe_softmax", "_log_softmax", "logsumexp")
"""Taken whole: spelled out as exponentials and a quotient they would give other values."""

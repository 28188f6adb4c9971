"""ONNX operators without weights, as torch functions of tensors; what is known without a row comes as numpy arrays.

Operators: onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .onnx_format import TYPES
from .onnx_known import Beyond, Call, bounded, integers, new_shape, ranges, reduced, sizes_of_parts

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "float32", "float64", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool", "uint16",
        "uint32", "uint64",
    )
}  # fmt: skip


def as_tensor(value: Any, like: Tensor) -> Tensor:
    """A known array as a tensor beside ``like``: in its float type, where it is one of floats."""
    if isinstance(value, Tensor):
        return value
    alike = value.dtype.kind == "f" and like.is_floating_point()
    return torch.tensor(value, dtype=like.dtype if alike else None, device=like.device)  # a copy: arrays may be locked


def tensors(*values: Any) -> list[Tensor]:
    """All values as tensors beside the first that is one."""
    first = next(value for value in values if isinstance(value, Tensor))
    return [as_tensor(value, first) for value in values]


def operand(value: Any, beside: Any) -> Any:
    """A known single number as a number of Python, which torch computes with in the type of its neighbour."""
    if isinstance(value, Tensor):
        return value
    if value.size == 1 and value.ndim <= beside.ndim:
        return value.reshape(-1)[0].item()
    return as_tensor(value, beside)


def number(value: Any, op: str) -> Any:
    """A single number that is known without a row."""
    if isinstance(value, Tensor):
        raise Beyond(f"{op} whose settings depend on the values of a row")
    return value.reshape(-1)[0].item()


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda _, x: function(x)


def _binary(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operator of two, either of which may be a number; at least one is a tensor."""

    def of_two(_: Call, a: Any, b: Any) -> Tensor:
        return function(operand(a, b), operand(b, a))

    return of_two


def _compared(function: Callable[[Tensor, Any], Tensor]) -> Callable[..., Tensor]:
    """As :func:`_binary`, for functions that want a tensor first."""

    def of_two(_: Call, a: Any, b: Any) -> Tensor:
        return function(as_tensor(a, b), operand(b, a))

    return of_two


def _chained(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def joined(_: Call, *values: Any) -> Tensor:
        first, *more = tensors(*values)
        for value in more:
            first = function(first, value)
        return first

    return joined


def _mean(call: Call, *values: Any) -> Tensor:
    return _chained(torch.add)(call, *values) / len(values)


def _divide(a: Any, b: Any) -> Tensor:
    whole = all(not v.is_floating_point() if isinstance(v, Tensor) else isinstance(v, int) for v in (a, b))
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def _power(call: Call, x: Any, exponent: Any) -> Tensor:
    if not isinstance(exponent, Tensor) and exponent.size == 1:
        exponent = number(exponent, call.op)
    x = as_tensor(x, exponent) if isinstance(exponent, Tensor) else x
    return torch.pow(x, exponent if isinstance(exponent, (int, float)) else as_tensor(exponent, x)).to(x.dtype)


def _modulo(call: Call, a: Any, b: Any) -> Tensor:
    return _compared(torch.fmod if call.get("fmod") else torch.remainder)(call, a, b)


def _clip(call: Call, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    low, high = (
        call.get(name) if value is None else value if isinstance(value, Tensor) else number(value, call.op)
        for name, value in (("min", low), ("max", high))
    )
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        low, high = (None if v is None else v if isinstance(v, Tensor) else x.new_tensor(v) for v in (low, high))
    return x if low is None and high is None else torch.clamp(x, low, high)


def _where(_: Call, condition: Any, a: Any, b: Any) -> Tensor:
    like = next(value for value in (a, b, condition) if isinstance(value, Tensor))
    return torch.where(as_tensor(condition, like), as_tensor(a, like), as_tensor(b, like))


def _cast(call: Call, x: Any, like: Any = None) -> Tensor:
    if like is not None:
        x, like = tensors(x, like)
        return x.to(like.dtype)
    kind = TYPES.get(call.get("to"), "")
    if kind not in DTYPES:
        raise Beyond(f"Cast to {kind or 'a narrow type'}")
    return x.to(DTYPES[kind])


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    """Over one axis; before version 13 over all axes from one on."""

    def over_axis(call: Call, x: Tensor) -> Tensor:
        if call.version >= 13:
            return function(x, call.get("axis", -1))
        axis = call.get("axis", 1) % x.ndim
        return function(x, -1) if axis == x.ndim - 1 else function(x.flatten(axis), -1).reshape(x.shape)

    return over_axis


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def over_axes(call: Call, x: Tensor, axes: Any = None) -> Tensor:
        over = reduced(call, x, axes)
        return x if over == () else function(x, list(over or ()), bool(call.get("keepdims", 1)))

    return over_axes


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _largest_place(function: Callable[[Tensor, int, bool], Tensor]) -> Callable[..., Tensor]:
    def place(call: Call, x: Tensor) -> Tensor:
        if call.get("select_last_index"):
            raise Beyond(f"{call.op} of the last of equals")
        return function(x, call.get("axis", 0), bool(call.get("keepdims", 1)))

    return place


def _top(call: Call, x: Tensor, count: Any) -> tuple[Tensor, Tensor]:
    found = torch.topk(x, integers(count, call.op)[0], call.get("axis", -1), bool(call.get("largest", 1)))
    return found.values, found.indices


def _gather(call: Call, x: Any, at: Any) -> Tensor:
    axis = call.get("axis", 0)
    if not isinstance(at, Tensor) and at.ndim == 0:
        return x.select(axis, int(at))
    x, at = tensors(x, at)
    shape = (*x.shape[: axis % x.ndim], *at.shape, *x.shape[axis % x.ndim + 1 :])
    return x.index_select(axis, _from_front(at, x.shape[axis]).reshape(-1)).reshape(shape)


def _from_front(at: Tensor, size: int) -> Tensor:
    """Places counted from the front, where negative ones count from the back."""
    at = at.long()
    return torch.where(at < 0, at + size, at)


def _gather_elements(call: Call, x: Any, at: Any) -> Tensor:
    axis = call.get("axis", 0)
    x, at = tensors(x, at)
    return x.gather(axis, _from_front(at, x.shape[axis]))


def _gather_nd(call: Call, x: Any, at: Any) -> Tensor:
    if call.get("batch_dims", 0):
        raise Beyond("GatherND with batch_dims")
    x, at = tensors(x, at)
    return x[tuple(at.long().unbind(-1))]


def _scatter_nd(call: Call, x: Any, at: Any, updates: Any) -> Tensor:
    if call.get("reduction", "none") not in ("none", "add"):
        raise Beyond(f"ScatterND with {call.get('reduction')}")
    x, at, updates = tensors(x, at, updates)
    return x.index_put(tuple(at.long().unbind(-1)), updates, accumulate=call.get("reduction") == "add")


def _scatter_elements(call: Call, x: Any, at: Any, updates: Any) -> Tensor:
    axis, how = call.get("axis", 0), call.get("reduction", "none")
    x, at, updates = tensors(x, at, updates)
    at = _from_front(at, x.shape[axis])
    if how not in ("none", "add"):
        raise Beyond(f"ScatterElements with {how}")
    return x.scatter_add(axis, at, updates) if how == "add" else x.scatter(axis, at, updates)


def _concat(call: Call, *parts: Any) -> Tensor:
    return torch.cat(tensors(*parts), call.get("axis", 0))


def _split(call: Call, x: Tensor, split: Any = None) -> tuple[Tensor, ...]:
    axis = call.get("axis", 0)
    return torch.split(x, sizes_of_parts(x.shape[axis], call, split), axis)


def _slice(call: Call, x: Tensor, *cuts: Any) -> Tensor:
    for axis, kept in ranges(x.shape, call, cuts).items():
        if kept.step < 0:
            x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.long, device=x.device))
        elif kept != range(x.shape[axis]):
            x = x[(slice(None),) * axis + (slice(kept.start, kept.stop, kept.step),)]
    return x


def _reshape(call: Call, x: Tensor, to: Any) -> Tensor:
    return x.reshape(new_shape(x.shape, integers(to, call.op), bool(call.get("allowzero"))))


def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    before = prod(x.shape[: axis if axis >= 0 else x.ndim + axis])
    return x.reshape(before, -1 if x.numel() else x.numel() // max(before, 1))


def _squeeze(call: Call, x: Tensor, axes: Any = None) -> Tensor:
    listed = call.axes(axes)
    return x.squeeze() if listed is None else x.squeeze(tuple(listed))


def _unsqueeze(call: Call, x: Tensor, axes: Any = None) -> Tensor:
    listed = call.axes(axes) or []
    for axis in sorted(axis % (x.ndim + len(listed)) for axis in listed):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.get("perm") or list(range(x.ndim))[::-1])


def _expand(call: Call, x: Tensor, shape: Any) -> Tensor:
    whole = torch.broadcast_shapes(x.shape, tuple(integers(shape, call.op)))
    return x.expand(bounded(whole, call.op))


def _tile(call: Call, x: Tensor, times: Any) -> Tensor:
    repeated = integers(times, call.op)
    bounded([size * count for size, count in zip(x.shape, repeated, strict=True)], call.op)
    return x.repeat(repeated)


def _pad(call: Call, x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    amounts = call.get("pads") if pads is None else integers(pads, call.op)
    filling = call.get("value", 0.0) if value is None else number(value, call.op)
    listed = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in integers(axes, call.op)]
    before, after = [0] * x.ndim, [0] * x.ndim
    for place, axis in enumerate(listed):
        before[axis], after[axis] = amounts[place], amounts[place + len(listed)]
    bounded([size + b + a for size, b, a in zip(x.shape, before, after, strict=True)], call.op)
    mode = call.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, padding(before, after), value=filling)
    if mode not in ("reflect", "edge") or any(before[:-3]) or any(after[:-3]):
        raise Beyond(f"Pad in mode {mode}")
    moved = max((x.ndim - axis for axis in range(x.ndim) if before[axis] or after[axis]), default=1)
    inner = x.reshape(-1, 1, *x.shape[-moved:])
    padded = F.pad(inner, padding(before[-moved:], after[-moved:]), "reflect" if mode == "reflect" else "replicate")
    return padded.reshape(*x.shape[:-moved], *padded.shape[2:])


def padding(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """As torch wants it: from the last axis on, before and after."""
    return [size for pair in zip(reversed(before), reversed(after), strict=True) for size in pair]


def _cumulated(call: Call, x: Tensor, axis: Any) -> Tensor:
    along = integers(axis, call.op)[0]
    x = x.flip(along) if call.get("reverse") else x
    found = x.cumsum(along, dtype=x.dtype)
    found = found - x if call.get("exclusive") else found
    return found.flip(along) if call.get("reverse") else found


def _triangle(call: Call, x: Tensor, k: Any = None) -> Tensor:
    shift = 0 if k is None else integers(k, call.op)[0]
    return x.triu(shift) if call.get("upper", 1) else x.tril(shift)


def _one_hot(call: Call, at: Tensor, depth: Any, values: Any) -> Tensor:
    count, axis = int(number(depth, call.op)), call.get("axis", -1)
    bounded([*at.shape, count], call.op)
    off, on = as_tensor(values, at).unbind()
    chosen = _from_front(at, count).unsqueeze(-1) == torch.arange(count, device=at.device)
    return torch.where(chosen, on, off).movedim(-1, axis)


def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    size = call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        parts, order = x.reshape(n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    else:
        parts, order = x.reshape(n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    return parts.permute(order).reshape(n, c // size**2, h * size, w * size)


def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    size = call.get("blocksize")
    parts = x.reshape(n, c, h // size, size, w // size, size)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, c * size**2, h // size, w // size)


def _unit_length(call: Call, x: Tensor) -> Tensor:
    axis, order = call.get("axis", -1), call.get("p", 2)
    norm = (x * x).sum(axis, keepdim=True).sqrt() if order == 2 else x.abs().sum(axis, keepdim=True)
    return x / norm


def _normalised(call: Call, x: Tensor) -> Tensor:
    size, kind = x.abs(), call.get("norm", "MAX")
    norm = {"MAX": lambda: x.amax(1, keepdim=True), "L1": lambda: size.sum(1, keepdim=True)}.get(
        kind, lambda: (x * x).sum(1, keepdim=True).sqrt()
    )()
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


def _scaled(call: Call, x: Tensor) -> Tensor:
    offset, scale = (x.new_tensor(call.get(name)) for name in ("offset", "scale"))
    return (x - offset) * scale


def _linear_scores(call: Call, x: Tensor, coefficients: str, lines: int) -> Tensor:
    weight = x.new_tensor(call.get(coefficients)).reshape(lines, -1)
    found = x @ weight.T
    intercepts = call.get("intercepts")
    return found if intercepts is None else found + x.new_tensor(intercepts)


def _linear_regressor(call: Call, x: Tensor) -> Tensor:
    if call.get("post_transform", "NONE") != "NONE":
        raise Beyond(f"ai.onnx.ml.LinearRegressor with {call.get('post_transform')}")
    return _linear_scores(call, x, "coefficients", call.get("targets", 1))


def _linear_classifier(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """(place of the largest score, scores); which label that is, its user looks up."""
    labels = call.get("classlabels_ints") or call.get("classlabels_strings") or ()
    found = _linear_scores(call, x, "coefficients", len(labels))
    after = {"NONE": lambda s: s, "LOGISTIC": torch.sigmoid, "SOFTMAX": lambda s: torch.softmax(s, -1)}
    kind = call.get("post_transform", "NONE")
    if kind not in after or len(labels) < 2:
        raise Beyond(f"ai.onnx.ml.LinearClassifier with {kind} of {len(labels)} labels")
    return found.argmax(-1), after[kind](found)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": _unary(torch.abs),
    "Neg": _unary(torch.neg),
    "Reciprocal": _unary(torch.reciprocal),
    "Sqrt": _unary(torch.sqrt),
    "Exp": _unary(torch.exp),
    "Log": _unary(torch.log),
    "Erf": _unary(torch.erf),
    "Floor": _unary(torch.floor),
    "Ceil": _unary(torch.ceil),
    "Round": _unary(torch.round),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Cos": _unary(torch.cos),
    "Tan": _unary(torch.tan),
    "Atan": _unary(torch.atan),
    "Asin": _unary(torch.asin),
    "Acos": _unary(torch.acos),
    "Sinh": _unary(torch.sinh),
    "Cosh": _unary(torch.cosh),
    "Asinh": _unary(torch.asinh),
    "Acosh": _unary(torch.acosh),
    "Atanh": _unary(torch.atanh),
    "IsNaN": _unary(torch.isnan),
    "Not": _unary(torch.logical_not),
    "Identity": _unary(lambda x: x),
    "Add": _binary(lambda a, b: a + b),
    "Sub": _binary(lambda a, b: a - b),
    "Mul": _binary(lambda a, b: a * b),
    "Div": _binary(_divide),
    "Mod": _modulo,
    "Pow": _power,
    "Equal": _compared(torch.eq),
    "Greater": _compared(torch.gt),
    "GreaterOrEqual": _compared(torch.ge),
    "Less": _compared(torch.lt),
    "LessOrEqual": _compared(torch.le),
    "And": _chained(torch.logical_and),
    "Or": _chained(torch.logical_or),
    "Xor": _chained(torch.logical_xor),
    "Min": _chained(torch.minimum),
    "Max": _chained(torch.maximum),
    "Sum": _chained(torch.add),
    "Mean": _mean,
    "Clip": _clip,
    "Where": _where,
    "Cast": _cast,
    "CastLike": _cast,
    "MatMul": lambda call, a, b: torch.matmul(*tensors(a, b)),
    "Einsum": lambda call, *values: torch.einsum(call.get("equation"), *tensors(*values)),
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduction(_product),
    "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: (x * x).sum(axes, keepdim=keep).sqrt()),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: (x * x).sum(axes, keepdim=keep)),
    "ReduceLogSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "ArgMax": _largest_place(torch.argmax),
    "ArgMin": _largest_place(torch.argmin),
    "TopK": _top,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "CumSum": _cumulated,
    "Trilu": _triangle,
    "OneHot": _one_hot,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "LpNormalization": _unit_length,
    "ai.onnx.ml.Normalizer": _normalised,
    "ai.onnx.ml.Scaler": _scaled,
    "ai.onnx.ml.LinearRegressor": _linear_regressor,
    "ai.onnx.ml.LinearClassifier": _linear_classifier,
}
"""Operator → what it is on tensors; called with the :class:`Call` and the values, of which one at least is a tensor."""
SOFTMAXES = {"Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax)}

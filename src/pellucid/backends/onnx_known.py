"""What an ONNX network computes without looking at a row: shapes and what is reckoned from them, as numpy arrays.

A network that takes any number of rows asks its inputs for their shape, and reckons with it: ``Shape → Gather →
Concat → Reshape``. Kept apart from the tensors, this never stands in the way of a gradient or of a trace.

Operators: onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..records.errors import ModelError
from .onnx_format import TYPES

MOST = 2**28
"""Numbers that an operator may make out of nothing."""


class Beyond(Exception):
    """Raised with the name of what this converter cannot do, ``"LSTM with peepholes"``."""


@dataclass(frozen=True)
class Call:
    """One operator as the network calls it: its settings, and the version of the operators it is one of."""

    op: str
    settings: Mapping[str, Any]
    version: int
    outputs: int = 1

    def get(self, name: str, otherwise: Any = None) -> Any:
        return self.settings.get(name, otherwise)

    def axes(self, given: Any) -> list[int] | None:
        """The axes, which older versions have among the settings and newer ones among the inputs."""
        if given is not None:
            return integers(given, self.op)
        listed = self.get("axes")
        return None if listed is None else list(listed)


def integers(value: Any, op: str) -> list[int]:
    """Whole numbers that are known without a row. Raises :class:`Beyond` where they depend on one."""
    if not isinstance(value, np.ndarray):
        raise Beyond(f"{op} whose shape depends on the values of a row")
    return [int(number) for number in value.reshape(-1)]


def bounded(shape: Sequence[int], op: str) -> list[int]:
    """``shape``, where a tensor of it can be made. Raises :class:`ModelError`."""
    if prod(shape) > MOST:
        raise ModelError(
            f"{op} makes {prod(shape):,} numbers out of nothing",
            why=f"more than {MOST:,} are not made",
            fix="is the file what it is meant to be?",
        )
    return [int(size) for size in shape]


def new_shape(old: Sequence[int], asked: Sequence[int], zero_is_zero: bool) -> list[int]:
    """The shape that Reshape asks for: 0 keeps a size, −1 is what is left."""
    return [old[axis] if size == 0 and not zero_is_zero else size for axis, size in enumerate(asked)]


def ranges(shape: Sequence[int], call: Call, values: Sequence[Any]) -> dict[int, range]:
    """For each axis that Slice cuts, the places that are left."""
    told: list[Any] = [call.get(name) for name in ("starts", "ends", "axes", "steps")]
    if call.version >= 10:
        told = [None if value is None else integers(value, call.op) for value in (*values, None, None)][:4]
    starts, ends = told[:2]
    axes = list(range(len(starts))) if told[2] is None else told[2]
    steps = [1] * len(starts) if told[3] is None else told[3]
    return {
        axis % len(shape): range(*slice(start, end, step).indices(shape[axis]))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }


def sizes_of_parts(whole: int, call: Call, split: Any) -> list[int]:
    """How Split divides an axis."""
    listed = call.get("split") if split is None else integers(split, call.op)
    if listed is not None:
        return list(listed)
    count = call.get("num_outputs") or call.outputs
    each = -(-whole // count)
    return [max(0, min(each, whole - each * part)) for part in range(count)]


def reduced(call: Call, x: Any, given: Any) -> tuple[int, ...] | None:
    """The axes that a reduction goes over, none where it does nothing."""
    axes = call.axes(given)
    if not axes:
        return () if call.get("noop_with_empty_axes") else tuple(range(x.ndim))
    return tuple(axis % x.ndim for axis in axes)


def _shape(call: Call, x: Any) -> np.ndarray:
    sizes = np.array(x.shape, np.int64)
    return sizes[slice(call.get("start", 0), call.get("end"))]


def _slice(call: Call, x: np.ndarray, *cuts: Any) -> np.ndarray:
    for axis, kept in ranges(x.shape, call, cuts).items():
        x = np.take(x, list(kept), axis)
    return x


def _unsqueeze(call: Call, x: np.ndarray, axes: Any = None) -> np.ndarray:
    return np.expand_dims(x, tuple(call.axes(axes) or ()))


def _squeeze(call: Call, x: np.ndarray, axes: Any = None) -> np.ndarray:
    listed = call.axes(axes)
    return np.squeeze(x, None if listed is None else tuple(listed))


def _divide(call: Call, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    return np.asarray(np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)).astype(a.dtype)


def _power(call: Call, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.power(a, b).astype(a.dtype)


def _cast(call: Call, x: np.ndarray) -> np.ndarray:
    kind = TYPES.get(call.get("to"), "")
    if kind in ("", "str", "bfloat16"):
        raise Beyond(f"Cast to {kind or 'a narrow type'}")
    return x.astype(kind)


def _filled(call: Call, shape: np.ndarray) -> np.ndarray:
    value = call.get("value")
    value = np.zeros(1, np.float32) if value is None else value
    return np.full(bounded(integers(shape, call.op), call.op), value.reshape(-1)[0], value.dtype)


def _expand(call: Call, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    whole = np.broadcast_shapes(x.shape, tuple(integers(shape, call.op)))
    return np.broadcast_to(x, bounded(whole, call.op)).copy()


def _tile(call: Call, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    repeated = integers(times, call.op)
    bounded([size * count for size, count in zip(x.shape, repeated, strict=True)], call.op)
    return np.tile(x, repeated)


def _range(call: Call, start: np.ndarray, stop: np.ndarray, step: np.ndarray) -> np.ndarray:
    bounded([max(0, int(np.ceil((stop - start) / step)))], call.op)
    return np.arange(start.item(), stop.item(), step.item(), dtype=start.dtype)


def _reduction(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def over_axes(call: Call, x: np.ndarray, axes: Any = None) -> np.ndarray:
        over = reduced(call, x, axes)
        return x if over == () else np.asarray(function(x, axis=over, keepdims=bool(call.get("keepdims", 1))), x.dtype)

    return over_axes


def _split(call: Call, x: np.ndarray, split: Any = None) -> tuple[np.ndarray, ...]:
    axis = call.get("axis", 0)
    sizes = sizes_of_parts(x.shape[axis], call, split)
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _cumulated(call: Call, x: np.ndarray, axis: np.ndarray) -> np.ndarray:
    if call.get("exclusive") or call.get("reverse"):
        raise Beyond(f"{call.op} of a shape, from the end or without the number itself")
    return np.cumsum(x, int(axis), dtype=x.dtype)


def _triangle(call: Call, x: np.ndarray, k: Any = None) -> np.ndarray:
    return (np.triu if call.get("upper", 1) else np.tril)(x, 0 if k is None else int(k))


def _plain(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """An operator without settings."""
    return lambda _, *values: np.asarray(function(*values))


def _chained(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """An operator of any number of arguments that is one of two."""

    def joined(_: Call, first: np.ndarray, *more: np.ndarray) -> np.ndarray:
        for value in more:
            first = function(first, value)
        return first

    return joined


KNOWN: dict[str, Callable[..., Any]] = {
    "Shape": _shape,
    "Size": lambda call, x: np.array(prod(x.shape), np.int64),
    "Identity": lambda call, x: x,
    "Gather": lambda call, x, at: np.take(x, at, call.get("axis", 0)),
    "Concat": lambda call, *parts: np.concatenate(parts, call.get("axis", 0)),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": lambda call, x, to: x.reshape(new_shape(x.shape, integers(to, call.op), bool(call.get("allowzero")))),
    "Flatten": lambda call, x: x.reshape(prod(x.shape[: call.get("axis", 1)]), -1),
    "Transpose": lambda call, x: np.transpose(x, call.get("perm")),
    "Cast": _cast,
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Div": _divide,
    "Mod": lambda call, a, b: np.fmod(a, b) if call.get("fmod") else np.mod(a, b),
    "Pow": _power,
    "Neg": _plain(np.negative),
    "Abs": _plain(np.abs),
    "Sqrt": _plain(np.sqrt),
    "Floor": _plain(np.floor),
    "Ceil": _plain(np.ceil),
    "Min": _chained(np.minimum),
    "Max": _chained(np.maximum),
    "Equal": _plain(np.equal),
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Not": _plain(np.logical_not),
    "And": _plain(np.logical_and),
    "Or": _plain(np.logical_or),
    "Where": _plain(np.where),
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
    "Split": _split,
    "Trilu": _triangle,
    "CumSum": _cumulated,
}
"""Operator → what it is on arrays; called with the :class:`Call` and the arrays."""
SHAPES = ("Shape", "Size")
"""What asks for no more than the shape of its input."""

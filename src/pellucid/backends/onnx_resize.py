"""ONNX's Resize and Upsample: along each axis, a few known places with known weights, so linear in the tensor.

Operators: onnx.ai/onnx/operators/onnx__Resize.html, whose words for where a place comes from are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .onnx_known import Beyond, Call, bounded, integers

MODES = ("nearest", "linear", "cubic")


def resize(call: Call, x: Tensor, *given: Any) -> Tensor:
    """The tensor resized to ``sizes`` or by ``scales``, which the versions put in different places."""
    scales, sizes = _asked(call, given)
    mode = call.get("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    if mode not in MODES or call.get("antialias") or call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Beyond(f"{call.op} in mode {mode}, antialiased or keeping the ratio of sides")
    axes = [axis % x.ndim for axis in call.get("axes") or range(x.ndim)]
    old = [x.shape[axis] for axis in axes]
    new = sizes or [int(np.floor(n * s)) for n, s in zip(old, scales or [], strict=True)]
    scales = scales or [m / n for m, n in zip(new, old, strict=True)]
    whole = dict(zip(axes, new, strict=True))
    bounded([whole.get(axis, size) for axis, size in enumerate(x.shape)], call.op)
    for axis, size, scale in zip(axes, new, scales, strict=True):
        if size != x.shape[axis] or scale != 1:
            x = _along(x, axis, *_taps(call, mode, x.shape[axis], size, scale))
    return x


def _asked(call: Call, given: Sequence[Any]) -> tuple[list[float] | None, list[int] | None]:
    """(scales, sizes), one of them None."""
    if call.op == "Upsample" and call.version < 9:
        return list(call.get("scales")), None
    places = (0, None) if call.op == "Upsample" or call.version < 11 else (1, 2)
    scales, sizes = (None if p is None or p >= len(given) else given[p] for p in places)
    if isinstance(scales, Tensor):
        raise Beyond(f"{call.op} whose size depends on the values of a row")
    if sizes is not None and (not isinstance(sizes, np.ndarray) or sizes.size):
        return None, integers(sizes, call.op)
    return [float(scale) for scale in np.asarray(scales)], None


def _taps(call: Call, mode: str, old: int, new: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """For each new place the old ones it is made of, ``Int[taps, new]``, and their weights."""
    place = _origins(call, old, new, scale)
    if mode == "nearest":
        at = _rounded(place, _nearest_mode(call))
        return np.clip(at, 0, old - 1)[None], np.ones((1, new))
    low = np.floor(place).astype(np.int64)
    part = place - low
    if mode == "linear":
        at, weights = np.stack([low, low + 1]), np.stack([1 - part, part])
    else:
        a = call.get("cubic_coeff_a", -0.75)
        at = np.stack([low + step for step in (-1, 0, 1, 2)])
        weights = np.stack([_cubic(np.abs(part - step), a) for step in (-1, 0, 1, 2)])
    if call.get("exclude_outside"):
        weights = np.where((at < 0) | (at >= old), 0, weights)
        weights = weights / weights.sum(0)
    return np.clip(at, 0, old - 1), weights


def _origins(call: Call, old: int, new: int, scale: float) -> np.ndarray:
    """Where each new place lies among the old ones."""
    place = np.arange(new, dtype=np.float64)
    early = call.op == "Upsample" or call.version < 11
    how = "asymmetric" if early else call.get("coordinate_transformation_mode", "half_pixel")
    if how == "asymmetric":
        return place / scale
    if how == "align_corners":
        return place * (old - 1) / (new - 1) if new > 1 else np.zeros(1)
    if how == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    if how in ("half_pixel", "pytorch_half_pixel"):
        return (place + 0.5) / scale - 0.5
    if how == "half_pixel_symmetric":
        return old / 2 * (1 - new / (old * scale)) + (place + 0.5) / scale - 0.5
    raise Beyond(f"Resize with {how}")


def _nearest_mode(call: Call) -> str:
    early = call.op == "Upsample" or call.version < 11
    return "floor" if early else call.get("nearest_mode", "round_prefer_floor")


def _rounded(place: np.ndarray, how: str) -> np.ndarray:
    ways = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    }
    if how not in ways:
        raise Beyond(f"Resize with {how}")
    return ways[how](place).astype(np.int64)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel (1981)."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _along(x: Tensor, axis: int, at: np.ndarray, weights: np.ndarray) -> Tensor:
    shape = [-1 if place == axis else 1 for place in range(x.ndim)]
    found = None
    for places, weight in zip(at, weights, strict=True):
        part = x.index_select(axis, torch.tensor(places, device=x.device))
        if not (weight == 1).all():
            part = part * torch.tensor(weight, dtype=x.dtype, device=x.device).reshape(shape)
        found = part if found is None else found + part
    assert found is not None
    return found


RESIZING = {"Resize": resize, "Upsample": resize}

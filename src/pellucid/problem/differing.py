"""Whether two answers to one row are the same: asked twice, beside other rows, or filled up behind its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .model import Rows

TOLERANCE = 1e-4
"""Relative difference above which two answers to the same row count as different."""


def difference(a: Tensor, b: Tensor) -> float:
    """The largest relative difference of two answers ``[b, K]``, 0 where it is within rounding."""
    a, b = a.double(), b.double()
    if a.shape != b.shape or not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return 0.0  # what is not finite is reported, with its row, by the pass that binds the target
    gap = float((a - b).abs().max()) if a.numel() else 0.0
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-12) if a.numel() else 1.0
    return gap / scale if gap / scale > TOLERANCE else 0.0


def fills_up(ask: Callable[[Any], Tensor], alone: Rows, filled: Rows) -> bool | None:
    """Whether a network says of a row that is ``filled`` up behind its end what it says of the row ``alone``.

    None where that cannot be told: it does not take rows so short, or answers them with another number of outputs.
    """
    with torch.no_grad():
        try:
            own = ask(alone)
        except Exception:  # noqa: BLE001 — a stranger's network may raise anything on a row of another length
            return None
        found = ask(filled)
    return None if own.shape != found.shape else not difference(own, found)

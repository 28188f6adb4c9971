"""Other starts that a path could have had: zero, a mean, a blurred image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session
from .paths import Blurred


def other_starts(session: Session) -> dict[str, Tensor]:
    """Starts by name, ``[1, D]`` or ``[N, D]``, without those that are the session's own.

    Images: black, each channel's own mean, and blurred. Tables: zero, and the mean and median of the background.
    Series: zero, and each channel's own mean. Other tensors: zero, and the mean of the row's own values.
    """
    found = {"zero": torch.zeros_like(session.x[:1])}
    if session.kind == "table":
        rows = session.background
        found |= {"mean": rows.mean(1), "median": rows.median(1).values} if rows.shape[1] > 1 else {}
    else:
        found["mean"] = _own_means(session)
        found |= {"blurred": Blurred(session).start} if session.kind == "image" else {}
    own = session.start
    return {name: start for name, start in found.items() if not torch.equal(*torch.broadcast_tensors(start, own))}


def _own_means(session: Session) -> Tensor:
    """Each row's own mean, of each channel of an image or series, of each input tensor, ``[N, D]``."""
    if (axes := session.inputs.axes) is not None:
        grids = axes.by_channel(session.x)
        return axes.as_rows(grids.mean(-1, keepdim=True).expand_as(grids))
    parts, first = [], 0
    for shape in session.inputs.shapes.values():
        width = int(np.prod(shape))
        part = session.x[:, first : first + width]
        grouped = part.reshape(len(part), shape[0] if session.kind == "image" else 1, -1)
        parts.append(grouped.mean(2, keepdim=True).expand_as(grouped).flatten(1))
        first += width
    return torch.cat(parts, dim=1)

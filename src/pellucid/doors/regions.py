"""The door for known regions: masks, boxes on pictures and spans of texts become shares of the players."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..modalities.image import Boxes, image_shape
from ..problem.problem import Problem
from ..records.errors import InputError
from ..records.regions import Regions, Spans


def is_regions(given: Any) -> bool:
    """Whether what is known are regions, and no contributions: boxes, spans, or truth values."""
    if isinstance(given, (Boxes, Regions, Spans)):
        return True
    return str(getattr(given, "dtype", "")).removeprefix("torch.") == "bool"


def as_regions(problem: Problem, given: Any) -> Regions:
    """Known regions of ``problem``'s rows, as shares of its players.

    ``given`` are :class:`Boxes`, :class:`Spans` of the texts, or ``Bool[N, …]``: one value for each player ``[N, n]``,
    for each element in the rows' own shape, or for each pixel ``[N, height, width]``. Raises :class:`InputError` for
    any other shape.
    """
    if isinstance(given, Regions):
        return given
    if isinstance(given, Spans):
        return _of_spans(problem, given)
    if isinstance(given, Boxes):
        given = given.masks(*image_shape(problem.inputs)[1:])
    mask = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    players, N = problem.players, len(problem.inputs)
    if len(mask) != N:
        raise InputError(f"the known regions are of {len(mask)} rows, but {N} rows were given")
    if mask.shape[1:] == (players.most,) and players.labels.shape[1] != players.most:
        return Regions(mask)
    elements = _by_element(problem, mask)
    inside = np.full((N, players.most), np.nan)
    for row in range(N):
        labels = players.labels[0 if players.is_shared else row]
        owned, count = labels >= 0, len(players.of(row))
        sizes = np.bincount(labels[owned], minlength=count)
        inside[row, :count] = np.bincount(labels[owned], elements[row][owned], minlength=count) / sizes
    return Regions(inside)


def _of_spans(problem: Problem, spans: Spans) -> Regions:
    """The share of each player's characters that lies in the spans of its text."""
    players, N = problem.players, len(problem.inputs)
    if len(spans) != N:
        raise InputError(f"the known regions are of {len(spans)} rows, but {N} rows were given")
    if not players.spans:
        raise InputError("spans are of texts, and these rows are none", fix="give a mask of truth values")
    inside = np.full((N, players.most), np.nan)
    for row, own in enumerate(players.spans):
        inside[row, : len(own)] = [spans.share(row, start, stop) for start, stop in own]
    return Regions(inside)


def _by_element(problem: Problem, mask: np.ndarray) -> np.ndarray:
    """The mask ``Bool[N, D]`` of the rows' elements."""
    shapes = list(problem.inputs.shapes.values()) if problem.inputs.opaque is None else []
    if len(shapes) == 1 and len(shapes[0]) == 3 and mask.shape[1:] == shapes[0][1:]:
        mask = np.broadcast_to(mask[:, None], (len(mask), *shapes[0]))
    if len(shapes) == 1 and mask.shape[1:] in (shapes[0], (int(np.prod(shapes[0])),)):
        return mask.reshape(len(mask), -1)
    due = " or ".join(str(("N", *shape)) for shape in [*shapes, (problem.players.most,)])
    raise InputError(f"the known regions have the shape {mask.shape}", fix=f"give one of {due}")

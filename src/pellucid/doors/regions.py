"""The door for known regions: masks, boxes on pictures, spans of texts and series become shares of the players."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..modalities.image import Boxes, image_shape
from ..modalities.series import series_axes
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

    ``given`` are :class:`Boxes`, :class:`Spans` of texts or series, or ``Bool[N, …]``: one value for each player
    ``[N, n]``, for each element in the rows' own shape, each pixel ``[N, height, width]``, or each step ``[N, time]``.
    Raises :class:`InputError` for any other shape.
    """
    if isinstance(given, Regions):
        return given
    if isinstance(given, Spans) and problem.inputs.axes is not None:
        given = _of_steps(problem, given.masks(problem.inputs.axes.steps))
    elif isinstance(given, Spans):
        return _of_spans(problem, given)
    if isinstance(given, Boxes):
        given = given.masks(*image_shape(problem.inputs)[1:])
    mask = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    players, N = problem.players, len(problem.inputs)
    if len(mask) != N:
        raise InputError(f"the known regions are of {len(mask)} rows, but {N} rows were given")
    if mask.shape[1:] == (players.most,) and players.labels.shape[1] != players.most:
        _refuse_steps_or_players(problem)
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
    """The share of each player's letters that lies in the spans of its text: a comma written to a word is no part."""
    players, N = problem.players, len(problem.inputs)
    if len(spans) != N:
        raise InputError(f"the known regions are of {len(spans)} rows, but {N} rows were given")
    if not players.spans:
        raise InputError("spans are of texts and series, and these rows are neither", fix="give a mask of truth values")
    inside = np.full((N, players.most), np.nan)
    for row, own in enumerate(players.spans):
        text = str(problem.inputs.raw[row])
        marked, letters = spans[[row]].masks(len(text))[0], np.array([character.isalnum() for character in text])
        for player, (start, stop) in enumerate(own):
            counted = letters[start:stop] if letters[start:stop].any() else np.ones(stop - start, dtype=bool)
            inside[row, player] = marked[start:stop][counted].mean()
    return Regions(inside)


def _by_element(problem: Problem, mask: np.ndarray) -> np.ndarray:
    """The mask ``Bool[N, D]`` of the rows' elements."""
    shapes = list(problem.inputs.shapes.values()) if problem.inputs.opaque is None else []
    if problem.inputs.axes is not None and mask.shape[1:] == (problem.inputs.axes.steps,):
        return _of_steps(problem, mask)
    if len(shapes) == 1 and len(shapes[0]) == 3 and mask.shape[1:] == shapes[0][1:]:
        mask = np.broadcast_to(mask[:, None], (len(mask), *shapes[0]))
    if len(shapes) == 1 and mask.shape[1:] in (shapes[0], (int(np.prod(shapes[0])),)):
        return mask.reshape(len(mask), -1)
    due = " or ".join(str(("N", *shape)) for shape in [*shapes, (problem.players.most,)])
    raise InputError(f"the known regions have the shape {mask.shape}", fix=f"give one of {due}")


def _of_steps(problem: Problem, mask: np.ndarray) -> np.ndarray:
    """A mask ``Bool[N, T]`` of steps as one of elements ``Bool[N, D]``: of all channels at these steps."""
    axes = series_axes(problem.inputs)
    return axes.as_rows(np.repeat(mask[:, None], len(axes.channels), axis=1))


def _refuse_steps_or_players(problem: Problem) -> None:
    """Raise :class:`InputError` where as many players as steps could be meant by one mask."""
    axes, players = problem.inputs.axes, problem.players
    if axes is not None and players.most == axes.steps and players.kind != "step":
        raise InputError(
            f"these known regions could be of the {axes.steps} steps or of the {players.most} players",
            fix="give Spans, or a mask in the rows' own shape",
        )

"""Rows of different lengths: asked apart where that is needed, each as long as it would be alone.

Behind its end a row is filled up to the longest. A network that is not told where rows end takes the filling for more
of the row; and where one looks inside, or asks for gradients, what is found there of the filling would be as large as
the longest row. So rows are cut to their own length and asked in groups of one length.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..problem.inputs import Inputs
from ..problem.model import Differentiable, Inspectable, Traceable
from ..problem.problem import Problem
from ..problem.removal import TensorRemoval


def looks_inside(needs: tuple[type, ...]) -> bool:
    """Whether a method asks for what is as large as the row, and can be asked at any length.

    Not one that walks a network's graph: the graph is followed anew for each length, which costs more than the filling.
    """
    return any(need in needs for need in (Differentiable, Inspectable)) and Traceable not in needs


def by_length(problem: Problem, inside: bool) -> list[tuple[np.ndarray, Problem]]:
    """The rows of a problem in the groups in which they are asked: places ``Int[·]``, and the problem of these rows.

    The longest rows come first. ``inside`` asks for groups of one length also where the filling does no harm.
    """
    inputs = problem.inputs
    if _alike(inputs) or (inputs.fills and not inside):
        return [(np.arange(len(inputs)), problem)]
    lengths = np.asarray(inputs.lengths)
    groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)[::-1]]
    return [(rows, cut(problem.take(rows))) for rows in groups]


def of_one_length(problem: Problem) -> Problem:
    """Those rows of a problem whose length most rows have, as long as they are; all rows where they can stay together.

    For who wants to know the model and not each row.
    """
    inputs = problem.inputs
    if _alike(inputs) or inputs.fills:
        return problem
    lengths, counts = np.unique(np.asarray(inputs.lengths), return_counts=True)
    return cut(problem.take(np.flatnonzero(np.asarray(inputs.lengths) == lengths[counts.argmax()])))


def cut(problem: Problem) -> Problem:
    """The same problem without what lies behind the end of its rows, which are of one length."""
    inputs = problem.inputs
    assert inputs.lengths is not None
    length = int(inputs.lengths[0])
    elements, shorter = inputs.kept(length), inputs.cut(length)
    removal = problem.removal
    if isinstance(removal, TensorRemoval):
        removal = removal.cut(elements, inputs.width)
    return replace(problem, inputs=shorter, players=problem.players.cut(elements, shorter.axes), removal=removal)


def _alike(inputs: Inputs) -> bool:
    return not inputs.along or inputs.lengths is None

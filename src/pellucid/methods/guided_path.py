"""The guided path: inputs to which the output is least sensitive are moved first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session

ANCHORS = 20
"""The path meets the straight line in so many points, so that it does not stray."""
FRACTION = 0.25
"""Inputs moved together: the quarter with the smallest gradients."""


def guided_integral(session: Session, start: Tensor, steps: int, questions: np.ndarray) -> np.ndarray:
    """The gradient integrated along the guided path in ``steps`` steps, ``Float64[Q', D]`` (Kapishnikov et al. 2021,
    arXiv 2106.09788, algorithm 1, with anchors as in section 3.3).

    Each step is of equal L1 length between two anchors. The trapezoid rule takes the gradients at both its ends, of
    which the later one is needed anyway to choose the next step. It costs steps + 1 gradients.
    """
    found = np.zeros((len(questions), session.x.shape[1]))
    for first in range(0, len(questions), session.rows_at_once):  # what is held are the points of one batch
        part = slice(first, first + session.rows_at_once)
        found[part] = _walked(session, start, steps, questions[part])
    return found


def _walked(session: Session, start: Tensor, steps: int, questions: np.ndarray) -> np.ndarray:
    items = session.item(torch.as_tensor(questions))
    row = session.x[items].double()
    origin = (start if len(start) == 1 else start[items]).double().expand_as(row)
    place, total = origin.clone(), torch.zeros_like(row)
    slopes = _slopes_at(session, place, questions)
    for bounds in np.array_split(np.arange(steps), min(ANCHORS, steps)):
        goal = torch.lerp(origin, row, float(bounds[-1] + 1) / steps)
        whole = (goal - place).abs().sum(1)
        for left in range(len(bounds) - 1, -1, -1):
            moved = _moved(place, goal, slopes, whole * left / len(bounds)) if left else goal
            after = _slopes_at(session, moved, questions)
            total += (slopes + after) / 2 * (moved - place)
            place, slopes = moved, after
    return total.cpu().numpy()


def _slopes_at(session: Session, place: Tensor, questions: np.ndarray) -> Tensor:
    """The gradients ``Float64[b, D]`` at one point for each question."""
    of = {question: at for at, question in enumerate(questions.tolist())}

    def points(asked: Tensor, _: Tensor) -> Tensor:
        return place[[of[question] for question in asked.tolist()]].to(session.x)

    return torch.from_numpy(session.gradients(points, 1, np.ones(1), questions)).to(place.device)


def _moved(place: Tensor, goal: Tensor, slopes: Tensor, remaining: Tensor) -> Tensor:
    """The points ``[b, D]`` a step on: the inputs of the smallest |gradient| are taken to the goal, group after group,
    the last group in part, until the L1 distance to the goal is ``remaining``."""
    away = (goal - place).abs()
    order = torch.where(away > 0, slopes.abs(), torch.inf).sort(dim=1, stable=True)
    group = _groups(order.values)
    sorted_away = away.gather(1, order.indices)
    in_group = torch.zeros_like(away).scatter_add_(1, group, sorted_away)
    before = in_group.cumsum(1) - in_group
    need = (away.sum(1) - remaining).clamp(min=0)[:, None]
    share = torch.where(in_group > 0, (need - before) / in_group.clamp(min=1e-300), 0.0).clamp(0, 1)
    ratio = torch.zeros_like(away).scatter_(1, order.indices, share.gather(1, group))
    return torch.where(ratio == 1, goal, torch.lerp(place, goal, ratio))


def _groups(sizes: Tensor) -> Tensor:
    """Groups of sorted ``[b, D]`` values by their place, ``Int[b, D]``; equal values are of one group."""
    D = sizes.shape[1]
    place = torch.arange(D, device=sizes.device) // max(int(FRACTION * D), 1)
    fresh = torch.ones_like(sizes, dtype=torch.bool)
    fresh[:, 1:] = sizes[:, 1:] != sizes[:, :-1]
    return torch.where(fresh, place, 0).cummax(dim=1).values

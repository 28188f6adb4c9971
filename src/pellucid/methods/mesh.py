"""Where on a path to look: points set close where the output bends, found by asking for outputs only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from .paths import Path

FIRST = 16
"""Equal parts of the path that one begins with."""
MOST_ROUNDS = 40
NOISE = 8
"""Outputs are taken to be right to so many units of rounding."""
ALIKE, STRAIGHT = 2, -10_000
"""Parts that bend by a fourth of the worst, or more, are halved with it."""
COST = 3
"""Evaluations a part costs: its middle and an end while it is found, and its gradient afterwards."""


@dataclass
class _Parts:
    """The parts of one question's path: ends, the outputs there and in the middle (NaN where not asked yet)."""

    left: np.ndarray = field(default_factory=lambda: np.arange(FIRST) / FIRST)
    right: np.ndarray = field(default_factory=lambda: (np.arange(FIRST) + 1) / FIRST)
    ends: np.ndarray = field(default_factory=lambda: np.full((2, FIRST), np.nan))
    middle: np.ndarray = field(default_factory=lambda: np.full(FIRST, np.nan))

    def bends(self, rounding: float) -> np.ndarray:
        """How far the output is from a straight line over each part; zero where that is no more than rounding."""
        bends = np.abs(self.ends[0] - 2 * self.middle + self.ends[1])
        return np.where(bends > NOISE * rounding * np.abs(self.ends).max(), bends, 0.0)

    def halved(self, most: int, tolerance: float, rounding: float) -> bool:
        """Halve the parts that bend about as much as the worst; False where that is little, or no more are allowed.

        Bends are compared by their powers of two, so that the last bits of an output decide nothing.
        """
        bends = self.bends(rounding)
        sizes = np.where(bends > 0, np.frexp(bends)[1], STRAIGHT)
        order = np.lexsort((np.arange(len(bends)), -sizes))
        count = min(int((sizes >= sizes[order[0]] - ALIKE).sum()), most - len(bends))
        if count < 1 or bends.sum() <= tolerance:
            return False
        split = np.sort(order[:count])
        center, unknown = (self.left[split] + self.right[split]) / 2, np.full(count, np.nan)
        before, between, after = self.ends[0][split], self.middle[split], self.ends[1][split]
        kept = np.delete(np.arange(len(bends)), split)
        self.left, self.right = (
            np.concatenate([old[kept], *new])
            for old, new in ((self.left, (self.left[split], center)), (self.right, (center, self.right[split])))
        )
        self.ends = np.concatenate(
            [self.ends[:, kept], np.stack([before, between]), np.stack([between, after])], axis=1
        )
        self.middle = np.concatenate([self.middle[kept], unknown, unknown])
        return True


def fitted(path: Path, questions: np.ndarray, tolerances: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The middles and lengths of the parts of each question's path, ``Float64[Q', m]`` each.

    Where a question has fewer than m parts, the rest are of length zero. ``tolerances`` are what the bends of all
    parts may add up to, ``most`` the evaluations of a question, the gradients that follow counted in.
    """
    parts, rounding = [_Parts() for _ in questions], torch.finfo(path.session.x.dtype).eps
    grid = np.linspace(0, 1, FIRST + 1)
    ends = _outputs(path, [(question, grid) for question in questions])
    for own, found in zip(parts, ends, strict=True):
        own.ends = np.stack([found[:-1], found[1:]])
    open_parts = list(range(len(parts)))
    for _ in range(MOST_ROUNDS):
        asked = [(questions[i], ((parts[i].left + parts[i].right) / 2)[np.isnan(parts[i].middle)]) for i in open_parts]
        for i, found in zip(open_parts, _outputs(path, asked), strict=True):
            parts[i].middle[np.isnan(parts[i].middle)] = found
        open_parts = [i for i in open_parts if parts[i].halved(most // COST, tolerances[i], rounding)]
        if not open_parts:
            break
    widest = max(len(own.left) for own in parts)
    middles, lengths = np.zeros((2, len(parts), widest))
    for i, own in enumerate(parts):
        middles[i, : len(own.left)] = (own.left + own.right) / 2
        lengths[i, : len(own.left)] = own.right - own.left
    return middles, lengths


def _outputs(path: Path, asked: list[tuple[int, np.ndarray]]) -> list[np.ndarray]:
    """The target at points of a path, for each (question, α): a batch at a time."""
    session = path.session
    questions = np.repeat([question for question, _ in asked], [len(alphas) for _, alphas in asked])
    alphas = np.concatenate([alphas for _, alphas in asked])
    found = np.zeros(len(alphas))
    for first in range(0, len(alphas), session.rows_at_once):
        part = slice(first, first + session.rows_at_once)
        points = path.at(session.item(torch.as_tensor(questions[part])), torch.as_tensor(alphas[part]))
        found[part] = session.outputs(points, questions[part])
    return np.split(found, np.cumsum([len(alphas) for _, alphas in asked])[:-1])

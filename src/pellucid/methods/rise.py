"""RISE: what the output gains where random soft masks leave a part of the picture to be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.settings import Range
from .method import Method

MOST = 2_000
CELLS_AT_ONCE = 2**22
"""Mask elements made at once; masks are made again from their seed rather than kept."""


@dataclass(frozen=True)
class Rise(Method):
    """φ_i = E[v m_i] / E[m_i] − E[v (1 − m_i)] / E[1 − m_i] over random masks m (Petsiuk et al. 2018, eq. 6).

    A mask is a coarse grid of cells, on with a chance of ``probability``, enlarged bilinearly and shifted at random;
    the picture shows through it, and what stands for the absent elsewhere. The paper's map is E[v m_i] / E[m_i]; here
    it is taken against the same mean over what hides i, so that a pixel that does nothing gets about 0: the paper's
    map is E[v] + (1 − probability) · φ. A player of several pixels gets their mean. The trap: masks are smooth, so
    neighbours within a cell share their credit.
    """

    samples: Annotated[int | None, Range(2, 1_000_000), "masks; none: 2000, or what the budget allows"] = None
    cells: Annotated[int, Range(1, 1_000), "cells of the coarse grid on each side"] = 7
    probability: Annotated[float, Range(0.01, 0.99), "the chance that a cell is on"] = 0.5

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    source: ClassVar[str] = "Petsiuk, Das & Saenko 2018, arXiv 1806.07421, equation 6 and section 3.2"
    kinds: ClassVar[tuple[str, ...]] = ("image", "series")
    promises: ClassVar[tuple[str, ...]] = ("linearity", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        wanted = self.samples or MOST
        allowed = session.allowance(wanted + 2, least=wanted + 2 if self.samples else 6)
        samples = min(wanted, allowed - 2)
        masks = _Masks(session, samples, self.cells, self.probability)
        v = np.concatenate([session.blends(shares, elements=True) for _, shares in masks.parts()], axis=1)
        paired, p = masks.paired, self.probability
        change = v[:, 0::2] - v[:, 1::2] if paired else v - v.mean(1, keepdims=True)
        scale = 2.0 if paired else 1 / (p * (1 - p))
        total, squares = np.zeros((2, session.questions, session.n))
        for part, shares in masks.parts(halves=paired):
            for rows, shown in _of_players(session, shares):
                total[rows] += change[rows, part] @ (shown - p)
                squares[rows] += np.square(change[rows, part]) @ np.square(shown - p)
        units = change.shape[1]
        mean = total / units
        spread = np.maximum(squares / units - np.square(mean), 0.0) / (units - 1)
        notes = {"samples": samples, "mean": v.mean(1)}
        return Estimate(scale * mean, stderr=scale * np.sqrt(spread), notes=notes)

    def cost(self, players: int) -> float:
        return float(self.samples or MOST) + 2


class _Masks:
    """Random masks over images ``[C, H, W]``, made part by part from a small design.

    Where cells are on by a fair coin and the masks are even in number, each is followed by its negative: what does not
    tell the two apart cancels.
    """

    def __init__(self, session: Session, samples: int, cells: int, probability: float):
        channels, height, width = session.inputs.canvas
        self.samples, self.channels = samples, channels
        self.paired = probability == 0.5 and samples % 2 == 0
        self._size, self._cells = (height, width), (min(cells, height), min(cells, width))
        drawn = samples // 2 if self.paired else samples
        self._on, self._shift = session.design(_cells_on, drawn, *self._cells, probability)
        self._device, self._laid = session.x.device, session.inputs.off_canvas

    def parts(self, halves: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """(slice, masks ``Float32[·, D]``); with ``halves`` only the first of each pair, and slices of pairs."""
        height, width = self._size
        size = max(CELLS_AT_ONCE // (self.channels * height * width), 1)
        for start in range(0, len(self._on), size):
            part = slice(start, min(start + size, len(self._on)))
            masks = self._laid(self._masks(part)[:, None].expand(-1, self.channels, -1, -1))
            if self.paired and not halves:
                masks = torch.stack([masks, 1 - masks], dim=1).flatten(0, 1)
            yield part, masks.to(self._device)

    def _masks(self, part: slice) -> Tensor:
        """Cells enlarged bilinearly, ``Float32[·, H, W]``: each element weighs its two nearest cells on either axis."""
        on = torch.from_numpy(self._on[part].astype(np.float32))
        down, across = (
            torch.from_numpy(_weights(size, cells, self._shift[part, axis]))
            for axis, (size, cells) in enumerate(zip(self._size, self._cells, strict=True))
        )
        return down @ on @ across.mT


def _cells_on(
    rng: np.random.Generator, masks: int, down: int, across: int, probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are on, ``Bool[masks, down + 1, across + 1]``, and shifts ``Float[masks, 2]`` in cells, 0 to 1."""
    return rng.random((masks, down + 1, across + 1)) < probability, rng.random((masks, 2))


def _weights(size: int, cells: int, shift: np.ndarray) -> np.ndarray:
    """How much each element sees of each of cells + 1 cells, ``Float32[masks, size, cells + 1]``; rows sum to 1."""
    places = (np.arange(size) + 0.5) * cells / size + shift[:, None] - 0.5
    places = np.clip(places, 0, cells)[..., None]
    return np.maximum(1 - np.abs(places - np.arange(cells + 1)), 0.0).astype(np.float32)


def _of_players(session: Session, shares: Tensor) -> Iterator[tuple[slice, np.ndarray]]:
    """(questions, shares ``Float64[b, n]``): the mean share of each player's elements, as its rows' players lie."""
    players, T = session.players, session.targets
    for row, labels in enumerate(players.labels):
        owner = torch.from_numpy(np.where(labels < 0, session.n, labels)).to(shares.device)
        summed = shares.new_zeros((len(shares), session.n + 1), dtype=torch.float64)
        summed.index_add_(1, owner, shares.double())
        shown = (summed[:, :-1] / torch.bincount(owner, minlength=session.n + 1)[:-1]).cpu().numpy()
        yield (slice(None) if players.is_shared else slice(row * T, (row + 1) * T)), shown

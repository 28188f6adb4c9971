"""What methods have in common that read their values off the gradient at the row, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.model import Differentiable
from ..records.messages import Caution
from .method import Method

SAME = 1e-9
"""Outputs that differ by less, relative to their size, count as the same."""


@dataclass(frozen=True)
class FromGradient(Method, ABC):
    """A method of one gradient at the row.

    Since its values are a function of a row and its gradient, they can be averaged over many rows without being kept.
    """

    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    at_rows: ClassVar[bool] = True
    removes: ClassVar[bool] = False

    @abstractmethod
    def of_elements(self, rows: Tensor, slopes: Tensor) -> Tensor:
        """The value of each element, from rows and gradients ``[…, D]``."""

    @property
    def pooled_by(self) -> str:
        """How a group's value comes from those of its elements."""
        return self.pooling

    def estimate(self, session: Session) -> Estimate:
        slopes = session.slopes
        rows = session.x.double().cpu().repeat_interleave(session.targets, dim=0)
        values = session.pool(self.of_elements(rows, torch.from_numpy(slopes)).numpy(), self.pooled_by)
        return Estimate(values, cautions=zero_gradient_cautions(slopes, session), pooling=self.pooled_by)

    def cost(self, players: int) -> float:
        return 1.0


def zero_gradient_cautions(slopes: np.ndarray, session: Session) -> tuple[Caution, ...]:
    """Cautions for rows where the gradient ``[Q, D]`` of some target is zero everywhere.

    Where the output changes once everything is removed, it is saturated at the row; else nothing is known.
    """
    zero = ~slopes.any(axis=1)
    if not zero.any():
        return ()
    full, empty = session.full, session.empty
    saturated = zero & (np.abs(full - empty) > SAME * np.maximum(np.abs(full), np.abs(empty)))
    found = {"zero_gradient": saturated, "zero_gradient_unmoved": zero & ~saturated}
    counts = {code: int(own.reshape(len(session), -1).any(1).sum()) for code, own in found.items()}
    return tuple(Caution.of(code, "yellow", rows=rows, total=len(session)) for code, rows in counts.items() if rows)


def nothing_back(method: str, values: np.ndarray, session: Session) -> tuple[Caution, ...]:
    """A caution for rows where all values ``[Q, D]`` that came back through the network are zero for some target."""
    rows = int((~values.any(axis=1)).reshape(len(session), -1).any(1).sum())
    return (Caution.of("nothing_back", "yellow", method=method, rows=rows, total=len(session)),) if rows else ()

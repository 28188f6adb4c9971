"""CAM: what each cell of the last feature maps adds to the target, where they are averaged before a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable
from .class_activation import GradientMap, Grid, laid

TOLERANCE = 1e-3
"""Relative deviation from an average and a linear layer that is put down to rounding."""


@dataclass(frozen=True)
class Cam(GradientMap):
    """Σ_k w_k A_k with the weights w_k of the linear layer (Zhou et al. 2016, arXiv 1512.04150, eq. 2).

    It is defined for networks in which the maps A_k are averaged and a linear layer follows. Whether they are is found
    by asking: the gradient has to be the same in all cells, and the target to be linear in the maps. It is then
    h·w times Grad-CAM without its rectifier.
    """

    name: ClassVar[str] = "cam"
    title: ClassVar[str] = "Class activation map"
    source: ClassVar[str] = "Zhou, Khosla, Lapedriza, Oliva & Torralba 2016, arXiv 1512.04150, equation 2"
    known_as: ClassVar[tuple[str, ...]] = ("class_activation_map",)

    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """The map, and behind it ``[b, h + 1, w]`` how far the gradients are from being the same in all cells."""
        weights = gradients.sum((2, 3), keepdim=True)
        uneven = (gradients * gradients[0, 0].numel() - weights).abs().amax((1, 2, 3), keepdim=True)[:, 0]
        found = (weights * activations).sum(1)
        share = uneven / weights.abs().amax((1, 2, 3), keepdim=True)[:, 0].clamp(min=1e-300)
        return torch.cat([found, share.expand(-1, 1, found.shape[2])], dim=1)

    def estimate(self, session: Session) -> Estimate:
        grid = self.grid(session.places)
        found = session.looked(self.look(session.places))
        if found[:, -1].max() > TOLERANCE or not _linear(session, grid):
            raise NotApplicable(
                f"cam is defined where the maps at {grid.place.name} are averaged and only a linear layer follows",
                why="here the target does not depend on them that way",
                fix="take grad_cam, which is the same where cam is defined, or hires_cam",
            )
        return laid(session, self.name, grid, found[:, :-1])


def _linear(session: Session, grid: Grid) -> bool:
    """Whether the targets with the maps gone are half way between those with the maps as they are and turned round."""
    factors = torch.tensor([0.0, -1.0])

    def change(rows: Tensor, _: Tensor, which: Tensor) -> Tensor:
        return rows * factors.to(rows)[which].reshape(-1, *[1] * (rows.ndim - 1))

    gone, turned = session.changed(grid.place.name, change, len(factors)).T
    scale = np.abs(session.full) + np.abs(turned) + np.abs(gone)
    return bool((np.abs(session.full + turned - 2 * gone) <= TOLERANCE * scale).all())

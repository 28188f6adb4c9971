"""Ablation-CAM: a late layer's feature maps, each weighed by what the target loses without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..engine.changing import Change
from ..engine.estimate import Estimate
from ..engine.inside import Seen
from ..engine.session import Session
from ..problem.model import Inspectable
from .class_activation import ClassActivation, Grid, laid, weighed


@dataclass(frozen=True)
class AblationCam(ClassActivation):
    """ReLU(Σ_k w_k A_k), w_k = y − y without map k (Desai & Ramaswamy 2020, Ablation-CAM, section 3).

    No gradients are asked for. The paper divides w_k by y, which says the same of one picture, but turns a map round
    where y < 0 and has no meaning where y = 0: here the weights keep the target's units.
    """

    relu: Annotated[bool, "drop what speaks against the target, as the paper does"] = True

    name: ClassVar[str] = "ablation_cam"
    title: ClassVar[str] = "Ablation-CAM"
    source: ClassVar[str] = "Desai & Ramaswamy 2020, Ablation-CAM, WACV, section 3"
    needs: ClassVar[tuple[type, ...]] = (Inspectable,)
    known_as: ClassVar[tuple[str, ...]] = ("ablationcam",)

    def estimate(self, session: Session) -> Estimate:
        grid, T = self.grid(session.places), session.targets
        session.allowance(grid.channels + 2, least=grid.channels + 2)
        lost = session.full[:, None] - session.changed(grid.place.name, _without(grid), grid.channels)
        weights = torch.from_numpy(lost).reshape(len(session), T, -1)

        def fold(activations: Seen, rows: Tensor) -> Tensor:
            maps, own = grid.maps(activations[grid.place.name]).cpu(), weights[rows]
            return torch.stack([weighed(maps, own[:, t], self.relu) for t in range(T)], dim=1)

        maps = session.activations([grid.place.name], fold)
        return laid(session, self.name, grid, maps.reshape(session.questions, grid.height, grid.width))

    def cost(self, players: int) -> float:
        return 512.0


def _without(grid: Grid) -> Change:
    def change(rows: Tensor, _: Tensor, which: Tensor) -> Tensor:
        left = rows.clone()
        grid.maps(left)[torch.arange(len(left)), which] = 0
        return left

    return change

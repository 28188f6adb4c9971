"""Eigen-CAM: the strongest pattern among a late layer's feature maps, whatever the target is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Seen
from ..engine.session import Session
from ..problem.model import Inspectable
from .class_activation import ClassActivation, laid


@dataclass(frozen=True)
class EigenCam(ClassActivation):
    """The activations ``[hw, C]`` projected on their first right singular vector (Muhammad & Yeasin 2020, section III).

    It asks for no gradient and looks at no target: the same for all of them. A singular vector has no sign of its own;
    the one is taken that makes the map add up to no less than zero.
    """

    name: ClassVar[str] = "eigen_cam"
    title: ClassVar[str] = "Eigen-CAM"
    source: ClassVar[str] = "Muhammad & Yeasin 2020, arXiv 2008.00299, section III"
    needs: ClassVar[tuple[type, ...]] = (Inspectable,)
    known_as: ClassVar[tuple[str, ...]] = ("eigencam",)

    def estimate(self, session: Session) -> Estimate:
        grid = self.grid(session.places)

        def fold(activations: Seen, _: Tensor) -> Tensor:
            return _strongest(grid.maps(activations[grid.place.name]))

        maps = session.activations([grid.place.name], fold).repeat(session.targets, 0)
        return laid(session, self.name, grid, maps)


def _strongest(maps: Tensor) -> Tensor:
    """The projection ``[b, h, w]`` of ``[b, C, h, w]`` on its first singular direction among channels."""
    _, strengths, patterns = torch.linalg.svd(maps.flatten(2), full_matrices=False)
    found = strengths[:, :1] * patterns[:, 0]
    sign = torch.where(found.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return (sign * found).unflatten(1, maps.shape[2:])

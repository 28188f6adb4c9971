"""Score-CAM: a late layer's feature maps, each weighed by what the target is where only its cells show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Seen
from ..engine.session import Session
from ..problem.model import Inspectable
from .class_activation import AT_ONCE, ClassActivation, Grid, enlarged, laid, weighed


@dataclass(frozen=True)
class ScoreCam(ClassActivation):
    """ReLU(Σ_k w_k A_k), w = softmax over k of f(x ∘ s(A_k)) − f(nothing shown) (Wang et al. 2020, arXiv 1910.01279).

    s enlarges a map to the picture and scales it to 0 … 1; where it is below 1 the picture is mixed with what stands
    for the absent (zeros in the paper). No gradients are asked for. The trap: a softmax over hundreds of small
    differences of probabilities is nearly flat, and the map is then the mean of all activations.
    """

    softmax: Annotated[bool, "weights by a softmax, as the paper does; off: the differences themselves"] = True
    relu: Annotated[bool, "drop what speaks against the target, as the paper does"] = True

    name: ClassVar[str] = "score_cam"
    title: ClassVar[str] = "Score-CAM"
    source: ClassVar[str] = "Wang et al. 2020, arXiv 1910.01279, definitions 2 and 3"
    needs: ClassVar[tuple[type, ...]] = (Inspectable,)
    removes: ClassVar[bool] = True
    known_as: ClassVar[tuple[str, ...]] = ("scorecam",)

    def estimate(self, session: Session) -> Estimate:
        grid = self.grid(session.places)
        asked = grid.channels + 2
        session.allowance(asked, least=asked)
        maps = [self._of_row(session.part([row], asked), grid) for row in range(len(session))]
        return laid(session, self.name, grid, np.concatenate(maps))

    def _of_row(self, one: Session, grid: Grid) -> np.ndarray:
        """The maps ``[T, h, w]`` of a single picture."""
        found: list[Tensor] = []

        def fold(activations: Seen, _: Tensor) -> Tensor:
            found.append(grid.maps(activations[grid.place.name]).cpu())
            return torch.zeros(1)

        one.activations([grid.place.name], fold)
        maps = found[-1]
        gained = torch.from_numpy(_shown(one, maps[0]) - one.start_values[:, None])
        weights = gained.softmax(1) if self.softmax else gained
        return np.stack([weighed(maps, own[None], self.relu)[0].numpy() for own in weights])

    def cost(self, players: int) -> float:
        return 512.0


def _shown(one: Session, maps: Tensor) -> np.ndarray:
    """The targets ``[T, C]`` where the picture shows through each of the maps ``[C, h, w]``."""
    channels, height, width = one.inputs.canvas
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    scaled = (maps - low) / torch.where(high > low, high - low, 1.0)
    size, answers = max(AT_ONCE // (channels * height * width), 1), []
    for part in scaled.split(size):
        large = enlarged(part, (height, width))[:, None].expand(-1, channels, -1, -1)
        masks = one.inputs.off_canvas(large).to(one.x)
        points = torch.lerp(one.start.expand(len(masks), -1), one.x.expand(len(masks), -1), masks)
        answers.append(one.outputs_all(points, np.zeros(len(masks), dtype=int)))
    return np.concatenate(answers).T

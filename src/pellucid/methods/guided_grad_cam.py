"""Guided Grad-CAM: guided backpropagation where Grad-CAM says that it matters; as fine as pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..operations.manner import GUIDED
from ..problem.model import Differentiable, Inspectable, Traceable
from .class_activation import laid
from .grad_cam import GradCam


@dataclass(frozen=True)
class GuidedGradCam(GradCam):
    """The guided gradient of each element times the enlarged Grad-CAM (Selvaraju et al. 2017, section 3.2).

    The trap: its edges are those of guided backpropagation, which are there whatever the weights say; only where they
    are shown comes from the class.
    """

    name: ClassVar[str] = "guided_grad_cam"
    title: ClassVar[str] = "Guided Grad-CAM"
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv 1610.02391, section 3.2"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Inspectable, Traceable)
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("guided_gradcam",)

    def estimate(self, session: Session) -> Estimate:
        maps = session.looked(self.look(session.places))
        return laid(session, self.name, self.grid(session.places), maps, session.walked(GUIDED))

    def cost(self, players: int) -> float:
        return 2.0

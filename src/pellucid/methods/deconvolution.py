"""Deconvolution: gradients that a rectifier clamps on their way back, whatever it did on the way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..operations.manner import DECONVOLVED, Manner
from .guided_backprop import GuidedBackprop


@dataclass(frozen=True)
class Deconvolution(GuidedBackprop):
    """The gradient, where a rectifier passes what is positive on its way back, whatever it was (Zeiler & Fergus 2014).

    In all else as :class:`GuidedBackprop`, its trap included: a picture of the input more than of the decision.
    """

    name: ClassVar[str] = "deconvolution"
    title: ClassVar[str] = "Deconvolution"
    source: ClassVar[str] = "Zeiler & Fergus 2014, arXiv 1311.2901, section 2.1"
    known_as: ClassVar[tuple[str, ...]] = ("deconvnet",)
    walk: ClassVar[Manner] = DECONVOLVED

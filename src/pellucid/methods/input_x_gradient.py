"""Input × gradient: what each input would take away if the output went on as steeply as it is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .from_gradient import FromGradient


@dataclass(frozen=True)
class InputXGradient(FromGradient):
    """φ = x ∘ ∇f(x) (Shrikumar et al. 2016, arXiv 1605.01713, §3.3): the first step of a Taylor expansion from zero.

    For a network of rectifiers without biases the values add up to f(x), and equal LRP-0; otherwise nothing is promised
    of their sum. The trap: an input of zero gets nothing, however much depends on it.
    """

    name: ClassVar[str] = "input_x_gradient"
    title: ClassVar[str] = "Input × gradient"
    source: ClassVar[str] = "Shrikumar, Greenside, Shcherbina & Kundaje 2016, arXiv 1605.01713"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "symmetry", "linearity", "implementation_invariance")
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("gradient_x_input", "grad_x_input", "gradient_times_input")

    def of_elements(self, rows: Tensor, slopes: Tensor) -> Tensor:
        return rows * slopes

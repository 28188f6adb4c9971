"""Maskers: what "absent" means, under shap's names. Each becomes a removal and, for pictures, players."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...modalities.image import Blur
from ...problem.removal import Constant, Removal
from ...records.errors import NotApplicable, RemovalError, shorten
from .backgrounds import Summary, sample


@dataclass(frozen=True, eq=False)
class Independent:
    """Background rows: absent columns are drawn from them, each independently of the present ones."""

    data: Any
    max_samples: int = 100

    def rows(self) -> Any:
        """At most ``max_samples`` of the rows."""
        return sample(self.data, self.max_samples)


@dataclass(frozen=True, eq=False)
class Partition(Independent):
    """Background rows; columns that move together in them are explained as groups first (Owen values).

    Other ``clustering`` than ``"correlation"`` is refused.
    """

    clustering: Any = "correlation"

    def __post_init__(self) -> None:
        if self.clustering != "correlation":
            raise NotApplicable(
                f"clustering={shorten(self.clustering)!r} is not offered here",
                fix="give groups of columns: pellucid.explain(…, players=pellucid.players.ColumnGroups(…))",
            )


@dataclass(frozen=True, eq=False)
class Image:
    """Pictures ``[height, width, channels]``: ``"blur(16,16)"``, one value, a colour, or a whole picture.

    Inpainting is not offered: it is refused with what to use instead.
    """

    mask_value: Any
    shape: tuple[int, ...] | None = None

    def removal(self, shape: tuple[int, ...]) -> Removal:
        """The removal for pictures of a shape, channels last; rows in model space have channels first."""
        if not isinstance(self.mask_value, str):
            value = np.asarray(self.mask_value, dtype=np.float64)
            if not value.ndim:
                return Constant(float(value))
            return Constant(np.moveaxis(np.broadcast_to(value, shape), -1, 0)[None])
        kernel = re.fullmatch(r"blur\((\d+),\s*(\d+)\)", self.mask_value)
        if kernel is None:
            raise NotApplicable(
                f"pictures cannot be masked by {self.mask_value!r} here",
                why="inpainting invents pixels by another algorithm than the model's data",
                fix='use "blur(16,16)", a value, a colour or a picture',
            )
        if kernel[1] != kernel[2]:
            raise RemovalError(f"{self.mask_value} is not square", fix="blur both ways alike")
        # A box of k pixels has the spread of a Gaussian of sigma = sqrt((k² − 1) / 12).
        return Blur(float(np.sqrt((int(kernel[1]) ** 2 - 1) / 12)))


class Text:
    """Not offered yet: a sentence says what is."""

    def __init__(self, *_: Any, **__: Any):
        raise NotApplicable(
            "texts are not masked under shap's names",
            fix="explain lists of words: pellucid.explain(model, [text.split() for text in texts])",
        )


def as_background(masker: Any) -> Any:
    """Background rows from a masker, a summary, or rows."""
    if isinstance(masker, (Independent, Summary)):
        return masker.rows()
    return masker

"""Pictures of a shape on a noisy ground, whose outline alone tells the class: where explanations must lie is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..records.errors import UnknownName

SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 1,
    "triangle": lambda x, y: (2 * abs(x) <= y + 1) & (y <= 1),
    "cross": lambda x, y: (abs(abs(x) - abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 1),
}
"""Name → which points belong to the shape, whose middle is (0, 0) and which reaches to 1 on each side."""


@dataclass(frozen=True)
class Shape:
    """One picture ``UInt8[side, side, 3]``, what it shows, and its box (left, top, right, bottom; ends are outside)."""

    picture: np.ndarray
    kind: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class PlantedShapes:
    """Pictures of ``side`` × ``side`` with one shape of any bright colour, anywhere, about half as wide as the picture.

    Raises :class:`UnknownName` for a kind that is not in ``SHAPES``.
    """

    kinds: tuple[str, ...] = tuple(SHAPES)
    side: int = 32

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in SHAPES:
                raise UnknownName.among("shape", kind, SHAPES)

    def drawn(self, count: int, seed: int = 0) -> Iterator[Shape]:
        """Shapes of these kinds in turn."""
        rng = np.random.default_rng(seed)
        for number in range(count):
            yield self._one(rng, self.kinds[number % len(self.kinds)])

    def written(self, folder: Path, each: int, seed: int = 0) -> Path:
        """The folder, in which ``each`` pictures of every kind stand in a folder of their own: ``circle/0000.png``."""
        from PIL import Image

        for number, shape in enumerate(self.drawn(each * len(self.kinds), seed)):
            (folder / shape.kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(shape.picture).save(folder / shape.kind / f"{number // len(self.kinds):04}.png")
        return folder

    def _one(self, rng: np.random.Generator, kind: str) -> Shape:
        picture = rng.integers(60, 120, (self.side, self.side, 3), dtype=np.uint8)
        reach = int(rng.integers(round(0.19 * self.side), round(0.28 * self.side)))
        x, y = (int(place) for place in rng.integers(reach, self.side - reach, 2))
        rows, columns = np.mgrid[: self.side, : self.side]
        picture[SHAPES[kind]((columns - x) / reach, (rows - y) / reach)] = rng.integers(140, 256, 3)
        return Shape(picture, kind, (x - reach, y - reach, x + reach + 1, y + reach + 1))

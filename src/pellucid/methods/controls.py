"""Controls: attributions that know nothing of the model, for a good explanation to beat."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, final
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.vocabulary import counts_of, rarity
from .method import Method


@dataclass(frozen=True)
class Control(Method):
    """What knows nothing of the model, and asks it nothing."""

    role: ClassVar[str] = "control"
    source: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    @final
    def cost(self, players: int) -> float:
        return 0.0


@dataclass(frozen=True)
class RowControl(Control):
    """A control that looks at the rows: a new one says how striking each element is."""

    pooling: ClassVar[str] = "norm"

    @abstractmethod
    def striking(self, session: Session) -> Tensor:
        """``Float[N, D]``, whatever the model does with these elements; signs are left away."""

    @final
    def estimate(self, session: Session) -> Estimate:
        elements = self.striking(session).double().cpu().numpy()
        return Estimate(session.pool(np.repeat(elements, session.questions // len(session), 0), "norm"))


@dataclass(frozen=True)
class WordControl(Control):
    """A control that looks at the parts of a text: a new one says how striking each is."""

    kinds: ClassVar[tuple[str, ...]] = ("text", "words")

    @abstractmethod
    def striking(self, parts: Sequence[str]) -> Sequence[float] | np.ndarray:
        """``Float[n]`` of the n parts of one text, whatever the model does with them."""

    @final
    def estimate(self, session: Session) -> Estimate:
        values = [self.striking(session.names(question)) for question in range(session.questions)]
        return Estimate(np.array(values, dtype=np.float64))


@dataclass(frozen=True)
class RandomControl(Control):
    """Independent standard normal numbers, new for every row and every change to it: the score of knowing nothing."""

    name: ClassVar[str] = "random"
    title: ClassVar[str] = "Random numbers"
    sampled: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        rows = [b""] * len(session) if session.opaque else [_bytes(row) for row in session.x]
        values = [
            session.noise(question, crc32(rows[session.item(question)])).standard_normal(session.n)
            for question in range(session.questions)
        ]
        return Estimate(np.array(values).reshape(session.questions, session.n))


@dataclass(frozen=True)
class InputMagnitude(RowControl):
    """How far each player is from its reference, whatever the model does with it."""

    name: ClassVar[str] = "input_magnitude"
    title: ClassVar[str] = "|input|"
    source: ClassVar[str] = "control; Clark et al. 2023, arXiv 2306.12816"
    kinds: ClassVar[tuple[str, ...]] = ("table", "image", "series", "tensor")

    def striking(self, session: Session) -> Tensor:
        return (session.x.double() - session.start.double()).nan_to_num()  # bytes would wrap around; nothing is no size


@dataclass(frozen=True)
class EdgeFilter(RowControl):
    """The Sobel gradient of the image: many maps that look convincing show no more than its edges."""

    name: ClassVar[str] = "edge_filter"
    title: ClassVar[str] = "Edge filter"
    source: ClassVar[str] = "control; Adebayo et al. 2018, arXiv 1810.03292, section 5"
    kinds: ClassVar[tuple[str, ...]] = ("image",)

    def striking(self, session: Session) -> Tensor:
        height, width = next(iter(session.inputs.shapes.values()))[-2:]
        images = session.x.reshape(-1, 1, height, width).double()
        sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
        kernels = torch.stack([sobel, sobel.T])[:, None].to(images.device)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return torch.nn.functional.conv2d(padded, kernels).norm(dim=1).reshape(len(session), -1)


@dataclass(frozen=True)
class LocalDeviation(RowControl):
    """How far a series is from its running median: what an eye that knows nothing of the model would point at.

    The median is over a tenth of the series about each step (three steps at least), channel by channel, the ends held.
    """

    name: ClassVar[str] = "local_deviation"
    title: ClassVar[str] = "|series − running median|"
    source: ClassVar[str] = "control; the running median of Tukey 1977, Exploratory Data Analysis, chapter 7"
    kinds: ClassVar[tuple[str, ...]] = ("series",)

    def striking(self, session: Session) -> Tensor:
        axes = session.inputs.axes
        assert axes is not None
        grids, reach = axes.by_channel(session.x.double()), max(1, axes.steps // 20)
        held = torch.nn.functional.pad(grids, (reach, reach), mode="replicate")
        return axes.as_rows(grids - held.unfold(-1, 2 * reach + 1, 1).median(-1).values)


@dataclass(frozen=True)
class WordLength(WordControl):
    """How many letters each part of a text has: long words carry meaning, whatever the model does with them."""

    name: ClassVar[str] = "word_length"
    title: ClassVar[str] = "Word length"

    def striking(self, parts: Sequence[str]) -> Sequence[float]:
        return [sum(map(str.isalnum, part)) for part in parts]


@dataclass(frozen=True)
class Frequency(WordControl):
    """How rare each part of a text is: rare words look like reasons, whatever the model does with them.

    Counted in ``texts``, best those of training; without any, each explained text is compared with itself alone.
    """

    texts: Annotated[tuple[str, ...], "the texts in which words are counted; none: the explained text itself"] = ()

    name: ClassVar[str] = "frequency"
    title: ClassVar[str] = "Rare words"
    source: ClassVar[str] = "control; Spärck Jones 1972, J Documentation 28, inverse document frequency"

    def striking(self, parts: Sequence[str]) -> np.ndarray:
        if self.texts:
            return rarity(parts, _counts(self.texts), len(self.texts))
        return rarity(parts, counts_of(parts), len(parts))


def _bytes(row: Tensor) -> bytes:
    return row.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()  # numpy has no bfloat16


@lru_cache(maxsize=4)
def _counts(texts: tuple[str, ...]) -> Counter[str]:
    return counts_of(texts)

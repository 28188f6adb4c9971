"""Controls: attributions that know nothing of the model, for a good explanation to beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar
from zlib import crc32

import numpy as np
import torch

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.vocabulary import counts_of, rarity
from .method import Method


def _bytes(row: torch.Tensor) -> bytes:
    return row.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()  # numpy has no bfloat16


@dataclass(frozen=True)
class RandomControl(Method):
    """Independent standard normal numbers, new for every row and every change to it: the score of knowing nothing."""

    name: ClassVar[str] = "random"
    title: ClassVar[str] = "Random numbers"
    source: ClassVar[str] = "control"
    role: ClassVar[str] = "control"
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        rows = [b""] * len(session) if session.opaque else [_bytes(row) for row in session.x]
        values = [
            session.noise(question, crc32(rows[session.item(question)])).standard_normal(session.n)
            for question in range(session.questions)
        ]
        return Estimate(np.array(values).reshape(session.questions, session.n))

    def cost(self, players: int) -> float:
        return 0.0


@dataclass(frozen=True)
class InputMagnitude(Method):
    """How far each player is from its reference, whatever the model does with it."""

    name: ClassVar[str] = "input_magnitude"
    title: ClassVar[str] = "|input|"
    source: ClassVar[str] = "control; Clark et al. 2023, arXiv 2306.12816"
    role: ClassVar[str] = "control"
    kinds: ClassVar[tuple[str, ...]] = ("table", "image", "series", "tensor")
    pooling: ClassVar[str] = "norm"
    signed: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        distance = (session.x.double() - session.start.double()).cpu().numpy()  # bytes would wrap around
        return Estimate(session.pool(np.repeat(distance, session.questions // len(session), 0), "norm"))

    def cost(self, players: int) -> float:
        return 0.0


@dataclass(frozen=True)
class EdgeFilter(Method):
    """The Sobel gradient of the image: many maps that look convincing show no more than its edges."""

    name: ClassVar[str] = "edge_filter"
    title: ClassVar[str] = "Edge filter"
    source: ClassVar[str] = "control; Adebayo et al. 2018, arXiv 1810.03292, section 5"
    role: ClassVar[str] = "control"
    kinds: ClassVar[tuple[str, ...]] = ("image",)
    pooling: ClassVar[str] = "norm"
    signed: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        height, width = next(iter(session.inputs.shapes.values()))[-2:]
        images = session.x.reshape(-1, 1, height, width).double()
        sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
        kernels = torch.stack([sobel, sobel.T])[:, None].to(images.device)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        edges = torch.nn.functional.conv2d(padded, kernels).norm(dim=1)
        flat = edges.reshape(len(session), -1).cpu().numpy()
        return Estimate(session.pool(np.repeat(flat, session.questions // len(session), 0), "norm"))

    def cost(self, players: int) -> float:
        return 0.0


@dataclass(frozen=True)
class LocalDeviation(Method):
    """How far a series is from its running median: what an eye that knows nothing of the model would point at.

    The median is over a tenth of the series about each step (three steps at least), channel by channel, the ends held.
    """

    name: ClassVar[str] = "local_deviation"
    title: ClassVar[str] = "|series − running median|"
    source: ClassVar[str] = "control; the running median of Tukey 1977, Exploratory Data Analysis, chapter 7"
    role: ClassVar[str] = "control"
    kinds: ClassVar[tuple[str, ...]] = ("series",)
    pooling: ClassVar[str] = "norm"
    signed: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        axes = session.inputs.axes
        assert axes is not None
        grids, reach = axes.by_channel(session.x.double()), max(1, axes.steps // 20)
        held = torch.nn.functional.pad(grids, (reach, reach), mode="replicate")
        apart = (grids - held.unfold(-1, 2 * reach + 1, 1).median(-1).values).abs()
        flat = axes.as_rows(apart).cpu().numpy()
        return Estimate(session.pool(np.repeat(flat, session.questions // len(session), 0), "norm"))

    def cost(self, players: int) -> float:
        return 0.0


@dataclass(frozen=True)
class WordLength(Method):
    """How many letters each part of a text has: long words carry meaning, whatever the model does with them."""

    name: ClassVar[str] = "word_length"
    title: ClassVar[str] = "Word length"
    source: ClassVar[str] = "control"
    role: ClassVar[str] = "control"
    kinds: ClassVar[tuple[str, ...]] = ("text", "words")
    signed: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        names = [session.names(question) for question in range(session.questions)]
        letters = [[sum(map(str.isalnum, name)) for name in own] for own in names]
        return Estimate(np.array(letters, dtype=np.float64))

    def cost(self, players: int) -> float:
        return 0.0


@dataclass(frozen=True)
class Frequency(Method):
    """How rare each part of a text is: rare words look like reasons, whatever the model does with them.

    Counted in ``texts``, best those of training; without any, each explained text is compared with itself alone.
    """

    texts: Annotated[tuple[str, ...], "the texts in which words are counted; none: the explained text itself"] = ()

    name: ClassVar[str] = "frequency"
    title: ClassVar[str] = "Rare words"
    source: ClassVar[str] = "control; Spärck Jones 1972, J Documentation 28, inverse document frequency"
    role: ClassVar[str] = "control"
    kinds: ClassVar[tuple[str, ...]] = ("text", "words")
    signed: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        names = [session.names(question) for question in range(session.questions)]
        if self.texts:
            counts = _counts(self.texts)
            return Estimate(np.array([rarity(own, counts, len(self.texts)) for own in names]))
        return Estimate(np.array([rarity(own, counts_of(own), len(own)) for own in names]))

    def cost(self, players: int) -> float:
        return 0.0


@lru_cache(maxsize=4)
def _counts(texts: tuple[str, ...]) -> Counter[str]:
    return counts_of(texts)

"""Questions about rows whose outputs have names of their own: answers, words of an answer, spans of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..records.errors import TargetError
from .target import BoundTarget, Class, Names, Predicted, Target


@dataclass(frozen=True)
class OfOwnOutputs(Target):
    """A target that is bound row by row, by the names of the row's own outputs.

    A row may have fewer outputs than the widest; what is behind its own is never asked for. ``first`` says that
    "predicted" is the first output, and not the largest: outputs that are no rivals have none. ``whole`` counts the
    outputs, from the first on, that are whole answers of a network that writes; the record keeps it as ``answers``.
    """

    inner: Target
    names: tuple[Names, ...]
    first: bool = False
    whole: int = 0

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        asked = Class(0) if self.first and isinstance(self.inner, Predicted) else self.inner
        bound = [
            asked.take([row]).bind(outputs[row : row + 1, : len(names)], names) for row, names in enumerate(self.names)
        ]
        if any(one.rule is not None for one in bound):
            raise TargetError("these rows have outputs of their own", fix="ask for one of them by name or place")
        if len({one.count for one in bound}) > 1:
            raise TargetError(
                "the rows have different numbers of outputs", fix="ask for one output, or explain the rows one by one"
            )
        against = None if bound[0].against is None else torch.cat([one.against for one in bound])  # pyright: ignore[reportArgumentType, reportCallIssue]
        return BoundTarget(
            torch.cat([one.columns for one in bound]),
            tuple(one.names[0] for one in bound),
            self.inner.bind(outputs[:1], None).asked if asked is not self.inner else bound[0].asked,
            against,
            among=1 if self.first else bound[0].among,
        )

    def take(self, rows: Sequence[int]) -> OfOwnOutputs:
        return replace(self, inner=self.inner.take(rows), names=tuple(self.names[row] for row in rows))

    @property
    def rows(self) -> int:
        return len(self.names)

    @property
    def savable(self) -> bool:
        return self.inner.savable

    def described(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self.inner.described(asked) | ({"answers": self.whole} if self.whole else {})

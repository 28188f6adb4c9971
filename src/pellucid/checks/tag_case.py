"""What a check of a network that tags words looks at: true tags beside those the network gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..records.errors import InputError
from .check import Task, as_mask

Tagged = Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class TagCase:
    """What the network said of each word of N texts whose tags are known.

    Attributes
    ----------
    words, truth, said: for each text its words, their true tags, and those the network gave.
    kinds: the types of entities that the network has tags for; empty where that is not known.
    unread: ``Int64[N]``, words of each text that the network never read, because it was too long; zeros if left out.
    known: the entities of the training texts, each as its words; None where there are none to look at.
    slices, seed, part: as in :class:`~pellucid.checks.check.CheckCase`.

    Raises :class:`InputError` without texts, and for tags that are not as many as the words.
    """

    words: Tagged
    truth: Tagged
    said: Tagged
    kinds: tuple[str, ...] = ()
    unread: np.ndarray | None = None
    known: frozenset[tuple[str, ...]] | None = None
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0
    part: str = "test"

    def __post_init__(self) -> None:
        if not len(self.words):
            raise InputError("a check of tags needs at least one text")
        if not len(self.words) == len(self.truth) == len(self.said):
            raise InputError(
                f"{len(self.words)} texts, true tags of {len(self.truth)} and predicted ones of {len(self.said)}"
            )
        for row, (words, truth, said) in enumerate(zip(self.words, self.truth, self.said, strict=True)):
            if not len(words) == len(truth) == len(said):
                raise InputError(
                    f"{len(words)} words, {len(truth)} true tags and {len(said)} predicted ones", where=f"row {row}"
                )
        slices = {str(name): as_mask(name, mask, len(self)) for name, mask in self.slices.items()}
        object.__setattr__(self, "slices", slices)

    @property
    def task(self) -> Task:
        return "tagging"

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def left_unread(self) -> np.ndarray:
        """``Int64[N]``: :attr:`unread`, or zeros."""
        return np.zeros(len(self), np.int64) if self.unread is None else np.asarray(self.unread, np.int64)

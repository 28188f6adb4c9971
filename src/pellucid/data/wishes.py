"""What the caller of ``read`` asked for, kept together while it is handed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName
from .splitting import checked_fractions

if TYPE_CHECKING:
    from ..records.schema import Schema
    from .dataset import Task


@dataclass(frozen=True, eq=False)
class Wishes:
    """The arguments of :func:`pellucid.data.reading.read` that say what rows mean, checked once."""

    label: str | None = None
    protected: Sequence[str] = ()
    immutable: Sequence[str] = ()
    id: str | None = None
    schema: str | Path | Schema | None = None
    split: Sequence[float] = (0.6, 0.2, 0.2)
    seed: int = 0
    task: Task | None = None
    groups: str | Sequence[Any] | np.ndarray | None = None
    text: str | None = None
    evidence: str | None = None

    def __post_init__(self) -> None:
        if self.task not in (None, "classification", "regression"):
            raise UnknownName.among("task", str(self.task), ("classification", "regression"))
        checked_fractions(self.split)
        if self.text is not None and self.text == self.label:
            raise InputError(f"the column {self.text!r} is both the text and the label", fix="name two columns")
        for argument in ("protected", "immutable"):
            if isinstance(getattr(self, argument), str):
                raise InputError(f"{argument}= is a list of columns", fix=f'{argument}=("sex",)')

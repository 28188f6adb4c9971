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
    kind: str | None = None
    time: str | None = None
    window: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.task not in (None, "classification", "regression"):
            raise UnknownName.among("task", str(self.task), ("classification", "regression"))
        checked_fractions(self.split)
        if self.kind not in (None, "images", "series"):
            raise UnknownName.among("kind of arrays", str(self.kind), ("images", "series"))
        object.__setattr__(self, "window", _counted("window", self.window))
        object.__setattr__(self, "stride", _counted("stride", self.stride))
        if self.text is not None and self.text == self.label:
            raise InputError(f"the column {self.text!r} is both the text and the label", fix="name two columns")
        for argument in ("protected", "immutable"):
            if isinstance(getattr(self, argument), str):
                raise InputError(f"{argument}= is a list of columns", fix=f'{argument}=("sex",)')


def _counted(argument: str, given: Any) -> int | None:
    """A number of steps, also from text. Raises :class:`InputError` for anything else."""
    if given is None:
        return None
    try:
        count = int(given)
    except (TypeError, ValueError):
        count = 0
    if count < 1 or str(count) != str(given):
        raise InputError(f"{argument}={given!r} is no number of steps", fix=f"{argument}=100")
    return count

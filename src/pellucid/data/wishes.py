"""What the caller of ``read`` asked for, kept together while it is handed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName
from .inference import Style
from .splitting import checked_fractions

if TYPE_CHECKING:
    from ..records.schema import Schema
    from .dataset import Task


@dataclass(frozen=True, eq=False)
class Wishes:
    """The arguments of :func:`pellucid.data.reading.read`, checked once."""

    label: str | None = None
    task: Task | None = None
    split: Sequence[float] = (0.6, 0.2, 0.2)
    seed: int = 0
    groups: str | Sequence[Any] | np.ndarray | None = None
    id: str | None = None
    protected: Sequence[str] = ()
    immutable: Sequence[str] = ()
    schema: str | Path | Schema | None = None
    delimiter: str | None = None
    encoding: str | None = None
    style: Style = field(default_factory=Style)
    text: str | None = None
    evidence: str | None = None
    kind: str | None = None
    size: int | tuple[int, int] | str | None = None
    time: str | None = None
    channel: str | None = None
    value: str | None = None
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
        self._refuse_halves()
        if self.text is not None and self.text == self.label:
            raise InputError(f"the column {self.text!r} is both the text and the label", fix="name two columns")
        for argument in ("protected", "immutable"):
            if isinstance(getattr(self, argument), str):
                raise InputError(f"{argument}= is a list of columns", fix=f'{argument}=("sex",)')

    @property
    def of_series(self) -> dict[str, Any]:
        """What was said of a table of time series alone."""
        said = {"window": self.window, "stride": self.stride, "channel": self.channel, "value": self.value}
        return {name: value for name, value in said.items() if value is not None}

    def _refuse_halves(self) -> None:
        """Raise :class:`InputError` for what is said of series and says too little, or one column two things."""
        if self.of_series and self.time is None:
            said = next(iter(self.of_series))
            raise InputError(f"{said}= is said of time series", fix="name the column that says when: time='hour'")
        halves = {"channel": self.channel, "value": self.value}
        if len(set(halves) & set(self.of_series)) == 1:
            (given, column), (other, _) = sorted(halves.items(), key=lambda half: half[1] is None)
            raise InputError(
                f"{given}={column!r} needs {other}= beside it",
                why="where each row is one channel's value, one column names the channel and one holds the value",
                fix="channel='sensor', value='reading'",
            )
        if self.time is None:
            return
        parts = {"time": self.time, "id": self.id, "label": self.label, **halves}
        names = [column for column in parts.values() if column is not None]
        twice = next((column for column in names if names.count(column) > 1), None)
        if twice is not None:
            both = " and ".join(f"{name}=" for name, column in parts.items() if column == twice)
            raise InputError(f"column {twice!r} is named for {both}", fix="name a column for each")


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

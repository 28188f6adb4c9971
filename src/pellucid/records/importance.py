"""Importance: what each player matters over all rows together, with its own error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .amounts import listed
from .answer import Answer
from .errors import shorten
from .messages import marked

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, kw_only=True)
class Importance(Answer):
    """One number for each player, about all rows together.

    Attributes
    ----------
    attributions: ``Float64[1, n, T]``, in units of the target (of a loss, where one was asked for).
    errors: their standard errors, in the same shape.
    base, full: ``Float64[1, T]``, the target with nobody present and with everyone, on average over the rows.
    ids: the rows that were asked.
    """

    record: ClassVar[str] = "importance"
    by_row: ClassVar[tuple[str, ...]] = ("attributions", "errors", *Answer.by_row)
    everywhere: ClassVar[bool] = True

    attributions: np.ndarray
    errors: np.ndarray | None = None

    @property
    def values(self) -> np.ndarray:
        """``[n]``, ``[n, T]`` with several targets."""
        return self.attributions[0] if self.several else self.attributions[0, :, 0]

    @property
    def stderr(self) -> np.ndarray | None:
        """Standard errors in the shape of ``values``."""
        if self.errors is None:
            return None
        return self.errors[0] if self.several else self.errors[0, :, 0]

    def top(self, k: int = 5, output: int = 0) -> list[tuple[str, float, float]]:
        """The ``k`` most important players: (name, value, standard error or NaN)."""
        values = self.attributions[0, :, output]
        errors = np.full(values.shape, np.nan) if self.errors is None else self.errors[0, :, output]
        order = np.argsort(-values, kind="stable")[:k]
        return [(self.players.of(0)[i], float(values[i]), float(errors[i])) for i in order]

    def to_frame(self) -> pd.DataFrame:
        """A long table: output, player, value, stderr; the most important first."""
        import pandas as pd

        lines = [
            {"output": output, "player": name, "value": value, "stderr": error}
            for t, output in enumerate(self.outputs[0])
            for name, value, error in self.top(self.players.most, t)
        ]
        return pd.DataFrame(lines, columns=["output", "player", "value", "stderr"])

    def __repr__(self) -> str:
        found = [(shorten(name, 30), value, error) for name, value, error in self.top(3)]
        first = listed(found, float(self.base[0, 0]), float(self.full[0, 0]), ".3g")
        head = f"Importance over {len(self.ids)} rows by {self.method}: {self.players!r}"
        return f"{head}\n  {self.outputs[0][0]}: {first}{marked(self.warnings)}"

"""Sets: for each row the fewest players that suffice for the model's answer, or without which it is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .answer import Answer
from .errors import shorten
from .messages import marked, say

if TYPE_CHECKING:
    import pandas as pd


ASKED = ("sufficient", "necessary")
"""By presence alone, by absence alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sets(Answer):
    """One set of players for each of T targets of N rows.

    A sufficient set keeps the answer while everyone else is absent; a necessary one loses it by its own absence while
    everyone else is present (``notes["asked"]`` says which: ``"sufficient"`` or ``"necessary"``).

    Attributes
    ----------
    members: ``Float64[N, n, T]``, 1 for the players in the set, 0 for the others; NaN where a row has fewer than n.
    reached: ``Float64[N, T]``, v of the set alone; for a necessary set v of everyone else.
    cut: ``Float64[N, T]``, the value that separates an answer kept from an answer lost.
    found: ``Bool[N, T]``, whether there is such a set at all.
    smallest: ``Bool[N, T]``, True where no smaller set does it; where False, it is only known that the set does not
        bear the loss of any one member.
    irreducible: ``Bool[N, T]``, whether every member was tried and cannot be left out.
    others: ``Float64[N, T]``, how many further sets of the same size do it too; NaN where they were not all tried.
    """

    record: ClassVar[str] = "sets"
    of_estimate: ClassVar[Mapping[str, str]] = {"values": "members"}
    by_row: ClassVar[tuple[str, ...]] = (
        "members", "reached", "cut", "found", "smallest", "irreducible", "others", *Answer.by_row,
    )  # fmt: skip

    members: np.ndarray
    reached: np.ndarray
    cut: np.ndarray
    found: np.ndarray
    smallest: np.ndarray
    irreducible: np.ndarray
    others: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """``Int[N, T]``, how many players each set has."""
        return np.nansum(self.members, axis=1).astype(np.int64)

    def set_of(self, row: int = 0, output: int = 0) -> tuple[str, ...]:
        """The names of a row's players in the set."""
        names = self.players.of(row)
        return tuple(names[i] for i in np.flatnonzero(self.members[row, : len(names), output] > 0))

    def sentences(self, row: int = 0, output: int = 0, language: str = "en") -> list[str]:
        """A row's set in words: what it is, whether it is the smallest, how many others there are."""
        figures = {
            "output": shorten(self.outputs[row][output], 60), "full": float(self.full[row, output]),
            "reached": float(self.reached[row, output]), "cut": float(self.cut[row, output]),
        }  # fmt: skip
        if not self.found[row, output]:
            return [say("narrative.set_none", language, output=figures["output"])]
        names = [f"“{shorten(name, 60)}”" for name in self.set_of(row, output)]
        listed = ("、" if language == "zh" else ", ").join(names)
        if not names:
            return [say("narrative.set_empty", language, **figures)]
        told = [say(f"narrative.set_{self.notes['asked']}", language, names=listed, **figures)]
        others = float(self.others[row, output])
        if self.smallest[row, output]:
            code = "set_smallest" if np.isnan(others) else "set_smallest_of" if others else "set_only"
            told.append(say(f"narrative.{code}", language, **({"others": int(others)} if others > 0 else {})))
        else:
            code = "set_irreducible" if self.irreducible[row, output] else "set_unfinished"
            told.append(say(f"narrative.{code}", language))
        return told

    def to_frame(self) -> pd.DataFrame:
        """A table with a line for each set: row, output, players, size, v reached and asked, how minimal it is."""
        import pandas as pd

        lines = [
            {
                "row": row,
                "output": name,
                "players": ", ".join(self.set_of(row, t)),
                "size": int(self.sizes[row, t]),
                "reached": float(self.reached[row, t]),
                "cut": float(self.cut[row, t]),
                "found": bool(self.found[row, t]),
                "smallest": bool(self.smallest[row, t]),
                "irreducible": bool(self.irreducible[row, t]),
                "others": float(self.others[row, t]),
            }
            for row in range(len(self))
            for t, name in enumerate(self.outputs[row])
        ]
        columns = ["row", "output", "players", "size", "reached", "cut", "found", "smallest", "irreducible", "others"]
        return pd.DataFrame(lines, columns=columns)

    def __repr__(self) -> str:
        head = f"Sets for {len(self)} rows by {self.method}: {self.players!r}"
        if len(self):
            head += f"\n  row 0: {' '.join(self.sentences())}"
        return head + marked(self.warnings)

"""The explanation: a number for each player of each row, with its whole question and its own checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .amounts import listed
from .answer import Answer
from .errors import InputError, shorten
from .messages import marked

if TYPE_CHECKING:
    import pandas as pd

    from .sliced import Sliced


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation(Answer):
    """What each player contributed, for N rows and T targets of each.

    Attributes
    ----------
    attributions: ``Float64[N, n, T]``; NaN where a row has fewer than n players.
    errors: ``Float64[N, n, T]`` standard errors, or None where nothing was sampled: neither by the method, nor networks
        whose mean was explained.
    gaps: ``Float64[N, T]``, |Σφ − (full − base)| over max(Σ|φ|, |full − base|); NaN where
        the method does not promise that its contributions add up.
    maps: ``Float64[N, h, w, T]``, what the method found on a grid of its own, coarser than the rows, before it was laid
        over the players; None for a method that needs none.
    spreads: ``Float64[N, n, T]``, how far apart the values lie that other starts of the path give, where it was asked;
        of a mean of networks, the standard deviation over them.
    pooling: how element values became a player's: ``"sum"`` or ``"norm"``.
    """

    record: ClassVar[str] = "explanation"
    by_row: ClassVar[tuple[str, ...]] = ("attributions", "errors", "gaps", "maps", "spreads", *Answer.by_row)

    attributions: np.ndarray
    errors: np.ndarray | None = None
    gaps: np.ndarray | None = None
    maps: np.ndarray | None = None
    spreads: np.ndarray | None = None
    pooling: str = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attributions.ndim != 3:
            raise InputError(f"attributions must be [N, n, T], not {self.attributions.shape}")

    # What the user reads -------------------------------------------------------------------

    @property
    def values(self) -> np.ndarray:
        """``[N, n]``, ``[N, n, T]`` with several targets; the input's own shape when every element is a player."""
        return self._shaped(self.attributions)

    @property
    def stderr(self) -> np.ndarray | None:
        """Standard errors in the shape of ``values``; None where nothing was sampled."""
        return None if self.errors is None else self._shaped(self.errors)

    @property
    def spread(self) -> np.ndarray | None:
        """How far the values of several starts, or networks, lie apart, in the shape of ``values``, or None."""
        return None if self.spreads is None else self._shaped(self.spreads)

    @property
    def gap(self) -> np.ndarray:
        """The completeness gap of each row, ``[N]`` or ``[N, T]``; NaN where none is promised."""
        gaps = np.full(self.base.shape, np.nan) if self.gaps is None else self.gaps
        return gaps if self.several else gaps[:, 0]

    def _shaped(self, array: np.ndarray) -> np.ndarray:
        layout = self.players.layout
        if self.players.every_element and len(layout) > 1:
            array = array.reshape(len(array), *layout, array.shape[-1])
        return array if self.several else array[..., 0]

    def top(self, k: int = 5, row: int = 0, output: int = 0) -> list[tuple[str, float, float]]:
        """The ``k`` players of a row with the largest |value|: (name, value, standard error or NaN)."""
        row = self.place_of(row)
        values = self.attributions[row, :, output]
        present = np.flatnonzero(np.isfinite(values))
        order = present[np.argsort(-np.abs(values[present]), kind="stable")][:k]
        errors = np.full(values.shape, np.nan) if self.errors is None else self.errors[row, :, output]
        names = self.players.of(row)
        return [(names[i], float(values[i]), float(errors[i])) for i in order]

    def to_frame(self) -> pd.DataFrame:
        """A long table: row, output, player, value, stderr; spread, where other starts were asked."""
        import pandas as pd

        parts = []
        for row in range(len(self)):
            names = self.players.of(row)
            for t, output in enumerate(self.outputs[row]):
                part = pd.DataFrame({"player": names, "value": self.attributions[row, : len(names), t]})
                part["stderr"] = np.nan if self.errors is None else self.errors[row, : len(names), t]
                if self.spreads is not None:
                    part["spread"] = self.spreads[row, : len(names), t]
                part.insert(0, "output", output)
                part.insert(0, "row", row)
                parts.append(part)
        columns = ["row", "output", "player", "value", "stderr"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def to_shap(self) -> Sliced:
        """The same under shap's names (``values``, ``base_values``, ``data``, ``feature_names``), cut like shap's."""
        from .sliced import sliced

        return sliced(self)

    def __repr__(self) -> str:
        head = f"Explanation of {len(self)} rows by {self.method}: {self.players!r}"
        if len(self):
            base, full = float(self.base[0, 0]), float(self.full[0, 0])
            first = listed([(shorten(name, 30), value, error) for name, value, error in self.top(3)], base, full)
            head += (
                f"\n  row 0, {self.outputs[0][0]}: {f'{base:.3g} → ' if np.isfinite(base) else ''}{full:.3g}; {first}"
            )
        return head + marked(self.warnings)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"pooling": self.pooling}

    @classmethod
    def _plain(cls) -> tuple[str, ...]:
        return (*super()._plain(), "pooling")

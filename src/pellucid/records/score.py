"""A score: what a metric says of an explanation, always beside controls that know nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .messages import Caution, marked
from .preflight import Preflight

if TYPE_CHECKING:
    import pandas as pd

Better = Literal["higher", "lower", "neither"]
TELLING = 5
"""Rows from which on a score is held against a control: of fewer, being ahead in every one is luck in over 1 of 20."""


@dataclass(frozen=True, eq=False)
class Score:
    """One metric's judgement of one explanation.

    Attributes
    ----------
    values: ``Float64[N]``, one value per explained row; NaN where undefined.
    better: whether a higher or a lower value is the better one.
    controls: the same metric for attributions that know nothing of the model (mean over ≥ 10 draws), by name.
    curves: arrays behind the value, for figures.
    status: "ok", "failed" or "skipped"; a failed score has NaN values and a reason and never wins.
    """

    metric: str
    method: str
    values: np.ndarray
    better: Better
    low: float = -np.inf
    high: float = np.inf
    controls: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    evaluations: float = 0.0
    seconds: float = 0.0
    warnings: tuple[Caution, ...] = ()
    status: str = "ok"
    reason: str = ""

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def value(self) -> float:
        """The mean over rows where the metric is defined; NaN where it is defined for none."""
        known = self.values[np.isfinite(self.values)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def stderr(self) -> float:
        """The standard error of the mean over rows; NaN for fewer than two."""
        known = self.values[np.isfinite(self.values)]
        return float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")

    @property
    def control(self) -> float:
        """The value of the best control: what a good explanation must beat."""
        known = [value for value in self.controls.values() if np.isfinite(value)]
        if not known:
            return float("nan")
        return min(known) if self.better == "lower" else max(known)

    @property
    def is_telling(self) -> bool:
        """Whether it is of enough rows to be held against its controls, where it has some and a better end."""
        held = self.status == "ok" and self.better != "neither" and np.isfinite(self.control)
        return not held or np.isfinite(self.values).sum() >= TELLING

    @property
    def verdict(self) -> str:
        """ "failed", "skipped", "control is better" where knowing nothing of the model does better, "no better than a
        control" where it cannot be told from that, "too few rows to tell" either of fewer than five, else "ok"."""
        if not self.is_telling:
            return "too few rows to tell"
        sign = {"higher": 1.0, "lower": -1.0, "neither": 0.0}[self.better]
        beaten = self.status == "ok" and sign * (self.control - self.value) > 0
        if beaten:
            return "control is better"
        level = any(caution.code == "beaten_by_control" for caution in self.warnings)
        return "no better than a control" if level and self.status == "ok" else self.status

    def to_dict(self) -> dict[str, Any]:
        skip = {"curves", "warnings"}
        data = {name: value for name, value in vars(self).items() if name not in skip}
        data |= {"value": self.value, "stderr": self.stderr, "control": self.control}
        return data | {
            "warnings": [caution.to_dict() for caution in self.warnings],
            "curves": {name: np.asarray(curve) for name, curve in self.curves.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """Read what :meth:`to_dict` wrote; JSON's null is NaN again."""
        fields = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        fields["values"] = np.array([np.nan if v is None else v for v in data["values"]], dtype=np.float64)
        fields["low"] = -np.inf if data["low"] is None else data["low"]
        fields["high"] = np.inf if data["high"] is None else data["high"]
        fields["controls"] = {k: np.nan if v is None else v for k, v in data["controls"].items()}
        fields["curves"] = {k: np.array(v, dtype=np.float64) for k, v in data["curves"].items()}
        fields["warnings"] = tuple(Caution.from_dict(caution) for caution in data["warnings"])
        return cls(**fields)


class Scores(tuple[Score, ...]):
    """Scores of one or more explanations by one or more metrics.

    ``preflight`` is what the model was found to be before it was judged by, where that was looked at.
    """

    preflight: Preflight | None = None

    def after(self, preflight: Preflight) -> Scores:
        """The same scores with what the model was found to be."""
        made = Scores(self)
        made.preflight = preflight
        return made

    def to_frame(self) -> pd.DataFrame:
        """Columns: method, metric, value, stderr, better, control (the best control's value), status (the verdict)."""
        import pandas as pd

        names = ("method", "metric", "value", "stderr", "better", "control")
        lines = [{name: getattr(score, name) for name in names} | {"status": score.verdict} for score in self]
        return pd.DataFrame(lines, columns=[*names, "status"])

    def __getitem__(self, key: Any) -> Any:
        """By place, or by metric's name: the scores of that metric (one score if there is one)."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        found = Scores(score for score in self if score.metric == key)
        if not found:
            raise KeyError(key)
        return found[0] if len(found) == 1 else found

    @property
    def warnings(self) -> tuple[Caution, ...]:
        return tuple(caution for score in self for caution in score.warnings)

    def methods(self) -> Iterator[str]:
        """The methods judged, in order of appearance."""
        return iter(dict.fromkeys(score.method for score in self))

    def __repr__(self) -> str:
        """The table, and beneath it why something was skipped or failed and what should make one careful."""
        if not self:
            return "Scores()"
        lines = [self.to_frame().to_string(index=False, float_format=lambda value: f"{value:.4g}")]
        for score in self:
            lines += [f"  – {score.metric} of {score.method} {score.status}: {score.reason}"] if score.reason else []
        before = () if self.preflight is None else self.preflight.warnings
        return "\n".join(lines) + marked((*before, *self.warnings))

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False)

"""How an amount is told: ± is half of a 95 % interval wherever it is printed, and what is rounding is no amount."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.96
"""So many standard errors to either side hold 95 % of a normal distribution."""
ROUNDING = 1e-8
"""What is smaller than this share of the largest number about it comes from rounding."""


def half_width(error: float) -> float | None:
    """Half of the 95 % interval of a standard error; None where none is known, or nothing was left to chance."""
    return Z * float(error) if error > 0 else None


def spread(error: float) -> str:
    """``" ± …"`` with :func:`half_width`, to stand behind an amount; empty where there is none."""
    half = half_width(error)
    return "" if half is None else f" ± {half:.2g}"


def rounding(*largest: float) -> float:
    """The size below which an amount is rounding, from the largest amount and the ends that it lies between."""
    return ROUNDING * max((abs(number) for number in largest if math.isfinite(number)), default=0.0)


def listed(found: Sequence[tuple[str, float, float]], base: float, full: float, form: str = "+.3g") -> str:
    """Names with their amounts and standard errors, the largest first, as one line that says what ± is in it."""
    floor = rounding(base, full, *(value for _, value, _ in found))
    kept = [(name, value, error) for name, value, error in found if abs(value) > floor or error > floor]
    told = ", ".join(f"{name} {value:{form}}{spread(error)}" for name, value, error in kept)
    return (told or "nothing contributes") + (" (± 95 % interval)" if any(error > 0 for *_, error in kept) else "")

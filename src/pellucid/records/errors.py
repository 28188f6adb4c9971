"""Every error Pellucid raises on purpose: a sentence that says what, where, why and how to fix it.

The tree::

    PellucidError
    ├── InputError          rows, columns, images or labels that cannot be used
    │   └── NotFiniteError  NaN or infinity met, with the place
    ├── EncodingError       raw rows that this network cannot eat as they are
    ├── ModelError          the model itself: what it returns, its device, its state
    │   └── LoadError       a file that could not be read safely
    ├── TargetError         a target that the outputs do not have
    ├── RemovalError        "absent" cannot mean this here
    ├── NotApplicable       this method or metric needs something the problem lacks
    ├── BudgetError         the budget is too small, or spent
    ├── UnknownName         a name that the catalogue does not hold
    ├── StoreError          a run's folder that cannot be opened or written
    └── Cancelled           the listener asked to stop
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PellucidError(Exception):
    """Base of all deliberate errors.

    Parameters
    ----------
    what: the fault, in one sentence without a final full stop.
    where: file:row:column, row and column, or the path of a layer.
    why: the reason, when it is not plain from ``what``.
    fix: what the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = ""):
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(what, where, why, fix)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head, self.why, self.fix]
        told = ". ".join(part.rstrip(".") for part in parts if part)
        return told if told.endswith("?") else told + "."

    def to_dict(self) -> dict[str, str]:
        """The error as data, for ``--json`` and for a run's ledger."""
        return {
            "code": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "fix": self.fix,
        }


class InputError(PellucidError):
    """Rows, columns, images or labels that cannot be used."""


class NotFiniteError(InputError):
    """A NaN or an infinity was met; ``where`` names the row."""


class EncodingError(PellucidError):
    """Raw rows that this network cannot eat as they are."""


class ModelError(PellucidError):
    """The model itself: what it returns, its device, its state."""


class LoadError(ModelError):
    """A file that could not be read, or not safely."""


class TargetError(PellucidError):
    """A target that the model's outputs do not have."""


class RemovalError(PellucidError):
    """The meaning of "absent" does not fit the problem."""


class NotApplicable(PellucidError):
    """A method or metric needs something that the problem lacks."""


class BudgetError(PellucidError):
    """The budget is too small for the job, or is spent."""


class StoreError(PellucidError):
    """A run's folder that cannot be opened or written."""


class Cancelled(PellucidError):
    """The listener asked to stop."""


class UnknownName(PellucidError):
    """A name that the catalogue does not hold; close names are suggested."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], where: str = "") -> UnknownName:
        known = sorted(known)
        close = get_close_matches(name, known, n=3, cutoff=0.5)
        fix = f"did you mean {', '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
        return cls(f"there is no {kind} named {shorten(name)!r}", where=where, fix=fix)


def shorten(text: object, width: int = 60) -> str:
    """A name from data, cut so that a message stays readable."""
    text = str(text)
    return text if len(text) <= width else text[: width - 1] + "…"

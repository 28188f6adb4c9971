"""What people wrote in another library's words, read with a sentence where it cannot be meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..records.errors import InputError, shorten
from ..records.settings import is_number


def counted(given: Any, name: str) -> int:
    """A whole number from 1 on. Raises :class:`InputError` for anything else."""
    if not is_number(given) or given // 1 != given or given < 1:
        raise InputError(f"{name}={shorten(repr(given))} is no count", fix=f"{name}: a whole number, from 1 on")
    return int(given)


def numbers(given: Any, what: str) -> np.ndarray:
    """``Float64`` of any shape. Raises :class:`InputError` for texts, and for lists of several lengths."""
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        ragged = "inhomogeneous" in str(error)
        raise InputError(
            f"the {what} have different lengths" if ragged else f"the {what} are not numbers",
            fix=f"give {what} of one length" if ragged else "give an array of numbers",
        ) from error


def listed(given: Any, name: str) -> list[Any]:
    """The members of a list. Raises :class:`InputError` for a single number or text."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InputError(f"{name}={shorten(repr(given))} is not a list", fix=f"give {name}=[{given!r}]")
    return list(given)

"""Columns of free writing: how they are told from categories, and what is refused in them."""

from __future__ import annotations

import numpy as np

from ..measures.vocabulary import words_of
from ..records.errors import InputError, shorten
from .cells import rows_named

FEWEST_WORDS = 4
"""Cells that hold so many words in the middle of the column are sentences, no names."""
DISTINCT = 0.5
"""Of sentences in free writing at least so many are different."""
SAMPLE = 2000
"""Cells by which a column is told."""


def looks_like_text(values: np.ndarray, empty: np.ndarray) -> bool:
    """Whether cells ``Object[N]`` are free writing: texts of several words, most of them different."""
    filled = values[~empty][:SAMPLE]
    if not len(filled) or not all(isinstance(cell, str) for cell in filled):
        return False
    if len(set(filled)) < DISTINCT * len(filled):
        return False
    return float(np.median([len(words_of(cell)) for cell in filled])) >= FEWEST_WORDS


def refuse_unusable(name: str, texts: np.ndarray, index: np.ndarray, where: str) -> None:
    """Raise :class:`InputError`, with the rows, for texts without words and zero characters."""
    column = f"column {shorten(name)!r}"
    blank = np.array([text is None or not text.strip() for text in texts])
    if blank.any():
        raise InputError(
            f"{column}: {int(blank.sum())} of {len(texts):,} texts are empty ({rows_named(index[blank])})",
            where=where,
            why="a text without words has nothing to explain",
            fix="drop these rows",
        )
    zeros = np.array(["\x00" in text for text in texts])
    if zeros.any():
        raise InputError(
            f"{column}: {int(zeros.sum())} texts hold zero characters ({rows_named(index[zeros])})",
            where=where,
            why="tokenizers disagree on what they are",
            fix="repair these texts",
        )

"""Words of texts, counted: which there are, and how rare each is among other texts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese put no spaces between words: there a character stands for itself."""
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’-][^\W{UNSPACED}]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text for counting: small letters, no punctuation, letter by letter where no blanks part them."""
    return [word.casefold() for word in WORD.findall(unicodedata.normalize("NFC", text))]


def counts_of(texts: Iterable[str]) -> Counter[str]:
    """Word → in how many of the texts it stands."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(set(words_of(text)))
    return found


def rarity(parts: Sequence[str], counts: Counter[str], texts: int) -> np.ndarray:
    """−log of the share of texts that hold each part's words, the mean over its words, ``Float64[n]``.

    A word that stands in none of them counts as in half a text; a part without words (a comma) gets 0.
    """
    own = [[np.log((texts + 1) / max(counts[word], 0.5)) for word in words_of(part)] for part in parts]
    return np.array([np.mean(values) if values else 0.0 for values in own])

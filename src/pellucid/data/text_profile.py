"""Texts at a glance: how long they are, which words go with the label, which texts stand there twice."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict

import numpy as np

from ..measures.vocabulary import words_of
from ..records.errors import shorten
from ..records.messages import Caution
from ..records.profile import ColumnProfile
from .dataset import Dataset

TELLING = 30
"""Words that are shown."""
FEWEST_TEXTS = 5
"""A word of fewer texts tells nothing of the label that could not be chance."""
SUSPICIOUS = 0.98
LENGTHS = "words in a text"
WORDS = "texts with a word"


def word_counts(data: Dataset) -> np.ndarray:
    """How many words each text has, ``Int64[N]``."""
    return np.array([len(words_of(text)) for text in data.features], dtype=np.int64)


def telling_words(data: Dataset, by_class: dict[str, np.ndarray]) -> tuple[ColumnProfile, dict[str, float]]:
    """The words that hang together with the label most (Cramér's V of having the word), or the most frequent ones.

    With each word's strength, the largest first; empty without classes.
    """
    sets = [set(words_of(text)) for text in data.features]
    total = Counter(word for own in sets for word in own)
    known = sorted(word for word, count in total.items() if count >= min(FEWEST_TEXTS, len(sets)))
    own = {name: Counter(word for row in np.flatnonzero(rows) for word in sets[row]) for name, rows in by_class.items()}
    strength = {}
    if len(own) > 1 and known:
        present = np.array([[own[name][word] for name in own] for word in known], dtype=np.float64)
        sizes = np.array([rows.sum() for rows in by_class.values()], dtype=np.float64)
        strength = dict(zip(known, _strengths(present, sizes).tolist(), strict=True))
    ranked = sorted(known, key=lambda word: (-strength.get(word, 0.0), -total[word], word))[:TELLING]
    column = ColumnProfile(
        WORDS, "text", len(sets), 0, len(total), categories=tuple(ranked), counts=tuple(total[word] for word in ranked),
        by_label={name: tuple(counts[word] for word in ranked) for name, counts in own.items()},
    )  # fmt: skip
    return column, {word: strength[word] for word in ranked if word in strength}


def _strengths(present: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Cramér's V, corrected as in :func:`~pellucid.data.association.cramers_v`, of each word (``[w, K]`` texts of each
    class that have it) with the classes (``[K]`` texts)."""
    n, K = sizes.sum(), len(sizes)
    phi = np.zeros(len(present))
    for found, share in ((present, present.sum(1) / n), (sizes - present, 1 - present.sum(1) / n)):
        expected = share[:, None] * sizes
        phi += np.divide((found - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0).sum(1) / n
    phi = np.maximum(0.0, phi - (K - 1) / (n - 1))
    return np.sqrt(np.minimum(1.0, phi / (1 - 1 / (n - 1))))


def suspicions(data: Dataset, strength: dict[str, float]) -> list[Caution]:
    """Words that tell the label alone, texts that stand in several splits or under several labels, odd characters.

    Of more than two classes a word can be all of one of them and yet tell nothing of the others.
    """
    told = {word: value for word, value in strength.items() if value > SUSPICIOUS and len(data.classes) == 2}
    found = [Caution.of("telling_word", "red", word=shorten(word), value=value) for word, value in told.items()]
    splits, labels = defaultdict(set), defaultdict(set)
    for row, text in enumerate(data.features):
        same = " ".join(words_of(text)) or text
        splits[same].add(int(data.splits[row]))
        if data.labels is not None:
            labels[same].add(data.labels[row])
    crossing = sum(len(own) > 1 for own in splits.values())
    if crossing:
        found.append(Caution.of("texts_in_splits", "yellow", texts=crossing))
    if data.task == "classification" and (contrary := sum(len(own) > 1 for own in labels.values())):
        found.append(Caution.of("contrary_texts", "yellow", texts=contrary))
    odd = sum(any(unicodedata.category(c) == "Cc" and c not in "\t\r\n" for c in text) for text in data.features)
    if odd:
        found.append(Caution.of("control_characters", "note", texts=odd, total=len(data)))
    return found

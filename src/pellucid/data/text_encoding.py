"""How texts become the tokens that a network reads, and where each token lies in its text."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ..measures.vocabulary import UNSPACED
from ..records.errors import InputError, shorten
from ..records.files import read_json, write_json
from ..records.messages import Caution

NOTHING, HIDDEN = -1, -2
"""In a row of tokens: there is none (past the end, or deleted); there is one that the network may not look at."""
Text = str | tuple[str, str]
"""A text, or two that are read together: a premise and a hypothesis, a question and its context."""


@dataclass(frozen=True)
class Tokenized:
    """N texts as tokens.

    Attributes
    ----------
    tokens: ``Int64[N, T]``, −1 behind the last of a row.
    spans: ``Int64[N, T, 2]``, the characters of the raw text that a token stands for; empty for a token of the
        network's own, such as the one that a row begins with.
    types: ``Int64[N, T]``, which of two texts a token belongs to, −1 behind the last; None where the network
        is not told.
    cut: ``Int64[N]``, tokens that were left out because the text is too long.
    """

    tokens: np.ndarray
    spans: np.ndarray
    types: np.ndarray | None
    cut: np.ndarray


class TextEncoding(ABC):
    """A tokenizer as Pellucid asks it.

    Attributes
    ----------
    pad: the token that fills a row up.
    mask: the token that stands for a missing one, as text, or None.
    unknown: the token of what is not in the vocabulary, or None.
    special: tokens of the network's own, which stand for nothing that could be written.
    most: the number of tokens that the network takes, or None.
    """

    pad: int = 0
    mask: str | None = None
    unknown: int | None = None
    special: tuple[int, ...] = ()
    most: int | None = None

    @abstractmethod
    def encode(self, texts: Sequence[Text]) -> Tokenized:
        """Texts as tokens."""

    @abstractmethod
    def token(self, text: str) -> int | None:
        """The number of a token given as text; None where it is none, or several."""

    @abstractmethod
    def pieces(self, text: str) -> tuple[int, ...]:
        """The tokens of a text of any length alone, without the network's own."""

    @abstractmethod
    def spoken(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""

    def spoken_each(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """What each of some tokens adds to the text."""
        ends = [self.spoken(tokens[:count]) for count in range(len(tokens) + 1)]
        return tuple(longer[len(shorter) :].strip() or longer[-1:] for shorter, longer in pairwise(ends))

    def vocabulary(self, outputs: int) -> tuple[str, ...]:
        """A name for each of so many tokens, no two alike."""
        names: dict[str, None] = {}
        for token in range(outputs):
            name = self.spoken([token])
            names[name if name.strip() and name not in names else f"{name}#{token}"] = None
        return tuple(names)

    def cautions(self, found: Tokenized) -> tuple[Caution, ...]:
        """What should be known about these texts: tokens cut off, nothing but unknown ones."""
        said = []
        long = int((found.cut > 0).sum())
        if long:
            total = int((found.tokens[found.cut > 0] != NOTHING).sum() + found.cut.sum())
            said.append(
                Caution.of("truncated", "yellow", rows=long, total=len(found.cut), cut=int(found.cut.sum()), of=total)
            )
        worded = found.spans[..., 0] < found.spans[..., 1]
        if self.unknown is not None:
            strange = ((found.tokens == self.unknown) | ~worded).all(1)
            if strange.any():
                said.append(Caution.of("only_unknown", "red", rows=int(strange.sum()), total=len(strange)))
        return tuple(said)


def raw(text: Text) -> str:
    """A text as it is shown; of two, the second stands below the first."""
    return text if isinstance(text, str) else "\n".join(text)


def padded(rows: Sequence[Sequence[Any]], fill: Any, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Rows of different lengths as ``Int64[N, longest, *shape]``."""
    found = np.full((len(rows), max(map(len, rows), default=0), *shape), fill, dtype=np.int64)
    for place, row in enumerate(rows):
        if len(row):
            found[place, : len(row)] = row
    return found


WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’][^\W{UNSPACED}]+)*|[^\w\s]")


class Vocabulary(TextEncoding):
    """A plain word tokenizer: words and signs of punctuation, each with a number.

    ``words`` maps each to its number; ``pad`` and ``unknown`` are numbers that no word has. ``most`` is the number of
    tokens a network takes, beyond which texts are cut.

    Raises :class:`InputError` where two words share a number.
    """

    def __init__(
        self, words: Mapping[str, int], *, pad: int = 0, unknown: int = 1, mask: str | None = None,
        lower: bool = True, most: int | None = None,
    ):  # fmt: skip
        numbers = [pad, unknown, *words.values()]
        if len(set(numbers)) < len(numbers):
            twice = next(word for word, number in words.items() if numbers.count(number) > 1)
            raise InputError(f"the number of {shorten(twice)!r} is taken", fix="give each word a number of its own")
        self.words, self.pad, self.unknown, self.mask = dict(words), pad, unknown, mask
        self.lower, self.most = lower, most
        masked = () if mask is None or mask not in self.words else (self.words[mask],)
        self.special = (pad, unknown, *masked)

    @classmethod
    def of(cls, texts: Iterable[str], size: int = 20_000, lower: bool = True, **settings: Any) -> Vocabulary:
        """The ``size`` most frequent words of texts, numbered from 2 on in the order of their frequency."""
        counts = Counter(word for text in texts for word in WORD.findall(text.lower() if lower else text))
        kept = [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:size]]
        return cls({word: number for number, word in enumerate(kept, 2)}, lower=lower, **settings)

    def to_dict(self) -> dict[str, Any]:
        own = ("words", "pad", "unknown", "mask", "lower", "most")
        return {"kind": "vocabulary", "version": 1} | {name: value for name, value in vars(self).items() if name in own}

    @classmethod
    def from_dict(cls, data: Any, where: str = "") -> Vocabulary:
        """Read what :meth:`to_dict` gave. Raises EncodingError naming the field that is wrong."""
        from .encoding_file import VocabularyFile, validated

        settings = dict(validated(VocabularyFile, data, where))
        return cls(**{name: value for name, value in settings.items() if name not in ("kind", "version")})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what :meth:`save` wrote. Raises StoreError or EncodingError naming the file."""
        return cls.from_dict(read_json(path), str(path))

    def __len__(self) -> int:
        """One more than the largest number: the rows that an embedding needs."""
        return max(self.pad, self.unknown or 0, *self.words.values()) + 1

    def encode(self, texts: Sequence[Text]) -> Tokenized:
        found = [list(WORD.finditer(raw(text))) for text in texts]
        kept = [row[: self.most] for row in found]
        tokens = [[self._number(match.group()) for match in row] for row in kept]
        spans = padded([[match.span() for match in row] for row in kept], 0, (2,))
        cut = np.array([len(row) - len(short) for row, short in zip(found, kept, strict=True)])
        return Tokenized(padded(tokens, NOTHING), spans, None, cut)

    def token(self, text: str) -> int | None:
        return self.words.get(text.lower() if self.lower else text)

    def pieces(self, text: str) -> tuple[int, ...]:
        return tuple(self._number(match.group()) for match in WORD.finditer(text))

    def spoken(self, tokens: Sequence[int]) -> str:
        return " ".join(self._spelt.get(int(token), "?") for token in tokens)

    @cached_property
    def _spelt(self) -> dict[int, str]:
        return {number: word for word, number in self.words.items()}

    def _number(self, word: str) -> int:
        assert self.unknown is not None
        return self.words.get(word.lower() if self.lower else word, self.unknown)

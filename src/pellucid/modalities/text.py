"""Text: characters, tokens, words and sentences as players; deletion and masks as what is absent.

A text reaches a network as tokens and a black box as the string itself, or as a list of words. Either way every
element of a row has its place in the text, players are runs of characters, and the coarser units around them can stand
as their hierarchy: tokens in words in sentences.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..data.boundaries import Span, home, named, sentences_of, words_of
from ..data.text_encoding import HIDDEN, NOTHING, TextEncoding
from ..problem.inputs import Inputs
from ..problem.removal import OpaqueRemoval, Removal, TensorRemoval
from ..problem.units import Units
from ..records.errors import InputError, NotApplicable, RemovalError, shorten
from ..records.players import Players


def spans_of_words(words: Sequence[Any]) -> tuple[Span, ...]:
    """Where the words of a list lie in the text that they make with spaces between them."""
    ends = list(accumulate(len(str(word)) + 1 for word in words))
    return tuple((end - len(str(word)) - 1, end - 1) for end, word in zip(ends, words, strict=True))


@dataclass(frozen=True)
class _Row:
    """One text, where its elements lie in it, and whether these are words that somebody else has parted."""

    text: str
    elements: tuple[Span, ...]
    parted: bool

    def words(self) -> tuple[Span, ...]:
        """The words; those that share an element, as Chinese characters in one token do, are one."""
        return self.elements if self.parted else _joined(words_of(self.text), self.elements)


def _joined(units: tuple[Span, ...], elements: tuple[Span, ...]) -> tuple[Span, ...]:
    crossed = {edge for start, stop in elements if stop - start > 1 for edge in range(start + 1, stop)}
    merged: list[Span] = []
    for start, stop in units:
        if merged and start in crossed:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return tuple(merged)


@dataclass(frozen=True)
class TextUnits(Units):
    """Base of choices whose players are runs of characters; ``nested`` puts them into the coarser units around them.

    Players in a hierarchy are another question: Shapley values are then shared out level by level (Owen values).
    """

    kind: ClassVar[str]
    nested: bool = field(default=False, kw_only=True)

    @abstractmethod
    def spans(self, row: _Row) -> tuple[Span, ...]:
        """The players of one text, in their order."""

    def coarser(self, row: _Row) -> tuple[tuple[Span, ...], ...]:
        """The units around them, the coarsest first."""
        return (sentences_of(row.text),)

    def name(self, row: _Row, span: Span) -> str:
        return row.text[slice(*span)]

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        rows = _rows(inputs)
        spans = [self.spans(row) for row in rows]
        labels = np.full((len(rows), inputs.width), -1)
        kept: list[tuple[Span, ...]] = []
        for place, (row, own) in enumerate(zip(rows, spans, strict=True)):
            found = np.array(home(row.elements, own), dtype=np.int64)
            present = np.unique(found[found >= 0])  # what was cut off has no elements, and is no player
            if not len(present):
                raise InputError(
                    "a text without words has nothing to explain", where=f"row {place}", fix="leave it out"
                )
            labels[place, : len(found)] = np.where(found >= 0, np.searchsorted(present, found), -1)
            kept.append(tuple(own[unit] for unit in present))
        names = tuple(tuple(self.name(row, span) for span in own) for row, own in zip(rows, kept, strict=True))
        levels = _levels([self.coarser(row) for row in rows], kept) if self.nested else None
        return Players(labels, names, kind=self.kind, hierarchy=levels, spans=tuple(kept))


def _levels(units: list[tuple[tuple[Span, ...], ...]], kept: list[tuple[Span, ...]]) -> np.ndarray | None:
    """The hierarchy ``Int[R, L, n]``; None where no text has more than one unit at any level."""
    depth, most = len(units[0]) if units else 0, max(map(len, kept), default=0)
    levels = np.full((len(kept), depth, most), -1)
    for row, own in enumerate(kept):
        for level, spans in enumerate(units[row]):
            levels[row, level, : len(own)] = np.maximum(home(own, spans), 0)
    return levels if depth and (levels > 0).any() else None


def _rows(inputs: Inputs) -> list[_Row]:
    if inputs.opaque is not None:
        if all(isinstance(row, str) for row in inputs.opaque):
            return [_Row(row, tuple((i, i + 1) for i in range(len(row))), False) for row in inputs.opaque]
        return [_Row(" ".join(map(str, row)), spans_of_words(row), True) for row in inputs.opaque]
    if inputs.spans is None:
        raise NotApplicable(
            "these rows are not texts",
            why="where their elements lie in a text is not known",
            fix="give the texts themselves, and the tokenizer as encoding=",
        )
    return [
        _Row(text, tuple(map(tuple, spans.tolist())), False)
        for text, spans in zip(inputs.raw, inputs.spans, strict=True)
    ]


@dataclass(frozen=True)
class Passages(TextUnits):
    """Each of the given passages a player, in characters of every row's text; the rest is nobody's and always there."""

    given: tuple[Span, ...]
    kind: ClassVar[str] = "sentence"

    def spans(self, row: _Row) -> tuple[Span, ...]:
        return self.given

    def coarser(self, row: _Row) -> tuple[tuple[Span, ...], ...]:
        return ()


@dataclass(frozen=True)
class Sentences(TextUnits):
    """Each sentence a player."""

    kind: ClassVar[str] = "sentence"

    def spans(self, row: _Row) -> tuple[Span, ...]:
        return sentences_of(row.text)

    def coarser(self, row: _Row) -> tuple[tuple[Span, ...], ...]:
        return ()


@dataclass(frozen=True)
class Words(TextUnits):
    """Each word a player; a word owns the punctuation written to it. ``nested``: in its sentence.

    Scripts without spaces have a player for each character, or for those that a tokenizer put together.
    """

    kind: ClassVar[str] = "word"

    def spans(self, row: _Row) -> tuple[Span, ...]:
        return row.words()

    def name(self, row: _Row, span: Span) -> str:
        return super().name(row, span) if row.parted else named(row.text, span)


@dataclass(frozen=True)
class Tokens(TextUnits):
    """Each token of the tokenizer a player; ``nested``: in its word and sentence."""

    kind: ClassVar[str] = "token"

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        if inputs.opaque is not None:
            raise NotApplicable("a black box of texts shows no tokens", fix="players=pellucid.players.Words()")
        return super().make(inputs, encoding)

    def spans(self, row: _Row) -> tuple[Span, ...]:
        return tuple(sorted({span for span in row.elements if span[0] < span[1]}))

    def coarser(self, row: _Row) -> tuple[tuple[Span, ...], ...]:
        return (sentences_of(row.text), row.words())


@dataclass(frozen=True)
class Characters(TextUnits):
    """Each character that is no space a player, for black boxes that read strings; ``nested``: in its word and
    sentence."""

    kind: ClassVar[str] = "character"

    def spans(self, row: _Row) -> tuple[Span, ...]:
        return tuple((i, i + 1) for i, character in enumerate(row.text) if not character.isspace())

    def coarser(self, row: _Row) -> tuple[tuple[Span, ...], ...]:
        return (sentences_of(row.text), row.words())


# What is absent ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Replace(OpaqueRemoval):
    """An absent part of a text becomes a mask, or is deleted where ``mask`` is None.

    For a network of tokens the mask is a token of its vocabulary. With a word of a string the space before it goes.
    """

    mask: str | None = None
    kinds: ClassVar[tuple[str, ...]] = ("text", "words")
    known_as: ClassVar[tuple[str, ...]] = ("delete",)

    def fill(self, row: Any, absent: np.ndarray) -> Any:
        if isinstance(row, str):
            return self._filled(row, absent)
        if self.mask is None:
            return [part for part, owner in zip(row, absent, strict=True) if owner < 0]
        return [self.mask if owner >= 0 else part for part, owner in zip(row, absent, strict=True)]

    def _filled(self, text: str, absent: np.ndarray) -> str:
        changes = np.flatnonzero(np.diff(absent)) + 1
        found = ""
        for start, stop in pairwise((0, *changes.tolist(), len(text))):
            part = text[start:stop]
            if absent[start] >= 0:
                found += self.mask or ""
            elif self.mask is None and start and part[0].isspace() and (not found or found[-1].isspace()):
                found += part[1:]
            else:
                found += part
        return found if self.mask is not None else found.rstrip()

    def of_tokens(self, encoding: TextEncoding) -> OfTokens:
        """The same for rows of tokens. Raises :class:`RemovalError` where the mask is no token of the vocabulary."""
        if self.mask is None:
            return OfTokens(NOTHING, self)
        token = encoding.token(self.mask)
        if token is None:
            raise RemovalError(
                f"{shorten(self.mask)!r} is no token of this network's vocabulary",
                fix=f"its mask is {encoding.mask!r}" if encoding.mask else "use Hide(), or Replace() to delete",
            )
        return OfTokens(token, self)


@dataclass(frozen=True, eq=False)
class Hide(Removal):
    """An absent token keeps its place and is hidden from the network, as padding is.

    Methods that need gradients put a vector of zeros there.
    """

    kinds: ClassVar[tuple[str, ...]] = ("text",)
    known_as: ClassVar[tuple[str, ...]] = ("padding",)

    def of_tokens(self, encoding: TextEncoding) -> OfTokens:
        return OfTokens(HIDDEN, self)


@dataclass(frozen=True, eq=False)
class OfTokens(TensorRemoval):
    """What stands for the absent in rows of tokens: one token, or nothing; ``asked`` is how the user said it."""

    token: int
    asked: Replace | Hide
    kinds: ClassVar[tuple[str, ...]] = ("text",)

    @property
    def deletes(self) -> bool:
        return self.token == NOTHING

    def settings(self) -> dict[str, Any]:
        return self.asked.settings()

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        """The rows with this token at every player's place; the network's own tokens stay, in each row its own."""
        owned = torch.from_numpy(players.labels >= 0).to(inputs.flat.device)
        return torch.where(owned, self.token, inputs.flat)[:, None]


def usual(encoding: TextEncoding | None) -> Replace | Hide:
    """What absent means where nobody says: the network's own mask, else hidden; deleted from a black box's texts."""
    if encoding is None:
        return Replace()
    return Hide() if encoding.mask is None else Replace(encoding.mask)

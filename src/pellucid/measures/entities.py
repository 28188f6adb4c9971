"""Entities among the tags of words, and how many of them were found: an entity counts when its words and its type do.

Tags are a letter that says where in an entity a word stands, and the entity's type: ``B-person I-person O``. Letters
are B(egin), I(nside), E(nd; also L), S(ingle; also U) and O(utside); a tag without one (``person``) says inside.

Read leniently, as the program of the CoNLL-2000 and 2003 shared tasks reads them (Tjong Kim Sang & De Meulder 2003),
any change of type or a B or S begins an entity, so that ``O I-person`` and ``B-person I-place`` are entities that begin
with I. Read strictly, only what keeps to the rules of its scheme is an entity. Both are the conventions of seqeval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from ..records.errors import InputError
from .classification import Tally
from .weights import weights_for

Scheme = Literal["lenient", "IOB2", "IOE2", "IOBES"]
Tags = Sequence[str]

TAG = re.compile(r"([BIESLU])(?:-(.*))?", re.DOTALL)
SPELLINGS = {"L": "E", "U": "S"}
OUTSIDE = ("O", "")

PATTERNS = {"IOB2": "BI*", "IOE2": "I*E", "IOBES": "S|BI*E"}
"""The letters of one entity under each strict scheme; BIO is IOB2, and BILOU is IOBES in other letters."""


class Entity(NamedTuple):
    """Words ``[start, stop)`` of one type."""

    kind: str
    start: int
    stop: int


def entities(tags: Tags, scheme: Scheme = "lenient") -> tuple[Entity, ...]:
    """The entities of one text, in their order. Raises :class:`InputError` for a scheme that is not known."""
    if scheme == "lenient":
        return _lenient(tags)
    if scheme not in PATTERNS:
        raise InputError(f"no scheme of tags is called {scheme!r}", fix=f"use lenient, {', '.join(PATTERNS)}")
    return _strict(tags, scheme)


def are_tags(names: Sequence[str]) -> bool:
    """Whether names are those of tags: "O", and letters with a type behind a dash."""
    rest = [name for name in names if name != "O"]
    return 0 < len(rest) < len(names) and all("-" in name and TAG.fullmatch(name) for name in rest)


def read_tag(tag: str) -> tuple[str, str]:
    """The letter and the type: ``"B-person"`` is ``("B", "person")``; ``"_"`` is the type of a lone letter."""
    if tag == "O":
        return OUTSIDE
    found = TAG.fullmatch(tag)
    if found is None:
        return "I", tag
    letter = found[1]
    return SPELLINGS.get(letter, letter), found[2] or "_"


def _lenient(tags: Tags) -> tuple[Entity, ...]:
    found: list[Entity] = []
    start = None
    read = [OUTSIDE, *map(read_tag, tags), OUTSIDE]
    for place, (before, now) in enumerate(pairwise(read)):
        goes_on = before[0] in ("B", "I") and now[0] in ("I", "E") and before[1] == now[1]
        if start is not None and not goes_on:
            found.append(Entity(before[1], start, place))
            start = None
        if now != OUTSIDE and not goes_on:
            start = place
    return tuple(found)


def _strict(tags: Tags, scheme: Scheme) -> tuple[Entity, ...]:
    """The letters of each run of one type are matched against the scheme's pattern."""
    return tuple(
        Entity(kind, start + match.start(), start + match.end())
        for kind, start, letters in _runs(tags)
        for match in re.finditer(PATTERNS[scheme], letters)
    )


def _runs(tags: Tags) -> list[tuple[str, int, str]]:
    """Stretches of words of one type: the type, the first word, their letters."""
    runs: list[tuple[str, int, str]] = []
    for place, (letter, kind) in enumerate(map(read_tag, tags)):
        if letter == "O":
            continue
        if runs and runs[-1][0] == kind and runs[-1][1] + len(runs[-1][2]) == place:
            runs[-1] = (kind, runs[-1][1], runs[-1][2] + letter)
        else:
            runs.append((kind, place, letter))
    return runs


# Counting ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EntityCounts:
    """Per text and type, ``Int[N, K]``: entities found, entities that are there, entities that were said to be."""

    kinds: tuple[str, ...]
    hits: np.ndarray
    truths: np.ndarray
    guesses: np.ndarray

    def tally(self, weights: np.ndarray | None = None) -> Tally:
        """Precision, recall and F1 per type and averaged; ``weights`` ``[..., N]`` of the texts draw them anew."""
        weights = weights_for(len(self.hits), weights)
        return Tally(weights @ self.hits, weights @ self.truths, weights @ self.guesses)


def count_entities(truth: Sequence[Tags], predicted: Sequence[Tags], scheme: Scheme = "lenient") -> EntityCounts:
    """Entities of N texts, counted. Raises :class:`InputError` for tags that are not as many as the words."""
    if len(truth) != len(predicted):
        raise InputError(f"tags of {len(truth)} texts, but predicted tags of {len(predicted)}")
    for row, (own, said) in enumerate(zip(truth, predicted, strict=True)):
        if len(own) != len(said):
            raise InputError(f"{len(own)} true tags, but {len(said)} predicted ones", where=f"row {row}")
    true = [set(entities(tags, scheme)) for tags in truth]
    said = [set(entities(tags, scheme)) for tags in predicted]
    both = [one & other for one, other in zip(true, said, strict=True)]
    kinds = tuple(sorted({entity.kind for row in (*true, *said) for entity in row}))
    place = {kind: index for index, kind in enumerate(kinds)}
    counted = np.zeros((3, len(truth), len(kinds)), np.int64)
    for which, rows in enumerate((both, true, said)):
        for row, found in enumerate(rows):
            for entity in found:
                counted[which, row, place[entity.kind]] += 1
    return EntityCounts(kinds, *counted)


# Mistakes ----------------------------------------------------------------------------------------------------------

Wrong = Literal["missed", "type", "border", "both", "invented"]


class Mistake(NamedTuple):
    """An entity that is there and what was said in its place; None where nothing is there, or nothing was said."""

    wrong: Wrong
    truth: Entity | None
    said: Entity | None


def mistakes(truth: Tags, predicted: Tags, scheme: Scheme = "lenient") -> tuple[Mistake, ...]:
    """What went wrong in one text, in its order: each entity stands in one mistake, and in none if it was found.

    An entity that is there goes with the first said one that is left and shares its words (``type`` is wrong), else
    its type and some of its words (``border``), else some of its words (``both``). Of the rest those that are there
    were ``missed``, those that were said are ``invented``.

    Source: the categories of MUC-5 (Chinchor & Sundheim 1993), with what it calls incorrect told apart as in SemEval
    2013 task 9 (Segura-Bedmar et al. 2013).
    """
    there, said = list(entities(truth, scheme)), list(entities(predicted, scheme))
    right = set(there) & set(said)
    there, said = ([one for one in own if one not in right] for own in (there, said))
    found: list[Mistake] = []
    for wrong, fit in _FITS:
        for own in tuple(there):
            other = next((one for one in said if fit(own, one)), None)
            if other is not None:
                found.append(Mistake(wrong, own, other))
                there.remove(own)
                said.remove(other)
    found += [Mistake("missed", own, None) for own in there] + [Mistake("invented", None, one) for one in said]
    return tuple(sorted(found, key=lambda one: (one.truth or one.said or ("", 0, 0))[1:]))


def _same_words(one: Entity, other: Entity) -> bool:
    return one[1:] == other[1:]


def _share_words(one: Entity, other: Entity) -> bool:
    return one.start < other.stop and other.start < one.stop


_FITS: tuple[tuple[Wrong, Callable[[Entity, Entity], bool]], ...] = (
    ("type", _same_words),
    ("border", lambda one, other: one.kind == other.kind and _share_words(one, other)),
    ("both", _share_words),
)

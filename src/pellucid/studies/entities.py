"""Entities of texts: which a network finds, why it found them, and those of a data set as rows to be explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from ..backends.language import Tags, first_tokens
from ..backends.token_network import TokenModel
from ..checks.tag_case import TagCase
from ..data.asked_text import Asked
from ..data.boundaries import Span, words_of
from ..data.dataset import Dataset
from ..data.text_encoding import NOTHING, padded
from ..doors.wrap import network_that
from ..measures.entities import Entity, entities, mistakes
from ..problem.model import Model
from ..records.answer import Answer
from ..records.errors import InputError
from ..records.explanation import Explanation
from .explaining import explain

A = TypeVar("A", bound=Answer)

TAGGED = 64
"""Texts whose words are tagged at once."""
MISSED = 1 / 3
"""Of the rows that are explained, so many are entities that the network missed, where it found enough others."""
OUTSIDE = "O"
"""The output that stands for no entity."""


@dataclass(frozen=True, eq=False)
class Tagging:
    """N texts and the network's tag for each of their words: of its first token.

    Attributes
    ----------
    shown: the texts as the network read them.
    words: where their words lie, in characters.
    tags: a tag for each word; "O" for one that the network never read.
    unread: ``Int64[N]``, how many of those each text has.
    """

    shown: tuple[str, ...]
    words: tuple[tuple[Span, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    unread: np.ndarray

    def place(self, text: int, entity: Entity) -> Span:
        """Where an entity of a text stands, in characters."""
        return self.words[text][entity.start][0], self.words[text][entity.stop - 1][1]


def tagged(model: Any, texts: Sequence[str | Sequence[str]]) -> Tagging:
    """What a network says of every word of some texts: strings, or lists of words, which then are the words.

    Raises :class:`NotApplicable` for a model that does not tag words.
    """
    model, reading = network_that(model, Tags, "tags words")
    shown, words = zip(*map(_with_words, texts), strict=True) if len(texts) else ((), ())
    found, unread = [], np.zeros(len(texts), np.int64)
    for start in range(0, len(texts), TAGGED):
        own = words[start : start + TAGGED]
        for row, (places, columns) in enumerate(_first_places(model, reading, shown[start : start + TAGGED], own)):
            chosen = iter(columns)
            found.append(tuple(reading.tags[int(next(chosen))] if place >= 0 else OUTSIDE for place in places))
            unread[start + row] = sum(place < 0 for place in places)
    return Tagging(tuple(shown), tuple(words), tuple(found), unread)


def _first_places(
    model: TokenModel, reading: Tags, texts: Sequence[str], words: Sequence[Sequence[Span]]
) -> list[tuple[list[int], np.ndarray]]:
    """For each text the token that speaks for each word (−1: none), and the tags' numbers of those there are."""
    tokens = model.encoding.encode(list(texts))
    places = [first_tokens(spans, own) for spans, own in zip(tokens.spans, words, strict=True)]
    focus = padded([[place for place in own if place >= 0] for own in places], NOTHING)
    if not focus.shape[1]:
        return [(own, np.zeros(0, np.int64)) for own in places]
    rows = {"tokens": torch.from_numpy(tokens.tokens), "focus": torch.from_numpy(focus)}
    if tokens.types is not None:
        rows["types"] = torch.from_numpy(tokens.types)
    with model.untouched(), torch.no_grad():
        logits = model.outputs(model.place(rows)).reshape(*focus.shape, len(reading.tags))
    return list(zip(places, logits.argmax(2).cpu().numpy(), strict=True))


def predicted_tags(model: Any, texts: Sequence[str | Sequence[str]]) -> list[tuple[str, ...]]:
    """The network's tag for each word of each text: of its first token.

    Words are those given, or those of the text; a word that was cut off is tagged "O".
    Raises :class:`NotApplicable` for a model that does not tag words.
    """
    return list(tagged(model, texts).tags)


def _with_words(text: str | Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """A text and where its words lie; given words stand with spaces between them."""
    if isinstance(text, str):
        return text, words_of(text)
    ends = list(accumulate(len(word) + 1 for word in text))
    return " ".join(text), tuple((end - len(word) - 1, end - 1) for end, word in zip(ends, text, strict=True))


def explain_entities(
    model: Any, texts: Sequence[str | Sequence[str]], method: Any = "auto", **question: Any
) -> Explanation:
    """Why the network found the entities that it found: one row for each, in the order of the texts.

    Texts are strings, or lists of words. The target of each is its own type unless ``target=`` says otherwise; "place
    rather than person" is asked by ``target=("place", "person")``. ``notes["entities"]`` says where each stands: the
    text's number, the characters, the type. Everything else is as in :func:`pellucid.explain`.

    Raises :class:`InputError` where no text holds an entity.
    """
    rows = found_entities(model, texts)
    how: dict[str, Any] = {"target": [row.said for row in rows]} | question
    made = explain(model, [row.asked for row in rows], method, **how)
    return with_entities(made, rows)


def found_entities(model: Any, texts: Sequence[str | Sequence[str]]) -> list[EntityRow]:
    """The entities that a network finds, in the order of the texts. Raises :class:`InputError` where there are none."""
    found = tagged(model, texts)
    rows = [_row(found, text, one, one.kind) for text, tags in enumerate(found.tags) for one in entities(tags)]
    if not rows:
        raise InputError(
            "the network finds no entity in these texts",
            fix="pellucid.explain(model, [pellucid.Asked(text, about=(start, stop))]) asks about any words",
        )
    return rows


# Entities of a data set --------------------------------------------------------------------------------------------


class EntityRow(NamedTuple):
    """An entity as a row to be explained.

    ``said`` is the type the network gave it, ``truth`` what it is ("O": none; None: not known); ``wrong`` names the
    mistake (see :func:`~pellucid.measures.entities.mistakes`), "" where there is none.
    """

    text: int
    asked: Asked
    said: str
    truth: str | None = None
    wrong: str = ""

    @property
    def place(self) -> Span:
        return self.asked.passages[0]

    @property
    def words(self) -> str:
        return self.asked.shown[slice(*self.place)]


def _row(found: Tagging, text: int, entity: Entity, said: str, truth: str | None = None, wrong: str = "") -> EntityRow:
    return EntityRow(text, Asked(found.shown[text], about=found.place(text, entity)), said, truth, wrong)


def entity_rows(model: Model, data: Dataset, most: int, seed: int) -> list[EntityRow]:
    """Entities of a data set's texts, in their order: those the network found, rightly or wrongly, and some it missed.

    At most ``most``, drawn by the seed. Raises :class:`InputError` where nothing is there and nothing was found, and
    where data and network name their types differently.
    """
    assert data.words is not None and data.tags is not None
    found = tagged(model, data.words)
    _refuse_other_types(data.classes, types_of(model))
    said, missed = [], []
    for text, (truth, own) in enumerate(zip(data.tags, found.tags, strict=True)):
        for row in _compared(found, text, truth, own):
            (missed if row.wrong == "missed" else said).append(row)
    asked = OUTSIDE in (model.labels or ())
    missed = missed if asked else []  # a network without such a tag says of every word that it is something
    if not said and not missed:
        raise InputError("no text of the test split holds an entity, and the network finds none: nothing to explain")
    few = min(len(missed), max(int(most * MISSED), most - len(said)))
    dice = np.random.default_rng([seed, 1])
    drawn = [dice.permutation(len(rows))[:count] for rows, count in ((missed, few), (said, most - few))]
    kept = [rows[int(place)] for rows, places in zip((missed, said), drawn, strict=True) for place in places]
    return sorted(kept, key=lambda row: (row.text, row.place))


def _compared(found: Tagging, text: int, truth: Sequence[str], said: Sequence[str]) -> list[EntityRow]:
    """The entities of one text that the network found, with what they are, and those that it missed."""
    right = set(entities(truth)) & set(entities(said))
    rows = [_row(found, text, one, one.kind, one.kind) for one in right]
    for one in mistakes(truth, said):
        if one.said is not None:
            known = OUTSIDE if one.truth is None else one.truth.kind
            rows.append(_row(found, text, one.said, one.said.kind, known, one.wrong))
        elif one.truth is not None:
            rows.append(_row(found, text, one.truth, OUTSIDE, one.truth.kind, one.wrong))
    return rows


def with_entities(record: A, rows: Sequence[EntityRow]) -> A:
    """A record that says where the entity of each row stands."""
    where = [[row.text, *row.place, row.said] for row in rows]
    return replace(record, notes={**record.notes, "entities": where})


def entity_predictions(rows: Sequence[EntityRow], data: Dataset) -> tuple[dict[str, Any], ...]:
    """One line per entity: its text's place in the file, its words, what the network took it for, and what is true."""
    return tuple(
        {"row": int(data.row_numbers[row.text]), "entity": row.words, "prediction": row.said, "label": row.truth,
         "mistake": row.wrong}
        for row in rows
    )  # fmt: skip


def tag_case(model: Model, data: Dataset, slices: Mapping[str, np.ndarray], seed: int) -> TagCase:
    """What the network says of the words of the test texts, beside their tags.

    Raises :class:`InputError` where data and network name their types differently.
    """
    test, train = data.test, data.train
    assert test.words is not None and test.tags is not None and train.words is not None and train.tags is not None
    found = tagged(model, test.words)
    _refuse_other_types(data.classes, types_of(model))
    known = frozenset(
        tuple(words[one.start : one.stop])
        for words, tags in zip(train.words, train.tags, strict=True)
        for one in entities(tags)
    )
    return TagCase(test.words, test.tags, found.tags, types_of(model), found.unread, known or None, slices, seed)


def types_of(model: Model) -> tuple[str, ...]:
    """The types of entities that a network has tags for."""
    return tuple(kind for kind in model.labels or () if kind != OUTSIDE)


def _refuse_other_types(there: Sequence[str], known: Sequence[str]) -> None:
    if not there or not known or set(there) & set(known):
        return
    numbers = all(kind.isdigit() for kind in there)
    raise InputError(
        f"the types of entities in the data ({', '.join(there[:5])}) are none of those that the network names "
        f"({', '.join(known[:5])})",
        why="the tags are numbers, and which tag each stands for is not said" if numbers else "",
        fix="write the tags in the data as the network names them; one that has only numbers for its tags is given "
        'names: outputs=("O", "B-person", "I-person")',
    )

"""Networks of language: how tags of words, spans, masked words and continuations are asked for and read.

Each way of reading says which places of a text a question is about (``focus``), which answers it offers (``answer``),
and what one number an answer is: logits for tags and spans, log-probabilities for words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..data.asked_text import Answer, Asked
from ..data.boundaries import Span, words_of
from ..data.text_encoding import NOTHING, TextEncoding, Tokenized, padded
from ..measures.entities import read_tag
from ..measures.vocabulary import UNSPACED
from ..records.errors import InputError, ModelError, shorten
from ..records.messages import Caution
from .token_network import Ask, Posed, Reading

FOCUS, ANSWER = "focus", "answer"
LONGEST_SPAN = 30
"""Tokens that an answer found by a network itself has at most."""


# Places of a text --------------------------------------------------------------------------------------------------


def tokens_in(spans: np.ndarray, about: Span) -> np.ndarray:
    """The places of the tokens ``Int[T, 2]`` that lie in a passage of the text."""
    start, stop = spans[:, 0], spans[:, 1]
    return np.flatnonzero((start < stop) & (start < about[1]) & (stop > about[0]))


def first_tokens(spans: np.ndarray, words: Sequence[Span]) -> list[int]:
    """The place of the first token of each word; −1 for a word that was cut off."""
    found = [tokens_in(spans, word) for word in words]
    return [int(places[0]) if len(places) else -1 for places in found]


def _places(spans: np.ndarray, about: Span, row: int) -> np.ndarray:
    found = tokens_in(spans, about)
    if not len(found):
        raise InputError(
            f"characters {about[0]}–{about[1]} are in no token that the network reads", where=f"row {row}",
            why="they are blank, or were cut off",
        )  # fmt: skip
    return found


def at(found: Tensor, places: Tensor) -> Tensor:
    """Of ``Float[b, T, …]`` what stands at ``Int[b, F]``: ``Float[b, F, …]``."""
    index = places.clamp(min=0, max=found.shape[1] - 1)
    return found.gather(1, index.reshape(*index.shape, *[1] * (found.ndim - 2)).expand(-1, -1, *found.shape[2:]))


# Tags of words -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tags(Reading):
    """A network that gives each token a tag. An output is a type of entity: the mean, over the entity's words, of the
    logit of the tag that the word (its first token) would have in such an entity."""

    tags: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The types of entities, and "O" where there is such a tag."""
        read = [("O", "O") if tag == "O" else read_tag(tag) for tag in self.tags]
        return tuple(dict.fromkeys(kind for _, kind in read))

    def labels(self, given: tuple[str, ...] | None, encoding: TextEncoding, outputs: int | None) -> Any:
        return self.kinds

    def columns(self, words: int) -> np.ndarray:
        """``Int[words, K]``: the tag of each word of an entity of each type, the nearest where a type lacks one."""
        place = {(("O", "O") if tag == "O" else read_tag(tag)): column for column, tag in enumerate(self.tags)}
        letters = [_letters(word, words) for word in range(words)]
        return np.array(
            [[next(place[one, kind] for one in (*own, "O") if (one, kind) in place) for kind in self.kinds]
             for own in letters]
        )  # fmt: skip

    def posed(self, asked: Sequence[Asked], found: Tokenized, encoding: TextEncoding, ask: Ask) -> Posed:
        focus, answer = [], []
        for row, (one, spans) in enumerate(zip(asked, found.spans, strict=True)):
            if len(one.passages) != 1:
                raise InputError(
                    "which word or entity is asked about is not said", where=f"row {row}",
                    fix="pellucid.explain_entities(model, texts), or pellucid.Asked(text, about=(start, stop))",
                )  # fmt: skip
            _places(spans, one.passages[0], row)
            words = [place for place in first_tokens(spans, _words_in(one.shown, one.passages[0])) if place >= 0]
            focus.append(words)
            answer.append(self.columns(len(words)))
        columns = np.full((len(asked), max(map(len, focus)), len(self.kinds)), NOTHING)
        for row, own in enumerate(answer):
            columns[row, : len(own)] = own
        return Posed({FOCUS: torch.from_numpy(padded(focus, NOTHING)), ANSWER: torch.from_numpy(columns)})

    def read(self, found: Any, tokens: Tensor, question: Mapping[str, Tensor], chosen: dict[str, str]) -> Tensor:
        logits = at(self._of_tokens(found), question[FOCUS])
        if ANSWER not in question:
            return logits.flatten(1)  # every tag of every word, for the network's own tags
        there = (question[FOCUS] >= 0).to(logits.dtype)[..., None]
        own = logits.gather(2, question[ANSWER].clamp(min=0))
        return (own * there).sum(1) / there.sum(1)

    def _of_tokens(self, found: Any) -> Tensor:
        """The logits ``Float[b, T, tags]``. Raises :class:`ModelError` for anything else."""
        logits = _logits(found)
        if logits.ndim != 3 or logits.shape[2] != len(self.tags):
            raise ModelError(
                f"the network returns numbers of shape {tuple(logits.shape)}, and {len(self.tags)} tags are named",
                why="a network that tags words returns a number for each tag of each token: [rows, tokens, tags]",
            )
        return logits


def _letters(word: int, words: int) -> tuple[str, ...]:
    """The letters that a word of an entity may bear, the fittest first."""
    if words == 1:
        return ("S", "B", "I", "E")
    if word == 0:
        return ("B", "I", "E", "S")
    return ("E", "I", "B", "S") if word == words - 1 else ("I", "B", "E", "S")


def _words_in(text: str, about: Span) -> list[Span]:
    """The words of a passage; a word that the passage begins or ends within counts by what lies inside."""
    within = [(max(start, about[0]), min(stop, about[1])) for start, stop in words_of(text)]
    return [span for span in within if span[0] < span[1]]


# Spans that answer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spans(Reading):
    """A network that answers by a span of the text. An output is a span: the logits of its start and of its end."""

    def labels(self, given: tuple[str, ...] | None, encoding: TextEncoding, outputs: int | None) -> Any:
        return None

    def posed(self, asked: Sequence[Asked], found: Tokenized, encoding: TextEncoding, ask: Ask) -> Posed:
        focus, names = [], []
        for row, (one, spans) in enumerate(zip(asked, found.spans, strict=True)):
            if one.passages:
                ends = [(int(own[0]), int(own[-1])) for own in (_places(spans, about, row) for about in one.passages)]
            else:
                ends = self._best(one, spans, ask(row, {}), row)
            focus.append([place for pair in ends for place in pair])
            names.append(_distinct([one.shown[spans[start, 0] : spans[stop, 1]] for start, stop in ends]))
        return Posed({FOCUS: torch.from_numpy(padded(focus, NOTHING))}, tuple(names), first=True)

    def _best(self, one: Asked, spans: np.ndarray, logits: np.ndarray, row: int) -> list[tuple[int, int]]:
        """The network's own answer, and the best other one that shares no token with it."""
        start, stop = logits.reshape(2, -1)
        from_place = 0 if isinstance(one.text, str) else len(one.text[0]) + 1
        allowed = np.flatnonzero((spans[:, 0] < spans[:, 1]) & (spans[:, 0] >= from_place))
        if not len(allowed):
            raise InputError("the context has no token to answer with", where=f"row {row}")
        steps = np.subtract.outer(allowed, allowed).T  # [start, stop]
        sums = np.where((steps >= 0) & (steps < LONGEST_SPAN), start[allowed][:, None] + stop[allowed], -np.inf)
        first = np.unravel_index(sums.argmax(), sums.shape)
        apart = np.ones_like(sums, dtype=bool)
        apart[: first[1] + 1, first[0] :] = False  # those that begin before it ends and end after it begins
        found = [first]
        if np.isfinite(sums[apart]).any():
            found.append(np.unravel_index(np.where(apart, sums, -np.inf).argmax(), sums.shape))
        return [(int(allowed[a]), int(allowed[b])) for a, b in found]

    def read(self, found: Any, tokens: Tensor, question: Mapping[str, Tensor], chosen: dict[str, str]) -> Tensor:
        if FOCUS not in question:
            return torch.cat([found.start_logits, found.end_logits], 1)
        ends = question[FOCUS]
        sums = at(found.start_logits, ends[:, ::2]) + at(found.end_logits, ends[:, 1::2])
        return torch.where(ends[:, ::2] >= 0, sums, 0.0)


# Words -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words(Reading):
    """What networks share whose outputs are the log-probabilities of the words of their vocabulary."""

    scale: ClassVar[str] = "log_probability"

    def labels(self, given: tuple[str, ...] | None, encoding: TextEncoding, outputs: int | None) -> Any:
        return None if outputs is None else encoding.vocabulary(outputs)


@dataclass(frozen=True)
class Masked(_Words):
    """A network that fills a mask. An output is a word of the vocabulary, or one of the answers offered."""

    def posed(self, asked: Sequence[Asked], found: Tokenized, encoding: TextEncoding, ask: Ask) -> Posed:
        mask = None if encoding.mask is None else encoding.token(encoding.mask)
        focus, answers = [], []
        for row, one in enumerate(asked):
            places = np.flatnonzero(found.tokens[row] == mask) if mask is not None else np.zeros(0, np.int64)
            if one.passages:
                before = one.shown[: one.passages[0][0]].count(encoding.mask or "\0")
                places = places[before : before + 1]
            if len(places) != 1:
                raise InputError(
                    f"the text has {len(places)} masks, and one is asked about", where=f"row {row}",
                    fix=f"write {encoding.mask!r} where a word is missing; of several, Asked(text, about=…) says which",
                )  # fmt: skip
            focus.append(places[:1])
            answers.append([_one_token(encoding, answer, row) for answer in one.offered])
        tensors = {FOCUS: torch.from_numpy(np.array(focus))}
        if not any(answers):
            return Posed(tensors)
        if not all(answers):
            raise InputError("some rows offer answers and others none", fix="give them to all rows, or to none")
        names = tuple(_distinct([str(answer) for answer in one.offered]) for one in asked)
        return Posed(tensors | {ANSWER: torch.from_numpy(padded(answers, NOTHING))}, names)

    def read(self, found: Any, tokens: Tensor, question: Mapping[str, Tensor], chosen: dict[str, str]) -> Tensor:
        chances = torch.log_softmax(at(_logits(found), question[FOCUS])[:, 0], -1)
        if ANSWER not in question:
            return chances
        return torch.where(question[ANSWER] >= 0, chances.gather(1, question[ANSWER].clamp(min=0)), 0.0)


def _one_token(encoding: TextEncoding, answer: Answer, row: int) -> int:
    if not isinstance(answer, str):
        found = list(answer)
    else:
        found = encoding.pieces(answer)
        if len(found) != 1:
            found = encoding.pieces(" " + answer)
    if len(found) != 1 or found[0] == encoding.unknown:
        raise InputError(
            f"{shorten(answer)!r} is not one token of this network's vocabulary", where=f"row {row}",
            why="a mask stands for one token",
        )  # fmt: skip
    return found[0]


@dataclass(frozen=True)
class Continued(_Words):
    """A network that writes on. An output is the next word; where answers are offered, the whole of each, and of a
    single one also its words: log-probabilities, each word's given those before it."""

    ends: tuple[int, ...] = ()
    """Tokens that end what the network writes."""

    def posed(self, asked: Sequence[Asked], found: Tokenized, encoding: TextEncoding, ask: Ask) -> Posed:
        if not any(one.offered for one in asked):
            return Posed({})
        if len({len(one.offered) for one in asked}) > 1:
            raise InputError("the rows offer different numbers of answers", fix="offer as many in every row")
        pieces = [[_continued(encoding, one.shown, answer, row) for answer in one.offered]
                  for row, one in enumerate(asked)]  # fmt: skip
        longest = max(len(ids) for own in pieces for ids in own)
        answer = np.full((len(asked), len(pieces[0]), longest), NOTHING)
        for row, own in enumerate(pieces):
            for place, ids in enumerate(own):
                answer[row, place, : len(ids)] = ids
            refuse_too_long(found, row, encoding, max(map(len, own)))
        names = tuple(_answer_names(encoding, one.offered, own) for one, own in zip(asked, pieces, strict=True))
        return Posed({ANSWER: torch.from_numpy(answer)}, names, True, len(pieces[0]), _unknown(encoding, asked))

    def asked(self, tokens: Tensor, question: Mapping[str, Tensor]) -> Tensor:
        if ANSWER not in question:
            return tokens
        answers = question[ANSWER].flatten(0, 1)
        times = len(answers) // max(len(tokens), 1)
        behind = torch.full((len(tokens), answers.shape[1]), NOTHING, device=tokens.device, dtype=tokens.dtype)
        wide = torch.cat([tokens, behind], 1).repeat_interleave(times, 0)
        return wide.scatter(1, _behind(tokens, answers.shape[1]).repeat_interleave(times, 0), answers)

    def read(self, found: Any, tokens: Tensor, question: Mapping[str, Tensor], chosen: dict[str, str]) -> Tensor:
        logits = _logits(found)
        if ANSWER not in question:
            return torch.log_softmax(at(logits, _behind(tokens, 1) - 1)[:, 0], -1)
        rows, count, length = question[ANSWER].shape
        answers = question[ANSWER].flatten(0, 1)
        own = (answers != NOTHING).sum(1)
        first = _behind(tokens, 1) - own[:, None]
        places = first + torch.arange(length, device=tokens.device) - 1
        chances = torch.log_softmax(at(logits, places), -1).gather(2, answers.clamp(min=0)[..., None])[..., 0]
        each = torch.where(answers >= 0, chances, 0.0).reshape(rows, count, length)
        whole = each.sum(2)
        return whole if count > 1 or length == 1 else torch.cat([whole, each[:, 0]], 1)


def refuse_too_long(found: Tokenized, row: int, encoding: TextEncoding, answer: int = 1) -> None:
    """Raise :class:`InputError` where a text, as long as it was before it was cut, leaves no room for its answer."""
    length = int((found.tokens[row] != NOTHING).sum() + found.cut[row])
    if encoding.most is None or length + answer <= encoding.most:
        return
    over = length + answer - encoding.most
    raise InputError(
        f"the prompt has {length} tokens and the answer {answer}, and the network reads {encoding.most} in all",
        where=f"row {row}",
        fix=f"leave out {over} of the prompt's tokens" if answer < encoding.most else "give a shorter answer",
    )


def _unknown(encoding: TextEncoding, asked: Sequence[Asked]) -> tuple[Caution, ...]:
    """What should be known of answers with words that the tokenizer lacks."""
    if encoding.unknown is None:
        return ()
    written = [answer for one in asked for answer in one.offered if isinstance(answer, str)]
    strange: list[str] = []
    for answer in dict.fromkeys(written):
        found = encoding.encode([answer])
        places = (found.tokens[0] == encoding.unknown) & (found.spans[0, :, 0] < found.spans[0, :, 1])
        strange += [answer[start:stop] for start, stop in found.spans[0, places].tolist()]
    if not strange:
        return ()
    told = ", ".join(dict.fromkeys(strange))
    return (Caution.of("unknown_in_answer", "red", count=len(strange), words=shorten(told)),)


def _behind(tokens: Tensor, count: int) -> Tensor:
    """The ``count`` places ``Int[b, count]`` behind the last token of each row."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    last = torch.where(tokens != NOTHING, places, 0).amax(1)
    return last[:, None] + torch.arange(count, device=tokens.device)


def _continued(encoding: TextEncoding, text: str, answer: Answer, row: int) -> tuple[int, ...]:
    """The tokens by which an answer continues a text: parted from it as the tokenizer would, where it can tell."""
    if not isinstance(answer, str):
        return tuple(map(int, answer))
    answer = gap(text, answer) + answer
    before, whole = encoding.pieces(text), encoding.pieces(text + answer)
    found = whole[len(before) :] if whole[: len(before)] == before else encoding.pieces(answer)
    if not found:
        raise InputError("an answer without words", where=f"row {row}", fix="leave it out")
    return found


def gap(text: str, answer: str) -> str:
    """What stands between a text and the answer that continues it: a space, unless there is one or the script has
    none."""
    spaced = not text or text[-1].isspace() or answer[:1].isspace()
    return "" if spaced or re.match(f"[{UNSPACED}]", answer) or re.search(f"[{UNSPACED}。？！：]$", text) else " "


def _answer_names(encoding: TextEncoding, given: Sequence[Answer], own: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Each answer as one speaks of it; of a single one also its words."""
    whole = [answer.strip() if isinstance(answer, str) else encoding.spoken(ids).strip()
             for answer, ids in zip(given, own, strict=True)]  # fmt: skip
    words = encoding.spoken_each(own[0]) if len(own) == 1 and len(own[0]) > 1 else ()
    return _distinct([*whole, *words])


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that differ: those that come again are counted."""
    found: list[str] = []
    for name in names:
        again, number = name, 2
        while again in found:
            again, number = f"{name} ({number})", number + 1
        found.append(again)
    return tuple(found)


def _logits(found: Any) -> Tensor:
    """What a network returned for each token, ``Float[b, T, …]``."""
    return found if isinstance(found, Tensor) else found["logits"] if isinstance(found, Mapping) else found.logits


def greedy(next_token: Callable[[tuple[int, ...]], int], ends: Sequence[int], most: int) -> tuple[int, ...]:
    """The likeliest token, again and again, until one of ``ends`` or ``most``; ``next_token`` is asked with those that
    were written so far."""
    written: tuple[int, ...] = ()
    while len(written) < most:
        token = next_token(written)
        if token in ends:
            break
        written = (*written, token)
    return written

"""Language models behind OpenAI-style endpoints: an output is the log-probability of an answer to a text.

Two ways: the server scores whole answers by echoing prompt and answer with each token's log-probability; or it lists
the likeliest next tokens, among which the answers are looked for. An answer that is not listed gets the largest value
it can have: min(smallest listed, log of the probability left), which a caution says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..problem.model import Rows
from ..records.errors import InputError, LoadError
from ..records.messages import Caution
from .endpoint_file import ChatFile, CompletionsFile, LanguageFile
from .endpoint_form import Answers, Form, Garbled, as_text, at, filled, is_number, placeholders

ROUNDING = 0.05
"""Listed probabilities may add up to so much more than one before a reply counts as garbled."""


class _LanguageForm(Form):
    """What both kinds share. An answer is kept with one number more: how many of its texts were not listed."""

    scale = "log_probability"

    def __init__(self, file: LanguageFile):
        self._file = file
        self.labels = tuple(file.answers)
        self._texts = [(text,) if isinstance(text, str) else text for text in file.answers.values()]

    def rows(self, rows: Rows, encoding: Any) -> list[Any]:
        if not isinstance(rows, list):
            raise InputError("a language model takes texts", fix="give texts, or lists of words")
        return [self._file.before + as_text(row) + self._file.after for row in rows]

    def outputs(self, answers: np.ndarray) -> tuple[np.ndarray, list[Caution]]:
        unlisted = int((answers[:, -1] > 0).sum())
        said = [Caution.of("answer_unlisted", "yellow", rows=unlisted, total=len(answers))] if unlisted else []
        return np.ascontiguousarray(answers[:, :-1]), said

    def _listed(self, likely: Any) -> np.ndarray:
        """The answers' log-probabilities among the likeliest tokens (token → log-probability)."""
        listed = {str(token): _number(value) for token, value in dict(likely or {}).items()}
        if not listed:
            raise Garbled("no likely tokens are listed")
        total = sum(map(math.exp, listed.values()))
        if total > 1 + ROUNDING:
            raise Garbled("the listed probabilities add up to more than one")
        bound = min(min(listed.values()), math.log(max(1 - total, 1e-300)))
        values, unlisted = [], 0
        for texts in self._texts:
            found = [listed[text] for text in dict.fromkeys(texts) if text in listed]
            unlisted += not found
            values.append(_log_sum(found) if found else bound)
        return np.array([*values, unlisted], dtype=np.float64)


class CompletionsForm(_LanguageForm):
    """``/v1/completions``: a call holds many prompts, whose choices come back by their index."""

    _file: CompletionsFile

    def request(self, rows: Sequence[Any]) -> Any:
        prompts = list(rows)
        asked: dict[str, Any] = {"logprobs": self._file.top}
        if self._file.scoring == "answer":
            prompts = [row + text for row in rows for text in self._every_text]
            asked = {"echo": True, "logprobs": 1}
        common = {"model": self._file.model, "prompt": prompts, "max_tokens": 1, "temperature": 0}
        return {**common, **asked, **self._file.extra}

    def answers(self, reply: Any, rows: Sequence[Any]) -> Answers:
        whole = self._file.scoring == "answer"
        choices = self._choices(reply, len(rows) * (len(self._every_text) if whole else 1))
        if not whole:
            return [self._listed(at(choice, ("logprobs", "top_logprobs", 0))) for choice in choices]
        found: Answers = []
        for row in rows:
            scores = [
                [_score(choices.pop(0), len(row), len(row) + len(text)) for text in texts] for texts in self._texts
            ]
            found.append(np.array([*map(_log_sum, scores), 0.0]))
        return found

    @property
    def _every_text(self) -> list[str]:
        return [text for texts in self._texts for text in texts]

    @staticmethod
    def _choices(reply: Any, count: int) -> list[Any]:
        """The choices in the order of the prompts."""
        found = at(reply, ("choices",))
        places = {at(choice, ("index",)): choice for choice in found} if isinstance(found, list) else {}
        if set(places) != set(range(count)):
            raise Garbled(f"there should be {count} choices with an index each, and there are {len(places)}")
        return [places[index] for index in range(count)]


class ChatForm(_LanguageForm):
    """``/v1/chat/completions``: one text a call, of whose reply the first token is looked at."""

    most = 1
    _file: ChatFile

    def __init__(self, file: ChatFile):
        super().__init__(file)
        if placeholders(list(file.messages)) != {"$text"}:
            raise LoadError(
                "messages: the row must stand in one of them, and nothing else that begins with $",
                fix='messages: [{role: user, content: "$text"}]; a text that begins with $ is written $$',
            )

    def request(self, rows: Sequence[Any]) -> Any:
        messages = filled(list(self._file.messages), {"$text": rows[0]})
        asked = {"logprobs": True, "top_logprobs": self._file.top, "max_tokens": 1, "temperature": 0}
        return {"model": self._file.model, "messages": messages, **asked, **self._file.extra}

    def answers(self, reply: Any, rows: Sequence[Any]) -> Answers:
        likely = at(reply, ("choices", 0, "logprobs", "content", 0, "top_logprobs"))
        if not isinstance(likely, list):
            raise Garbled("no likely tokens are listed")
        return [self._listed({at(token, ("token",)): at(token, ("logprob",)) for token in likely})]


def _score(choice: Any, start: int, stop: int) -> float:
    """The log-probability of the characters from ``start`` to ``stop`` of an echoed prompt.

    A token that reaches over the edge between prompt and answer belongs to the answer.
    """
    tokens, values, offsets = (at(choice, ("logprobs", name)) for name in ("tokens", "token_logprobs", "text_offset"))
    if not all(isinstance(part, list) and len(part) == len(offsets) for part in (tokens, values, offsets)):
        raise Garbled("tokens, their log-probabilities and offsets are not of one length")
    if not offsets or offsets[0] != 0:
        raise Garbled("the server does not echo the prompt, so whole answers cannot be scored: scoring: next")
    ends = [*offsets[1:], offsets[-1] + len(str(tokens[-1]))]
    own = [
        _number(value)
        for value, begin, end in zip(values, offsets, ends, strict=True)
        if begin < stop and (end > start or begin >= start)
    ]
    if not own:
        raise Garbled("no token of the answer has a log-probability")
    return math.fsum(own)


def _number(value: Any) -> float:
    if not is_number(value):
        raise Garbled("a log-probability is no finite number")
    return float(value)


def _log_sum(values: Sequence[float]) -> float:
    """The logarithm of the sum of probabilities."""
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))

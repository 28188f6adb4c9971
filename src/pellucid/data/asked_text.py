"""A text with a question about part of it: an entity in it, the span that answers, a mask, how it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..records.errors import InputError
from .boundaries import Span
from .text_encoding import Text, raw

Answer = str | tuple[int, ...]
"""An answer as text, or as the numbers of its tokens."""


@dataclass(frozen=True)
class Asked:
    """One text, and what is asked of the network about it. What is left out, the network chooses itself.

    Attributes
    ----------
    text: a text, or a pair that is read together: a question and its context.
    about: ``(start, stop)`` in characters of the text (of a pair: of both with a line break between), or several
        such. For a network that tags words, the entity; for one that answers by a span, the answers to be compared; for
        one that fills masks, the mask meant.
    answers: for a network that writes, how the text goes on (one answer token by token, of several the whole of each);
        for one that fills masks, the words to be compared.

    Raises :class:`InputError` for places outside the text.
    """

    text: Text
    about: Span | tuple[Span, ...] = ()
    answers: str | tuple[Answer, ...] = ()

    def __post_init__(self) -> None:
        about: Any = self.about
        if len(about) == 2 and all(isinstance(end, int) for end in about):
            about = (about,)
        spans = tuple((int(start), int(stop)) for start, stop in about)
        size = len(self.shown)
        for start, stop in spans:
            if not 0 <= start < stop <= size:
                raise InputError(f"the place {start}–{stop} is not in the text, which has {size} characters")
        object.__setattr__(self, "about", spans)
        answers = (self.answers,) if isinstance(self.answers, str) else self.answers
        object.__setattr__(self, "answers", tuple(answers))

    @property
    def passages(self) -> tuple[Span, ...]:
        """What it is about, each a passage."""
        return self.about  # pyright: ignore[reportReturnType]  one passage became a tuple of one

    @property
    def offered(self) -> tuple[Answer, ...]:
        """The answers offered."""
        return self.answers  # pyright: ignore[reportReturnType]

    @property
    def shown(self) -> str:
        """The text as it is shown."""
        return raw(self.text)


def as_asked(rows: Sequence[Text | Asked]) -> list[Asked]:
    """Texts, with or without a question, as questions."""
    return [row if isinstance(row, Asked) else Asked(row) for row in rows]

"""Black boxes that read tokens: an ONNX network without a twin, or a function of their numbers, with a tokenizer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import Parameter

import torch
from torch import Tensor

from ..data.asked_text import Asked
from ..data.text_encoding import HIDDEN, NOTHING, TextEncoding, Tokenized
from ..problem.inputs import WHOLE
from ..problem.model import Model, Rows
from ..records.errors import ModelError, shorten
from ..records.messages import Caution
from .function import FunctionModel
from .token_network import Posed, Reading
from .token_rows import HIDING, IDS, TELLING, TOKENS, TOLD_TYPES, TYPES, by_names, closed_up, filled, in_groups, tried

PLACES = "position_ids"


class TokenBox(Model):
    """A black box that is given the tokens of texts, by the ``names`` of its inputs.

    ``inner`` is asked: the numbers of the tokens go to the first input that bears a usual name for them, else to the
    first of all; beside them a mask, types and places where it has inputs for these. ``length`` is the only number of
    tokens it takes, or None; shorter rows are then filled up.

    Raises :class:`ModelError` for an input that tokens do not tell.
    """

    def __init__(self, inner: Model, encoding: TextEncoding, names: Sequence[str], length: int | None = None):
        self.inner, self.encoding, self.names, self.length = inner, encoding, tuple(names), length
        self.name, self.labels, self.reason, self.forks = inner.name, inner.labels, inner.reason, inner.forks
        self.ids = next((name for name in IDS if name in self.names), self.names[0])
        self.told = any(name in TELLING for name in self.names)
        self._tried: bool | None = None
        strange = [name for name in self.names if name not in (self.ids, PLACES, *TELLING, *TOLD_TYPES)]
        if strange:
            raise ModelError(
                f"{self.name} takes {shorten(strange[0])!r}, and tokens do not tell what that is",
                why=f"known beside the tokens' numbers are {', '.join((*TELLING, *TOLD_TYPES, PLACES))}",
                fix="wrap a function of texts that makes it: pellucid.wrap(lambda texts: …)",
            )

    def __repr__(self) -> str:
        return f"TokenBox({self.name}, only outputs)"

    @property
    def identity(self) -> object:
        return self.inner.identity

    @property
    def version(self) -> tuple[int, ...]:
        return self.inner.version

    @property
    def chosen(self) -> dict[str, str]:
        """Which of several outputs is explained where the user did not say."""
        return getattr(self.inner, "chosen", {})

    def cautions(self) -> list[Caution]:
        return self.inner.cautions()

    def untouched(self) -> AbstractContextManager[None]:
        return self.inner.untouched()

    def posed(self, asked: Sequence[Asked], found: Tokenized) -> Posed:
        """What is asked of texts: nothing but the outputs. Raises :class:`InputError` for parts of them."""
        return Reading().posed(asked, found, self.encoding, lambda row, question: torch.zeros(0).numpy())

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        return in_groups(closed_up(rows), self._fills_up, self._asked)

    def _fills_up(self, rows: Mapping[str, Tensor]) -> bool:
        """Whether rows that are filled up are answered like those alone; tried once."""
        if self.told and self._tried is None and self.length is None:
            self._tried = tried(rows, self._asked)
        return self.told and self._tried is not False

    def hides(self, rows: Mapping[str, Tensor]) -> bool:
        """Whether a hidden token is none to it; tried on the first of ``rows`` where it is not told."""
        told = any(name in HIDING for name in self.names) and self._fills_up(rows)
        return told or (self.length is None and tried(rows, self._asked, HIDDEN))

    def _asked(self, rows: Mapping[str, Tensor]) -> Tensor:
        """The outputs of rows that are as long as they are to be."""
        if self.length is not None:
            rows = self._of_its_length(rows, self.length)
        count, fixed = len(rows[TOKENS]), self.inner.fixed_batch
        if not fixed:
            return self._answered(rows)
        parts = []
        for start in range(0, count, fixed):
            index = torch.arange(start, start + fixed).clamp(max=count - 1)
            parts.append(self._answered({name: tensor[index] for name, tensor in rows.items()}))
        return torch.cat(parts)[:count]

    def _answered(self, rows: Mapping[str, Tensor]) -> Tensor:
        tokens, types = rows[TOKENS], rows.get(TYPES)
        ids = torch.where(tokens >= 0, tokens, self.encoding.pad)
        given = {self.ids: ids, **by_names(self.names, tokens, torch.zeros_like(ids) if types is None else types)}
        if PLACES in self.names:
            given[PLACES] = ((tokens != NOTHING).cumsum(1) - 1).clamp(min=0)
        return self.inner.outputs(given if len(self.names) > 1 else {WHOLE: ids})

    def _of_its_length(self, rows: Mapping[str, Tensor], length: int) -> Mapping[str, Tensor]:
        tokens = rows[TOKENS]
        more = length - tokens.shape[1]
        if more < 0 or (more and not self.told):
            raise ModelError(
                f"{self.name} takes rows of {length} tokens, and this one has {tokens.shape[1]}",
                why="" if more < 0 else "it is not told which tokens are there, and would take the filling for words",
                fix="export it with the number of tokens left free"
                + (f"; or let its tokenizer cut texts at {length}" if more < 0 else " or with an attention_mask"),
            )
        return filled(rows, more)


def box_of(function: FunctionModel, encoding: TextEncoding) -> TokenBox:
    """A function of the tokens' numbers and what its parameters ask for beside them.

    One that takes any names is given those of transformers. Raises :class:`ModelError` as :class:`TokenBox` does, and
    for a function that does not tell what it takes.
    """
    try:
        parameters = inspect.signature(function.function).parameters.values()
    except (TypeError, ValueError):  # no signature to read
        parameters = ()
    known = (*IDS, *TELLING, *TOLD_TYPES, PLACES)
    named = [one for one in parameters if one.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    names = [one.name for one in named if one.default is Parameter.empty or one.name in known]
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        names = list(dict.fromkeys([*names, "input_ids", "attention_mask"]))
    if not names:
        raise ModelError(
            f"{function.name} does not say what it is to be given of the tokens",
            fix="give its parameters names: def ask(input_ids, attention_mask): …",
        )
    return TokenBox(function, encoding, names)

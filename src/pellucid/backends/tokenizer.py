"""Tokenizers of Hugging Face, used as they are: of transformers, or of the tokenizers package alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.text_encoding import NOTHING, Text, TextEncoding, Tokenized, padded, raw
from ..records.errors import EncodingError

LONGEST = 10**6
"""A tokenizer that states a longer text than this states none: that is how such a one says so."""


def is_tokenizer(given: Any) -> bool:
    """Whether something is a tokenizer, told without importing the packages they come from."""
    package = type(given).__module__.split(".")[0]
    return package in ("transformers", "tokenizers") and hasattr(
        given, "token_to_id" if package == "tokenizers" else "convert_tokens_to_ids"
    )


class Tokenizer(TextEncoding):
    """A fast tokenizer, which knows where its tokens lie in the text.

    ``most`` is the number of tokens that the network takes; a tokenizer's own smaller limit holds too.

    Raises :class:`EncodingError` for one that does not know that.
    """

    def __init__(self, tokenizer: Any, most: int | None = None):
        fast = tokenizer if _is_plain(tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
        if fast is None:
            raise EncodingError(
                f"{type(tokenizer).__name__} does not tell where its tokens lie in a text",
                fix="take the fast tokenizer of the same name (tokenizer.json)",
            )
        self.fast = type(fast).from_str(fast.to_str())  # the user's own may fill up and cut, and stays as it is
        self.fast.no_padding()
        self.fast.no_truncation()
        own = getattr(tokenizer, "model_max_length", None)
        limits = [limit for limit in (most, own) if limit is not None and limit < LONGEST]
        self.most = min(limits, default=None)
        self.cutting = type(fast).from_str(self.fast.to_str())
        if self.most is not None:
            self.cutting.enable_truncation(self.most, direction=getattr(tokenizer, "truncation_side", "right"))
        self.pad = self._first(getattr(tokenizer, "pad_token", None), "[PAD]", "<pad>")[1] or 0
        self.unknown = self._first(getattr(tokenizer, "unk_token", None), "[UNK]", "<unk>")[1]
        self.mask = self._first(getattr(tokenizer, "mask_token", None), "[MASK]", "<mask>")[0]
        added = self.fast.get_added_tokens_decoder()
        self.special = tuple(sorted(number for number, token in added.items() if token.special))
        self.typed = "token_type_ids" in getattr(tokenizer, "model_input_names", ())

    def encode(self, texts: Sequence[Text]) -> Tokenized:
        found = [self._one(text) for text in texts]
        tokens, spans, types, cut = zip(*found, strict=True)
        return Tokenized(
            padded(tokens, NOTHING),
            padded(spans, 0, (2,)),
            padded(types, NOTHING) if self.typed else None,
            np.array(cut),
        )

    def _first(self, *names: str | None) -> tuple[str, int] | tuple[None, None]:
        """The first of some tokens that the vocabulary has, and its number."""
        for name in names:
            if name is not None and (number := self.fast.token_to_id(name)) is not None:
                return name, number
        return None, None

    def _one(self, text: Text) -> tuple[list[int], list[tuple[int, int]], list[int], int]:
        """Tokens, spans in the raw text, types and the number of tokens cut off, of one text or of two.

        What is too long the tokenizer cuts itself: at its own side, of two texts the longer one.
        """
        given = (text,) if isinstance(text, str) else text
        whole = self.fast.encode(*given)
        before = len(whole.ids)
        if self.most is not None and before > self.most:
            whole = self.cutting.encode(*given)
        shift = 0 if isinstance(text, str) else len(text[0]) + 1
        mask = None if self.mask is None else self.fast.token_to_id(self.mask)  # a gap that was left is no word
        spans = [
            (0, 0) if special or token == mask else (start + shift * (sequence == 1), stop + shift * (sequence == 1))
            for token, special, (start, stop), sequence in zip(
                whole.ids, whole.special_tokens_mask, whole.offsets, whole.sequence_ids, strict=True
            )
        ]
        shown = raw(text)
        return whole.ids, [_trimmed(shown, *span) for span in spans], whole.type_ids, before - len(whole.ids)

    def pieces(self, text: str) -> tuple[int, ...]:
        return tuple(self.fast.encode(text, add_special_tokens=False).ids)

    def spoken(self, tokens: Sequence[int]) -> str:
        return self.fast.decode([int(token) for token in tokens], skip_special_tokens=False)

    def token(self, text: str) -> int | None:
        return self.fast.token_to_id(text)


def _is_plain(tokenizer: Any) -> bool:
    return type(tokenizer).__module__.split(".")[0] == "tokenizers"


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """Without the space that byte-level tokenizers count to the word behind it."""
    while start < stop and text[start].isspace():
        start += 1
    return start, stop

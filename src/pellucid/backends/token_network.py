"""Networks that read tokens: how they are called, and rows in which tokens are missing or hidden."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from ..data.asked_text import Asked
from ..data.text_encoding import HIDDEN, NOTHING, TextEncoding, Tokenized
from ..problem.model import Embedded, Output, Place, Rows, Visitor
from ..records.errors import InputError, ModelError
from ..records.messages import Caution
from .arguments import exported_keywords
from .devices import beside
from .dropout import Dropping
from .places import places_of, visited
from .token_rows import HIDING, IDS, PRESENT, TELLING, TOKENS, TOLD_TYPES, TYPES, by_names, closed_up, in_groups, tried
from .tokens import asked_for
from .torch_module import TorchModel

VECTORS = "vectors"
MASK = "mask"
"""Where it may be left out, a mask of attention from token to token, and not meant."""


Ask = Callable[[int, Mapping[str, Tensor]], np.ndarray]
"""The network's outputs ``Float64[K]`` for one row, with tensors that put a question."""


class Posed(NamedTuple):
    """Questions as tensors that go with the tokens, one entry a row.

    ``names`` are those of each row's own outputs, where rows have such; ``first`` says that these are no rivals, and
    the first is what is explained unless something else is asked for. ``whole`` counts the outputs, from the first on,
    that are whole answers; behind them stand the tokens of one. ``cautions`` are what should be known of the answers.
    """

    tensors: Mapping[str, Tensor]
    names: tuple[tuple[str, ...], ...] = ()
    first: bool = False
    whole: int = 0
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How the question is put to a network of tokens, and what of its answer is explained.

    This one asks a network that returns one row of outputs for a text.
    """

    output: Output = field(default_factory=Output)
    scale: ClassVar[str] = ""
    """What its outputs are, as :attr:`Model.scale` has it."""

    def labels(
        self, given: tuple[str, ...] | None, encoding: TextEncoding, outputs: int | None
    ) -> tuple[str, ...] | None:
        """The names of the outputs: those ``given`` with the network, which may have ``outputs`` words to say."""
        return given

    def posed(self, asked: Sequence[Asked], found: Tokenized, encoding: TextEncoding, ask: Ask) -> Posed:
        """What is asked of N texts. Raises :class:`InputError` for what cannot be asked of this network."""
        for row, one in enumerate(asked):
            if one.passages or one.offered:
                raise InputError(
                    "this network speaks of whole texts, and part of one is asked about", where=f"row {row}",
                    fix="give the text alone; answers and entities are asked of networks that write or tag words",
                )  # fmt: skip
        return Posed({})

    def asked(self, tokens: Tensor, question: Mapping[str, Tensor]) -> Tensor:
        """The tokens ``Int[b, T']`` that the network is given for rows ``Int[b, T]``."""
        return tokens

    def read(self, found: Any, tokens: Tensor, question: Mapping[str, Tensor], chosen: dict[str, str]) -> Tensor:
        """The outputs ``Float[b, K]`` in what the network returned for :meth:`asked` tokens."""
        return self.output.pick(found, chosen)


class TokenNetwork(nn.Module):
    """A module around the user's that takes rows of tokens ``Int[b, T]`` with −1 for none and −2 for a hidden one.

    The user's is given whatever its ``forward`` asks for: the numbers of the tokens (``pad`` for one that is none or
    hidden), a mask of those it may look at, their types. ``vectors`` ``Float[b, T, E]`` take the place of what its
    embedding ``lookup`` finds.
    """

    def __init__(self, inner: nn.Module, pad: int, reading: Reading, lookup: nn.Module | None = None):
        super().__init__()
        self.inner = inner
        self.pad, self.reading = pad, reading
        self.chosen: dict[str, str] = {}
        self._lookup = (lookup,)  # a part of the user's module already, and so no part of this one
        told = getattr(inner, "input_names", ())  # of a network from a file that takes its inputs by any name
        asked = inspect.signature(inner.forward).parameters
        named = [name for name, one in asked.items() if name != MASK or one.default is Parameter.empty]
        self.names = tuple(told) or tuple(named)
        keywords = exported_keywords(inner)
        self.by_place = () if keywords is None else tuple(name for name in self.names if name not in keywords)
        needed = any(name in asked and asked[name].default is Parameter.empty for name in TOLD_TYPES)
        needed = needed or any(name in told for name in TOLD_TYPES)
        self.needs_types = needed or hasattr(getattr(inner, "config", None), "type_vocab_size")
        self.before_first = _place_of_padding(inner) if "position_ids" in self.names else None

    @property
    def lookup(self) -> nn.Module | None:
        """The layer that finds a vector for each token."""
        return self._lookup[0]

    def forward(
        self,
        tokens: Tensor,
        vectors: Tensor | None = None,
        types: Tensor | None = None,
        focus: Tensor | None = None,
        answer: Tensor | None = None,
    ) -> Tensor:
        question = {name: given for name, given in (("focus", focus), ("answer", answer)) if given is not None}
        given = self.reading.asked(tokens, question)
        with self._looked_up(vectors, tokens):
            found = self._answer(given, types)
        told = beside(found, {TOKENS: given, **question})  # the last layer may lie on another device than the first
        return self.reading.read(found, told.pop(TOKENS), told, self.chosen)

    def _answer(self, tokens: Tensor, types: Tensor | None) -> Any:
        there = tokens >= 0
        ids = torch.where(there, tokens, self.pad)
        if types is None and self.needs_types:
            types = torch.zeros_like(ids)  # others take types for words: GPT-2 looks them up among its words
        more: dict[str, Any] = {**by_names(self.names, tokens, types)}
        if get_proxy_mode() is not None:
            more |= {name: self._spelt_out(there) for name in PRESENT if name in more}
        if "position_ids" in self.names and self.before_first is not None:
            here = (tokens != NOTHING).to(torch.int64)  # a hidden token has padding's number, and keeps its place
            more["position_ids"] = here.cumsum(1) * here + self.before_first
        first = next((name for name in IDS if name in self.names), None)
        if first is None:
            return self.inner(ids, **more)
        given = {first: ids, **more}
        ordered = [given.pop(name) for name in self.by_place if name in given]
        return self.inner(*ordered, **given)

    def _spelt_out(self, there: Tensor) -> Tensor:
        """The mask ``Bool[b, 1, T, T]`` of a network of transformers, which branches on the values of a shorter one.

        Only while its operations are followed, and what is followed is compared with the network itself.
        """
        if not hasattr(self.inner, "config"):
            return there.to(torch.int64)
        length = there.shape[1]
        seen = there[:, None, None, :].expand(-1, 1, length, length)
        if any(getattr(part, "is_causal", False) for part in self.inner.modules()):
            seen = seen & torch.ones(length, length, dtype=torch.bool, device=there.device).tril()
        if getattr(self.inner.config, "_attn_implementation", "") != "eager":
            return seen
        dtype = next(self.inner.parameters()).dtype
        return torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)

    @contextmanager
    def _looked_up(self, vectors: Tensor | None, tokens: Tensor) -> Generator[None]:
        """For one pass, ``vectors`` instead of what the embedding finds for these ``tokens``."""
        if vectors is None:
            yield
            return
        assert self.lookup is not None
        handle = self.lookup.register_forward_hook(
            lambda *found: _laid_over(found[-1], vectors.to(found[-1]), tokens), prepend=True
        )
        try:
            yield
        finally:
            handle.remove()


def _place_of_padding(inner: nn.Module) -> int | None:
    """The place that padding has in a table of places, from behind which RoBERTa's kin count; None in others."""
    tables = [part for name, part in inner.named_modules() if name.endswith("position_embeddings")]
    return next((part.padding_idx for part in tables if isinstance(part, nn.Embedding)), None)


def _laid_over(found: Tensor, vectors: Tensor, tokens: Tensor) -> Tensor:
    """``vectors`` ``Float[b, T, E]`` in the place of what was found; an answer behind a row's tokens keeps its own."""
    if found.shape == vectors.shape:
        return vectors
    times = len(found) // len(vectors)
    own = (tokens != NOTHING).to(found.device)[..., None].repeat_interleave(times, 0)
    length = tokens.shape[1]
    return torch.cat([torch.where(own, vectors.repeat_interleave(times, 0), found[:, :length]), found[:, length:]], 1)


class _AroundUsers(TorchModel):
    """A model whose module stands around the user's, after whose parts places and layers are named."""

    user: nn.Module
    network: TokenNetwork
    encoding: TextEncoding

    @property
    def identity(self) -> object:
        return self.user

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        return dict(self.user.named_modules())

    def places(self, few: Rows, more: Rows) -> tuple[Place, ...]:
        self.refuse_several()
        return places_of(self.user, self.at_full_length, few, more)

    def visited(self, visitors: Mapping[str, Visitor]) -> AbstractContextManager[None]:
        return visited(self.user, visitors)

    @property
    @abstractmethod
    def filled(self) -> bool:
        """Whether rows filled up behind their end are answered like those alone, as far as it was tried already."""

    def _refuse_filled_up(self, tokens: Tensor) -> None:
        """Raise :class:`InputError` for rows ``Int[b, T]`` of different lengths that must be asked in one pass."""
        if not self.filled and bool((tokens == NOTHING).any()):
            raise InputError(
                "the texts have different lengths, and this network takes what fills a row up for words of it",
                where=self.name,
                why="what looks inside a network sees all rows of a pass at one length",
                fix="leave absent words their places: removal=Replace(mask), with a word of the vocabulary as mask",
            )

    def at_full_length(self, rows: Rows) -> Tensor:
        """The outputs of rows, all in one pass and as long as they come: what is seen inside has one shape then."""
        return super().outputs(rows)


class TokenModel(_AroundUsers):
    """A network that reads tokens, with its tokenizer.

    Rows whose tokens are gone are closed up, and rows are asked in groups of like length, so that nothing is spent on
    filling them up to the longest.
    """

    def __init__(
        self,
        inner: nn.Module,
        encoding: TextEncoding,
        *,
        reading: Reading | None = None,
        name: str = "",
        labels: tuple[str, ...] | None = None,
        fixed_batch: int | None = None,
    ):
        own = getattr(getattr(inner, "config", None), "pad_token_id", None)  # by which some find the last token
        pad = own if isinstance(own, int) and own >= 0 else encoding.pad
        network = TokenNetwork(inner, pad, reading or Reading())
        super().__init__(
            network, name=name or type(inner).__name__, labels=labels, encoding=encoding, fixed_batch=fixed_batch
        )
        self.user, self.network = inner, network
        self.scale = network.reading.scale
        self.chosen = network.chosen
        self._looking = False
        self._tried: tuple[tuple[int, ...], bool] | None = None
        self._behind: BehindTokens | None = None

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        rows = closed_up(rows)
        if self._looking:
            self._refuse_filled_up(rows[TOKENS])
            return self.at_full_length(rows)
        return in_groups(rows, self.fills_up, self.at_full_length)

    def fills_up(self, rows: Mapping[str, Tensor]) -> bool:
        """Whether rows filled up behind their end are answered like those alone.

        Not by a network that is not told which tokens are there. What one does that is told is tried, once for its
        weights, on the first of ``rows``: some find the last token at the end of the row all the same.
        """
        if not self._told:
            return False
        if self._tried is None or self._tried[0] != self.version:
            self._tried = self.version, tried(rows, self.at_full_length)
        return self._tried[1]

    @property
    def filled(self) -> bool:
        return self._told and (self._tried is None or self._tried[1])

    @property
    def _told(self) -> bool:
        return any(name in TELLING for name in self.network.names)

    def hides(self, rows: Mapping[str, Tensor]) -> bool:
        """Whether a hidden token is none to the network; tried on the first of ``rows`` where it is not told."""
        told = any(name in HIDING for name in self.network.names) and self.fills_up(rows)
        return told or tried(rows, self.at_full_length, HIDDEN)

    @contextmanager
    def visited(self, visitors: Mapping[str, Visitor]) -> Generator[None]:
        with super().visited(visitors):
            self._looking = True
            try:
                yield
            finally:
                self._looking = False

    def with_draws(self, dropping: Dropping) -> Self:
        found = super().with_draws(dropping)
        found._behind = None  # which would be the network without it
        return found

    def places(self, few: Rows, more: Rows) -> tuple[Place, ...]:
        assert not isinstance(few, list)
        self.fills_up(few)  # it is not to be tried while somebody looks
        return super().places(few, more)

    def posed(self, asked: Sequence[Asked], found: Tokenized) -> Posed:
        """What is asked of texts that came to these tokens; the network itself may be asked for its answer."""
        tensors = {TOKENS: torch.from_numpy(found.tokens)}
        if found.types is not None:
            tensors[TYPES] = torch.from_numpy(found.types)

        def ask(row: int, question: Mapping[str, Tensor]) -> np.ndarray:
            with self.untouched(), torch.no_grad():
                one = self.place({name: tensor[row : row + 1] for name, tensor in tensors.items()} | dict(question))
                return self.outputs(one)[0].to("cpu", torch.float64).numpy()

        return self.network.reading.posed(asked, found, self.encoding, ask)

    def embedded(self, rows: Rows) -> Embedded | None:
        assert not isinstance(rows, list)
        if self._behind is None:
            layer = _lookup(self.user) or self._lookup_asked_for(rows)
            self._behind = None if layer is None else BehindTokens(self, layer)
        lookup = None if self._behind is None else self._behind.network.lookup
        if not isinstance(lookup, nn.Embedding) or self._behind is None:
            return None
        path = next(name for name, part in self.user.named_modules() if part is lookup)

        fills = self.fills_up(rows)

        def look_up(tokens: Tensor) -> Tensor:
            """What is not there is nothing to a network that is told so, and padding to any other."""
            with torch.no_grad():
                tokens = tokens.to(lookup.weight.device)
                found = nn.functional.embedding(torch.where(tokens >= 0, tokens, self.network.pad), lookup.weight)
                return torch.where((tokens >= 0)[..., None], found, 0.0).detach() if fills else found.detach()

        self._behind.labels = self.labels  # which may have been named since
        return Embedded(self._behind, VECTORS, look_up, path, fills)

    def _lookup_asked_for(self, rows: Mapping[str, Tensor]) -> nn.Module | None:
        """Of a module that does not name it: the only embedding that is asked for the tokens themselves."""
        ids = torch.where(rows[TOKENS] >= 0, rows[TOKENS], self.network.pad)
        tables = [part for part in self.user.modules() if isinstance(part, nn.Embedding)]
        asked = asked_for(ids, tables, lambda: self.picked(rows))
        return asked[0] if len(asked) == 1 else None


class BehindTokens(_AroundUsers):
    """The same network given the vectors of its tokens; the tokens go with them, for what else depends on them."""

    def __init__(self, model: TokenModel, lookup: nn.Module):
        network = TokenNetwork(model.user, model.network.pad, model.network.reading, lookup)
        super().__init__(
            network, name=model.name, labels=model.labels, encoding=model.encoding, fixed_batch=model.fixed_batch
        )
        self.before, self.user, self.network = model, model.user, network
        self.chosen, self.scale, self.dropping = model.chosen, model.scale, model.dropping
        network.chosen = model.chosen

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        if get_proxy_mode() is None:
            self._refuse_filled_up(rows[TOKENS])
        return super().outputs(rows)

    @property
    def filled(self) -> bool:
        return self.before.filled


def _lookup(inner: nn.Module) -> nn.Module | None:
    """The embedding of a network's tokens where it names it, as networks of transformers do."""
    named = getattr(inner, "get_input_embeddings", None)
    if not callable(named):
        return None
    try:
        found = named()
    except (NotImplementedError, AttributeError):  # a network of pictures has none
        return None
    return found if isinstance(found, nn.Module) else None


def refuse_without_encoding(name: str) -> ModelError:
    """What is said of a network of tokens that came without its tokenizer."""
    return ModelError(
        f"{name} reads tokens, and how a text becomes its tokens is not known",
        fix="give its tokenizer: pellucid.wrap(network, encoding=tokenizer)",
    )

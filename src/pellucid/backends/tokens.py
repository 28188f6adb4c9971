"""Networks of tokens, taken behind the layer that looks up a vector for each: there they can be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..problem.model import Countable, Differentiable, Embedded, Inspectable, Members, Place, Rows, Traceable, Visitor
from ..records.messages import Caution
from .dropout import Thinnable
from .first_fault import first_fault
from .places import places_of, visited


def tables_of(module: nn.Module) -> dict[nn.Module, Tensor]:
    """The embeddings in a module, and the vectors ``[V, E]`` they look up."""
    return {part: part.weight for part in module.modules() if isinstance(part, nn.Embedding)}


def asked_for(tokens: Tensor, tables: Iterable[nn.Module], run: Callable[[], object]) -> list[nn.Module]:
    """Those of the layers ``tables`` that are given ``tokens`` in one pass, in the order of their calls."""
    asked: list[nn.Module] = []

    def hook(part: nn.Module, given: tuple[Any, ...], _: Any) -> None:
        if _are(given, tokens):
            asked.append(part)

    handles = [part.register_forward_hook(hook) for part in tables]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return asked


def embedded(
    model: Thinnable, module: nn.Module, rows: Mapping[str, Tensor], tables: Mapping[nn.Module, Tensor]
) -> Embedded | None:
    """The network behind the only embedding that is asked for the tokens of the only tensor in ``rows``.

    ``tables`` are the layers that look up vectors, with these.
    """
    (tokens,) = rows.values()
    paths = {part: name for name, part in module.named_modules() if part in tables}
    asked = asked_for(tokens, paths, lambda: model.picked(rows))
    if len(asked) != 1:
        return None
    layer, (name,) = asked[0], rows

    def look_up(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return nn.functional.embedding(ids.to(tables[layer].device), tables[layer]).detach()

    return Embedded(BehindEmbedding(model, module, layer, name), f"{name} embedded", look_up, paths[layer])


def _are(given: tuple[Any, ...], tokens: Tensor) -> bool:
    first = given[0] if given else None
    if first is tokens:  # also where tokens have no values yet, while operations are followed
        return True
    return isinstance(first, Tensor) and first.shape == tokens.shape and bool((first == tokens.to(first.device)).all())


class BehindEmbedding(Differentiable, Countable, Inspectable, Traceable):
    """A network that is given the vectors of its tokens; the tokens go with them, for what else depends on them."""

    def __init__(self, model: Thinnable, module: nn.Module, layer: nn.Module, tokens: str):
        self.inner, self.module, self.layer, self.tokens = model, module, layer, tokens
        self.name, self.labels, self.encoding = model.name, model.labels, model.encoding
        self.fixed_batch, self.fixed_mode, self.chosen = model.fixed_batch, model.fixed_mode, model.chosen

    @property
    def identity(self) -> object:
        return self.inner.identity

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        return dict(self.module.named_modules())

    @property
    def version(self) -> tuple[int, ...]:
        return self.inner.version

    @property
    def members(self) -> Members | None:
        found = self.inner.members
        if found is None:
            return None
        assert isinstance(found.model, Thinnable)
        return replace(found, model=BehindEmbedding(found.model, self.module, self.layer, self.tokens))

    def cautions(self) -> list[Caution]:
        return self.inner.cautions()

    @property
    def was_training(self) -> bool:
        return self.inner.was_training

    def untouched(self) -> AbstractContextManager[None]:
        return self.inner.untouched()

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        return self.inner.asked_by(self._picked, rows)

    def _picked(self, rows: Mapping[str, Tensor]) -> Tensor:
        tokens, vectors = rows[self.tokens], rows[f"{self.tokens} embedded"]

        def hook(_: nn.Module, given: tuple[Any, ...], found: Tensor) -> Tensor:
            return vectors.to(found) if _are(given, tokens) else found

        handle = self.layer.register_forward_hook(hook, prepend=True)  # whoever looks at the layer sees the vectors
        try:
            return self.inner.picked({self.tokens: tokens})
        finally:
            handle.remove()

    def arises(self, ask: Callable[[], Tensor], leaf: Tensor | None, vanishes: bool = False) -> str:
        return first_fault(self.layers, ask, leaf, vanishes)

    def places(self, few: Rows, more: Rows) -> tuple[Place, ...]:
        self.inner.refuse_several()
        return places_of(self.module, self.outputs, few, more)

    def visited(self, visitors: Mapping[str, Visitor]) -> AbstractContextManager[None]:
        return visited(self.module, visitors)

"""A captum user's forward function as a torch module that can be asked about its inputs, or about a layer's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...records.errors import ModelError, NotApplicable, TargetError

ROW = "row"
"""The name under which each row's place in the batch travels beside the inputs."""


@dataclass(frozen=True)
class Neuron:
    """One number of what a layer returns: a place in it, slices that are summed, or a function of it."""

    layer: nn.Module
    selector: Any

    def of(self, found: Tensor) -> Any:
        """The neuron's value for each row, ``[b]``."""
        selector: Any = self.selector
        if callable(selector):
            return selector(found)
        place = selector if isinstance(selector, tuple) else (selector,)
        try:
            picked = found[(slice(None), *place)]
        except (IndexError, TypeError) as error:
            raise NotApplicable(
                f"neuron_selector={self.selector!r} names no neuron of this layer",
                why=f"what it returns has the shape {tuple(found.shape[1:])} for one row",
                fix="give a number, a tuple of numbers or slices, or a function of the layer's output",
            ) from error
        return picked.reshape(len(found), -1).sum(1)


class Forward(nn.Module):
    """``function(*inputs, *extra)`` of named tensors, with what a captum question adds to it.

    Parameters
    ----------
    names: the explained tensors, in the order in which ``function`` takes them; with ``behind`` the only one is what
        that layer returns.
    extra: further arguments; tensors with a line for each of ``count`` rows go along with their rows.
    place: which output is asked, of outputs with several axes; a tuple, or a list with one for each row.
    behind: (a layer, the inputs of all rows): the explained tensor takes the place of what the layer returns.
    neuron: asked instead of the outputs.
    watched: a layer that is to be called once.
    thin: the explained tensors have a last axis that the function does not know.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        names: Sequence[str],
        *,
        extra: Sequence[Any] = (),
        count: int = 0,
        place: Any = None,
        behind: tuple[nn.Module, tuple[Tensor, ...]] | None = None,
        neuron: Neuron | None = None,
        watched: nn.Module | None = None,
        thin: bool = False,
    ):
        super().__init__()
        self.function, self.names = function, tuple(names)
        self.inner = nn.ModuleList(modules_of(function))
        self.extra, self.count, self.place, self.thin = tuple(extra), count, place, thin
        self.behind, self.neuron, self.seen = behind, neuron, (watched,)

    def forward(self, given: Tensor | dict[str, Tensor]) -> Any:
        named = {self.names[0]: given} if isinstance(given, Tensor) else given
        row, parts = named.get(ROW), [named[name] for name in self.names]
        parts = [part.squeeze(-1) for part in parts] if self.thin else parts
        extra = [self._of_rows(value, row) for value in self.extra]
        if self.behind is None:
            found = self._asked(parts, extra)
        else:
            layer, inputs = self.behind
            with _shown(layer, lambda _: parts[0]):
                found = self._asked([self._of_rows(tensor, row) for tensor in inputs], extra)
        return found if self.place is None else self._picked(found, row)

    def _asked(self, parts: Sequence[Tensor], extra: Sequence[Any]) -> Any:
        layer = self.seen[0] if self.neuron is None else self.neuron.layer
        if layer is None:
            return self.function(*parts, *extra)
        kept: list[Tensor] = []
        with _shown(layer, lambda tensor: kept.append(tensor.clone())):
            found = self.function(*parts, *extra)
        return found if self.neuron is None else self.neuron.of(kept[0])

    def _of_rows(self, value: Any, row: Tensor | None) -> Any:
        if row is None or not isinstance(value, Tensor) or not value.ndim or len(value) != self.count:
            return value
        return value[row.to(value.device)]

    def _picked(self, found: Tensor, row: Tensor | None) -> Tensor:
        places = self.place if isinstance(self.place, list) else [self.place]
        try:
            if len(places) == 1:
                return found[(slice(None), *places[0])]
            assert row is not None
            columns = torch.tensor(places, device=found.device)[row.to(found.device)]
            return found[(torch.arange(len(found), device=found.device), *columns.T)]
        except IndexError as error:
            raise TargetError(
                f"target={self.place!r} names no output",
                why=f"the model returns the shape {tuple(found.shape[1:])} for one row",
            ) from error


@contextmanager
def _shown(layer: nn.Module, visit: Callable[[Tensor], Tensor | None]) -> Generator[None]:
    """One pass in which what ``layer`` returns is shown to ``visit``, which may put something else in its place.

    Raises :class:`NotApplicable` for a layer that is called twice or returns no tensor, :class:`ModelError` for one
    that is not called.
    """
    calls = 0

    def hook(module: nn.Module, _: Any, found: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise NotApplicable(
                f"this {type(module).__name__} is called more than once, so which of its calls is meant cannot be told",
                fix="give each call a module of its own, or name the call: pellucid.explain(…, layer='name@2')",
            )
        if not isinstance(found, Tensor):
            raise NotApplicable(
                f"this {type(module).__name__} returns a {type(found).__name__}, not one tensor",
                fix="choose a layer that returns one tensor",
            )
        return visit(found)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        raise ModelError(
            f"the model did not call this {type(layer).__name__}", fix="choose a layer that it calls for these rows"
        )


def modules_of(function: Any) -> list[nn.Module]:
    """The torch modules that a function calls, as far as they can be seen: itself, its object's, what it closes over.

    They are what is put in evaluation mode, guarded, and searched for layers.
    """
    if isinstance(function, nn.Module):
        return [function]
    if isinstance(function, functools.partial):
        return _distinct([function.func, *function.args, *function.keywords.values()])
    owner = getattr(function, "__self__", None)
    if isinstance(owner, nn.Module):
        return [owner]
    plain = getattr(function, "__func__", function)
    seen: list[Any] = [] if owner is None else list(getattr(owner, "__dict__", {}).values())
    if inspect.isfunction(plain):
        bound = inspect.getclosurevars(plain)
        seen += [*bound.nonlocals.values(), *bound.globals.values()]
    elif owner is None:
        seen += list(getattr(function, "__dict__", {}).values())
    return _distinct(seen)


def _distinct(seen: Sequence[Any]) -> list[nn.Module]:
    found: list[nn.Module] = []
    for value in seen:
        parts = [value] if isinstance(value, nn.Module) else modules_of(value) if inspect.isroutine(value) else []
        found += [module for module in parts if all(module is not known for known in found)]
    return found

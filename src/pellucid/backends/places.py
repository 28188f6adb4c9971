"""Places inside a torch module: which there are, and how one is visited, by forward hooks that are taken off again."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ..problem.model import Place, Rows, Visitor

NAME = re.compile(r"(?P<path>.*?)(\[(?P<part>\d+)\])?(@(?P<call>\d+))?")
CHANNELS_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._LPPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle,
)  # fmt: skip
CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer)


@dataclass(frozen=True)
class _Left:
    """One tensor that one call of a module left behind."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]


def places_of(module: nn.Module, answer: Callable[[Rows], Any], few: Rows, more: Rows) -> tuple[Place, ...]:
    """The places that a pass through ``module`` goes through; see :meth:`pellucid.problem.model.Inspectable.places`.

    A scripted module hides what it calls: it has no places.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return ()
    counts = tuple(len(next(iter(rows.values()))) if isinstance(rows, Mapping) else len(rows) for rows in (few, more))
    last = any(_says(part) == -1 for part in module.modules())
    one = _passed(module, lambda: answer(few))
    two = {left.name: left.shape for left in _passed(module, lambda: answer(more))}
    found: list[Place] = []
    known: dict[tuple[int, ...], int] = {}
    for left in one:
        standing = _standing(left.shape, two.get(left.name, ()), *counts)
        if standing is None:
            continue
        axis, split = standing
        shape = (left.shape[0] // counts[0], *left.shape[1:]) if split else left.shape[:axis] + left.shape[axis + 1 :]
        channels = _channels(left.module, shape, known, last)
        weighs = is_parametrized(left.module) or any(p.ndim > 1 for p in _own_parameters(left.module))
        found.append(Place(left.name, type(left.module).__name__, shape, channels, weighs, axis, split))
    return tuple(found)


def _standing(one: tuple[int, ...], two: tuple[int, ...], few: int, more: int) -> tuple[int, bool] | None:
    """(the axis of the rows, whether each row has several lines there), None where no single axis grew with them."""
    if len(one) != len(two):
        return None
    if few == more:  # a model that takes only one number of rows
        return (one.index(few), False) if few in one else None
    grown = [axis for axis, sizes in enumerate(zip(one, two, strict=True)) if sizes[0] != sizes[1]]
    if len(grown) != 1 or one[grown[0]] * more != two[grown[0]] * few:
        return None
    several = one[grown[0]] > few
    return None if several and grown[0] > 0 else (grown[0], several)


def _channels(module: nn.Module, shape: tuple[int, ...], known: dict[tuple[int, ...], int], last: bool) -> int:
    """The axis of the channels; what does not tell itself (an activation, a block) has that of the last such shape.

    In a network some of whose layers say that channels stand ``last`` that is where they are, where nothing is known.
    """
    own = _says(module)
    if isinstance(module, CHANNELS_FIRST):
        own = 0
    elif isinstance(module, CHANNELS_LAST):
        own = -1
    if own is not None:
        known[shape] = own
    return known.get(shape, -1 if last or len(shape) == 2 else 0)


def _says(module: nn.Module) -> int | None:
    """The axis of the channels in the words of the layer itself, as layers of Keras have them."""
    return {"channels_first": 0, "channels_last": -1}.get(str(getattr(module, "data_format", "")))


def _own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """A layer's own weights, also those that it keeps in a dictionary or a list of them."""
    kept = [part for part in module.children() if isinstance(part, (nn.ParameterDict, nn.ParameterList))]
    return [p for part in (module, *kept) for p in part.parameters(recurse=False)]


def _passed(module: nn.Module, run: Callable[[], Any]) -> list[_Left]:
    """What every call of an inner module left behind in one pass."""
    left: list[_Left] = []
    calls: dict[str, int] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(inner: nn.Module, _: Any, found: Any) -> None:
            calls[path] = call = calls.get(path, 0) + 1
            for part, tensor in enumerate(tensors_in(found)):
                name = path + (f"[{part}]" if part else "") + (f"@{call}" if call > 1 else "")
                left.append(_Left(name, inner, tuple(tensor.shape)))

        return hook

    with _hooked([(inner, note(path)) for path, inner in module.named_modules() if path]), torch.no_grad():
        run()
    return left


@contextmanager
def visited(module: nn.Module, visitors: Mapping[str, Visitor]) -> Generator[None]:
    """One pass in which each named place is shown to its visitor; see :class:`pellucid.problem.model.Inspectable`."""
    asked: dict[str, dict[int, dict[int, Visitor]]] = {}
    for name, visitor in visitors.items():
        match = NAME.fullmatch(name)
        assert match is not None
        call, part = int(match["call"] or 1), int(match["part"] or 0)
        asked.setdefault(match["path"], {}).setdefault(call, {})[part] = visitor
    with _hooked([(module.get_submodule(path), _showing(calls)) for path, calls in asked.items()]):
        yield


def _showing(calls: Mapping[int, Mapping[int, Visitor]]) -> Callable[..., Any]:
    """A hook that counts the calls and shows each asked one to its visitors."""
    count = 0

    def hook(_: nn.Module, __: Any, found: Any) -> Any:
        nonlocal count
        count += 1
        changed = {}
        for part, visitor in calls.get(count, {}).items():
            tensor = next((t for place, t in enumerate(tensors_in(found)) if place == part), None)
            answer = None if tensor is None else visitor(tensor)
            if answer is not None:
                changed[part] = answer
        return _with(found, changed, iter(range(2**31))) if changed else None

    return hook


@contextmanager
def _hooked(hooks: list[tuple[nn.Module, Callable[..., Any]]]) -> Generator[None]:
    handles = []
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(found: Any) -> Iterator[Tensor]:
    """The float tensors in what a module returned, in order."""
    if isinstance(found, Tensor):
        if found.is_floating_point():
            yield found
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from tensors_in(value)
    elif isinstance(found, (tuple, list)):
        for value in found:
            yield from tensors_in(value)


def _with(found: Any, changed: Mapping[int, Tensor], places: Iterator[int]) -> Any:
    """The same, with some of its float tensors replaced; ``places`` counts them."""
    if isinstance(found, Tensor):
        return changed.get(next(places), found) if found.is_floating_point() else found
    if isinstance(found, Mapping):
        made: Any = copy.copy(found)
        for key, value in found.items():
            made[key] = _with(value, changed, places)
        return made
    if isinstance(found, (tuple, list)):
        parts = [_with(value, changed, places) for value in found]
        return type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
    return found

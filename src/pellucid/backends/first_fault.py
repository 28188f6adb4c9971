"""The first layer at which numbers become NaN or infinite: on the way to the answer, or back from it.

Forward, the layers are watched by hooks; back, the operations of one pass by hooks on autograd's own graph of it, which
is gone afterwards. Torch's anomaly mode tells the same, but is a switch of the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from .places import tensors_in


def first_fault(
    layers: Mapping[str, nn.Module], ask: Callable[[], Tensor], leaf: Tensor | None, vanishes: bool = False
) -> str:
    """The layer and operation where what ``ask`` makes of the model's answer stops being finite; "" where it does not.

    Where it is finite, and ``leaf`` is given, likewise of its gradient with respect to the leaf; with ``vanishes``,
    where that becomes zero. ``layers`` are the model's modules by path.
    """
    watch = _Watch(layers)
    handles = [
        layer.register_forward_hook(watch.leaving(path), with_kwargs=True)
        for path, layer in layers.items()
        if not isinstance(layer, torch.jit.ScriptModule)
    ]
    try:
        with torch.set_grad_enabled(leaf is not None):
            asked = ask()
    finally:
        for handle in handles:
            handle.remove()
    if not _finite(asked):
        return watch.faults[0] if watch.faults else ""
    if leaf is None or asked.grad_fn is None:
        return ""
    watch.claim(asked, "")
    return watch.back(asked.sum(), leaf, _vanished if vanishes else _broken)


class _Watch:
    """One pass: the layers that broke it, and which operation of autograd's graph is whose."""

    def __init__(self, layers: Mapping[str, nn.Module]):
        self.layers = layers
        self.faults: list[str] = []
        self.owners: dict[Node, str] = {}

    def leaving(self, path: str) -> Callable[..., None]:
        """A hook for the layer at ``path``. Inner layers are left before outer ones, which get what is left of it."""

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> None:
            given = next(tensors_in((args, kwargs)), None)  # what comes behind it may be a mask, infinite by intention
            if not self.faults and not all(map(_finite, tensors_in(found))) and (given is None or _finite(given)):
                self.faults.append(self._named(path))
            for tensor in tensors_in(found):
                self.claim(tensor, path)

        return hook

    def claim(self, tensor: Tensor, path: str) -> None:
        """What led to ``tensor`` and is nobody's yet belongs to ``path``."""
        waiting = [tensor.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in self.owners:
                self.owners[node] = path
                waiting += [before for before, _ in node.next_functions]

    def back(self, total: Tensor, leaf: Tensor, lost: Callable[[Any, Any], bool]) -> str:
        """The first operation, from the answer on, at which the gradient is ``lost``; "" where it is at none."""
        faults: list[str] = []

        def watching(node: Node) -> Callable[[Any, Any], None]:
            def hook(passed: Any, came: Any) -> None:
                if not faults and lost(passed, came):
                    faults.append(f"{self._named(self.owners[node])}, {node.name()}")

            return hook

        for node in self.owners:
            node.register_hook(watching(node))
        torch.autograd.grad(total, leaf, allow_unused=True)
        return faults[0] if faults else ""

    def _named(self, path: str) -> str:
        kind = type(self.layers[path]).__name__ if path in self.layers else ""
        return f"{path} ({kind})" if path else kind


def _broken(passed: Any, came: Any) -> bool:
    return all(map(_finite, tensors_in(came))) and not all(map(_finite, tensors_in(passed)))


def _vanished(passed: Any, came: Any) -> bool:
    found = list(tensors_in(passed))
    return bool(found) and any(map(torch.any, tensors_in(came))) and not any(map(torch.any, found))


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())

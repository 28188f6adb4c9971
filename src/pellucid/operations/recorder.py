"""Record what a function of tensors does, as a graph of plain operations.

Torch's own tracer also works out a description of every value, which takes longer than all the rest; a walk needs none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


def recorded(function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor]) -> GraphModule:
    """``function`` as a graph with one placeholder for each of ``tensors``; what it closes over becomes constants."""
    recorder = _Recorder([tensor.detach().clone() for tensor in tensors])
    with recorder:
        found = function(*recorder.given)
    recorder.graph.output(tuple(recorder.node_of(tensor) for tensor in found))
    recorder.graph.eliminate_dead_code()
    return GraphModule(recorder.root, recorder.graph)


class _Recorder(TorchDispatchMode):
    """Writes every operation down; tensors are told apart by identity and kept alive for it."""

    def __init__(self, given: list[Tensor]):
        super().__init__()
        self.graph, self.root = Graph(), torch.nn.Module()
        self.given = given
        self.known: dict[int, tuple[Tensor, Node]] = {}
        for place, tensor in enumerate(given):
            self._note(tensor, self.graph.placeholder(f"given_{place}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: shielding this mode from the compiler would import the compiler, a second or two, on first use."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        named = tree_map_only(Tensor, self.node_of, (args, kwargs))
        node = self.graph.call_function(func, *named)
        if isinstance(out, Tensor):
            self._note(out, node)
        elif isinstance(out, (tuple, list)):
            for place, part in enumerate(out):
                if isinstance(part, Tensor):
                    self._note(part, self.graph.call_function(operator.getitem, (node, place)))
        return out

    def _note(self, tensor: Tensor, node: Node) -> None:
        self.known[id(tensor)] = tensor, node

    def node_of(self, tensor: Tensor) -> Node:
        if id(tensor) not in self.known:
            name = f"constant_{len(self.known)}"
            self.root.register_buffer(name, tensor)
            self._note(tensor, self.graph.get_attr(name))
        return self.known[id(tensor)][1]

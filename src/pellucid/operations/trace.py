"""Trace one row through a network: a graph of core ATen operations without mutation, each with its layer and line.

Whatever way a network is written in (functions, reused or fused layers, in-place code, an exported program), its
mathematics arrives here as the same few operations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.fx.node import map_arg
from torch.fx.traceback import preserve_node_meta

from ..problem.model import Traceable
from ..records.errors import NotApplicable, PellucidError, shorten
from .decompositions import KEPT, OWN

aten = torch.ops.aten
_FLAGS = threading.RLock()
"""The switches below belong to the process."""
RANDOM = torch.Tag.nondeterministic_seeded
CHANNELS_LAST = (torch.channels_last, torch.channels_last_3d)


def trace(model: Traceable, row: Mapping[str, Tensor]) -> GraphModule:
    """The graph of ``model`` on one row (tensors ``[1, …]``): placeholders in the order of ``row``'s names.

    Every node's ``meta["custom"]`` holds its ``layer`` (the path of the module call, ``""`` outside of any) and its
    ``line`` (``file.py:12``). Raises :class:`NotApplicable` where the code branches on values or draws at random.
    """
    names = list(row)
    with _plain_kernels(), torch.no_grad(), preserve_node_meta():
        with _watched(model.layers) as marks:
            graph = _traced(lambda *tensors: model.outputs(_copies(names, tensors)), row)
        _place(graph, marks)
        if any(_mutates(node) for node in graph.graph.nodes):  # loops of recurrent layers appear when they are unrolled
            graph = _traced(Interpreter(graph).run, row)
    _refuse_random(graph)
    _forget_layouts(graph)
    graph.graph.eliminate_dead_code()
    return graph


def _forget_layouts(graph: GraphModule) -> None:
    """How numbers lie in memory is no part of what is computed, and rows side by side cannot lie channels last."""
    laid = [node for node in graph.graph.nodes if node.kwargs.get("memory_format") in CHANNELS_LAST]
    for node in laid:
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "memory_format"}
    for node in graph.graph.nodes if laid else ():
        if node.target is aten.view.default:  # which would rely on that layout
            node.target = aten.reshape.default
    if laid:
        graph.recompile()


def _copies(names: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """A row that the model may write over: what it writes must not come back to the row that is replayed."""
    return {name: tensor.clone() for name, tensor in zip(names, tensors, strict=True)}


def _traced(function: Callable[..., Tensor], row: Mapping[str, Tensor]) -> GraphModule:
    pure = torch.func.functionalize(function, remove="mutations")
    copies = [tensor.detach().clone() for tensor in row.values()]
    try:
        return make_fx(pure, decomposition_table=_table(), record_stack_traces=True)(*copies)
    except (PellucidError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a stranger's code under a tracer may raise anything
        told = shorten(str(error).strip().split("\n")[0], 300)
        taken_out = "its code takes a value out of a tensor, to branch on it or to count with it"
        raise NotApplicable(
            "the network cannot be followed operation by operation",
            why=taken_out if "out of a tracing tensor" in told else told,
            fix="code that branches on values cannot be; integrated_gradients and shapley do not need it",
        ) from error


@cache
def _table() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import core_aten_decompositions

    kept = {
        op: how for op, how in core_aten_decompositions().items() if op.name().split("::")[1].split(".")[0] not in KEPT
    }
    return {**kept, **OWN}


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without fused kernels, which hide what they compute."""
    with _FLAGS:
        fused, packed = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            torch._C._set_mkldnn_enabled(packed)


Mark = tuple[int, str | None]
"""From this many nodes on, the layer that was entered; None where the innermost one was left."""


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[list[Mark]]:
    """Note at which node each module call begins and ends; the second call of a module is ``name@2``."""
    marks: list[Mark] = []
    calls: dict[str, int] = {}
    handles = []

    def count() -> int:
        mode = get_proxy_mode()
        return 0 if mode is None else len(mode.tracer.graph.nodes)

    for name, layer in layers.items():

        def enter(*_: Any, name: str = name) -> None:
            calls[name] = calls.get(name, 0) + 1
            marks.append((count(), f"{name}@{calls[name]}" if calls[name] > 1 else name))

        def leave(*_: Any) -> None:
            marks.append((count(), None))

        if isinstance(layer, torch.jit.ScriptModule):
            continue  # it runs no Python between its layers
        handles += [
            layer.register_forward_pre_hook(enter),
            layer.register_forward_hook(leave, always_call=True),
        ]
    try:
        yield marks
    finally:
        for handle in handles:
            handle.remove()


def _place(graph: GraphModule, marks: list[Mark]) -> None:
    """Write each node's layer and line into its ``meta``."""
    entered: list[str] = []
    waiting = iter([*marks, (len(graph.graph.nodes) + 1, None)])
    at, name = next(waiting)
    for index, node in enumerate(graph.graph.nodes):
        while at <= index:
            if name is None:
                entered.pop()
            else:
                entered.append(name)
            at, name = next(waiting)
        node.meta["custom"] = {"layer": entered[-1] if entered else "", "line": _line(node.meta.get("stack_trace"))}


def _line(stack: str | None) -> str:
    """The innermost line of a ``forward`` that is not torch's own, ``file.py:12``; "" where there is none."""
    import re

    frames = re.findall(r'File "([^"]+)", line (\d+)', stack or "")
    own = [f"{file}:{line}" for file, line in frames if "/torch/" not in file and "<" not in file]
    return own[-1].rsplit("/", 1)[-1] if own else ""


def _mutates(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _refuse_random(graph: GraphModule) -> None:
    for node in graph.graph.nodes:
        if RANDOM in getattr(node.target, "tags", ()):
            raise NotApplicable(f"the network draws at random ({node.target})", where=spot(node))


def held(graph: GraphModule, node: Node) -> Any:
    """The constant that a node of the graph holds."""
    owner: nn.Module = graph
    *path, name = str(node.target).split(".")
    for part in path:
        owner = owner._modules[part]  # pyright: ignore[reportAssignmentType]
    for holder in (owner._parameters, owner._buffers, vars(owner)):
        if name in holder:
            return holder[name]
    raise KeyError(str(node.target))


def literal(node: Node, known: Mapping[Node, Any]) -> Any:
    """The value of ``node`` where those it is made of are ``known``."""
    args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)  # pyright: ignore[reportArgumentType]
    return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def layer_of(node: Node) -> str:
    """The path of the module call that a node belongs to, "" outside of any."""
    return node.meta.get("custom", {}).get("layer", "")


def spot(node: Node) -> str:
    """Where a node comes from, for a message: ``layer1.0 (net.py:12)``."""
    layer, line = layer_of(node), node.meta.get("custom", {}).get("line", "")
    return f"{layer} ({line})" if layer and line else layer or line

"""Make a traced graph simpler without changing what it computes: what no row changes is computed once, and a product
and a sum behind a layer with weights (batch norm in evaluation, mostly) are taken into its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .kinds import LAYERS, name_of
from .trace import held, literal

CHANNELS = {"convolution": 1, "addmm": -1, "mm": -1}
"""The dimension of a layer's result that its weights' channels lie in."""


def simplified(graph: GraphModule) -> GraphModule:
    """``graph`` with constants computed and affine maps taken into the layers before them; it is changed in place."""
    _compute_constants(graph)
    for node in list(graph.graph.nodes):
        if name_of(node) in LAYERS:
            while _take_in(graph, node):
                pass
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def constant(graph: GraphModule, value: Tensor, before: Node) -> Node:
    """A node that holds ``value``."""
    name = f"_held_{len(graph.graph.nodes)}"
    while hasattr(graph, name):
        name += "_"
    graph.register_buffer(name, value)
    with graph.graph.inserting_before(before):
        return graph.graph.get_attr(name)


def _compute_constants(graph: GraphModule) -> None:
    known: dict[Node, object] = {}
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            known[node] = held(graph, node)
        elif node.op == "call_function" and all(parent in known for parent in node.all_input_nodes):
            known[node] = literal(node, known)
            if isinstance(value := known[node], Tensor):
                made = constant(graph, value, node)
                known[made] = value
                node.replace_all_uses_with(made)


def _take_in(graph: GraphModule, layer: Node) -> bool:
    """Take the only product or sum behind ``layer`` into it, where it has one number for each channel."""
    if len(layer.users) != 1:
        return False
    (user,) = layer.users
    name, factor = name_of(user), _other(user, layer)
    _, weights, bias = LAYERS[name_of(layer)]
    if name not in ("mul", "add") or factor is None or user.kwargs or layer.kwargs or not _is_held(layer.args[weights]):
        return False
    by_channel = _by_channel(graph, layer, factor)
    if by_channel is None:
        return False
    if bias is None:  # a product without a bias takes in products only
        if name == "add":
            return False
        arguments = [layer.args[0], _scaled(graph, layer, by_channel)]
    else:
        if layer.args[bias] is not None and not _is_held(layer.args[bias]):
            return False
        old = None if layer.args[bias] is None else _held(graph, layer.args[bias])
        arguments = list(layer.args)
        if name == "mul":
            arguments[weights] = _scaled(graph, layer, by_channel)
            arguments[bias] = None if old is None else constant(graph, old * by_channel, layer)
        else:
            arguments[bias] = constant(graph, by_channel if old is None else old + by_channel, layer)
    layer.args = tuple(arguments)
    user.replace_all_uses_with(layer)
    graph.graph.erase_node(user)
    return True


def _other(user: Node, layer: Node) -> object:
    """The constant beside ``layer`` in a product or sum of two, a node or a number."""
    if len(user.args) != 2 or user.args[0] is user.args[1]:
        return None
    found = user.args[1] if user.args[0] is layer else user.args[0]
    if isinstance(found, Node):
        return found if found.op == "get_attr" else None
    return found


def _is_held(node: object) -> bool:
    return isinstance(node, Node) and node.op == "get_attr"


def _held(graph: GraphModule, node: object) -> Tensor:
    assert isinstance(node, Node)
    return held(graph, node)


def _by_channel(graph: GraphModule, layer: Node, factor: object) -> Tensor | None:
    """``factor`` as one number for each channel of the layer's result; None where it has more."""
    weight = _held(graph, layer.args[LAYERS[name_of(layer)][1]])
    transposed = name_of(layer) == "convolution" and layer.args[6]
    if transposed and layer.args[8] != 1:
        return None
    channels = weight.shape[1] if transposed or name_of(layer) != "convolution" else weight.shape[0]
    value = _held(graph, factor) if isinstance(factor, Node) else _number(factor, weight)
    rank = weight.ndim
    if value.ndim > rank or value.is_complex() or torch.promote_types(value.dtype, weight.dtype) != weight.dtype:
        return None
    if value.numel() == 1:
        return value.reshape(1).expand(channels)
    place = CHANNELS[name_of(layer)] % rank
    shape = (1,) * (rank - value.ndim) + tuple(value.shape)
    fits = len(shape) == rank and all(size == (channels if d == place else 1) for d, size in enumerate(shape))
    return value.reshape(channels) if fits else None


def _number(factor: object, weight: Tensor) -> Tensor:
    """A Python number as a tensor; it takes the type of what it is multiplied with, unless it is complex."""
    value = torch.tensor(factor)
    return value if value.is_complex() else value.to(weight.dtype)


def _scaled(graph: GraphModule, layer: Node, by_channel: Tensor) -> Node:
    weight = _held(graph, layer.args[LAYERS[name_of(layer)][1]])
    if name_of(layer) != "convolution":
        return constant(graph, weight * by_channel, layer)
    place = 1 if layer.args[6] else 0
    shape = [len(by_channel) if d == place else 1 for d in range(weight.ndim)]
    return constant(graph, weight * by_channel.reshape(shape), layer)

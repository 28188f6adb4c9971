"""Attention in a traced graph: products of weights that sum to 1 with what they weigh, however they were written.

Fused, written out or called by a module, attention arrives here as a matrix product of weights A ``[heads, T, S]`` (T
asking tokens, S answering ones) and values ``[heads, S, d]``. It is told by what it does: both depend on the row, and
the weights are non-negative and sum to 1 over the dimension that the product sums over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_map_only

from ..records.errors import NotApplicable
from .kinds import name_of
from .plan import evaluate
from .trace import held, spot

Tensors = tuple[Tensor, ...]

MATRIX_PRODUCTS = {"bmm": (0, 1), "mm": (0, 1), "baddbmm": (1, 2), "addmm": (1, 2)}
"""Where the two factors stand among the arguments."""
NEAR = 1e-3
"""How near to 1 weights sum; those of a token that may look at none sum to 0."""


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention of the network: ``product`` is that of the nodes ``weights`` and ``values``.

    ``leads`` tells whether the weights are its first factor, ``[heads, T, S]``; as the second they are
    ``[heads, S, T]`` and the values ``[heads, d, S]``. ``name`` is the path of the layer that computes it, ``shape``
    the weights' own and ``made`` the product's, of one row.
    """

    name: str
    product: Node
    weights: Node
    values: Node
    leads: bool
    heads: int
    asking: int
    answering: int
    shape: tuple[int, ...]
    made: tuple[int, ...]

    def maps(self, weights: Tensor) -> Tensor:
        """The values of its node ``weights`` for b rows, ``[b, *shape]``, as ``[b, heads, T, S]``."""
        return (weights if self.leads else weights.mT).reshape(-1, self.heads, self.asking, self.answering)

    def tokens_last(self, values: Tensor) -> Tensor:
        """The value of its node ``values`` with the answering tokens as the last dimension."""
        return values.mT if self.leads else values

    def asking_last(self, product: Tensor) -> Tensor:
        """The product with the asking tokens as the last dimension."""
        return product.mT if self.leads else product


def attentions(graph: GraphModule, rows: Tensors) -> tuple[Attention, ...]:
    """The attentions of a graph in the order of computation, told from two ``rows`` ``[2, …]``.

    Raises :class:`NotApplicable` for a graph without any.
    """
    known = [_all_values(graph, tuple(tensor[place : place + 1] for tensor in rows)) for place in (0, 1)]
    moved = _depending(graph, {node for node in graph.graph.nodes if node.op == "placeholder"})
    found: list[Attention] = []
    for node in graph.graph.nodes:
        if node.op == "call_function" and name_of(node) in MATRIX_PRODUCTS and node.args:
            factors = [node.args[place] for place in MATRIX_PRODUCTS[name_of(node)]]
            if all(factor in moved for factor in factors):
                found += _attention(node, factors, known, {one.name for one in found})
    if not found:
        raise NotApplicable(
            "the network has no attention",
            why="none of its products weighs tokens by weights that are made from the row and sum to 1",
            fix="for other networks take integrated_gradients, deeplift or shapley",
        )
    return tuple(found)


def _attention(
    node: Node, factors: Sequence[Any], known: Sequence[dict[Node, Any]], taken: set[str]
) -> list[Attention]:
    for place, factor in enumerate(factors):
        leads = place == 0
        values = [each[factor] if leads else each[factor].mT for each in known]
        if all(_sums_to_one(value) for value in values):
            *heads, T, S = values[0].shape
            name = node.meta.get("custom", {}).get("layer", "") or spot(node) or "attention"
            number = 2
            while (unique := name if number == 2 and name not in taken else f"{name} ({number})") in taken:
                number += 1
            weighed = factors[1 - place]
            shapes = tuple(known[0][factor].shape), tuple(known[0][node].shape)
            return [Attention(unique, node, factor, weighed, leads, heads[0] if heads else 1, T, S, *shapes)]
    return []


def _sums_to_one(weights: Tensor) -> bool:
    if weights.shape[-1] < 2 and weights.shape[-2] < 2:
        return False
    sums = weights.sum(-1)
    each = ((sums - 1).abs() <= NEAR) | (sums.abs() <= NEAR)
    return bool((weights >= 0).all() and each.all() and (sums > 0.5).any())


def _all_values(graph: GraphModule, row: Tensors) -> dict[Node, Any]:
    nodes = list(graph.graph.nodes)[:-1]
    known: dict[Node, Any] = dict(zip((n for n in nodes if n.op == "placeholder"), row, strict=True))
    known |= {node: held(graph, node) for node in nodes if node.op == "get_attr"}
    with torch.no_grad():
        return evaluate([node for node in nodes if node.op == "call_function"], known)


def _depending(graph: GraphModule, on: set[Node]) -> set[Node]:
    """The nodes that depend on some others, these among them."""
    found = set(on)
    for node in graph.graph.nodes:
        if any(parent in found for parent in node.all_input_nodes):
            found.add(node)
    return found


# Graphs made of it ------------------------------------------------------------------------------------------------


def showing(graph: GraphModule, nodes: Sequence[Node], moved: Sequence[Node] = ()) -> GraphModule:
    """``graph`` answering with the values of ``nodes``, some nodes ``moved`` by further inputs behind the rows.

    What is given for them is added: with zeros nothing changes, and gradients with respect to these are those with
    respect to the nodes, for all that follows them.
    """
    copy, kept = Graph(), {}
    for node in graph.graph.find_nodes(op="placeholder"):
        kept[node] = copy.node_copy(node, kept.__getitem__)
    added = {node: copy.placeholder(f"added_{place}") for place, node in enumerate(moved)}
    for node in graph.graph.nodes:
        if node.op in ("get_attr", "call_function"):
            kept[node] = copy.node_copy(node, kept.__getitem__)
            if node in added:
                kept[node] = copy.call_function(torch.ops.aten.add.Tensor, (kept[node], added[node]))
    copy.output(tuple(kept[node] for node in nodes))
    copy.eliminate_dead_code()
    return GraphModule(graph, copy)


@dataclass(frozen=True, eq=False)
class Section:
    """What lies between one attention and the end of its layer, in double precision.

    ``run`` takes the attention's weights and values and what else the section needs (``given``) to the ``end``, whose
    tokens stand on ``axis``.
    """

    attention: Attention
    run: GraphModule
    given: tuple[Node, ...]
    end: Node
    axis: int

    def tokens(self, found: Tensor) -> Tensor:
        """The value of the end ``[…]`` as ``[T, width]``."""
        return found.movedim(self.axis, 0).flatten(1)


def section(graph: GraphModule, attention: Attention, following: Attention | None, row: Tensors) -> Section:
    """From an attention to the last node before the ``following`` one that all it did passes through.

    That is the sum of a pre-norm block, or the norm of a post-norm one. Raises :class:`NotApplicable` where nothing
    behind the attention holds its tokens one by one.
    """
    known = _all_values(graph, row)
    behind = _depending(graph, {attention.product})
    before = leading(following.weights if following else list(graph.graph.nodes)[-1])
    ends = [(node, axis) for node in _passed_by_all(graph, behind, before)
            if (axis := _token_axis(known[node], attention)) is not None]  # fmt: skip
    if not ends:
        raise NotApplicable(
            f"nothing behind {attention.name} holds its {attention.asking} tokens one by one",
            why="they are pooled, or mixed, right behind it",
            fix="attention_rollout and attention_gradient need the weights only",
        )
    end, axis = ends[-1]
    needed = leading(end)
    inner = [node for node in graph.graph.nodes if node in behind and node in needed]
    outside = dict.fromkeys(parent for node in inner for parent in node.all_input_nodes if parent not in behind)
    given = tuple(dict.fromkeys(node for node in outside if node.op != "get_attr"))
    return Section(attention, _in_double(graph, inner, given), given, end, axis)


def leading(node: Node) -> set[Node]:
    """The nodes that a node is made from, itself among them."""
    found, waiting = set(), [node]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += one.all_input_nodes
    return found


def _passed_by_all(graph: GraphModule, behind: set[Node], before: set[Node]) -> list[Node]:
    """The nodes among ``before`` that every way from the first of ``behind`` to the output goes through, in order."""
    useful = leading(list(graph.graph.nodes)[-1])
    found, open_ends = [], {}
    for node in graph.graph.nodes:
        if node not in behind or node not in useful or node.op == "output":
            continue
        for parent in node.all_input_nodes:
            if parent in open_ends:
                open_ends[parent].discard(node)
                if not open_ends[parent]:
                    del open_ends[parent]
        if not open_ends and node in before:
            found.append(node)
        open_ends[node] = {user for user in node.users if user in useful}
    return found


def _token_axis(value: Any, attention: Attention) -> int | None:
    """Where the tokens stand: the first axis of their number with nothing but ones in front."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    for axis, size in enumerate(value.shape):
        if size == attention.asking:
            return axis
        if size != 1:
            return None
    return None


def _in_double(graph: GraphModule, nodes: Sequence[Node], given: Sequence[Node]) -> GraphModule:
    """``nodes`` as a graph of its own from ``given`` to the last of them, computing in double precision."""
    copy, root, kept = Graph(), torch.nn.Module(), {}
    for place, node in enumerate(given):
        kept[node] = copy.placeholder(f"given_{place}")
    for node in nodes:
        for parent in node.all_input_nodes:
            if parent not in kept:
                value, name = held(graph, parent), f"held_{len(kept)}"
                root.register_buffer(name, value.double() if value.is_floating_point() else value)
                kept[parent] = copy.get_attr(name)
        kept[node] = copy.node_copy(node, kept.__getitem__)
        for part in ("args", "kwargs"):
            made = getattr(kept[node], part)
            setattr(
                kept[node],
                part,
                tree_map_only(torch.dtype, lambda k: torch.float64 if k.is_floating_point else k, made),
            )
    copy.output(kept[nodes[-1]])
    return GraphModule(root, copy)


# What it tells of the tokens --------------------------------------------------------------------------------------


def probes(rows: Tensors, count: int = 2) -> list[Tensors]:
    """Made-up rows ``[1, …]``, always the same ones, to try a graph on; whole numbers are those of the first row."""
    made = []
    for turn in range(count):
        row = []
        for tensor in rows:
            places = torch.arange(tensor[0].numel(), device=tensor.device, dtype=torch.float64)
            wave = torch.sin(0.7 * (turn + 1) * places + turn).reshape(1, *tensor.shape[1:])
            row.append(wave.to(tensor.dtype) if tensor.is_floating_point() else tensor[:1])
        made.append(tuple(row))
    return made


def pattern(like: Tensor) -> Tensor:
    """Fixed factors without a pattern that a network could cancel."""
    places = torch.arange(like.numel(), device=like.device, dtype=torch.float64)
    return (1 + torch.sin(2.4 * places + 0.5) / 2 + torch.cos(1.3 * places**1.1)).reshape(like.shape).to(like.dtype)


def felt(found: Tensor, leaves: Sequence[Tensor], marks: Tensor) -> Tensors:
    """Gradients of Σ mark · found with respect to ``leaves``, for each of m ``marks`` ``[m, …]``: ``[m, …]`` each."""
    if found.grad_fn is None:
        return tuple(leaf.new_zeros((len(marks), *leaf.shape)) for leaf in leaves)
    parts = torch.autograd.grad(found, leaves, marks, retain_graph=True, allow_unused=True, is_grads_batched=True)
    return tuple(
        leaf.new_zeros((len(marks), *leaf.shape)) if part is None else part
        for leaf, part in zip(leaves, parts, strict=True)
    )

"""A walk made ready: forward and backward as graphs of plain operations, mapped over rows, references and outputs.

The walk is written for one row and one reference and then recorded itself, so that what its rules only asked for the
shape's sake falls away. ``vmap`` carries it to many: the forward pass runs on rows and on references, never on pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap
from torch.fx import Graph, GraphModule, Node

from .plan import Plan
from .recorder import recorded
from .rules import Rules
from .trace import layer_of
from .walk import Back, left_of, multipliers

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Replay:
    """A plan with its rules, ready to be run.

    ``forward`` takes one row's tensors to the output and to what the walk needs; ``at_row`` and ``at_reference`` are
    the places of that among the latter. Where the walk tells what is left behind each layer, ``layers`` are their
    names, from the output to the inputs.
    """

    plan: Plan
    forward: GraphModule
    backward: GraphModule
    at_row: tuple[int, ...]
    at_reference: tuple[int, ...]
    layers: tuple[str, ...]

    def run(self, rows: Tensors) -> tuple[Tensor, Tensors]:
        """The outputs ``[R, K]`` of rows ``[R, …]`` and the values the walk needs, ``[R, 1, …]`` each."""
        found = vmap(self.forward)(*[tensor.unsqueeze(1) for tensor in rows])
        return found[0].squeeze(1), found[1:]

    def back(self, at: Tensors, ref: Tensors, m: Tensor, own: bool = False) -> tuple[Tensors, Tensor]:
        """Multipliers of the active inputs, ``[R, S, T, …]`` each, and what is left behind each layer ``[R, S, T, L]``.

        ``at`` are :meth:`run`'s values of R rows, ``ref`` of S references (``own``: ``[R, S, …]``, each row's own;
        empty where the rules need none, S being 1 then), ``m`` ``[R, T, K]`` the multipliers of the outputs.
        """
        n, references = len(self.at_row), [ref[place] for place in self.at_reference]

        def dims(row: int | None, reference: int | None, last: int | None) -> tuple[int | None, ...]:
            return (*[row] * n, *[reference] * len(references), last)

        walk: Callable[..., tuple[Tensor, ...]] = vmap(self.backward, in_dims=dims(None, None, 0))
        if references:
            walk = vmap(walk, in_dims=dims(None, 0, None))
        walk = vmap(walk, in_dims=dims(0, 0 if own else None, 0))
        found = walk(*[at[place] for place in self.at_row], *references, m.unsqueeze(2))
        found = found if references else tuple(part.unsqueeze(1) for part in found)
        *inputs, left = found
        return tuple(part.squeeze(3) for part in inputs), left


def replay(
    plan: Plan,
    rules: Rules,
    rows: Tensors,
    *,
    referred: bool = True,
    units: frozenset[Node] = frozenset(),
    watched: bool = False,
    back: Back = multipliers,
) -> Replay:
    """Make ``plan`` ready to be walked back by ``rules``; ``rows`` are two rows of it to try it on, ``[2, …]``.

    With ``referred`` the rules compare with a reference; without, its values count as 0 everywhere, and those of
    ``units`` as one less than the row's: what is carried there is the relevance itself. With ``watched`` the walk also
    tells what is left behind each layer.
    """
    needed = plan.needed
    forward = _ending(plan.graph, (plan.output, *needed))
    one, other = (forward(*[tensor[place : place + 1] for tensor in rows])[1:] for place in (0, 1))
    start = torch.ones_like(forward(*[tensor[:1] for tensor in rows])[0])
    ends = layer_ends(plan) if watched else {}
    walk = _walk(plan, rules, needed, None if referred else units, ends, back)
    with torch.no_grad():
        backward = recorded(walk, (*one, *(other if referred else ()), start))
    at_row, at_reference = _prune(backward, len(needed), referred)
    kept = sorted({*at_row, *at_reference})
    forward = _ending(plan.graph, (plan.output, *[needed[place] for place in kept]))
    places = {place: index for index, place in enumerate(kept)}
    own, others = (tuple(places[place] for place in used) for used in (at_row, at_reference))
    return Replay(plan, forward, backward, own, others, tuple(ends.values()))


def _ending(graph: GraphModule, outputs: tuple[Node, ...]) -> GraphModule:
    """The part of a graph that leads to ``outputs``."""
    copy = Graph()
    kept: dict[Node, Node] = {}
    for node in graph.graph.nodes:
        if node.op != "output":
            kept[node] = copy.node_copy(node, kept.__getitem__)
    copy.output(tuple(kept[node] for node in outputs))
    copy.eliminate_dead_code()
    return GraphModule(graph, copy)


def _prune(backward: GraphModule, count: int, referred: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Take away the arguments that the walk does not use; those of row and reference that it does."""
    given = backward.graph.find_nodes(op="placeholder")
    used: list[list[int]] = [[], []]
    for place, node in enumerate(given[: count * (2 if referred else 1)]):
        if node.users:
            used[place // count].append(place % count)
        else:
            backward.graph.erase_node(node)
    backward.recompile()
    return tuple(used[0]), tuple(used[1])


def layer_ends(plan: Plan) -> dict[Node, str]:
    """The last node of every layer's call that a walk passes, and the inputs; from the output to the inputs."""
    found: dict[str, Node] = {}
    for step in reversed(plan.steps):
        layer = layer_of(step.node)
        if layer:
            found.setdefault(layer, step.node)
    ends = {node: layer for layer, node in found.items()}
    active = [node for node in plan.inputs if node in plan.active]
    return {**ends, active[0]: "inputs"}


def _walk(
    plan: Plan,
    rules: Rules,
    needed: Sequence[Node],
    units: frozenset[Node] | None,
    ends: Mapping[Node, str],
    back: Back,
) -> Callable[..., Tensors]:
    """The backward walk of one row and one reference as a function of plain tensors."""

    def walk(*tensors: Tensor) -> Tensors:
        at = dict(zip(needed, tensors, strict=False))
        if units is None:
            ref = dict(zip(needed, tensors[len(needed) : -1], strict=True))
        else:
            ref = {node: value - 1 if node in units else torch.zeros_like(value) for node, value in at.items()}
        left: dict[Node, Tensor] = {}

        def difference(node: Node) -> Tensor:
            if units is None:
                return at[node] - ref[node]
            return torch.ones_like(at[node]) if node in units else at[node]

        def watch(node: Node, carried: dict[Node, Tensor]) -> None:
            if node in ends and carried:
                left[node] = left_of(carried, difference)

        found = back(plan, rules, at, ref, tensors[-1], watch if ends else None)
        inputs = [node for node in plan.inputs if node in plan.active]
        watch(inputs[0], {node: found[node] for node in inputs if node in found})
        zero = tensors[-1].new_zeros(())
        told = torch.stack([left.get(node, zero) for node in ends]) if ends else tensors[-1].new_zeros(0)
        return (*[found.get(node, torch.zeros_like(at[node])) for node in inputs], told)

    return walk

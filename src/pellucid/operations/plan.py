"""A plan: the steps of a graph that lead from its rows to its output, each with what a backward walk must know of it.

Chains of elementwise operations whose active inputs come from one tensor u are one step, a function g(u): every
spelling of a rectifier or a GELU is then the same step, without being recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from ..records.errors import NotApplicable
from .kinds import (
    AFFINE,
    ARITHMETIC,
    COMPARISONS,
    LARGEST,
    LAYERS,
    LINEAR,
    POSITIVE,
    PRODUCTS,
    SOFTMAX,
    is_constant,
    is_elementwise,
    made_by,
    name_of,
    selectors,
)  # fmt: skip
from .trace import held, literal, spot

Values = Mapping[Node, Any]


@dataclass(frozen=True, eq=False)
class Step:
    """What a walk passes back through at once: ``node`` is a function of the active ``sources``.

    ``region`` are the operations in between, in order, the last of them ``node``; ``given`` are values of the row that
    the walk does not pass through, ``constants`` what no row changes. ``never_negative`` are its sources for any row.
    """

    kind: str
    node: Node
    sources: tuple[Node, ...]
    region: tuple[Node, ...]
    given: tuple[Node, ...]
    constants: Values
    never_negative: bool = False

    def __call__(self, values: Values, replaced: Values | None = None) -> Tensor:
        """The value of ``node`` where sources and givens have ``values``, some constants ``replaced``."""
        known = {**self.constants, **(replaced or {}), **{n: values[n] for n in (*self.given, *self.sources)}}
        return evaluate(self.region, known)[self.node]

    def of_sources(self, values: Values) -> Callable[..., Tensor]:
        """The same as a function of the sources alone; givens stay at their ``values``."""

        def function(*sources: Tensor) -> Tensor:
            return self({**values, **dict(zip(self.sources, sources, strict=True))})

        return function

    def argument(self, place: int) -> Any:
        """An argument of the operation itself."""
        args = made_by(self.node).args
        return args[place] if place < len(args) else None


@dataclass(frozen=True, eq=False)
class Plan:
    """``steps`` in the order of computation, from the ``inputs`` (active and not) to the ``output``."""

    graph: GraphModule
    inputs: tuple[Node, ...]
    output: Node
    steps: tuple[Step, ...]
    active: frozenset[Node]

    def held(self, node: Node) -> Any:
        """The constant that a node of the graph holds."""
        return held(self.graph, node)

    @property
    def needed(self) -> tuple[Node, ...]:
        """The nodes whose values a walk may ask for, in order."""
        wanted = {node for step in self.steps for node in (*step.sources, *step.given, step.node)}
        wanted |= {node for node in self.inputs if node in self.active}
        return tuple(node for node in self.graph.graph.nodes if node in wanted)


def evaluate(nodes: Iterable[Node], known: Values) -> dict[Node, Any]:
    """The values of ``nodes``, in order, where those before them are ``known``."""
    values = dict(known)
    for node in nodes:
        values[node] = literal(node, values)
    return values


def planned(
    graph: GraphModule,
    row: Sequence[Tensor],
    *,
    stops: Callable[[Node], bool] = lambda node: False,
    apart: bool = False,
) -> Plan:
    """The plan of a traced graph, told from ``row``.

    The walk does not pass through nodes that ``stops``; with ``apart`` a rectifier is not fused with what follows, so
    that all uses of its result meet before it. Raises :class:`NotApplicable` naming an operation without a rule.
    """
    return _Planner(graph, row, stops, apart).plan()


class _Planner:
    def __init__(self, graph: GraphModule, row: Sequence[Tensor], stops: Callable[[Node], bool], apart: bool):
        self.graph, self.stops, self.apart = graph, stops, apart
        self.nodes = list(graph.graph.nodes)
        self.order = {node: place for place, node in enumerate(self.nodes)}
        self.values = self._run(row)
        self.active: set[Node] = set()
        self.given: set[Node] = set()
        self.constants: dict[Node, Any] = {}
        self.behind: dict[Node, Node] = {}
        """Of an elementwise node: the one tensor that all its active inputs come from; itself where there are more."""
        self.source: dict[Node, Node] = {}
        """The same as those that follow see it: itself where nothing is to be fused with it."""

    def plan(self) -> Plan:
        inputs = tuple(node for node in self.nodes if node.op == "placeholder")
        output = self.nodes[-1].args[0]
        assert isinstance(output, Node)
        for node in self.nodes[:-1]:
            self._classify(node)
        for node in self.nodes[:-1]:
            if node in self.active and is_elementwise(node):
                self._see(node)
        steps, waiting, seen, refused = [], [output], set(), {}
        while waiting:
            node = waiting.pop()
            if node in seen or node not in self.active or node.op == "placeholder":
                continue
            seen.add(node)
            try:
                steps.append(self._step(node))
                waiting += steps[-1].sources
            except NotApplicable as error:
                refused[node] = error
                waiting += self._occurrences(node)
        if refused:  # the first in the order of computation tells most
            raise refused[min(refused, key=self.order.__getitem__)]
        steps.sort(key=lambda step: self.order[step.node])
        return Plan(self.graph, inputs, output, tuple(_signed(steps)), frozenset(self.active))

    def _run(self, row: Sequence[Tensor]) -> dict[Node, Any]:
        values: dict[Node, Any] = {}
        given = iter(row)
        for node in self.nodes[:-1]:
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "get_attr":
                values[node] = held(self.graph, node)
            else:
                values = evaluate([node], values)
        return values

    def _classify(self, node: Node) -> None:
        """Active (a walk passes through it), given (the row changes it all the same), or constant."""
        value = self.values[node]
        if node.op == "placeholder":
            (self.active if value.is_floating_point() else self.given).add(node)
        elif node.op == "get_attr" or is_constant(node) or not self._depends(node):
            self.constants[node] = value
        elif any(parent in self.active for parent in node.all_input_nodes) and not self.stops(node):
            self.active.add(node)
        else:
            self.given.add(node)

    def _depends(self, node: Node) -> bool:
        return any(parent in self.active or parent in self.given for parent in node.all_input_nodes)

    def _see(self, node: Node) -> None:
        """Find what one tensor an elementwise node is a function of, and whether what follows may be fused with it."""
        found = {self.source.get(parent, parent): None for parent in self._parents(node)}
        behind = next(iter(found)) if len(found) == 1 else node
        self.behind[node] = self.source[node] = behind
        if self.apart and behind is not node and self._fused(node, behind).kind == "rectifier":
            self.source[node] = node

    def _parents(self, node: Node) -> list[Node]:
        return [parent for parent in node.all_input_nodes if parent in self.active]

    def _step(self, node: Node) -> Step:
        behind = self.behind.get(node, node)
        return self._single(node) if behind is node else self._fused(node, behind)

    def _fused(self, node: Node, source: Node) -> Step:
        """The step from ``source`` to the elementwise ``node``, without what is affine at its beginning."""
        region = self._between(node, source)
        while True:
            users = [user for user in region if source in user.all_input_nodes]
            if len(users) != 1 or not self._affine(users[0]):
                step = self._made("elementwise", node, (source,), region)
                return replace(step, kind="rectifier") if is_rectifier(step, self.values[source]) else step
            if users[0] is node:
                return self._made("linear", node, (source,), [node])
            source = users[0]
            region.remove(source)

    def _between(self, node: Node, source: Node) -> list[Node]:
        found, waiting = set(), [node]
        while waiting:
            one = waiting.pop()
            if one is not source and one not in found:
                found.add(one)
                waiting += self._parents(one)
        return sorted(found, key=self.order.__getitem__)

    def _affine(self, node: Node) -> bool:
        if name_of(node) not in AFFINE or len(self._occurrences(node)) != 1:
            return False
        if not self.values[node].is_floating_point():
            return False
        return name_of(node) != "div" or (node.args[0] in self.active and "rounding_mode" not in node.kwargs)

    def _occurrences(self, node: Node) -> list[Node]:
        """The active arguments, as often as they occur."""
        found: list[Node] = []
        map_arg((made_by(node).args, made_by(node).kwargs), lambda n: found.append(n) if n in self.active else None)
        return found

    def _single(self, node: Node) -> Step:
        """The step of one operation, with its active arguments as sources."""
        operation = made_by(node)
        region = _chain(node, operation)
        sources = tuple(dict.fromkeys(self._occurrences(node)))
        return self._made(self._kind(node), node, sources, region)

    def _kind(self, node: Node) -> str:
        name, active = name_of(node), self._occurrences(node)
        if any(_is_complex(self.values[n]) for n in [*active, node]) or "reduce" in str(made_by(node).target):
            name = ""  # rules are for real numbers, and for a scattering that only puts in place
        chosen = [n for n in selectors(node) if n in self.active]
        whole = [n for n in active if _is_whole(self.values[n])]
        if name == "where" and chosen:
            return "branch"
        if name in COMPARISONS:
            return "comparison"
        if not chosen and not whole:
            if name in LAYERS and len(active) == 1 and self._by_weights(node, active[0]):
                return "layer"
            if name in LINEAR or (name in PRODUCTS and len(active) == 1):
                return "linear"
            if name in PRODUCTS:
                return "product"
            if name in SOFTMAX:
                return "softmax"
            if name in ("_log_softmax", "logsumexp"):
                return name.strip("_")
            if name in ("maximum", "minimum"):
                return "larger"
            if name == "div" and "rounding_mode" not in node.kwargs:
                return "division" if len(set(active)) > 1 else "linear"
            if name in LARGEST and _is_first_part(node):
                return "largest"
        raise NotApplicable(
            f"there is no rule for the operation {made_by(node).target}",
            where=spot(made_by(node)),
            why="it would have to be passed back through",
            fix="integrated_gradients and shapley need no rules",
        )

    def _by_weights(self, node: Node, active: Node) -> bool:
        rows, weights, _ = LAYERS[name_of(node)]
        return node.args[rows] is active and node.args[weights] in self.constants

    def _made(self, kind: str, node: Node, sources: tuple[Node, ...], region: Sequence[Node]) -> Step:
        inner = set(region) | set(sources)
        outside = {n: None for one in region for n in one.all_input_nodes if n not in inner}
        given = tuple(n for n in outside if n not in self.constants)
        constants = {n: self.constants[n] for n in outside if n in self.constants}
        return Step(kind, node, sources, tuple(region), given, constants)


def is_rectifier(step: Step, like: Tensor) -> bool:
    """Whether a function of one tensor shaped ``like`` is max(u, 0), however it is written.

    It is one for no row alone, has no place to bend at but 0, and is tried on values of all sizes.
    """
    if not _is_float(like) or step.given or any(_bends_elsewhere(node, step.constants) for node in step.region):
        return False
    places = torch.arange(like.numel(), device=like.device).reshape(like.shape)
    for turn, scale in enumerate((1e-6, 1e-3, 0.1, 1.0, 3.0, 30.0, 1e3, 1e6)):
        u = (scale * torch.sin(2.4 * places + turn)).to(like.dtype)
        for probe in (u, -u):
            found = step({step.sources[0]: probe})
            if found.shape != like.shape or not torch.equal(found, probe.clamp(min=0)):
                return False
    return True


def _bends_elsewhere(node: Node, constants: Values) -> bool:
    """Whether an operation compares with another number than 0: where that lies, no trial can be sure to find out."""
    if name_of(node) in ARITHMETIC:
        return False
    numbers = [value for value in node.args if isinstance(value, (int, float)) and not isinstance(value, bool)]
    tensors = [constants[value] for value in node.all_input_nodes if value in constants]
    return any(value != 0 and abs(value) != inf for value in numbers) or any(bool(t.any()) for t in tensors)


def _signed(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, told which of them only see values that are never negative."""
    positive: set[Node] = set()
    for step in steps:
        own = all(source in positive for source in step.sources)
        if step.kind in ("rectifier", "softmax") or (
            own and step.kind in ("linear", "largest", "larger") and keeps_sign(step)
        ):
            positive.add(step.node)
        yield replace(step, never_negative=own)


def keeps_sign(step: Step) -> bool:
    """Whether a linear step makes nothing negative of what is not; what a row gives it beside is not trusted."""
    name, numbers = name_of(step.node), made_by(step.node).args
    if name not in POSITIVE or step.given or (name == "add" and step.node.kwargs):
        return False
    constants = [value for value in step.constants.values() if _is_float(value)]
    added = [value for value in numbers if isinstance(value, (int, float))] if name == "add" else []
    return all(bool((value >= 0).all()) for value in constants) and all(value >= 0 for value in added)


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and bool(value.is_complex())


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and bool(value.is_floating_point())


def _chain(node: Node, operation: Node) -> list[Node]:
    """An operation and the parts taken out of its result, down to ``node``."""
    chain = [node]
    while chain[0] is not operation:
        chain.insert(0, chain[0].args[0])  # pyright: ignore[reportArgumentType]
    return chain


def _is_first_part(node: Node) -> bool:
    """The values, not the indices, of an operation that returns both; of any other, its result."""
    return made_by(node) is node or bool(node.args[1] == 0)


def _is_whole(value: Any) -> bool:
    """Whether it is made of whole numbers, which a step cannot pass on; a condition counts as 0 or 1."""
    return isinstance(value, Tensor) and not _is_float(value) and value.dtype is not torch.bool

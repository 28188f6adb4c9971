"""Walking a network back: traced once per model and row shape, then by blocks of rows and references."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..operations.manner import Manner
from ..operations.plan import Plan, Values, planned
from ..operations.replay import Replay, Tensors, replay
from ..operations.rules import Rules
from ..operations.simplify import HALVES, in_single, simplified
from ..operations.trace import trace
from ..operations.walk import passed, values_of
from ..problem.model import Traceable
from ..records.errors import NotApplicable
from .slopemaking import SlopeMaker

T = TypeVar("T")
Follow = Callable[[Plan, Rules, Values, Values, Tensor], T]
TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float32: 1e-3, torch.float64: 1e-6}
"""Relative difference beyond which a traced graph does not answer as the model."""
STEP = 30e-6
"""Seconds that a mapped operation takes before its first number."""
SHARE = 0.05
SPEED = 80e9
KEPT = 2**28
"""Bytes of what the walk needs of reference rows, up to which it is kept from block to block."""
MOST_PAIRS = 8192
MOST_GRAPHS = 4


@dataclass(eq=False)
class Network:
    """A model's graph on rows of one shape, and what was made of it."""

    graph: torch.fx.GraphModule
    rows: Tensors
    """Two rows, ``[2, …]``."""
    plans: dict[Any, tuple[Plan, Rules]] = field(default_factory=dict)
    replays: dict[Any, Replay] = field(default_factory=dict)

    def plan(self, manner: Manner) -> tuple[Plan, Rules]:
        if manner not in self.plans:
            row = [tensor[:1] for tensor in self.rows]
            plan = planned(self.graph, row, stops=manner.stops, apart=manner.apart)
            self.plans[manner] = plan, manner.rules(plan)
        return self.plans[manner]

    def replay(self, manner: Manner) -> Replay:
        if manner not in self.replays:
            plan, rules = self.plan(manner)
            made = replay(plan, rules, self.rows, referred=manner.referred, units=manner.units(plan))
            self.replays[manner] = made
        return self.replays[manner]


_KEPT: WeakKeyDictionary[object, OrderedDict[Any, Network]] = WeakKeyDictionary()


def upcast(tensors: Iterable[Tensor]) -> Tensors:
    """Half precision is walked in single."""
    return tuple(tensor.float() if tensor.dtype in HALVES else tensor for tensor in tensors)


def _compare(network: Network, due: Tensor, dtype: torch.dtype) -> None:
    """Raise :class:`NotApplicable` where the graph, traced on one row, answers two rows otherwise than the model."""
    with torch.no_grad():
        answers = [network.graph(*[tensor[place : place + 1] for tensor in network.rows]) for place in (0, 1)]
    found = torch.cat([answer.reshape(1, -1) for answer in answers])
    scale = due.abs().max().clamp(min=1e-12)
    if found.shape != due.shape or not bool((found - due).abs().max() <= TOLERANCE[dtype] * scale):
        raise NotApplicable(
            "the network's operations on one row do not tell its answer to two",
            why="its code branches on values, or a row's answer depends on the rows beside it",
            fix="integrated_gradients and shapley do not need the operations",
        )


@dataclass(eq=False)
class _Walk:
    """One manner of walking back one session's rows; ``references`` are ``[R, S, D]`` or None."""

    replay: Replay
    references: Tensor | None
    plain: bool
    kept: dict[tuple[str, int, int], Tensors] = field(default_factory=dict)

    @property
    def draws(self) -> int:
        return 1 if self.references is None else self.references.shape[1]

    @property
    def own(self) -> bool:
        """Whether each row has references of its own."""
        return self.references is not None and len(self.references) > 1

    def keep(self, key: tuple[str, int, int], found: Tensors) -> None:
        """Keep what the walk needs of some rows: of the last block of rows, of all references where they fit."""
        what = key[0]
        held = sum(value.numel() * value.element_size() for value in found) * self.draws / max(key[2] - key[1], 1)
        if what == "row" or held > KEPT:
            self.kept = {other: values for other, values in self.kept.items() if other[0] != what}
        self.kept[key] = found


class Walker(SlopeMaker):
    """What a session can ask of a network whose operations are seen."""

    @property
    def network(self) -> Network:
        """The model as a graph. Raises :class:`NotApplicable` where it cannot be followed."""
        model = self._problem.model
        if not isinstance(model, Traceable) or self.opaque or not self.x.is_floating_point():
            raise NotApplicable(
                "the operations of this model cannot be seen",
                why="it is a black box" if not isinstance(model, Traceable) else "its inputs are whole numbers",
                fix="shapley and lime only ask for outputs",
            )
        kept = _KEPT.setdefault(model.identity, OrderedDict())
        shapes = tuple((name, tensor.shape[1:], tensor.dtype) for name, tensor in self.inputs.tensors.items())
        key = (model.version, shapes, self.x.dtype, str(self.x.device))
        if key not in kept:
            kept[key] = self._traced(model)
            while len(kept) > MOST_GRAPHS:
                kept.popitem(last=False)
        return kept[key]

    def _traced(self, model: Traceable) -> Network:
        index = torch.tensor([0, len(self) - 1])
        flat = self.x[index].clone()
        if len(self) == 1:
            flat[1] = flat[1] * 0.75 - 0.1 * flat[1].abs().mean()
        named = self.inputs.fold(flat, index)
        graph = trace(model, {name: tensor[:1] for name, tensor in named.items()})
        graph = simplified(in_single(graph) if self.x.dtype in HALVES else graph)
        network = Network(graph, upcast(named.values()))
        with torch.no_grad():
            _compare(network, self._caller.outputs(flat, index), self.x.dtype)
        return network

    def walked(self, manner: Manner, references: Tensor | None = None) -> np.ndarray:
        """Contributions ``Float64[Q, D]``: multipliers times the difference to the reference, averaged over references.

        ``references`` are ``[R, S, D]`` (R = 1 or N); none for a manner that does not compare, whose contributions are
        to the output itself. Raises :class:`NotApplicable` for a network with an operation that has no rule, and for a
        target that is a function of several outputs.
        """
        made = self.network.replay(manner)
        if references is not None and self._carries:  # what is not explained is the row's own, also beside references
            references = references.expand(len(self), -1, -1)
        walk = _Walk(made, references, manner.plain or bool(manner.units(made.plan)))
        out = torch.zeros((len(self), self.targets, self.x.shape[1]), dtype=torch.float64, device=self.x.device)

        def work(g: slice, s: slice) -> None:
            with torch.no_grad():
                found = self._of_pairs(walk, g, s)
            out[g] += found

        self._each_block((len(self), walk.draws), work, self._pairs(made))
        out = (out / walk.draws).reshape(self.questions, -1)
        self._refuse_nan_slope(out, torch.arange(self.questions))
        return out.cpu().numpy()

    def conserved(self, manner: Manner, reference: Tensor | None = None) -> dict[str, float]:
        """How much of what the first row's output is made of is still there behind each layer, from last to first.

        The share of everything on its way when the walk reaches the layer's result; 1 in a walk that conserves.
        ``reference`` is ``[1, D]`` where the manner compares.
        """
        network = self.network
        plan, rules = network.plan(manner)
        first = int(np.argmin(self._rows))  # in the caller's order
        own = torch.tensor([first])
        row = upcast(self.inputs.fold(self.x[own], own).values())
        start = None if reference is None else upcast(self.inputs.fold(reference, own).values())
        with torch.no_grad():
            m = self._of_target(network.graph(*row), slice(first, first + 1))[0, :1]
        found: dict[str, float] = {}
        steps = passed(plan, rules, row, start, m, manner.units(plan))
        whole = steps[0].total or float("nan")
        for step in steps:
            layer = "inputs" if step.node in plan.inputs else step.node.meta.get("custom", {}).get("layer", "")
            if layer:
                found.setdefault(layer, step.total / whole)
        return found

    def followed(self, manner: Manner, references: Tensor, follow: Follow[T]) -> list[T]:
        """What ``follow`` makes of each question's own walk, one after another.

        It is given the plan, the rules, the values at the row and at its reference (``references`` are ``[R, D]``,
        R = 1 or N), and the multipliers of the output. Raises what :meth:`walked` raises.
        """
        network = self.network
        plan, rules = network.plan(manner)
        found: list[T] = []
        for item in range(len(self)):
            own = torch.tensor([item])
            row = upcast(self.inputs.fold(self.x[own], own).values())
            start = references if len(references) == 1 else references[own]
            with torch.no_grad():
                at, ref = (
                    values_of(plan, upcast(self.inputs.fold(flat, own).values())) for flat in (self.x[own], start)
                )
                m = self._of_target(network.graph(*row), slice(item, item + 1))[0]
                found += [follow(plan, rules, at, ref, one[None]) for one in m]
            self._caller.counted(2)
            self._caller.tally.gradients += len(m)
        return found

    def layer_kind(self, name: str) -> str:
        """The class of a module by its path, ``"cell@2"`` for its second call; empty where it is not known."""
        model = self._problem.model
        found = model.layers.get(name.split("@")[0]) if isinstance(model, Traceable) else None
        return "" if found is None else type(found).__name__

    def _pairs(self, made: Replay) -> int:
        """Pairs of rows and references at once: enough that the work of mapping is small beside that of numbers."""
        batch, flops = self._caller.batch, self._caller.learned.flops
        if batch > 1 and np.isfinite(flops):
            wanted = len(made.backward.graph.nodes) * STEP / SHARE / (2 * max(flops, 1.0) / SPEED)
            batch = int(max(batch, min(wanted, MOST_PAIRS)))
        return max(1, batch // self.targets)

    def _of_pairs(self, walk: _Walk, g: slice, s: slice) -> Tensor:
        """Contributions summed over some references, ``Float64[R, T, D]``."""
        x = self.x[g].double()[:, None]
        outputs, *at = self._needed_of(walk, "row", g, self.x[g])
        m = self._of_target(outputs, g)
        self._caller.tally.gradients += m.shape[0] * m.shape[1] * (s.stop - s.start)
        if walk.references is None:
            found = _flat(walk.replay.back(tuple(at), (), m))[:, 0].double()
            return found if walk.plain else found * x
        drawn = walk.references[g, s] if walk.own else walk.references[:, s]
        ref = self._needed_of_own(walk, drawn, g) if walk.own else self._needed_of(walk, "reference", s, drawn[0])[1:]
        found = _flat(walk.replay.back(tuple(at), ref, m, walk.own)).double()
        return torch.einsum("rstd,rsd->rtd", found, x - drawn.double())

    def _needed_of(self, walk: _Walk, what: str, part: slice, flat: Tensor) -> Tensors:
        """The outputs of rows, and behind them what the walk needs of each; kept for the next block."""
        key = (what, part.start, part.stop)
        if key not in walk.kept:
            rows = torch.arange(part.start, part.stop) if what == "row" else torch.zeros(len(flat), dtype=torch.long)
            walk.keep(key, self._run_graph(walk, flat, rows))
        return walk.kept[key]

    def _run_graph(self, walk: _Walk, flat: Tensor, rows: Tensor) -> Tensors:
        outputs, values = walk.replay.run(upcast(self.inputs.fold(flat, rows).values()))
        self._caller.counted(len(flat))
        return outputs, *values

    def _needed_of_own(self, walk: _Walk, drawn: Tensor, g: slice) -> Tensors:
        """What the walk needs of each row's own references ``[R, S, D]``."""
        R, S = drawn.shape[:2]
        _, *values = self._run_graph(walk, drawn.flatten(0, 1), torch.arange(g.start, g.stop).repeat_interleave(S))
        return tuple(value.reshape(R, S, *value.shape[1:]) for value in values)

    def _of_target(self, outputs: Tensor, g: slice) -> Tensor:
        """How the asked numbers depend on the outputs, ``[R, T, K]``. A number made of them by code is refused."""
        if self._target.rule is not None:
            raise NotApplicable(
                "this method explains outputs and differences of two",
                why="the target is a loss or a function of several outputs",
                fix="integrated_gradients and shapley explain any number",
            )
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            asked = self._target.select(leaf, torch.arange(g.start, g.stop))
            found = [torch.autograd.grad(one.sum(), leaf, retain_graph=True)[0] for one in asked.unbind(1)]
        return torch.stack(found, 1)


def _flat(parts: Tensors) -> Tensor:
    """Multipliers of the input tensors ``[R, S, T, …]`` as those of all elements, ``[R, S, T, D]``."""
    return torch.cat([part.flatten(3) if part.ndim > 3 else part.unsqueeze(3) for part in parts], 3)

"""Walking a network back: traced once per model and row shape, then by blocks of rows and references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..operations.manner import Manner
from ..operations.plan import Plan, Values, planned
from ..operations.replay import Replay, Tensors, replay
from ..operations.rules import Rules
from ..operations.simplify import simplified
from ..operations.trace import trace
from ..operations.walk import values_of
from ..problem.inputs import Inputs
from ..problem.model import Traceable
from ..problem.target import BoundTarget
from ..records.errors import NotApplicable
from .caller import Caller
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


@dataclass(eq=False)
class Network:
    """A model's graph on rows of one shape, and what was made of it; ``rows`` are two, ``[2, …]``."""

    graph: torch.fx.GraphModule
    rows: Tensors
    plans: dict[Manner, tuple[Plan, Rules]] = field(default_factory=dict)
    replays: dict[Manner, Replay] = field(default_factory=dict)

    def plan(self, manner: Manner) -> tuple[Plan, Rules]:
        """Raises :class:`NotApplicable` for an operation without a rule."""
        if manner not in self.plans:
            row = [tensor[:1] for tensor in self.rows]
            plan = planned(self.graph, row, stops=manner.stops, apart=manner.apart)
            self.plans[manner] = plan, manner.rules(plan)
        return self.plans[manner]

    def replay(self, manner: Manner) -> Replay:
        """The walk made ready, once for each manner."""
        if manner not in self.replays:
            plan, rules = self.plan(manner)
            self.replays[manner] = replay(
                plan,
                rules,
                self.rows,
                referred=manner.referred,
                units=manner.units(plan),
                watched=manner.watched,
                back=manner.back,
            )
        return self.replays[manner]


def network_of(caller: Caller) -> Network:
    """A caller's model as a graph, followed once per version of the model and shape of the rows.

    Raises :class:`NotApplicable` where it cannot be followed.
    """
    model, inputs, known = caller.model, caller.inputs, caller.learned.inside
    whole = inputs.opaque is None and not inputs.flat.is_floating_point()
    if not isinstance(model, Traceable) or inputs.opaque is not None or whole:
        raise NotApplicable(
            "the operations of this model cannot be seen",
            why="its inputs are whole numbers" if whole else "it is a black box",
            fix="shapley and lime only ask for outputs",
        )
    seen = [(name, tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in inputs.tensors.items()]
    key = f"network of {seen}"  # what is carried beside the explained inputs is part of the graph too
    if key not in known:
        known[key] = _followed(caller, model, inputs)
    return known[key]


def _followed(caller: Caller, model: Traceable, inputs: Inputs) -> Network:
    index = torch.tensor([0, len(inputs) - 1])
    flat = inputs.flat[index].clone()
    if len(inputs) == 1:
        flat[1] = flat[1] * 0.75 - 0.1 * flat[1].abs().mean()
    named = inputs.fold(flat, index)
    graph = trace(model, {name: tensor[:1] for name, tensor in named.items()})
    network = Network(simplified(graph), tuple(named.values()))
    with torch.no_grad():
        _compare(network, caller.outputs(flat.clone(), index), flat.dtype)  # the model may write over its rows
    return network


def _compare(network: Network, due: Tensor, dtype: torch.dtype) -> None:
    """Raise :class:`NotApplicable` where the graph, traced on one row, answers two rows otherwise than the model."""
    answers = [network.graph(*[tensor[place : place + 1] for tensor in network.rows]) for place in (0, 1)]
    found = torch.cat([answer.reshape(1, -1) for answer in answers])
    scale = due.abs().nan_to_num(0, 0, 0).max().clamp(min=1e-12)  # that some of them are no numbers is told elsewhere
    near = {"rtol": 0.0, "atol": TOLERANCE[dtype] * float(scale), "equal_nan": True}
    if found.shape != due.shape or not torch.allclose(found, due.to(found.dtype), **near):
        raise NotApplicable(
            "the network's operations on one row do not tell its answer to two",
            why="its code branches on values, or a row's answer depends on the rows beside it",
            fix="integrated_gradients and shapley do not need the operations",
        )


@dataclass(frozen=True, eq=False)
class Walked:
    """What a walk gave: ``values`` ``[N, T, D]``, and ``left`` behind each of ``layers``, ``[N, T, L]``."""

    values: Tensor
    left: Tensor
    layers: tuple[str, ...] = ()


@dataclass(eq=False)
class Walk:
    """One manner of walking back a caller's rows, from ``references [R, S, D]`` (R = 1 or N) where it compares."""

    caller: Caller
    manner: Manner
    references: Tensor | None = None
    kept: dict[tuple[str, int, int], Tensors] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.replay = network_of(self.caller).replay(self.manner)
        self.plain = self.manner.plain or bool(self.manner.units(self.replay.plan))

    @property
    def draws(self) -> int:
        return 1 if self.references is None else self.references.shape[1]

    @property
    def own(self) -> bool:
        """Whether each row has references of its own."""
        return self.references is not None and len(self.references) > 1

    def same(self, manner: Manner, references: Tensor | None) -> bool:
        """Whether it is this walk that is asked for."""
        if manner != self.manner or (references is None) != (self.references is None):
            return False
        return references is None or self.references is None or torch.equal(references, self.references)

    def pairs(self, targets: int) -> int:
        """Pairs of rows and references at once: enough that the work of mapping is small beside that of numbers."""
        batch, flops = self.caller.batch, self.caller.learned.flops
        if batch > 1 and np.isfinite(flops):
            wanted = len(self.replay.backward.graph.nodes) * STEP / SHARE / (2 * max(flops, 1.0) / SPEED)
            batch = int(max(batch, min(wanted, MOST_PAIRS)))
        return max(1, batch // targets)

    def forward(self, part: slice, flat: Tensor) -> Tensors:
        """The outputs of rows, and behind them what the walk needs of each; kept for the next block."""
        return self._once("row", part, flat, torch.arange(part.start, part.stop))

    def nobody(self) -> Tensor:
        """The outputs ``[1, K]`` of the single reference row."""
        assert self.references is not None
        return self._once("reference", slice(0, 1), self.references[0, :1], torch.zeros(1, dtype=torch.long))[0]

    def back(self, part: slice, draws: slice, target: BoundTarget, found: Tensors) -> tuple[Tensor, Tensor]:
        """Contributions ``Float64[R, T, D]`` and what is left behind each layer ``[R, T, L]``, summed over references.

        ``target`` is bound for the rows of ``part`` alone, ``found`` is what :meth:`forward` gave of them.
        """
        x = self.caller.inputs.flat[part].double()[:, None]
        outputs, *at = found
        m = _of_target(target, outputs)
        self.caller.tally.gradients += m.shape[0] * m.shape[1] * (draws.stop - draws.start)
        if self.references is None:
            inputs, left = self.replay.back(tuple(at), (), m)
            values = _flat(inputs)[:, 0].double()
            return values if self.plain else values * x, left[:, 0].double()
        drawn = self.references[part, draws] if self.own else self.references[:, draws]
        inputs, left = self.replay.back(tuple(at), self._of_references(part, draws, drawn), m, self.own)
        values = torch.einsum("rstd,rsd->rtd", _flat(inputs).double(), x - drawn.double())
        return values, left.double().sum(1)

    def _of_references(self, part: slice, draws: slice, drawn: Tensor) -> Tensors:
        """What the walk needs of the references ``[S, …]``, of each row's own ``[R, S, …]``."""
        if not self.own:
            return self._once("reference", draws, drawn[0], torch.zeros(drawn.shape[1], dtype=torch.long))[1:]
        R, S = drawn.shape[:2]
        _, *values = self._run(drawn.flatten(0, 1), torch.arange(part.start, part.stop).repeat_interleave(S))
        return tuple(value.reshape(R, S, *value.shape[1:]) for value in values)

    def _once(self, what: str, part: slice, flat: Tensor, rows: Tensor) -> Tensors:
        """Asked once and kept: of the last block of rows, of all references where they fit."""
        key = (what, part.start, part.stop)
        if key not in self.kept:
            found = self._run(flat, rows)
            held = sum(value.numel() * value.element_size() for value in found) * self.draws / max(len(flat), 1)
            if what == "row" or held > KEPT:
                self.kept = {other: values for other, values in self.kept.items() if other[0] != what}
            self.kept[key] = found
        return self.kept[key]

    def _run(self, flat: Tensor, rows: Tensor) -> Tensors:
        with torch.no_grad():
            outputs, values = self.replay.run(tuple(self.caller.inputs.fold(flat, rows).values()))
        self.caller.counted(len(flat))
        return outputs, *values


def _of_target(target: BoundTarget, outputs: Tensor) -> Tensor:
    """How the asked numbers depend on the outputs, ``[R, T, K]``. A number made of them by code is refused."""
    if target.rule is not None:
        raise NotApplicable(
            "this method explains outputs and differences of two",
            why="the target is a loss or a function of several outputs",
            fix="integrated_gradients and shapley explain any number",
        )
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        asked = target.select(leaf, torch.arange(len(outputs)))
        found = [torch.autograd.grad(one.sum(), leaf, retain_graph=True)[0] for one in asked.unbind(1)]
    return torch.stack(found, 1)


def _flat(parts: Tensors) -> Tensor:
    """Multipliers of the input tensors ``[R, S, T, …]`` as those of all elements, ``[R, S, T, D]``."""
    return torch.cat([part.flatten(3) if part.ndim > 3 else part.unsqueeze(3) for part in parts], 3)


class Walker(SlopeMaker):
    """What a session can ask of a network whose operations are seen."""

    _walked: tuple[Walk, Walked] | None

    @property
    def network(self) -> Network:
        """The model as a graph. Raises :class:`NotApplicable` where it cannot be followed."""
        return network_of(self._caller)

    def walked(self, manner: Manner, references: Tensor | None = None) -> np.ndarray:
        """Contributions ``Float64[Q, D]``: multipliers times the difference to the reference, averaged over references.

        ``references`` are ``[R, S, D]`` (R = 1 or N); none for a manner that does not compare, whose contributions are
        to the output itself. Raises :class:`NotApplicable` for a network with an operation that has no rule, and for a
        target that is a function of several outputs.
        """
        found = self._walk(manner, references).values.reshape(self.questions, -1)
        every = torch.arange(self.questions)
        self._refuse_nan_slope(found, every, self.x[self.item(every)])
        return found.cpu().numpy()

    def conserved(self, manner: Manner, references: Tensor | None = None) -> dict[str, np.ndarray]:
        """What of each question's number is still on its way behind each layer, ``Float64[Q]``, from last to first.

        In a walk that conserves it is the number itself (its difference to the reference) wherever one looks. The
        manner has to be ``watched``.
        """
        found = self._walk(manner, references)
        left = found.left.reshape(self.questions, -1).cpu().numpy()
        return {layer: left[:, place] for place, layer in enumerate(found.layers)}

    def _walk(self, manner: Manner, references: Tensor | None) -> Walked:
        """The walk itself, unless the pass that bound the target has done it, or the last question was the same."""
        if references is not None and self._carries:  # what is not explained is the row's own, beside references too
            references = references.expand(len(self), -1, -1)
        if self._walked is not None and self._walked[0].same(manner, references):
            return self._walked[1]
        self.spent.add(gradient_steps=1 if references is None else references.shape[1])
        walk = Walk(self._caller, manner, references)
        N, T = len(self), self.targets
        values = torch.zeros((N, T, self.x.shape[1]), dtype=torch.float64, device=self.x.device)
        left = torch.zeros((N, T, len(walk.replay.layers)), dtype=torch.float64, device=self.x.device)

        def work(g: slice, s: slice) -> None:
            with torch.no_grad():
                found = walk.forward(g, self.x[g])
                parts = walk.back(g, s, self._target.take(list(range(g.start, g.stop))), found)
            values[g] += parts[0]
            left[g] += parts[1]

        self._each_block((N, walk.draws), work, walk.pairs(T))
        self._walked = walk, Walked(values / walk.draws, left / walk.draws, walk.replay.layers)
        return self._walked[1]

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
            row = tuple(self.inputs.fold(self.x[own], own).values())
            start = references if len(references) == 1 else references[own]
            with torch.no_grad():
                at, ref = (
                    values_of(plan, tuple(self.inputs.fold(flat, own).values())) for flat in (self.x[own], start)
                )
                m = _of_target(self._target.take([item]), network.graph(*row))[0]
                found += [follow(plan, rules, at, ref, one[None]) for one in m]
            self._caller.counted(2)
            self._caller.tally.gradients += len(m)
        return found

    def layer_kind(self, name: str) -> str:
        """The class of a module by its path, ``"cell@2"`` for its second call; empty where it is not known."""
        model = self._problem.model
        found = model.layers.get(name.split("@")[0]) if isinstance(model, Traceable) else None
        return "" if found is None else type(found).__name__


Asked = Callable[[Callable[[], Network]], Manner | None]
"""How a method says which manner it asks for, given how to get the network."""


def walk_of(caller: Caller, asked: Asked, reference: Tensor | None) -> Walk | None:
    """The walk that the pass which binds the target can do, ``reference [1, 1, D]`` being the only one; or None."""
    manner = asked(lambda: network_of(caller))
    if manner is None or (manner.referred and reference is None):
        return None
    return Walk(caller, manner, reference if manner.referred else None)

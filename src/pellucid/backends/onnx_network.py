"""An ONNX graph as a torch module: what it computes from the rows as layers and functions, the rest beforehand.

Each value of the graph is one of three. A *constant* is worked out when the network is built. What is *known* depends
on the shapes of the rows only, and is reckoned in numpy at each call. The rest are *data*: tensors, made by torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .onnx_format import File, Graph, Node
from .onnx_known import KNOWN, SHAPES, Beyond, Call
from .onnx_layers import DATA, LAYERS, Built
from .onnx_operators import OPERATORS, as_tensor
from .onnx_recurrent import GATES, recurrent
from .onnx_resize import RESIZING

ALL_LAYERS: Mapping[str, Callable[..., Built]] = {**LAYERS, **dict.fromkeys(GATES, recurrent)}
ALL_OPERATORS: Mapping[str, Callable[..., Any]] = {**OPERATORS, **RESIZING}
OLDEST = 7
"""Before this version of the operators, broadcasting was a setting of each."""
NAMED = str.maketrans(".[]@", "_()_")
"""Characters that mean something in the path of a layer."""
ZIPMAP = "ai.onnx.ml.ZipMap"
"""Turns columns into a dictionary for each row; the columns are what is explained."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operator: ``inputs`` are names of values, arrays, or None; ``spent`` is what nothing after it needs."""

    call: Call
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    layer: str = ""
    function: Callable[..., Any] | None = None
    spent: tuple[str, ...] = ()


class OnnxNetwork(nn.Module):
    """A network of layers and functions, called by the names of its inputs; it returns the output it was built for."""

    def __init__(self, input_names: tuple[str, ...], output: str):
        super().__init__()
        self.input_names, self.output = input_names, output
        self.steps: tuple[Step, ...] = ()

    def forward(self, *given: Tensor, **named: Tensor) -> Tensor:
        values: dict[str, Any] = {**self._buffers, **dict(zip(self.input_names, given, strict=False)), **named}
        for step in self.steps:
            taken = [values[entry] if isinstance(entry, str) else entry for entry in step.inputs]
            found = self._answer(step, taken)
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
            for name in step.spent:
                del values[name]
        return values[self.output]

    def _answer(self, step: Step, taken: list[Any]) -> Any:
        if step.function is not None:
            return step.function(step.call, *taken)
        first = next(value for value in taken if isinstance(value, Tensor))
        layer = self._modules[step.layer]
        assert layer is not None
        return layer(*[as_tensor(value, first) for value in taken if value is not None])


def network_of(
    file: File, output: str, folded: Mapping[str, np.ndarray | None], rows: int | None = None
) -> OnnxNetwork:
    """The part of ``file`` that makes ``output``; ``folded`` is what :func:`constants_of` found.

    Where the network was written down for so many ``rows``, shapes that begin with this number are taken to mean any.
    Raises :class:`Beyond` with the operators that have no twin here.
    """
    assert file.graph is not None
    if file.operators < OLDEST:
        raise Beyond(f"the operators of version {file.operators}")
    output = columns_of(file.graph).get(output, output)
    nodes = _joined(_needed(file.graph, output, folded), folded, output)
    if rows is not None:
        nodes, folded = _for_any(rows, nodes, folded)
    known = _known(nodes, folded)
    _refuse_unknown(nodes, known)
    network = OnnxNetwork(inputs_of(file.graph), output)
    steps = [_step(network, node, file.operators, folded, known) for node in nodes]
    network.steps = tuple(_spent(steps, output))
    return network.eval()


def inputs_of(graph: Graph) -> tuple[str, ...]:
    """The names of the inputs; older files list constants among them."""
    constant = {tensor.name for tensor in graph.constants}
    return tuple(entry.name for entry in graph.inputs if entry.name not in constant)


def columns_of(graph: Graph) -> dict[str, str]:
    """For each output that is a list of dictionaries, the tensor whose columns these hold."""
    return {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.called == ZIPMAP}


def constants_of(file: File) -> dict[str, np.ndarray | None]:
    """Every value of the graph that no row changes, worked out; None for one that has no array.

    Raises :class:`ModelError` where an operator makes more out of nothing than there could be use for.
    """
    assert file.graph is not None
    found = {tensor.name: tensor.array for tensor in file.graph.constants}
    found |= {part.values.name: None for part in file.graph.sparse if part.values}
    for node in file.graph.nodes:
        if node.op == "Constant":
            found[node.outputs[0]] = _constant(node)
        elif node.inputs and all(not name or found.get(name) is not None for name in node.inputs):
            made = _worked_out(node, file.operators, [found[name] if name else None for name in node.inputs])
            found.update(zip(node.outputs, made, strict=False))
    return found


def _constant(node: Node) -> np.ndarray | None:
    types = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    for name, value in node.settings.items():
        if name == "value":
            return value
        if name in types:
            return np.array(value, types[name])
    return None


def _worked_out(node: Node, version: int, values: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """What an operator makes of constants; nothing where it is none that is known here."""
    call = _call(node, version)
    try:
        with np.errstate(all="ignore"), torch.no_grad():
            if node.called in KNOWN:
                made = KNOWN[node.called](call, *values)
            elif node.called in ALL_OPERATORS:
                made = ALL_OPERATORS[node.called](call, torch.tensor(values[0]), *values[1:])
            else:
                return ()
    except (Beyond, ValueError, TypeError, IndexError, RuntimeError):  # whether that matters is seen where it is used
        return ()
    parts = made if isinstance(made, tuple) else (made,)
    return tuple(part.numpy() if isinstance(part, Tensor) else np.asarray(part) for part in parts)


def _call(node: Node, version: int) -> Call:
    return Call(node.called, node.settings, version, len([name for name in node.outputs if name]))


def _needed(graph: Graph, output: str, folded: Mapping[str, Any]) -> list[Node]:
    """The nodes that ``output`` depends on and that are no constants, in their order."""
    wanted, kept = {output}, []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs) and not all(name in folded for name in node.outputs if name):
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1]


def _joined(nodes: list[Node], folded: Mapping[str, Any], output: str) -> list[Node]:
    """A product with constant weights and the constant that is added to nothing but it are one linear layer."""
    users: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    replaced: dict[int, Node | None] = {}
    for node in nodes:
        after = users.get(node.outputs[0], []) if node.called == "MatMul" and node.outputs[0] != output else []
        if len(after) != 1 or after[0].called != "Add" or getattr(folded.get(node.inputs[1]), "ndim", 0) != 2:
            continue
        bias = next((name for name in after[0].inputs if name != node.outputs[0]), "")
        if getattr(folded.get(bias), "ndim", 0) == 1 and folded[bias].size == folded[node.inputs[1]].shape[1]:
            replaced[id(node)] = replace(
                node, op="Gemm", attributes=[], inputs=[*node.inputs, bias], outputs=after[0].outputs
            )
            replaced[id(after[0])] = None
    return [joined for node in nodes if (joined := replaced.get(id(node), node)) is not None]


def _for_any(
    rows: int, nodes: Sequence[Node], folded: Mapping[str, np.ndarray | None]
) -> tuple[list[Node], dict[str, np.ndarray | None]]:
    """Reshapes to so many rows as reshapes to as many as there are; of a number laid out for them, the number."""
    freed, found = dict(folded), []
    for place, node in enumerate(nodes):
        name = f"any number of rows {place}"
        shape = folded.get(node.inputs[1]) if node.called == "Reshape" else None
        laid = folded.get(node.inputs[0]) if node.called == "Expand" else None
        if shape is not None and shape.size and shape[0] == rows:
            freed[name] = np.array([0 if -1 in shape else -1, *shape[1:]], np.int64)
            node = replace(node, inputs=[node.inputs[0], name])
        elif laid is not None and laid.size and (laid == laid.flat[0]).all():
            freed[name] = laid.reshape(-1)[:1].reshape(())
            node = replace(node, inputs=[name, node.inputs[1]])
        found.append(node)
    return found, freed


def _known(nodes: Iterable[Node], folded: Mapping[str, Any]) -> set[str]:
    """The values that depend on nothing but the shapes of the rows."""
    known: set[str] = set()
    for node in nodes:
        told = all(not name or name in folded or name in known for name in node.inputs)
        if node.called in SHAPES or (told and node.called in KNOWN):
            known.update(node.outputs)
    return known


def _refuse_unknown(nodes: Iterable[Node], known: set[str]) -> None:
    strange: dict[str, None] = {}
    for node in nodes:
        if node.outputs[0] not in known and node.called not in {*ALL_LAYERS, *ALL_OPERATORS}:
            made = " whose shape depends on the values of a row" if node.called in KNOWN else ""
            strange[node.called + made] = None
    if strange:
        raise Beyond(", ".join(strange))


def _step(network: OnnxNetwork, node: Node, version: int, folded: Mapping[str, Any], known: set[str]) -> Step:
    call = _call(node, version)
    if any(name in folded and folded[name] is None for name in node.inputs):
        raise Beyond(f"{node.called} of texts or of numbers that numpy does not have")
    outputs = tuple(node.outputs)
    if node.outputs[0] in known:
        taken = tuple(folded.get(name, name) if name else None for name in node.inputs)
        return Step(call, taken, outputs, function=KNOWN[node.called])
    given = [folded.get(name, DATA) if name else None for name in node.inputs]
    built = ALL_LAYERS[node.called](call, given) if node.called in ALL_LAYERS else None
    if built is None:
        if node.called not in ALL_OPERATORS:
            raise Beyond(f"{node.called} whose weights depend on a row")
        taken = tuple(_entry(network, name, folded, node.called) for name in node.inputs)
        return Step(call, taken, outputs, function=ALL_OPERATORS[node.called])
    layer, places = built
    path = _named(network, node)
    network.add_module(path, layer)
    return Step(call, tuple(_entry(network, node.inputs[p], folded, "") for p in places), outputs, layer=path)


def _entry(network: OnnxNetwork, name: str, folded: Mapping[str, Any], op: str) -> Any:
    """An input of a step: the name of a value, or a constant; one of many floats is kept as a buffer."""
    if not name:
        return None
    if name not in folded:
        return name
    array = folded[name]
    if array.dtype.kind != "f" or array.size == 1 or op in RESIZING:
        return array
    key = f"constant {name.translate(NAMED)}"
    if key not in network._buffers:
        network.register_buffer(key, torch.tensor(array))
    return key


def _named(network: OnnxNetwork, node: Node) -> str:
    """The node's own name for its layer, numbered where it has none or another has it too."""
    name = node.name.translate(NAMED) or f"{node.op}_{len(network._modules)}"
    while name in network._modules or hasattr(network, name):
        name += "'"
    return name


def _spent(steps: list[Step], output: str) -> Iterable[Step]:
    """Each step with the values that nothing after it asks for, so that they are let go."""
    later = {output}
    ended: list[Step] = []
    for step in reversed(steps):
        asked = {entry for entry in step.inputs if isinstance(entry, str)}
        here = (asked | set(filter(None, step.outputs))) - later
        ended.append(replace(step, spent=tuple(sorted(here))))
        later |= asked
    return reversed(ended)

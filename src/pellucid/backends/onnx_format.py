"""The ONNX format: its messages as classes, and the checks that make a network of them that hangs together.

Field numbers and types: onnx.proto3 of ONNX 1.20 (IR version 13), github.com/onnx/onnx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ..records.errors import shorten
from .protobuf import BYTES, DOUBLE, FLOAT, INT, TEXT, UINT, Limits, Message, Reader, many, one

TYPES: dict[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "str", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
"""Element types by number, as numpy calls them; the narrower ones of quantised networks are not read."""
OTHER_TYPES = {**TYPES, 17: "float8", 18: "float8", 19: "float8", 20: "float8", 21: "uint4", 22: "int4", 23: "float4"}
IN_INT32 = ("uint8", "int8", "uint16", "int16", "int32", "bool", "float16", "bfloat16")
OUTSIDE = 1
"""Where a tensor's bytes lie: in a file beside the network's."""
MOST_AXES = 64


@dataclass
class Entry(Message):
    key: str = one(1, TEXT)
    value: str = one(2, TEXT)


@dataclass
class Tensor(Message):
    """A constant; ``array`` is made by :func:`array_of`, of what lies outside by its reader."""

    dims: Any = many(1, INT)
    type: int = one(2, INT)
    floats: Any = many(4, FLOAT)
    int32s: Any = many(5, INT)
    texts: list[memoryview] = many(6, BYTES)
    int64s: Any = many(7, INT)
    name: str = one(8, TEXT)
    raw: memoryview = one(9, BYTES)
    doubles: Any = many(10, DOUBLE)
    uint64s: Any = many(11, UINT)
    outside: list[Entry] = many(13, Entry)
    location: int = one(14, INT)
    array: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.dims)

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(_text(part) for part in self.texts)


@dataclass
class Dimension(Message):
    size: int | None = one(1, INT)
    symbol: str = one(2, TEXT)


@dataclass
class Shape(Message):
    dims: list[Dimension] = many(1, Dimension)


@dataclass
class TensorType(Message):
    type: int = one(1, INT)
    shape: Shape | None = one(2, Shape)


@dataclass
class SomeType(Message):
    tensor: TensorType | None = one(1, TensorType)


@dataclass
class Named(Message):
    """An input or output: its name and type."""

    name: str = one(1, TEXT)
    type: SomeType | None = one(2, SomeType)

    @property
    def dtype(self) -> str:
        """Its element type as numpy calls it, "" where it is no tensor."""
        tensor = self.type.tensor if self.type else None
        return OTHER_TYPES.get(tensor.type, "") if tensor else ""

    @property
    def shape(self) -> tuple[int | str, ...] | None:
        """Its sizes: a number, or the symbol of a free one (``""`` where it has none); None where nothing is told."""
        tensor = self.type.tensor if self.type else None
        if tensor is None or tensor.shape is None:
            return None
        return tuple(d.size if d.size and not d.symbol else d.symbol for d in tensor.shape.dims)


@dataclass
class Attribute(Message):
    name: str = one(1, TEXT)
    f: float = one(2, FLOAT)
    i: int = one(3, INT)
    s: memoryview = one(4, BYTES)
    t: Tensor | None = one(5, Tensor)
    graph: Any = one(6, lambda: Graph)
    floats: Any = many(7, FLOAT)
    ints: Any = many(8, INT)
    strings: list[memoryview] = many(9, BYTES)
    tensors: list[Tensor] = many(10, Tensor)
    graphs: list[Any] = many(11, lambda: Graph)
    type: int = one(20, INT)
    ref: str = one(21, TEXT)

    @property
    def value(self) -> Any:
        """A float, int, text or array, or a list of the first three; None for anything else."""
        if self.type == 3:
            return _text(self.s)
        if self.type == 8:
            return [_text(part) for part in self.strings]
        if self.type in (6, 7):
            return (self.floats if self.type == 6 else self.ints).tolist()
        return {1: self.f, 2: self.i, 4: self.t.array if self.t else None}.get(self.type)


@dataclass
class Node(Message):
    inputs: list[str] = many(1, TEXT)
    outputs: list[str] = many(2, TEXT)
    name: str = one(3, TEXT)
    op: str = one(4, TEXT)
    attributes: list[Attribute] = many(5, Attribute)
    domain: str = one(7, TEXT)

    @cached_property
    def settings(self) -> dict[str, Any]:
        return {attribute.name: attribute.value for attribute in self.attributes}

    @property
    def called(self) -> str:
        """The operator with its domain, ``Conv`` or ``ai.onnx.ml.Scaler``."""
        return self.op if self.domain in ("", "ai.onnx") else f"{self.domain}.{self.op}"


@dataclass
class Sparse(Message):
    values: Tensor | None = one(1, Tensor)


@dataclass
class Graph(Message):
    nodes: list[Node] = many(1, Node)
    name: str = one(2, TEXT)
    constants: list[Tensor] = many(5, Tensor)
    inputs: list[Named] = many(11, Named)
    outputs: list[Named] = many(12, Named)
    sparse: list[Sparse] = many(15, Sparse)


@dataclass
class OperatorSet(Message):
    domain: str = one(1, TEXT)
    version: int = one(2, INT)


@dataclass
class Function(Message):
    """An operator that the file spells out itself."""

    name: str = one(1, TEXT)
    nodes: list[Node] = many(7, Node)


@dataclass
class File(Message):
    """A whole ``.onnx`` file."""

    version: int = one(1, INT)
    producer: str = one(2, TEXT)
    graph: Graph | None = one(7, Graph)
    sets: list[OperatorSet] = many(8, OperatorSet)
    functions: list[Function] = many(25, Function)

    @property
    def operators(self) -> int:
        """The version of the standard operators that the network speaks."""
        return max((s.version for s in self.sets if s.domain in ("", "ai.onnx")), default=0)


Outside = Callable[[Tensor], np.ndarray]


def read_file(data: bytes, name: str, outside: Outside, limits: Limits | None = None) -> File:
    """The network in ``data``, its constants made; ``outside`` reads those that lie in other files.

    Raises :class:`LoadError` with the byte where something is amiss.
    """
    reader = Reader(data, name, limits)
    file = reader.read(File)
    if file.graph is None or not file.graph.nodes:
        reader.refuse("there is no network in the file", 0, "an ONNX file holds a graph of operators")
    if not file.sets:
        reader.refuse("the file does not say which operators its network speaks", 0)
    for tensor in file.graph.constants:
        tensor.array = outside(tensor) if tensor.location == OUTSIDE else array_of(tensor, reader)
    for tensor in _inner_tensors([*file.graph.nodes, *(node for f in file.functions for node in f.nodes)]):
        if tensor.location == OUTSIDE:
            reader.refuse("a constant inside an operator lies in another file", tensor.offset)
        tensor.array = array_of(tensor, reader)
    _refuse_loose_ends(file.graph, reader)
    return file


def _inner_tensors(nodes: Iterable[Node]) -> Iterator[Tensor]:
    """The constants in the attributes of nodes, and in the graphs that these hold."""
    for attribute in (attribute for node in nodes for attribute in node.attributes):
        yield from filter(None, (attribute.t, *attribute.tensors))
        for graph in filter(None, (attribute.graph, *attribute.graphs)):
            yield from graph.constants
            yield from (part.values for part in graph.sparse if part.values)
            yield from _inner_tensors(graph.nodes)


def checked_shape(tensor: Tensor, reader: Reader) -> tuple[int, ...]:
    """The shape of a constant, once it can be one."""
    if len(tensor.dims) > MOST_AXES or any(size < 0 for size in tensor.dims):
        reader.refuse(f"the constant {shorten(tensor.name)!r} has no shape that there could be", tensor.offset)
    return tensor.shape


def array_of(tensor: Tensor, reader: Reader) -> np.ndarray | None:
    """The numbers of a constant; None for texts and for types that numpy does not have.

    What it claims to hold is compared with what is there before anything is made.
    """
    shape = checked_shape(tensor, reader)
    if tensor.type not in OTHER_TYPES:
        reader.refuse(f"the constant {shorten(tensor.name)!r} has an element type that there is not", tensor.offset)
    kind = TYPES.get(tensor.type, "")
    if kind in ("", "str", "bfloat16"):
        return None
    dtype = np.dtype(kind)
    flat = np.frombuffer(tensor.raw, dtype.newbyteorder("<")) if _whole(tensor, dtype) else _listed(tensor, kind)
    if flat is None or flat.size != prod(shape):
        held = f"{len(tensor.raw):,} bytes" if flat is None else f"{flat.size:,} numbers"
        reader.refuse(
            f"the constant {shorten(tensor.name)!r} does not hold what it claims",
            tensor.offset,
            f"{list(shape)} of {kind} are claimed, {held} are there",
        )
    return flat.astype(dtype, copy=False).reshape(shape)


def _whole(tensor: Tensor, dtype: np.dtype) -> bool:
    return len(tensor.raw) > 0 and len(tensor.raw) % dtype.itemsize == 0


def _listed(tensor: Tensor, kind: str) -> np.ndarray | None:
    """The numbers that lie in a field of their type."""
    if len(tensor.raw):
        return None
    if kind in IN_INT32:
        narrow = np.asarray(tensor.int32s)
        return narrow.astype(np.uint16).view(np.float16) if kind == "float16" else narrow.astype(kind)
    if kind.startswith("complex"):
        return np.asarray(tensor.floats if kind == "complex64" else tensor.doubles).view(kind)
    held = {"float32": tensor.floats, "float64": tensor.doubles, "int64": tensor.int64s}.get(kind, tensor.uint64s)
    return np.asarray(held).astype(kind)


def _refuse_loose_ends(graph: Graph, reader: Reader) -> None:
    """Every value must be made before it is used, and once."""
    made: set[str] = {tensor.name for tensor in graph.constants}
    made |= {entry.name for entry in graph.inputs} | {s.values.name for s in graph.sparse if s.values}
    for node in graph.nodes:
        if not node.op:
            reader.refuse("a node of the network has no operator", node.offset)
        lacking = next((name for name in node.inputs if name and name not in made), None)
        if lacking is not None:
            reader.refuse(f"{node.called} uses {shorten(lacking)!r}, which nothing before it makes", node.offset)
        twice = next((name for name in node.outputs if name and name in made), None)
        if twice is not None:
            reader.refuse(f"{shorten(twice)!r} is made twice", node.offset)
        made.update(filter(None, node.outputs))
    for entry in graph.outputs:
        if entry.name not in made:
            reader.refuse(f"nothing makes the output {shorten(entry.name)!r}", entry.offset)
    if not graph.outputs:
        reader.refuse("the network has no output", graph.offset)


def _text(content: memoryview) -> str:
    return bytes(content).decode("utf-8", "replace")

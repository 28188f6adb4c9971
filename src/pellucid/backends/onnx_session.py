"""onnxruntime behind one narrow seam: a network's bytes in, arrays by name out; and the black box made of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import WHOLE
from ..problem.model import Model, Output, Rows
from ..records.errors import LoadError, ModelError, shorten
from ..records.messages import Caution
from .onnx_format import Graph, Named
from .onnx_network import columns_of, inputs_of
from .onnx_operators import DTYPES

FATAL = 4
"""The level of onnxruntime's log: nothing below a crash is printed, errors are raised."""
LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


class Session:
    """A network that onnxruntime runs, with one thread: it answers the same each time, and may be forked.

    ``outside`` are the constants that the file keeps in other files; onnxruntime opens none. Raises
    :class:`LoadError` where it does not take the network.
    """

    def __init__(self, data: bytes, graph: Graph, where: str, outside: Mapping[str, np.ndarray]):
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        options.use_deterministic_compute = True
        if outside:
            values = [runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for a in outside.values()]
            options.add_external_initializers(list(outside), values)
        try:
            self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception for each of its codes, and no common one
            told = str(error)
            guilty = next(
                (n.offset for n in graph.nodes if (n.name and n.name in told) or f"{n.op} is not a" in told), None
            )
            raise LoadError(
                "onnxruntime does not take this network",
                where=where if guilty is None else f"{where}:byte {guilty}",
                why=shorten(told.strip().split("\n")[0], 300),
                fix="export it anew, or bring onnxruntime up to date",
            ) from error
        names = inputs_of(graph)
        self.where = where
        self.inputs = tuple(entry for entry in graph.inputs if entry.name in names)
        self.outputs = tuple(entry.name for entry in graph.outputs)
        self.labels = labels_of(graph)
        self.columns = columns_of(graph)
        self._options = runtime.RunOptions

    def run(self, rows: Mapping[str, np.ndarray], only: str | None = None, patience: float | None = None) -> Any:
        """All outputs by name, or the ``only`` one asked for; dictionaries of each row as columns.

        Raises :class:`ModelError` with what onnxruntime says, also after ``patience`` seconds.
        """
        options = self._options()
        options.log_severity_level = FATAL
        asked = self.outputs if only is None else (only,)
        clock = threading.Timer(patience or 0, setattr, (options, "terminate", True))
        if patience:
            clock.start()
        try:
            found = self._session.run(list(asked), dict(rows), options)
        except Exception as error:
            told = shorten(str(error).strip().split("\n")[0], 300)
            raise ModelError(
                "onnxruntime does not run the network on these rows", where=self.where, why=told
            ) from error
        finally:
            clock.cancel()
        arrays = {name: self._columns(name, value) for name, value in zip(asked, found, strict=True)}
        return arrays if only is None else arrays[only]

    def _columns(self, name: str, value: Any) -> Any:
        if name not in self.columns or not isinstance(value, list):
            return value
        keys = list(value[0]) if value else []
        return np.array([[row[key] for key in keys] for row in value], np.float32)


def onnxruntime() -> Any:
    """The package, or a sentence that says how to get it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise LoadError(
            "an .onnx file needs onnxruntime, which is not installed", fix="pip install 'pellucid[onnx]'"
        ) from error
    return onnxruntime


def labels_of(graph: Graph) -> tuple[str, ...] | None:
    """The names of the classes, where an operator of a classifier tells them, or one that looks the label up."""
    listed = {tensor.name: tensor for tensor in graph.constants}
    for node in reversed(graph.nodes):
        if node.domain != "ai.onnx.ml":
            continue
        told = next((node.settings[name] for name in LABELS if node.settings.get(name)), None)
        if told is None and node.op == "ArrayFeatureExtractor" and node.inputs[0] in listed:
            array = listed[node.inputs[0]].array
            told = listed[node.inputs[0]].words if array is None else array.reshape(-1).tolist()
        if told:
            return tuple(map(str, told))
    return None


def element_type(entry: Named) -> torch.dtype:
    """The type of an input's elements. Raises :class:`LoadError` for texts and for what torch has not."""
    if entry.dtype not in DTYPES:
        raise LoadError(
            f"the input {shorten(entry.name)!r} takes {'texts' if entry.dtype == 'str' else 'no tensor of numbers'}",
            why="rows are numbers here",
            fix="export the network behind what turns raw cells into numbers, and give that as encoding=",
        )
    return DTYPES[entry.dtype]


class OnnxBox(Model):
    """An ONNX network that is only asked for its outputs; ``why`` is told with each answer.

    ``chosen`` tells which of several outputs is explained where the user did not say.
    """

    def __init__(
        self,
        session: Session,
        why: Caution,
        *,
        name: str,
        output: str | None,
        chosen: Mapping[str, str],
        fixed_batch: int | None = None,
    ):
        self.session, self.why, self.reason, self.name, self.output = session, why, why.text(), name, output
        self.chosen, self.fixed_batch = dict(chosen), fixed_batch
        self.argument_names = tuple(entry.name for entry in session.inputs)
        self.types = {entry.name: element_type(entry) for entry in session.inputs}

    @property
    def length(self) -> int | None:
        """The only number of places in a row, where it is an input ``[rows, places]`` that is told in the file."""
        shape = self.session.inputs[0].shape or ()
        return shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None

    def __repr__(self) -> str:
        return f"OnnxBox({self.name}, only outputs)"

    def cautions(self) -> list[Caution]:
        return [self.why]

    def outputs(self, rows: Rows) -> Tensor:
        named = {name: _array(tensor, self.types[name]) for name, tensor in self._by_name(rows).items()}
        if self.output is not None:
            found = {self.output: torch.from_numpy(np.array(self.session.run(named, self.output)))}
            return Output(self.output).pick(found)
        return Output().pick(as_tensors(self.session.run(named)), self.chosen)

    def _by_name(self, rows: Rows) -> Mapping[str, Tensor]:
        assert not isinstance(rows, list)
        if set(rows) == {WHOLE} and WHOLE not in self.types and len(self.types) == 1:
            return {self.argument_names[0]: rows[WHOLE]}
        strange = next((name for name in rows if name not in self.types), None)
        if strange is not None:
            raise ModelError(
                f"the network takes no input named {shorten(strange)!r}", fix=f"it takes {', '.join(self.types)}"
            )
        return rows

    def place(self, rows: Rows) -> Rows:
        return in_types(rows, self.types)


def in_types(rows: Rows, types: Mapping[str, torch.dtype]) -> Rows:
    """Floats in the float type that the network takes; other types are what they are."""
    assert not isinstance(rows, list)
    only = next(iter(types.values())) if len(types) == 1 else torch.float32
    due = {name: types.get(name, only) for name in rows}
    return {
        name: tensor.to(due[name]) if tensor.is_floating_point() and due[name].is_floating_point else tensor
        for name, tensor in rows.items()
    }


def as_tensors(found: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs as tensors, where they are numbers."""
    return {
        name: torch.from_numpy(np.array(value))
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        else value
        for name, value in found.items()
    }


def _array(tensor: Tensor, kind: torch.dtype) -> np.ndarray:
    return tensor.detach().cpu().to(kind).contiguous().numpy()

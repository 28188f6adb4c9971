"""ONNX graphs built by hand for the tests, and what onnxruntime says to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

KINDS = {
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64, "int32": TensorProto.INT32, "bool": TensorProto.BOOL, "str": TensorProto.STRING,
}  # fmt: skip


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def node(op: str, inputs: str, outputs: str = "y", domain: str = "", name: str = "", **settings: Any) -> Any:
    """A node; names of inputs stand in one text, "-" for one left out."""
    taken = ["" if part == "-" else part for part in inputs.split()]
    return helper.make_node(op, taken, outputs.split(), name=name or f"{op} of {inputs}", domain=domain, **settings)


def model(
    nodes: list[Any],
    inputs: dict[str, tuple[str, list[Any] | None]],
    constants: dict[str, np.ndarray] | None = None,
    outputs: dict[str, str] | str = "y",
    version: int = 20,
) -> onnx.ModelProto:
    outputs = {outputs: "float32"} if isinstance(outputs, str) else outputs
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, KINDS[kind], shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, KINDS[kind], None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    sets = [helper.make_opsetid("", version), helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("com.pel", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8 if version < 21 else 10)


def saved(proto: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def ran(proto: onnx.ModelProto | Path, rows: dict[str, np.ndarray], output: str | None = None) -> Any:
    """What onnxruntime answers, straight."""
    given = str(proto) if isinstance(proto, Path) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
    return session.run(None if output is None else [output], rows)[0]

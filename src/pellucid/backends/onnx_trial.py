"""Rows made up for an ONNX network, on which it is compared with its twin in torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..records.errors import ModelError
from .onnx_format import Graph, Named
from .onnx_session import Session

SIZES = (8, 16, 32, 64, 3, 128, 224, 1, 2, 4)
"""Tried for sizes that a file leaves free, after those of its constants."""
MOST_SIZES = 40
LARGEST_SIZE = 4096
PATIENCE = 60.0
"""Seconds that onnxruntime is given for two made-up rows."""
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4, torch.float16: 2e-2}
"""Largest difference, relative to the largest number, within which two answers are the same."""
SAME_PLACES = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose")


@dataclass(frozen=True, eq=False)
class Trial:
    """Two batches of made-up rows, what onnxruntime answers to them, and the number of rows it is bound to."""

    rows: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    answers: tuple[dict[str, Any], dict[str, Any]]
    fixed: int | None

    def tensors(self, which: int) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array) for name, array in self.rows[which].items()}


def tried(session: Session, graph: Graph, constants: Mapping[str, np.ndarray | None]) -> Trial | None:
    """The first sizes for what the file leaves free on which onnxruntime runs; None where it runs on none."""
    declared = {entry.shape[0] for entry in session.inputs if entry.shape and isinstance(entry.shape[0], int)}
    counts = [(min(declared), min(declared))] if declared else [(2, 1), (1, 1), (2, 2)]
    reach = {entry.name: _reach(entry.name, graph, constants) for entry in session.inputs}
    for two, one in counts:
        for size in _sizes(session.inputs, constants):
            rows = tuple(_rows(session.inputs, count, size, reach, seed) for seed, count in enumerate((two, one)))
            try:
                answers = tuple(session.run(batch, patience=PATIENCE) for batch in rows)
            except ModelError:
                continue
            return Trial((rows[0], rows[1]), (answers[0], answers[1]), two if two == one else None)
    return None


def _sizes(inputs: Sequence[Named], constants: Mapping[str, np.ndarray | None]) -> Iterator[int]:
    """Sizes for free axes; one is enough where there are none."""
    if all(entry.shape and all(isinstance(size, int) for size in entry.shape[1:]) for entry in inputs):
        yield 1
        return
    own = [n for array in constants.values() if array is not None for n in _told_by(array) if 1 < n <= LARGEST_SIZE]
    yield from list(dict.fromkeys([SIZES[0], *list(dict.fromkeys(own))[:MOST_SIZES], *SIZES]))


def _told_by(array: np.ndarray) -> list[int]:
    """The sizes that a constant tells: its own, and where it may be a shape, its numbers."""
    return array.tolist() if array.dtype.kind == "i" and array.ndim == 1 and array.size <= 8 else [*array.shape[-2:]]


def _rows(inputs: Sequence[Named], count: int, size: int, reach: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for entry in inputs:
        free = ("", size) if entry.shape is None else entry.shape
        shape = (count, *(n if isinstance(n, int) else size for n in free[1:]))
        kind = np.dtype(entry.dtype)
        if kind.kind == "f":
            made[entry.name] = draws.standard_normal(shape).astype(kind)
        elif reach[entry.name]:
            made[entry.name] = draws.integers(0, reach[entry.name], shape).astype(kind)
        else:  # a mask, most often: the last places of the last row are off
            made[entry.name] = np.ones(shape, kind)
            made[entry.name][-1:, ..., -(shape[-1] // 4) or None :] = count == 1
    return made


def _reach(name: str, graph: Graph, constants: Mapping[str, np.ndarray | None]) -> int:
    """How many lines the table has in which an input of whole numbers is looked up; 0 where it is looked up in none."""
    same, sizes = {name}, []
    for node in graph.nodes:
        if node.op in SAME_PLACES and node.inputs and node.inputs[0] in same:
            same.update(node.outputs)
        if node.op == "Gather" and node.inputs[1] in same and constants.get(node.inputs[0]) is not None:
            table = constants[node.inputs[0]]
            assert table is not None
            sizes.append(table.shape[node.settings.get("axis", 0)])
    return min(sizes, default=0)


def difference(found: Tensor, due: Tensor) -> float:
    """The largest difference of two answers, relative to the largest finite number; infinite where shapes differ."""
    if found.shape != due.shape or not torch.equal(found.isfinite(), due.isfinite()):
        return float("inf")
    a, b = found.double(), due.double()
    gap = torch.where(a.isfinite(), a - b, torch.zeros_like(a)).abs()
    scale = torch.where(b.isfinite(), b, torch.zeros_like(b)).abs()
    return float(gap.max() / scale.max().clamp(min=1e-12)) if gap.numel() else 0.0

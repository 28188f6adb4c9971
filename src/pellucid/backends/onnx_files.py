"""Loads ``.onnx`` files: the bytes are checked, onnxruntime answers, and a twin in torch opens the network up.

Nothing that a file names is opened outside of its own folder, and nothing is made as large as a file claims before
the claim was held against the bytes that are there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..problem.model import Model, Output, Rows
from ..records.errors import LoadError, ModelError, shorten
from ..records.messages import Caution
from .onnx_format import File, Graph, Tensor, array_of, read_file
from .onnx_known import Beyond
from .onnx_network import OnnxNetwork, constants_of, network_of
from .onnx_session import OnnxBox, Session, as_tensors, element_type, in_types
from .onnx_trial import TOLERANCE, Trial, difference, tried
from .protobuf import Reader
from .torch_module import TorchModel

LARGEST_FILE = 2 * 2**30
"""Protocol buffers end here; what is larger keeps its constants in other files."""
LARGEST_OUTSIDE = 8 * 2**30
"""Bytes of all constants in other files together."""


class OnnxTwin(TorchModel):
    """An ONNX network rebuilt in torch, with everything a torch module can.

    ``difference`` is the largest one between its answers and onnxruntime's, relative to the largest number.
    """

    def __init__(self, network: OnnxNetwork, difference: float, types: dict[str, torch.dtype], **known: Any):
        super().__init__(network, names=network.input_names, **known)
        self.difference, self.types = difference, types

    def place(self, rows: Rows) -> Rows:
        return super().place(rows) if next(self.module.parameters(), None) is not None else in_types(rows, self.types)


def load_onnx(path: Path, *, trust: bool = False, output: str | int | None = None, name: str = "") -> Model:
    """The network in an ``.onnx`` file: its twin in torch where that answers as onnxruntime does, else a black box.

    ``output`` is the name or the place of the output that is meant. Nothing in the file is ever unpickled, so
    ``trust`` changes nothing. Raises :class:`LoadError` that names the file and the byte.
    """
    data = _read(path)
    others = Others(path)
    file = read_file(data, str(path), others.read)
    graph = file.graph
    assert graph is not None
    try:
        constants = constants_of(file)
    except ModelError as error:
        raise LoadError(error.what, where=str(path), why=error.why, fix=error.fix) from error
    session = Session(data, graph, str(path), others.arrays)
    types = {entry.name: element_type(entry) for entry in session.inputs}
    trial = tried(session, graph, constants)
    meant, chosen = _meant(graph, trial, output)
    known: dict[str, Any] = {"name": name or path.stem, "fixed_batch": trial.fixed if trial else None}
    try:
        model: Any = _twin(file, meant, constants, trial, types, known)
        model.chosen = chosen
    except _Boxed as reason:
        model = OnnxBox(session, reason.caution, output=meant, chosen=chosen, **known)
    model.labels = session.labels if meant is not None and session.labels and _fits(trial, meant, session) else None
    return model


class _Boxed(Exception):
    """Why there is no twin."""

    def __init__(self, code: str, **values: Any):
        self.caution = Caution.of(code, "note", **values)
        super().__init__(code)


def _twin(
    file: File, meant: str | None, constants: Any, trial: Trial | None, types: dict[str, torch.dtype], known: Any
) -> OnnxTwin:
    """The twin, compared with onnxruntime on both batches of made-up rows."""
    if trial is None or meant is None:
        raise _Boxed("onnx_unchecked")
    try:
        network = network_of(file, meant, constants)
        with torch.no_grad():
            found = [network(**trial.tensors(which)) for which in (0, 1)]
    except Beyond as beyond:
        raise _Boxed("onnx_operators", operators=shorten(beyond, 200)) from beyond
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        raise _Boxed("onnx_operators", operators=shorten(str(error).split("\n")[0], 200)) from error
    due = [as_tensors(answers)[meant] for answers in trial.answers]
    most = max(difference(a, b) for a, b in zip(found, due, strict=True))
    if most > TOLERANCE.get(found[0].dtype, 0.0):
        raise _Boxed("onnx_differs", difference=most)
    if trial.fixed and (free := _free(file, meant, constants, trial, found)) is not None:
        network, known = free, known | {"fixed_batch": None}
    return OnnxTwin(network, most, types, **known)


def _free(file: File, meant: str, constants: Any, trial: Trial, found: list[torch.Tensor]) -> OnnxNetwork | None:
    """The twin of a network for so many rows, where it takes any number, and answers each as before."""
    network = network_of(file, meant, constants, rows=trial.fixed)
    rows = {name: torch.cat([trial.tensors(w)[name] for w in (0, 1, 0)])[1:] for name in trial.rows[0]}
    due = torch.cat([*found, found[0]])[1:]
    try:
        with torch.no_grad():
            same = difference(network(**rows), due) <= TOLERANCE.get(due.dtype, 0.0)
    except (Beyond, RuntimeError, ValueError, IndexError):
        return None
    return network if same else None


def _meant(graph: Graph, trial: Trial | None, output: str | int | None) -> tuple[str | None, dict[str, str]]:
    """The output to explain, and what is to be said about the choice."""
    names = [entry.name for entry in graph.outputs]
    if output is not None:
        place = output if isinstance(output, int) else names.index(output) if output in names else len(names)
        if place not in range(len(names)):
            raise ModelError(f"the model returns no {output!r}", fix=f"it returns {', '.join(map(shorten, names))}")
        return names[place], {}
    if len(names) == 1 or trial is None:
        return (names[0], {}) if len(names) == 1 else (None, {})
    chosen: dict[str, str] = {}
    try:
        Output().pick(as_tensors(trial.answers[0]), chosen)
    except ModelError as error:
        raise LoadError(error.what, why=error.why, fix='say which one is meant: output="…" in pellucid.load') from error
    return chosen["name"], chosen


def _fits(trial: Trial | None, meant: str, session: Session) -> bool:
    """Whether the output has a column for each of the names of classes."""
    found = None if trial is None else trial.answers[0].get(meant)
    return isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] == len(session.labels or ())


# ---------------------------------------------------------------- bytes


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise LoadError(
                f"the file has {size:,} bytes, more than an ONNX file can have",
                where=str(path),
                fix="save it with its constants in a file beside it",
            )
        data = path.read_bytes()
    except OSError as error:
        raise LoadError("could not open the file", where=str(path), why=str(error.strerror or error)) from error
    if not data:
        raise LoadError("the file is empty", where=str(path))
    return data


class Others:
    """The files beside an ONNX file in which it keeps constants; ``arrays`` are those that were read, by name."""

    def __init__(self, path: Path):
        self.path, self.folder = path, path.resolve().parent
        self.arrays: dict[str, np.ndarray] = {}
        self._spent = 0

    def read(self, tensor: Tensor) -> np.ndarray:
        """The numbers of a constant. Raises :class:`LoadError` where they are not in this folder, or not all there."""
        told = {entry.key: entry.value for entry in tensor.outside}
        file = self._inside(told.get("location", ""), tensor)
        whole = file.stat().st_size
        start, count = self._number(told, "offset", 0, tensor), self._number(told, "length", whole, tensor)
        count = min(count, whole - start) if "length" not in told else count
        if start + count > whole or count < 0:
            raise self._fault(f"the file {file.name!r} ends before the constant does", tensor)
        self._spent += count
        if self._spent > LARGEST_OUTSIDE:
            raise self._fault(f"the constants in other files have more than {LARGEST_OUTSIDE:,} bytes", tensor)
        with file.open("rb") as opened:
            opened.seek(start)
            raw = opened.read(count)
        array = array_of(replace(tensor, raw=memoryview(raw), location=0), Reader(b"", str(self.path)))
        if array is None:
            raise self._fault("a constant in another file has a type that is not read from there", tensor)
        self.arrays[tensor.name] = array
        return array

    def _inside(self, location: str, tensor: Tensor) -> Path:
        """The file that is meant, where it is a plain one below this folder."""
        asked = self.folder / location
        odd = not location or "\\" in location or "\0" in location or ".." in Path(location).parts
        if odd or Path(location).is_absolute() or not asked.resolve().is_relative_to(self.folder):
            raise self._fault(
                f"a constant is said to lie in {shorten(location)!r}, outside of the file's folder", tensor
            )
        if not asked.is_file():
            raise self._fault(f"the file {shorten(location)!r} with constants is missing", tensor)
        return asked

    def _number(self, told: dict[str, str], key: str, otherwise: int, tensor: Tensor) -> int:
        value = told.get(key, str(otherwise))
        if not value.isascii() or not value.isdigit() or len(value) > 19:
            raise self._fault(f"the {key} of a constant in another file is {shorten(value)!r}", tensor)
        return int(value)

    def _fault(self, what: str, tensor: Tensor) -> LoadError:
        return LoadError(
            what,
            where=f"{self.path}:byte {tensor.offset}",
            fix="keep the network and its files in one folder, as they were written",
        )

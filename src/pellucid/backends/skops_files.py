"""Loads scikit-learn estimators from ``.skops`` files: JSON and arrays, of types that are known here.

skops is given a copy whose archive was checked (members, sizes, checksums), whose arrays are as large as their headers
tell, and whose tree holds only those kinds of nodes that make data, not calls. Types are then told by skops
without importing any; what is neither trusted by skops nor listed here is refused by name. Trees of forests are checked
node by node, because scikit-learn follows their indices without looking.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..records.errors import LoadError, shorten
from .archive import Archive, Limits, open_archive, zipped

TREE = "sklearn.tree._tree.Tree"
KNOWN = frozenset(
    [
        TREE,
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.utils._bunch.Bunch",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "collections.OrderedDict",
        "numpy.dtype",
    ]
)
"""Types of scikit-learn, numpy and scipy that skops does not trust by itself; all of them hold settings and numbers."""
NODES = frozenset(
    [
        "BytearrayNode", "BytesNode", "CachedNode", "DTypeNode", "DefaultDictNode", "DictNode", "FunctionNode",
        "JsonNode", "ListNode", "LossNode", "MaskedArrayNode", "NdArrayNode", "ObjectNode", "RandomGeneratorNode",
        "RandomStateNode", "SetNode", "SliceNode", "SparseMatrixNode", "TreeNode", "TupleNode", "TypeNode",
    ]
)  # fmt: skip
SCHEMA, LARGEST_SCHEMA = "schema.json", 64 * 2**20
SKOPS = "where you trust it, load it and save it anew: skops.io.dump(estimator, 'model.skops')"
TRUST = "if you made the file yourself, pass trust=True for it"


def load_estimator(path: Path, *, trust: bool = False, limits: Limits | None = None) -> Any:
    """The estimator in a ``.skops`` file.

    skops is given a copy of what was checked, never the file. ``trust`` allows types that are not known here, which can
    run any program. Raises :class:`LoadError` naming the file and, where known, the member and byte.
    """
    with open_archive(path, limits or Limits(total=4 * 2**30)) as archive:
        schema = _schema(archive)
        parts = {name: _checked(archive, name) for name in archive.members}
    if not trust:
        _refuse_calls(schema, str(path))
    found = _made(zipped(parts), str(path), trust)
    if not trust:
        _check_trees(found, str(path))
    return _an_estimator(found, str(path))


def refuse_pickled(path: Path) -> NoReturn:
    """Say what to do with an estimator that was kept as a pickle, or by joblib, which is one."""
    raise LoadError(
        "the file is a pickle, which can run any program when it is loaded",
        where=str(path),
        fix=f"{SKOPS} (pip install 'pellucid[skops]'); or load it "
        "yourself and give the object: pellucid.wrap(joblib.load(path))",
    )


def _an_estimator(found: Any, where: str) -> Any:
    if not hasattr(found, "predict"):
        raise LoadError(f"the file holds a {type(found).__name__}, not an estimator that predicts", where=where)
    return found


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise LoadError("reading .skops files needs skops", fix="pip install 'pellucid[skops]'") from error
    return skops.io


def _schema(archive: Archive) -> Any:
    """The tree of the file, read as JSON."""
    member = archive.members.get(SCHEMA)
    if member is None:
        raise LoadError(f"the archive has no member {SCHEMA!r}: it is no skops file", where=archive.name, fix=SKOPS)
    if member.size > LARGEST_SCHEMA:
        archive.refuse(f"{SCHEMA} is larger than any estimator's", member.start)
    try:
        return json.loads(archive.read(SCHEMA))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{SCHEMA} is damaged", where=f"{archive.name}:{SCHEMA}", why=shorten(error, 200)) from error


def _checked(archive: Archive, name: str) -> bytes:
    """The bytes of a member, its checksum compared; an array must have the size that its header tells."""
    content = archive.read(name)
    if name.endswith(".npy"):
        _check_array(content, f"{archive.name}:{shorten(name)}")
    elif name.endswith(".npz"):
        with open_archive(content, archive.limits) as inner:
            for part in inner.members:
                _check_array(inner.read(part), f"{archive.name}:{shorten(name)}:{shorten(part)}")
    return content


def _check_array(content: bytes, where: str) -> None:
    from numpy.lib import format as npy

    file = io.BytesIO(content)
    try:
        version = npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        raise LoadError("an array is damaged", where=where, why=shorten(error, 200)) from error
    if dtype.hasobject:
        raise LoadError("an array holds pickled objects, which can run any program", where=where, fix=SKOPS)
    if file.tell() + size != len(content):
        raise LoadError(f"an array of shape {shape} does not fit its {len(content)} bytes", where=where)


def _refuse_calls(schema: Any, where: str) -> None:
    """Raise where a node would call something: methods, operators, partial functions, constructors from a file."""
    open_nodes = [schema]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, dict):
            kind = node.get("__loader__")
            if kind is not None and kind not in NODES:
                owner = f"{node.get('__module__')}.{node.get('__class__')}"
                _refuse_types([f"{shorten(owner)} (as a {shorten(kind)})"], where)
            open_nodes.extend(node.values())
        elif isinstance(node, list):
            open_nodes.extend(node)


def _refuse_types(names: list[str], where: str) -> NoReturn:
    shown = ", ".join(shorten(name, 80) for name in names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
    raise LoadError(
        f"the file holds {'a type' if len(names) == 1 else 'types'} that no file is trusted with: {shown}",
        where=where,
        why="what is made of it could run a program, or read beyond its memory",
        fix=TRUST,
    )


def _made(copy: bytes, where: str, trust: bool) -> Any:
    """The object in a copy, once every type in it is one that skops trusts, or known here."""
    io = _skops()
    with _in_sentences(where):
        types = sorted(io.get_untrusted_types(data=copy))
    strange = [name for name in types if name not in KNOWN]
    if strange and not trust:
        _refuse_types(strange, where)
    with _in_sentences(where):
        return io.loads(copy, trusted=types)


@contextmanager
def _in_sentences(where: str) -> Iterator[None]:
    """skops, and estimators of another version, raise whatever a tree leads them to."""
    try:
        yield
    except Exception as error:
        told = str(error).strip().split("\n")[0] or "it was written by another version, or damaged"
        raise LoadError(
            "skops could not build the estimator in this file", where=where,
            why=f"{type(error).__name__}: {shorten(told, 200)}", fix="save it anew with skops.io.dump",
        ) from error  # fmt: skip


def _check_trees(found: Any, where: str) -> None:
    """Raise where a node of a tree leads out of it, back into it, or asks for a column that is not there."""
    for tree in _trees(found):
        state = tree.__getstate__()
        nodes, count = state["nodes"], int(state["node_count"])
        left, right, feature = nodes["left_child"], nodes["right_child"], nodes["feature"]
        inner = left != -1
        places = np.arange(len(nodes))[inner]
        sound = count == len(nodes) and count > 0
        sound = sound and bool(((left[inner] > places) & (right[inner] > places)).all())
        sound = sound and bool(((left[inner] < count) & (right[inner] < count)).all())
        if not sound or ((feature[inner] < 0) | (feature[inner] >= tree.n_features)).any():
            raise LoadError("a tree in this file leads out of itself", where=where, why="it is damaged, or a trap")


def _trees(found: Any) -> Iterator[Any]:
    """Every tree that can be reached from an estimator, each once."""
    seen: set[int] = set()
    ahead = [found]
    while ahead:
        one = ahead.pop()
        if id(one) in seen or isinstance(one, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(one))
        if f"{type(one).__module__}.{type(one).__name__}" == TREE:
            yield one
        elif isinstance(one, np.ndarray):
            ahead.extend(one.ravel().tolist() if one.dtype == object else ())
        elif isinstance(one, dict):
            ahead.extend(one.values())
        elif isinstance(one, (list, tuple, set)):
            ahead.extend(one)
        else:
            ahead.extend(getattr(one, "__dict__", {}).values())

"""Loads TorchScript archives, read only: their code is checked before torch compiles it.

TorchScript cannot run Python, but it has operators that write files, start threads and call other machines, and
loading runs the ``__setstate__`` of its classes. So its text (which has Python's grammar) is walked first: only aten
operators that compute, a written list of ``prim`` ones, and names that the archive itself defines may stand there. Its
pickles are read by torch's own reader in C++, which knows tensors, containers and the archive's classes; which classes
they name is checked as well. Files for debuggers are left out of the copy that torch is given.
"""

from __future__ import annotations

import ast
import io
import os
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pickletools import genops
from typing import NoReturn

import torch

from ..records.errors import LoadError, shorten
from .archive import Limits, open_archive, zipped

LARGEST_TEXT = 32 * 2**20
PRIM = frozenset(
    [
        "NumToTensor", "RaiseException", "abs", "data", "device", "dtype", "grad", "index", "is_cpu", "is_cuda",
        "is_meta", "is_mkldnn", "is_mps", "is_nested", "is_quantized", "is_sparse", "is_sparse_csr", "is_xla",
        "is_vulkan", "itemsize", "layout", "max", "min", "name", "nbytes", "rangelist", "requires_grad", "shape",
        "tolist", "type", "unchecked_cast", "unchecked_unwrap_optional",
    ]
)  # fmt: skip
PLAIN = frozenset(
    [
        "abs", "annotate", "bool", "complex", "dict", "enumerate", "float", "getattr", "int", "isinstance", "len",
        "list", "max", "min", "range", "round", "str", "tuple", "unchecked_cast", "uninitialized", "unwrap_optional",
        "zip",
    ]
)  # fmt: skip
TYPES = re.compile(
    r"__torch__(\.\w+)* \w+|torch\._utils _rebuild_\w*tensor\w*|torch\.jit\._pickle \w+|collections OrderedDict"
    r"|torch \w+Storage|torch\.storage \w+|torch device|torch\.serialization _get_layout"
)
"""What a pickle in the archive may name: the archive's own classes, and what tensors are rebuilt from."""
ELSE = (
    "export the original module with torch.export.save; where you trust the file: pellucid.wrap(torch.jit.load(path))"
)


def load_torchscript(path: str | os.PathLike[str], limits: Limits | None = None) -> torch.jit.ScriptModule:
    """The module in an archive of ``torch.jit.save``.

    Raises :class:`LoadError` naming the file and the member, line or byte where it is damaged or refused.
    """
    with open_archive(path, limits) as archive:
        parts = {
            name: archive.read(name)
            for name in archive.members
            if not name.endswith((".debug_pkl", "/")) and "/extra/" not in name
        }
    texts = {name: content for name, content in parts.items() if "/code/" in name}
    _check_texts(texts, str(path))
    for name, content in parts.items():
        if name.endswith(".pkl"):
            _check_pickle(content, f"{path}:{shorten(name)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is said on our own page
            return torch.jit.load(io.BytesIO(zipped(parts)), map_location="cpu")
    except Exception as error:  # torch raises many kinds for a program that it cannot build
        raise LoadError(
            "torch could not build the network in this TorchScript archive",
            where=str(path),
            why=shorten(str(error).strip().split("\n")[0], 300),
            fix=ELSE,
        ) from error


def _check_texts(texts: dict[str, bytes], where: str) -> None:
    """Raise where the code could do more than compute."""
    if sum(map(len, texts.values())) > LARGEST_TEXT:
        raise LoadError("the archive's code is larger than any network's", where=where)
    trees = {}
    for name, text in texts.items():
        try:
            trees[name] = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise LoadError("the code is damaged", where=f"{where}:{shorten(name)}", why=shorten(error, 200)) from error
    own = {name for tree in trees.values() for name in _defined(tree)}
    for name, tree in trees.items():
        _check_tree(tree, own, f"{where}:{shorten(name)}")


def _defined(tree: ast.AST) -> Iterator[str]:
    """The names that a text gives to classes, functions, arguments and variables."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _check_tree(tree: ast.AST, own: set[str], where: str) -> None:
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            _check_name(_dotted(node), node, own, where)
        elif isinstance(node, ast.Name) and node.id in ("ops", "torch") and id(node) not in inner:
            _refuse(node.id, node, where)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id not in PLAIN and node.func.id not in own:
                _refuse(node.func.id, node, where)
            for given in node.args if node.func.id == "getattr" else ():
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    _check_name(("", given.value), node, own, where)


def _dotted(node: ast.expr) -> tuple[str, ...]:
    """The parts of a chain of attributes; "" for whatever it begins with, where that is no name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id if isinstance(node, ast.Name) else "", *parts[::-1])


def _check_name(chain: tuple[str, ...], node: ast.expr, own: set[str], where: str) -> None:
    """A chain of names is one of torch's operators, of the archive's own code, or an attribute of a value."""
    if chain[0] == "ops":
        sound = len(chain) == 3 and chain[1] == "prim" and chain[2] in PRIM
    elif chain[0] == "torch":
        sound = len(chain) == 2 and _computes(chain[1]) is True
    elif chain[0] == "__torch__":
        sound = chain[1:3] != ("torch", "classes")
    else:
        sound = all(_computes(part) is not False for part in chain[1:])
    if not sound:
        _refuse(".".join(filter(None, chain)), node, where)


@cache
def _files() -> dict[str, bool]:
    """Each operator of aten, and whether it does more than compute: takes the name of a file, prints, or waits."""
    found: dict[str, bool] = {}
    for schema in torch._C._jit_get_all_schemas():
        room, _, name = schema.name.partition("::")
        if room == "aten":
            touches = any("filename" in argument.name for argument in schema.arguments)
            found[name] = found.get(name, False) or touches or name in ("_print", "wait")
    return found


def _computes(name: str) -> bool | None:
    """Whether an operator of aten with this name only computes; None where there is none."""
    touches = _files().get(name)
    if touches is None:
        return True if name in ("__is__", "__isnot__", "__not__") else None
    return not touches


def _refuse(name: str, node: ast.expr, where: str) -> NoReturn:
    raise LoadError(
        f"the code uses {shorten(name)!r}, which is not known to compute only", where=f"{where}:{node.lineno}",
        why="a network needs no files, threads or other machines", fix=ELSE,
    )  # fmt: skip


def _check_pickle(content: bytes, where: str) -> None:
    """Raise where a pickle names anything but tensors and the archive's own classes."""
    try:
        for operation, argument, _ in genops(content):
            unknown = operation.name == "GLOBAL" and not TYPES.fullmatch(str(argument))
            if unknown or operation.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"):
                raise LoadError(f"the archive names {shorten(argument or operation.name)!r}", where=where, fix=ELSE)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise LoadError("a pickle in the archive is damaged", where=where, why=shorten(error, 200)) from error

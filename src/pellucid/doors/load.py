"""The door for files: a network on disk becomes a Model, safely or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..backends.torch_files import load_module
from ..backends.torch_module import TorchModel
from ..problem.model import Model, Output
from .wrap import as_encoding

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def load(
    path: str | os.PathLike[str],
    *,
    encoding: Any = None,
    outputs: Sequence[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    output: str | int | None = None,
    name: str = "",
    trust: bool = False,
) -> Model:
    """Load a network.

    Parameters
    ----------
    path: an exported program (``.pt2``), or ``"package.module:factory"`` with ``weights=``.
    encoding: how raw rows become its inputs; never guessed (see :func:`pellucid.wrap`).
    outputs: names of its outputs.
    weights, arguments: the file of weights for a factory, and the factory's named arguments.
    output: which of several outputs is meant.
    trust: allow this one file to be unpickled, which can run any program it holds.

    Raises :class:`LoadError` with what to do instead.
    """
    factory = str(path) if FACTORY.fullmatch(str(path)) else None
    loaded = load_module(None if factory else path, factory=factory, weights=weights, arguments=arguments, trust=trust)
    return TorchModel(
        loaded.module,
        name=name or (Path(path).stem if factory is None else str(path).rpartition(":")[2]),
        labels=None if outputs is None else tuple(map(str, outputs)),
        encoding=None if encoding is None else as_encoding(encoding),
        output=Output(output),
        fixed_batch=loaded.batch,
    )

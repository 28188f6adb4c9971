"""The door for networks in files: a path, and what only the user knows about it, become a Model."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..backends.dropout import Draws
from ..backends.estimator import asked
from ..backends.skops_files import load_estimator, refuse_pickled
from ..backends.torch_files import Factory, LoadedModule, imported, kind_of, load_module
from ..backends.transformers_files import is_folder, open_folder
from ..problem.model import Model
from ..records.errors import LoadError
from .wrap import wrap

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _endpoint(path: Path, *, trust: bool, output: str | int | None, name: str) -> Model:
    """A model behind an HTTP endpoint. Nothing of it runs here, so there is nothing to trust."""
    if output is not None:
        raise LoadError(
            f"output={output!r} is said in the endpoint's file", where=path.name, fix="answer: and outputs: in it"
        )
    try:
        from .endpoint import open_endpoint
    except ModuleNotFoundError as error:
        raise LoadError(
            f"an endpoint's file needs {error.name}", where=path.name, fix="pip install 'pellucid[tables]'"
        ) from error
    return open_endpoint(path, name)


def _onnx(path: Path, **how: Any) -> Model:
    from ..backends.onnx_files import load_onnx

    return load_onnx(path, **how)


def _keras(path: Path, **how: Any) -> Model:
    from ..backends.keras_files import load_keras

    return load_keras(path, **how)


FRAMEWORKS: dict[str, Callable[..., Model]] = {
    ".onnx": _onnx,
    ".keras": _keras,
    ".h5": _keras,
    ".hdf5": _keras,
    ".yaml": _endpoint,
    ".yml": _endpoint,
    ".json": _endpoint,
}
"""What opens files of other frameworks, by the end of their names; each takes the path and ``trust=``."""


def load(
    path: str | os.PathLike[str] | Factory,
    *,
    encoding: Any = None,
    outputs: Sequence[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    trust: bool = False,
    output: str | int | None = None,
    name: str = "",
    stochastic: bool | int | Draws = False,
    missing: str = "",
) -> Model:
    """A network from a file, without running anything that the file holds.

    Parameters
    ----------
    path: an exported program (``.pt2``), an ONNX network (``.onnx``), a Keras network (``.keras``,
        ``.h5``), a scikit-learn estimator (``.skops``), a file that says where a model is served
        (``endpoint.yaml``), or the code that builds the network, ``"package.module:factory"`` or the function itself,
        together with ``weights=``. Without weights it may name the model itself: a function that is given a batch, a
        module, an estimator.
    encoding: how raw rows become the network's inputs, as in :func:`pellucid.wrap`. It is never guessed and never
        looked for: a file that happens to lie beside the weights is not read.
    outputs: names of the outputs.
    weights: the weights (safetensors, or a plain ``state_dict``) for a factory.
    arguments: named arguments for a factory.
    trust: allow this one file to be unpickled, which can run any program it holds.
    output: which of several outputs is meant.
    name: what to call the model; by default its file or factory.
    stochastic: keep dropout on, as in :func:`pellucid.wrap`.
    missing: what becomes of missing cells, as in :func:`pellucid.wrap`.

    Raises :class:`LoadError` with what to do instead where the file is refused.
    """
    how: dict[str, Any] = {"stochastic": stochastic, "missing": missing}
    if callable(path) or FACTORY.fullmatch(os.fspath(path)):
        factory = path if callable(path) else os.fspath(path)
        bare = weights is None and arguments is None
        named = imported(factory) if bare and isinstance(factory, str) else factory
        if bare and _is_model(named):
            found = named
        else:
            found = load_module(factory=factory, weights=weights, arguments=arguments, trust=trust)
        label = factory.rpartition(":")[2] if isinstance(factory, str) else getattr(factory, "__name__", "")
    elif weights is not None or arguments is not None:
        given = "weights=" if weights is not None else "arguments="
        raise LoadError(
            f"{given} belongs to code that builds the network, and {os.fspath(path)!r} is a file",
            fix='give "package.module:factory" first',
        )
    elif is_folder(Path(path)):
        opened = open_folder(Path(path), output=output, name=name)
        return wrap(opened, encoding=encoding, outputs=outputs, **how)
    elif (opener := FRAMEWORKS.get(Path(path).suffix.lower())) is not None:
        found = opener(Path(path), trust=trust, output=output, name=name or Path(path).stem)
        if outputs is not None:
            found.labels = None  # names from the user count for more than names from a file
        return wrap(found, encoding=encoding, outputs=outputs, **how)
    else:
        found = _estimator(Path(path), trust) or load_module(path, trust=trust)
        label = Path(path).stem
    if isinstance(found, LoadedModule) and not found.training:
        found.module.eval()  # it was loaded to be used; the mode in which it was built or saved says nothing
    return wrap(found, encoding=encoding, outputs=outputs, output=output, name=name or label, **how)


def _is_model(named: Any) -> bool:
    """Whether what code names is a model, and not what builds one: it answers, or has to be given something."""
    if isinstance(named, (str, type)):
        return False
    if isinstance(named, (Model, nn.Module)) or asked(named) is not None:
        return True
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(named).parameters.values() if callable(named) else ()
    return any(one.kind in by_place and one.default is inspect.Parameter.empty for one in parameters)


def _estimator(path: Path, trust: bool) -> Any:
    """The scikit-learn estimator in a file whose name says that it holds one; None for any other file."""
    suffix = path.suffix.lower()
    if suffix == ".skops":
        return load_estimator(path, trust=trust)
    if suffix in (".pkl", ".pickle", ".joblib") and not trust and kind_of(path) in ("pickle", "unknown"):
        refuse_pickled(path)
    return None

"""The door for models: whatever the user has becomes a Model, or a sentence says why not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from ..backends.function import FunctionModel
from ..backends.torch_module import TorchModel
from ..problem.model import Model, Output
from ..records.errors import EncodingError, InputError, ModelError


def wrap(
    model: Any,
    *,
    encoding: Any = None,
    outputs: Sequence[str] | None = None,
    output: str | int | None = None,
    name: str = "",
) -> Model:
    """A module or a function as a model.

    Parameters
    ----------
    model: a ``torch.nn.Module``, a function from a batch (numpy array, or list of word lists) to numbers ``[b]`` or
        ``[b, K]``, an estimator with ``predict_proba`` or ``predict``, or a model already wrapped.
    encoding: how raw rows become the model's inputs: an Encoding or its file, a fitted scikit-learn
        transformer, or ``"package.module:function"`` that returns one.
    outputs: names of the outputs.
    output: which of several outputs is meant (a key of a dict, an attribute, a place in a tuple).

    Raises :class:`ModelError` for anything else.
    """
    labels = None if outputs is None else tuple(map(str, outputs))
    found = None if encoding is None else as_encoding(encoding)
    if isinstance(model, Model):
        return _refined(model, labels, found)
    chosen = Output(output)
    if isinstance(model, nn.Module):
        return TorchModel(model, name=name, labels=labels, encoding=found, output=chosen)
    function = getattr(model, "predict_proba", None) or (None if callable(model) else getattr(model, "predict", None))
    function = function or model
    if not callable(function) or isinstance(function, type):
        raise ModelError(
            f"a {type(model).__name__} is not a model",
            fix="give a torch module, a function of a batch, or a path to pellucid.load",
        )
    name = name or (type(model).__name__ if function is not model else "")
    return FunctionModel(function, name=name, labels=labels, encoding=found, output=chosen)


def _refined(model: Model, labels: tuple[str, ...] | None, encoding: Any) -> Model:
    """A wrapped model is given what it lacks; what it already has is not overwritten behind the user's back."""
    for attribute, value in (("labels", labels), ("encoding", encoding)):
        if value is None:
            continue
        if getattr(model, attribute) is not None:
            raise InputError(f"this model already has {attribute}", fix="wrap the module itself again")
        setattr(model, attribute, value)
    return model


def as_encoding(given: Any) -> Any:
    """An encoding from an object, a file, a scikit-learn transformer or ``"package.module:function"``."""
    if isinstance(given, (str, Path)) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", str(given)):
        module, _, function = str(given).partition(":")
        try:
            given = getattr(import_module(module), function)()
        except (ImportError, AttributeError) as error:
            raise EncodingError(f"could not find {module}:{function}", why=str(error)) from error
    if isinstance(given, (str, Path)):
        from ..data.encoding import load_encoding

        return load_encoding(given)
    if hasattr(given, "encode"):
        return given
    if hasattr(given, "transform"):
        from ..data.encoding import from_sklearn

        return from_sklearn(given)
    raise EncodingError(
        f"a {type(given).__name__} is not an encoding",
        fix='give an Encoding, its JSON file, a fitted scikit-learn transformer, or "package.module:function"',
    )

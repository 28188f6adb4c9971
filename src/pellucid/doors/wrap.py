"""The door for models: whatever the user has becomes a Model, or a sentence says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from ..backends.dropout import Draws
from ..backends.estimator import asked, estimator_model
from ..backends.function import FunctionModel
from ..backends.image_processor import ImageProcessor, is_image_processor
from ..backends.jax_function import JaxModel
from ..backends.keras_model import KerasModel, is_keras
from ..backends.language import Tags
from ..backends.onnx_session import OnnxBox
from ..backends.tensorflow_live import TensorFlowModel, is_tensorflow
from ..backends.token_box import TokenBox, box_of
from ..backends.token_network import Reading, TokenModel, refuse_without_encoding
from ..backends.tokenizer import Tokenizer, is_tokenizer
from ..backends.torch_files import LoadedModule
from ..backends.torch_module import TorchModel
from ..backends.transformers_files import TOKENIZER, is_of_transformers, of_transformers, open_tokenizer, with_tags
from ..data.text_encoding import TextEncoding
from ..measures.entities import are_tags
from ..problem.model import Model, Output
from ..records.errors import EncodingError, InputError, ModelError, NotApplicable, shorten
from .blanks import as_missing

R = TypeVar("R", bound=Reading)


def wrap(
    model: Any,
    *,
    encoding: Any = None,
    outputs: Sequence[str] | None = None,
    output: str | int | None = None,
    name: str = "",
    parameters: Any = None,
    stochastic: bool | int | Draws = False,
    missing: str = "",
) -> Model:
    """A module or a function as a model.

    Parameters
    ----------
    model: a ``torch.nn.Module``, a network loaded from a file, a live Keras or TensorFlow model, a function from a
        batch (numpy array, or list of word lists) to numbers ``[b]`` or ``[b, K]``, an estimator with
        ``predict_proba`` or ``predict``, or a model already wrapped.
    encoding: how raw rows become the model's inputs: an Encoding or its file, a fitted scikit-learn
        transformer, a tokenizer or the folder it was saved in, or ``"package.module:function"`` that returns one. With
        a tokenizer a function is given the numbers of tokens, and what else its parameters ask for.
    outputs: names of the outputs. Of a network of tokens, names such as ``("O", "B-person", "I-person")`` say that it
        gives each token a tag.
    output: which of several outputs is meant (a key of a dict, an attribute, a place in a tuple).
    parameters: those of a JAX function, whose first argument they are: ``wrap(module.apply, parameters=variables)``
        of a Flax module. Such a function has gradients.
    stochastic: keep the dropout of a torch module on, and explain the mean of 30 thinned networks (or of so many, or
        ``pellucid.Draws(50, seed=1)``), with what they differ by; all else stays in evaluation mode.
    missing: what becomes of missing cells (NaN) in its rows. They are refused, unless it is ``"model-handles"``, which
        says that the model takes them as they are (known of estimators that say so themselves), or
        ``"impute-median"``, which puts the median of their column in the background in their place, with a caution.

    Raises :class:`ModelError` for anything else.
    """
    draws = Draws.of(stochastic)
    if draws is not None:
        how: dict[str, Any] = {"encoding": encoding, "outputs": outputs, "output": output, "name": name}
        return _keeping_dropout(wrap(model, parameters=parameters, missing=missing, **how), draws)
    made = _wrapped(model, encoding, outputs, output, name, parameters)
    if missing:
        if made is model and model.missing not in ("", missing):
            raise InputError(f"this model has missing={model.missing!r} already", fix="wrap what it was made of again")
        made.missing = as_missing(missing)
    return made


def _wrapped(
    model: Any, encoding: Any, outputs: Sequence[str] | None, output: str | int | None, name: str, parameters: Any
) -> Model:
    labels = None if outputs is None else _distinct(outputs)
    found = None if encoding is None else as_encoding(encoding)
    if isinstance(model, Model) and parameters is None:
        if output is not None or name:
            raise InputError("this model is wrapped already", fix="give output= and name= when you wrap the module")
        if isinstance(model, TorchModel) and isinstance(found, TextEncoding) and model.encoding is None:
            return _of_tokens(model, found, labels)
        if isinstance(model, OnnxBox) and isinstance(found, TextEncoding):
            return _refined(TokenBox(model, found, model.argument_names, model.length), labels, None)
        return _refined(model, labels, found)
    chosen = Output(output)
    if parameters is not None:
        return JaxModel(_taking_parameters(model), parameters, name=name, labels=labels, encoding=found, output=chosen)
    if isinstance(model, LoadedModule):
        text = isinstance(found, TextEncoding)
        made = TorchModel(
            model.module, name=name, labels=None if text else labels, encoding=None if text else found, output=chosen,
            fixed_batch=model.batch, names=model.input_names, fixed_mode=model.training,
        )  # fmt: skip
        return _of_tokens(made, found, labels) if text else made
    if is_tensorflow(model):
        return TensorFlowModel(model, name=name, labels=labels, encoding=found, output=chosen)
    if is_keras(model):
        return KerasModel(model, name=name, labels=labels, encoding=found, output=chosen)
    if isinstance(model, nn.Module) and is_of_transformers(model):
        if found is None:
            raise refuse_without_encoding(type(model).__name__)
        return _refined(of_transformers(model, found, output=output, name=name), labels, None)
    if isinstance(model, nn.Module) and isinstance(found, TextEncoding):
        reading, labels = _reading(chosen, labels)
        return TokenModel(model, found, reading=reading, name=name, labels=labels)
    if isinstance(model, nn.Module):
        return TorchModel(model, name=name, labels=labels, encoding=found, output=chosen)
    if (ask := asked(model)) is not None:
        return estimator_model(model, ask, name=name, labels=labels, encoding=found, output=chosen)
    if not callable(model) or isinstance(model, type):
        raise ModelError(
            f"a {type(model).__name__} is not a model",
            fix="give a torch module, a function of a batch, or a path to pellucid.load",
        )
    if isinstance(found, TextEncoding):
        return box_of(FunctionModel(model, name=name, labels=labels, output=chosen), found)
    return FunctionModel(model, name=name, labels=labels, encoding=found, output=chosen)


def _keeping_dropout(model: Model, draws: Draws) -> Model:
    """Raises :class:`ModelError` for what has no dropout that can be reached."""
    if type(model) not in (TorchModel, TokenModel):
        raise ModelError(
            f"stochastic= keeps the dropout of torch modules on, and this is a {type(model).__name__}",
            where=model.name,
            fix="wrap the torch module as it was trained",
        )
    assert isinstance(model, TorchModel)
    return model.keeping_dropout(draws)


def network_that(model: Any, reading: type[R], does: str) -> tuple[TokenModel, R]:
    """A model of tokens that is read in one way, and that way. Raises :class:`NotApplicable` for any other model."""
    model = wrap(model)
    own = model.network.reading if isinstance(model, TokenModel) else None
    if not isinstance(model, TokenModel) or not isinstance(own, reading):
        more = '; a module says that it does by its outputs=("O", "B-person", "I-person")' if reading is Tags else ""
        raise NotApplicable(
            f"{model.name} is no network that {does}",
            fix=f"load the folder of such a network: pellucid.load(folder){more}",
        )
    return model, own


def _taking_parameters(model: Any) -> Callable[..., Any]:
    """A function that takes parameters. Raises :class:`ModelError` for something that keeps its own."""
    own = isinstance(model, (Model, LoadedModule, nn.Module, type)) or is_keras(model) or is_tensorflow(model)
    if own or not callable(model):
        raise ModelError(
            f"parameters= belongs to a JAX function, and this is a {type(model).__name__}",
            fix="give the function that takes the parameters first: pellucid.wrap(module.apply, parameters=variables)",
        )
    return model


def _of_tokens(model: TorchModel, encoding: TextEncoding, labels: tuple[str, ...] | None) -> TokenModel:
    """A network, such as one from a file, that is given the tokens of texts."""
    if labels is not None and model.labels is not None:
        raise _given_before("labels")
    reading, labels = _reading(model.output, labels or model.labels)
    return TokenModel(
        model.module, encoding, reading=reading, name=model.name, labels=labels, fixed_batch=model.fixed_batch
    )


def _reading(output: Output, labels: tuple[str, ...] | None) -> tuple[Reading, tuple[str, ...] | None]:
    """How a network of tokens is read, and the names of its outputs: those of tags say that it tags words."""
    if labels is None or not are_tags(labels):
        return Reading(output), labels
    tags = Tags(output, labels)
    return tags, tags.kinds


def _distinct(outputs: Sequence[str]) -> tuple[str, ...]:
    if isinstance(outputs, str):
        raise InputError(f"outputs={outputs!r} is one text", fix='give one name per output: outputs=("bad", "good")')
    labels = tuple(map(str, outputs))
    twice = next((name for name in labels if labels.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two outputs are named {shorten(twice)!r}", fix="give each output a name of its own")
    return labels


def _refined(model: Model, labels: tuple[str, ...] | None, encoding: Any) -> Model:
    """A wrapped model is given what it lacks; what it already has is not overwritten behind the user's back."""
    if labels is not None and isinstance(model, TokenModel) and isinstance(model.network.reading, Tags):
        model, labels = with_tags(model, labels), None
    for attribute, value in (("labels", labels), ("encoding", encoding)):
        if value is None:
            continue
        if getattr(model, attribute) is not None:
            raise _given_before(attribute)
        setattr(model, attribute, value)
    return model


def _given_before(attribute: str) -> InputError:
    return InputError(f"this model already has {attribute}", fix="wrap the module itself again")


def as_encoding(given: Any) -> Any:
    """An encoding from an object, a file, a scikit-learn transformer or ``"package.module:function"``."""
    if isinstance(given, (str, Path)) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", str(given)):
        module, _, function = str(given).partition(":")
        try:
            build = getattr(import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise EncodingError(f"could not find {module}:{function}", why=str(error)) from error
        given = build()
    if isinstance(given, (str, Path)) and (Path(given).is_dir() or Path(given).name == TOKENIZER):
        given = open_tokenizer(Path(given))
    if isinstance(given, (str, Path)):
        from ..data.encoding import load_encoding

        return load_encoding(given)
    if is_tokenizer(given):
        return Tokenizer(given)
    if is_image_processor(given):
        return ImageProcessor(given)
    if hasattr(given, "encode"):
        return given
    if hasattr(given, "transform"):
        return _fitted(given)
    raise EncodingError(
        f"a {type(given).__name__} is not an encoding",
        fix='give an Encoding, its JSON file, a fitted scikit-learn transformer, or "package.module:function"',
    )


def _fitted(transformer: Any) -> Any:
    """A fitted scikit-learn transformer by the names of the columns it was fitted on."""
    from ..data.transformers import from_sklearn

    names = getattr(transformer, "feature_names_in_", None)
    if names is None:
        raise EncodingError(
            "the transformer does not know the names of its columns",
            fix="fit it on a DataFrame, or give encoding=from_sklearn(transformer, columns)",
        )
    return from_sklearn(transformer, list(names))

"""A live TensorFlow model as a model: differentiated by TensorFlow's own tape, one step to autograd."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import WHOLE
from ..problem.model import Differentiable, Output, Rows
from ..records.errors import InputError, ModelError, NotApplicable, shorten
from .function import random_state_kept
from .keras_model import (
    FRAMED,
    as_taken,
    channels_first,
    input_names,
    is_keras,
    picture_shape,
    plainly_told,
    what_it_takes,
)

EVALUATION = ("training", "is_training")
COLOURS = (1, 3, 4)
TRACED = re.compile(r"^\w+Error: (.+)", re.MULTILINE)
TYPES = {
    "float64": torch.float64, "bool": torch.bool, "uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16,
    "int32": torch.int32, "int64": torch.int64,
}  # fmt: skip
"""Types that rows may have here. Others are cast on their way in: half precision has no counterpart in numpy."""


@dataclass(frozen=True, eq=False)
class Signature:
    """How a live model is called: ``call`` takes its tensors by name, or the only one as ``"inputs"``.

    ``specs`` are what it says of its inputs, which have a ``dtype`` and a ``shape`` with None for free lengths; empty
    where it says nothing. ``picture`` is (H, W, C) where the only input is a picture with channels last.
    """

    call: Callable[[Mapping[str, Any]], Any]
    names: tuple[str, ...]
    specs: Mapping[str, Any] = field(default_factory=dict)
    picture: tuple[int | None, ...] | None = None

    def spec(self, name: str) -> Any:
        """What is said of an input; None where nothing is."""
        return next(iter(self.specs.values())) if name == WHOLE and len(self.specs) == 1 else self.specs.get(name)


class TensorFlowModel(Differentiable):
    """A Keras model on the TensorFlow backend, a ``tf.Module``, a ``tf.function`` or a loaded SavedModel.

    It is called in evaluation mode (``training=False`` where it takes that), as a program with a free number of rows.
    Gradients are TensorFlow's own, of any order. Rows take the types that the model says of its inputs, else that of
    its first float variable. Variables that a call has changed are put back. Raises :class:`ModelError` for a module
    without a call.
    """

    forks = False
    reason = "TensorFlow runs it as one program, and its layers cannot be seen"

    def __init__(
        self,
        model: Any,
        *,
        name: str = "",
        labels: tuple[str, ...] | None = None,
        encoding: Any = None,
        output: Output | None = None,
    ):
        self._tensorflow = sys.modules["tensorflow"]
        self.model, self.labels, self.encoding = model, labels, encoding
        self.name = name or _name(model)
        self.output = output or Output()
        self.chosen: dict[str, str] = {}
        self._function = model if is_keras(model) else _served(model)
        self.signature = _of_keras(model) if is_keras(model) else _of_function(self._function)
        self.argument_names = self.signature.names
        self.fixed_batch = _fixed_batch(self.signature.specs)
        self._programs: dict[tuple[str, ...], _Program] = {}

    def __repr__(self) -> str:
        return f"TensorFlowModel({self.name}{f', outputs={list(self.labels)}' if self.labels else ''})"

    @property
    def identity(self) -> object:
        return self.model

    @property
    def channels_last(self) -> bool:
        """Whether the model itself takes pictures ``[N, H, W, C]``; here they are ``[N, C, H, W]``."""
        return self.signature.picture is not None

    @property
    def variables(self) -> list[Any]:
        """The variables of the model, those of Keras as TensorFlow has them."""
        found = getattr(self.model, "variables", None) or getattr(self._function, "variables", ())
        return [getattr(variable, "value", variable) if is_keras(self.model) else variable for variable in found]

    def place(self, rows: Rows) -> Rows:
        assert not isinstance(rows, list)
        if self.signature.picture is not None and len(rows) == 1:
            ((_, given),) = rows.items()
            rows = {WHOLE: channels_first(given, self.signature.picture)}
        return {name: self._typed(name, tensor.cpu()) for name, tensor in rows.items()}

    def _typed(self, name: str, tensor: Tensor) -> Tensor:
        spec = self.signature.spec(name)
        if spec is None:
            return tensor.to(self._float) if tensor.is_floating_point() else tensor
        wanted = TYPES.get(_type(spec), torch.float32)
        found = tensor.to(wanted)
        if tensor.is_floating_point() and not wanted.is_floating_point and not torch.equal(found.to(tensor), tensor):
            raise InputError(
                f"input {shorten(name)!r} has fractions or is not finite, and the model takes {_type(spec)}",
                fix="give whole numbers",
            )
        return found

    @property
    def _float(self) -> torch.dtype:
        kinds = (_type(variable) for variable in self.variables)
        first = next((kind for kind in kinds if "float" in kind), "")
        return TYPES.get(first, torch.float32)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        before = [(variable, variable.read_value()) for variable in self.variables]
        with random_state_kept():
            try:
                yield
            finally:
                for variable, value in before:
                    if not np.array_equal(variable.numpy(), value.numpy()):
                        variable.assign(value)

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        given = dict(rows)
        if self.signature.picture is not None:
            given[WHOLE] = given[WHOLE].movedim(1, -1)
        floats = tuple(name for name, tensor in given.items() if tensor.is_floating_point())
        carried = {name: tensor for name, tensor in given.items() if name not in floats}
        told: list[Any] = []
        try:
            with _told():
                found = _Step.apply(self._program(floats), carried, told, *(given[name] for name in floats))
        except self._tensorflow.errors.OperatorNotAllowedInGraphError as error:
            raise ModelError(
                "TensorFlow cannot follow this model as a program",
                where=self.name,
                why=shorten(str(error).split("\n")[0], 200),
                fix="write it with TensorFlow's operations; or give it as a black box: "
                "pellucid.wrap(lambda x: model(x).numpy())",
            ) from error
        return self.output.pick(_together(self._tensorflow, told[0], found), self.chosen)

    def _program(self, floats: tuple[str, ...]) -> _Program:
        """The model as a function of the float inputs by these names, everything else being given."""
        if floats not in self._programs:

            def called(carried: Mapping[str, Any], *arrays: Any) -> Any:
                given = {**dict(zip(floats, arrays, strict=True)), **carried}
                found = self.signature.call({name: self._cast(name, tensor) for name, tensor in given.items()})
                return self._tensorflow.nest.map_structure(self._wide, found)

            self._programs[floats] = _Program(self._tensorflow, called, len(floats), self.name)
        return self._programs[floats]

    def _cast(self, name: str, tensor: Any) -> Any:
        spec = self.signature.spec(name)
        return tensor if spec is None or _type(spec) == _type(tensor) else self._tensorflow.cast(tensor, spec.dtype)

    def _wide(self, leaf: Any) -> Any:
        """Half precision has no counterpart in numpy; what was computed in it is exact in float32."""
        leaf = self._tensorflow.convert_to_tensor(leaf)
        return self._tensorflow.cast(leaf, "float32") if _type(leaf) in ("bfloat16", "float16") else leaf


class _Program:
    """A traced function of float tensors with a leading axis of rows; and its transpose, which is another such.

    Of its tensors the first ``arrays`` are what it is differentiated by; ``cut`` says that its derivative was found
    to end inside the model.
    """

    def __init__(self, tensorflow: Any, function: Callable[..., Any], arrays: int, name: str, order: int = 0):
        self.tensorflow, self.function, self.arrays = tensorflow, function, arrays
        self.name, self.order, self.cut = name, order, False
        self.run = tensorflow.function(function, reduce_retracing=True)
        self._transposed: dict[int, _Program] = {}

    def transposed(self, slopes: int) -> _Program:
        """The program of these tensors and ``slopes`` more that gives the gradient for each of these tensors."""
        if slopes not in self._transposed:
            arrays = self.arrays + slopes
            self._transposed[slopes] = _Program(self.tensorflow, self._back, arrays, self.name, self.order + 1)
        return self._transposed[slopes]

    def _back(self, carried: Mapping[str, Any], *tensors: Any) -> Any:
        given, slopes = list(tensors[: self.arrays]), list(tensors[self.arrays :])
        with self.tensorflow.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(given)
            found = [
                leaf for leaf in self.tensorflow.nest.flatten(self.function(carried, *given)) if "float" in _type(leaf)
            ]
        grads = tape.gradient(found, given, output_gradients=slopes)
        self.cut = all(grad is None for grad in grads)
        pairs = zip(grads, given, strict=True)
        return tuple(self.tensorflow.zeros_like(one) if grad is None else grad for grad, one in pairs)

    def __call__(self, carried: Mapping[str, Tensor], tensors: tuple[Tensor, ...]) -> Any:
        """What the function returns, as numpy arrays in the function's own structure."""
        theirs = [self._theirs(tensor) for tensor in tensors]
        found = self.run({name: self._theirs(tensor) for name, tensor in carried.items()}, *theirs)
        return self.tensorflow.nest.map_structure(lambda leaf: np.array(leaf.numpy()), found)

    def _theirs(self, tensor: Tensor) -> Any:
        return self.tensorflow.convert_to_tensor(tensor.detach().cpu().numpy())


class _Step(torch.autograd.Function):
    """One call of a program as a step of autograd's graph; its derivative is again such a step."""

    @staticmethod
    def forward(ctx: Any, program: _Program, carried: Any, told: list[Any], *tensors: Tensor) -> Any:
        found = program(carried, tensors)
        told.append(found)
        ctx.program, ctx.carried = program, carried
        ctx.save_for_backward(*tensors)
        return tuple(map(torch.from_numpy, _floats(program.tensorflow, found)))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        grads = _Step.apply(ctx.program.transposed(len(slopes)), ctx.carried, [], *ctx.saved_tensors, *slopes)
        if ctx.program.cut and not ctx.program.order:  # a linear model has no second derivative, and that is no fault
            raise NotApplicable(
                "the model's output has no gradient",
                where=ctx.program.name,
                why="TensorFlow's tape finds no way from the output back to the inputs: it was rounded, looked up, "
                "or computed outside TensorFlow",
                fix="use a method that only asks for outputs, such as kernel_shapley, lime or occlusion",
            )
        return (None, None, None, *grads)


@contextmanager
def _told() -> Iterator[None]:
    """TensorFlow tells what goes wrong in a traced program behind the whole way to it: the sentence is what matters."""
    try:
        with plainly_told():
            yield
    except Exception as error:
        message = str(error)
        if not message.startswith("in user code:") or isinstance(error, TypeError):
            raise
        text = re.sub(r"\n {4}", "\n", message)
        found = FRAMED.search(text) or TRACED.search(text)
        raise RuntimeError(found[1].strip() if found else text.strip().split("\n")[-1]) from error


def is_tensorflow(model: Any) -> bool:
    """Whether something is a live model of TensorFlow's; TensorFlow is not imported for it."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return False
    if is_keras(model):
        return sys.modules["keras"].config.backend() == "tensorflow"
    return isinstance(model, (tensorflow.Module, tensorflow.types.experimental.Callable)) or _is_saved(model)


def _is_saved(model: Any) -> bool:
    """Whether something came from ``tf.saved_model.load``."""
    return type(model).__module__.startswith("tensorflow.") and hasattr(model, "signatures")


def _served(model: Any) -> Any:
    """What is called: of a SavedModel its signature, as servers take it. Raises :class:`ModelError` without one."""
    signatures = dict(model.signatures) if _is_saved(model) else {}
    if "serving_default" in signatures or len(signatures) == 1:
        return signatures.get("serving_default") or next(iter(signatures.values()))
    if not callable(model):
        listed = ", ".join(map(shorten, signatures))
        raise ModelError(
            f"this {type(model).__name__} cannot be called",
            why=f"it has the signatures {listed}" if listed else "it has no __call__ and no signatures",
            fix='give the function that is meant: model.signatures["…"], or model.predict',
        )
    return model


def _of_keras(model: Any) -> Signature:
    """How a Keras model is called."""
    names = input_names(model)
    taken = what_it_takes(model)
    several = list(taken.values()) if isinstance(taken, Mapping) else taken
    listed = several if isinstance(several, (list, tuple)) else [several]

    def call(given: Mapping[str, Any]) -> Any:
        if set(given) == {WHOLE}:
            ordered = [given[WHOLE]]
        else:
            ordered = [given[name] for name in names] if set(given) == set(names) else dict(given)
        return model(as_taken(model, ordered), training=False)

    specs = dict(zip(names, listed, strict=True)) if names else {}
    return Signature(call, names, specs, picture_shape(model))


def _of_function(function: Any) -> Signature:
    """How a module, a function or a signature is called."""
    specs, by_name = _specs(function)
    parameters = _parameters(function)
    evaluation = {name: False for name in EVALUATION if name in parameters}
    names = tuple(specs) or tuple(
        name for name, one in parameters.items()
        if name not in EVALUATION and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    )  # fmt: skip

    def call(given: Mapping[str, Any]) -> Any:
        if len(given) == 1 and not by_name:
            return function(*given.values(), **evaluation)
        if set(given) == {WHOLE} and len(names) == 1:
            return function(**{names[0]: given[WHOLE]})
        if specs and not by_name:
            return function(*(given[name] for name in names), **evaluation)
        return function(**given, **evaluation)

    return Signature(call, names, specs, _picture(specs))


def _specs(function: Any) -> tuple[dict[str, Any], bool]:
    """What a function says of its tensors, by name, and whether they are passed by these names."""
    says = hasattr(function, "structured_input_signature") or hasattr(function, "input_signature")
    asked = function if says else function.__call__
    told = getattr(asked, "structured_input_signature", None)
    if told is not None:
        places, named = told
        if named:
            return dict(named), True
        tensors = [spec for spec in places if hasattr(spec, "dtype")]
        return {spec.name or f"input_{place}": spec for place, spec in enumerate(tensors)}, False
    listed = getattr(asked, "input_signature", None) or ()
    return dict(zip(_parameters(function), listed, strict=False)), False


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """The arguments of a call in Python; none where it is a program with a signature, or does not say."""
    if hasattr(function, "structured_input_signature"):
        return {}
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _picture(specs: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """(H, W, C) where the only input is a picture whose last length is one of colours and whose first is not."""
    shape = tuple(next(iter(specs.values())).shape) if len(specs) == 1 else ()
    return tuple(shape[1:]) if len(shape) == 4 and shape[-1] in COLOURS and shape[1] not in COLOURS else None


def _fixed_batch(specs: Mapping[str, Any]) -> int | None:
    """The only number of rows that the inputs take, where they say one."""
    said = [spec.shape[0] for spec in specs.values() if spec.shape is not None and len(spec.shape)]
    return next((length for length in said if length is not None), None)


def _type(one: Any) -> str:
    """The name of a type, as both Keras and TensorFlow have it."""
    return getattr(one.dtype, "name", None) or str(one.dtype)


def _name(model: Any) -> str:
    own = getattr(model, "name", None) or getattr(model, "__name__", None)
    return own if isinstance(own, str) else type(model).__name__


def _floats(tensorflow: Any, found: Any) -> list[Any]:
    """The float arrays in what a function returned, in TensorFlow's order."""
    return [leaf for leaf in tensorflow.nest.flatten(found) if np.issubdtype(leaf.dtype, np.floating)]


def _together(tensorflow: Any, found: Any, floats: tuple[Tensor, ...]) -> Any:
    """What a function returned, with tensors for arrays of numbers: those of ``floats``, which autograd knows."""
    known = iter(floats)

    def tensor(leaf: np.ndarray) -> Any:
        if np.issubdtype(leaf.dtype, np.floating):
            return next(known)
        return torch.from_numpy(leaf) if leaf.dtype.kind in "biu" else leaf

    return tensorflow.nest.map_structure(tensor, found)

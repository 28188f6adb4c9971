"""A JAX function and its parameters as a model: compiled and differentiated by JAX, one step to autograd."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import WHOLE
from ..problem.model import Differentiable, Output, Rows
from ..records.errors import ModelError, shorten
from .function import random_state_kept


class JaxModel(Differentiable):
    """A JAX function of parameters and a batch, such as the ``apply`` of a Flax module.

    ``function(parameters, x)`` is called with one array, ``function(parameters, left=…, right=…)`` with several by
    their names. It is compiled once for each number of rows; these are padded to powers of two, by repeating the last
    row, so that there are few. Gradients are JAX's own, of any order. Rows are float64 where the user has switched
    JAX to 64 bits, else float32. Raises :class:`ModelError` where JAX is missing.
    """

    forks = False
    reason = "JAX runs the function as one program, and its layers cannot be seen"

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Any,
        *,
        name: str = "",
        labels: tuple[str, ...] | None = None,
        encoding: Any = None,
        output: Output | None = None,
    ):
        self._jax = _imported()
        self.function, self.parameters, self.labels, self.encoding = function, parameters, labels, encoding
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.output = output or Output()
        self.chosen: dict[str, str] = {}
        self.argument_names = _names_behind_parameters(function)
        self._programs: dict[tuple[str, ...], _Program] = {}

    def __repr__(self) -> str:
        return f"JaxModel({self.name}{f', outputs={list(self.labels)}' if self.labels else ''})"

    def place(self, rows: Rows) -> Rows:
        assert not isinstance(rows, list)
        dtype = torch.float64 if self._jax.config.jax_enable_x64 else torch.float32
        return {
            name: rows[name].cpu().to(dtype if rows[name].is_floating_point() else rows[name].dtype) for name in rows
        }

    def untouched(self) -> AbstractContextManager[None]:
        return random_state_kept()

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        floats = tuple(name for name, tensor in rows.items() if tensor.is_floating_point())
        carried = {name: tensor for name, tensor in rows.items() if name not in floats}
        told: list[Any] = []
        try:
            found = _Step.apply(self._program(floats), self.parameters, carried, told, *(rows[name] for name in floats))
        except self._jax.errors.JAXTypeError as error:
            raise ModelError(
                "JAX cannot follow this function",
                where=self.name,
                why=shorten(str(error).split("\n")[0], 200),
                fix="write it with jax.numpy and jax.lax; or give it as a black box: "
                "pellucid.wrap(lambda x: function(parameters, x))",
            ) from error
        return self.output.pick(_together(self._jax, told[0], found), self.chosen)

    def _program(self, floats: tuple[str, ...]) -> _Program:
        """The function of the float inputs by these names, everything else being given."""
        if floats not in self._programs:
            self._programs[floats] = _Program(self._jax, self._called(floats), len(floats))
        return self._programs[floats]

    def _called(self, floats: tuple[str, ...]) -> Callable[..., Any]:
        def called(parameters: Any, carried: Mapping[str, Any], *arrays: Any) -> Any:
            given = {**dict(zip(floats, arrays, strict=True)), **carried}
            if set(given) == {WHOLE}:
                found = self.function(parameters, given[WHOLE])
            else:
                found = self.function(parameters, **given)
            return self._jax.tree.map(self._wide, found)

        return called

    def _wide(self, leaf: Any) -> Any:
        """Half precision has no counterpart in numpy; what JAX computed in it is exact in float32."""
        numpy = self._jax.numpy
        leaf = numpy.asarray(leaf)
        return leaf.astype(numpy.float32) if leaf.dtype in (numpy.bfloat16, numpy.float16) else leaf


class _Program:
    """A compiled function of float arrays with a leading axis of rows; and its transpose, which is another such.

    Of its arrays the first ``inputs`` are rows of a model; any others are slopes of outputs.
    """

    def __init__(self, jax: Any, function: Callable[..., Any], inputs: int, arrays: int | None = None):
        self.jax, self.function, self.inputs = jax, function, inputs
        self.arrays = inputs if arrays is None else arrays
        self.run = jax.jit(function)
        self._transposed: dict[int, _Program] = {}

    def transposed(self, slopes: int) -> _Program:
        """The program of these arrays and ``slopes`` more that gives the gradient for each of these arrays."""
        if slopes not in self._transposed:
            self._transposed[slopes] = self._transpose(slopes)
        return self._transposed[slopes]

    def _transpose(self, slopes: int) -> _Program:
        def back(parameters: Any, carried: Any, *arrays: Any) -> Any:
            def forth(*given: Any) -> Any:
                return tuple(_floats(self.jax, self.function(parameters, carried, *given)))

            return self.jax.vjp(forth, *arrays[: self.arrays])[1](tuple(arrays[self.arrays :]))

        return _Program(self.jax, back, self.inputs, self.arrays + slopes)

    def __call__(self, parameters: Any, carried: Mapping[str, Tensor], tensors: tuple[Tensor, ...]) -> Any:
        """What the function returns for rows of one length, as numpy arrays in the function's own structure."""
        count = len(next(iter((*tensors, *carried.values()))))
        size = 1 << max(count - 1, 0).bit_length()
        arrays = [_padded(tensor, size, place < self.inputs) for place, tensor in enumerate(tensors)]
        beside = {name: _padded(tensor, size, True) for name, tensor in carried.items()}
        found = self.run(parameters, beside, *arrays)
        return self.jax.tree.map(lambda leaf: _cut(np.array(leaf), count, size), found)


class _Step(torch.autograd.Function):
    """One call of a program as a step of autograd's graph; its derivative is again such a step."""

    @staticmethod
    def forward(ctx: Any, program: _Program, parameters: Any, carried: Any, told: list[Any], *tensors: Tensor) -> Any:
        found = program(parameters, carried, tensors)
        told.append(found)
        ctx.program, ctx.parameters, ctx.carried = program, parameters, carried
        ctx.save_for_backward(*tensors)
        return tuple(map(torch.from_numpy, _floats(program.jax, found)))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        program = ctx.program.transposed(len(slopes))
        grads = _Step.apply(program, ctx.parameters, ctx.carried, [], *ctx.saved_tensors, *slopes)
        return (None, None, None, None, *grads)


def _floats(jax: Any, found: Any) -> list[Any]:
    """The float arrays in what a function returned, in JAX's order."""
    return [leaf for leaf in jax.tree.leaves(found) if np.issubdtype(leaf.dtype, np.floating)]


def _together(jax: Any, found: Any, floats: tuple[Tensor, ...]) -> Any:
    """What a function returned, with tensors for arrays: those of ``floats``, which autograd knows, among them."""
    leaves, structure = jax.tree.flatten(found)
    known = iter(floats)
    tensors = [next(known) if np.issubdtype(leaf.dtype, np.floating) else torch.from_numpy(leaf) for leaf in leaves]
    return jax.tree.unflatten(structure, tensors)


def _padded(tensor: Tensor, size: int, repeat: bool) -> np.ndarray:
    """At least ``size`` rows: the last one again, or zeros behind it."""
    array = tensor.detach().cpu().numpy()
    if len(array) == size:
        return array
    rest = size - len(array)
    last = np.repeat(array[-1:], rest, axis=0) if repeat else np.zeros((rest, *array.shape[1:]), array.dtype)
    return np.concatenate([array, last])


def _cut(array: np.ndarray, count: int, size: int) -> np.ndarray:
    """Without the rows that were put behind; what has no axis of rows is left for the caller to refuse."""
    return array[:count] if array.ndim and len(array) == size else array


def _names_behind_parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names by which the function takes its inputs; none where it does not say."""
    try:
        found = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return ()
    return tuple(one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))


def _imported() -> Any:
    try:
        import jax
        import jax.numpy
    except ImportError as error:
        raise ModelError(
            "parameters= belongs to a JAX function, and jax is missing", fix="pip install 'pellucid[jax]'"
        ) from error
    return jax

"""PyTorch modules as models, and the guard that leaves them as they were."""

from __future__ import annotations

import copy
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..problem.inputs import WHOLE
from ..problem.model import (
    Beginning,
    Countable,
    Differentiable,
    Embedded,
    Foldable,
    Inspectable,
    Output,
    Place,
    Rows,
    Traceable,
    Visitor,
)
from ..records.errors import ModelError
from .arguments import argument_names, exported_keywords
from .devices import Entrance
from .dropout import Thinnable
from .first_fault import first_fault
from .first_layer import first_layer
from .places import places_of, visited
from .tokens import embedded, tables_of

MINDFUL = (
    nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm, nn.RNNBase, nn.MultiheadAttention,
    nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.RReLU,
)  # fmt: skip
"""Layers that answer differently in training mode; only for them is the mode worth a note."""
LAZY = (nn.UninitializedParameter, nn.UninitializedBuffer)
FEW_WEIGHTS = 2**20
"""Up to so many weights their contents are kept, beyond it only the counters of their changes."""


class TorchModel(Thinnable, Countable, Foldable, Inspectable, Traceable):
    """A ``torch.nn.Module``; compiled and data-parallel wrappings are taken off.

    Raises :class:`ModelError` for a module on the meta device or with lazy parameters. ``chosen`` tells
    which of several outputs is explained where the user did not say; ``names`` are the inputs' names where
    ``forward`` does not tell them; ``fixed_mode`` says that dropout or batch statistics cannot be switched off.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str = "",
        labels: tuple[str, ...] | None = None,
        encoding: Any = None,
        output: Output | None = None,
        fixed_batch: int | None = None,
        names: tuple[str, ...] = (),
        fixed_mode: bool = False,
    ):
        module = _unwrapped(module)
        _refuse_without_data(module)
        self.module, self.labels, self.encoding = module, labels, encoding
        self.name = name or type(module).__name__
        self.fixed_batch, self.fixed_mode = fixed_batch, fixed_mode
        self.output = output or Output()
        self.chosen: dict[str, str] = {}
        self.was_training = False
        found, self._any_name = argument_names(module)
        self.argument_names = names or found
        self._keywords = exported_keywords(module)
        self._entrance = Entrance()
        self._entrance.look(module)

    def __repr__(self) -> str:
        outputs = f", outputs={list(self.labels)}" if self.labels else ""
        return f"{type(self).__name__}({self.name}{outputs}{', encoding=…' if self.encoding is not None else ''})"

    @property
    def identity(self) -> object:
        return self.module

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        return dict(self.module.named_modules())

    @property
    def parts(self) -> list[nn.Module]:
        """The user's own module and all modules in it."""
        return list(self.module.modules())

    @property
    def version(self) -> tuple[int, ...]:
        return self._made if self.dropping is None else (*self._made, self.dropping.number)

    @property
    def _made(self) -> tuple[int, ...]:
        """Changes whenever the weights, the parts or their settings do."""
        modules = self.parts
        weights = (hash((p.data_ptr(), p._version)) for p in _parameters(modules))
        return (hash(tuple(map(id, modules))), hash(tuple(map(_manner, modules))), *weights)

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        return self.asked_by(self.picked, rows)

    def picked(self, rows: Mapping[str, Tensor]) -> Tensor:
        """The outputs of one pass of the module."""
        return self.output.pick(self._answer(rows), self.chosen)

    def _answer(self, rows: Mapping[str, Tensor]) -> Any:
        """Whatever the module returns when it is called the way its ``forward`` takes its inputs."""
        return self._entrance.answer(self._called, rows)

    def _called(self, rows: Mapping[str, Tensor]) -> Any:
        if set(rows) == {WHOLE} and WHOLE not in self.argument_names:
            return self.module(**{self._keywords[0]: rows[WHOLE]}) if self._keywords else self.module(rows[WHOLE])
        if self._keywords is not None and set(rows) == set(self.argument_names):
            ordered = [rows[name] for name in self.argument_names if name not in self._keywords]
            return self.module(*ordered, **{name: rows[name] for name in self._keywords})
        if self._any_name or set(rows) <= set(self.argument_names):
            return self.module(**rows)
        return self.module(dict(rows))

    def beginning(self, rows: Mapping[str, Tensor]) -> Beginning | None:
        return first_layer(self.module, self.outputs, rows)

    def gradient_ends(self, rows: Rows) -> str:
        """The innermost module, in the order of their calls, that was given what has a gradient and gave back none."""
        ends: list[str] = []
        path = {module: name for name, module in self.module.named_modules()}

        def hook(module: nn.Module, given: tuple[Any, ...], found: Any) -> None:
            if not ends and _follows(given) and not _follows(found):
                ends.append(f"{path[module]} ({type(module).__name__})" if path[module] else self.name)

        handles = [
            module.register_forward_hook(hook) for module in path if not isinstance(module, torch.jit.ScriptModule)
        ]
        try:
            with torch.enable_grad():
                self._answer(rows)  # pyright: ignore[reportArgumentType]  a model of tensors is never given opaque rows
        finally:
            for handle in handles:
                handle.remove()
        return ends[0] if ends else self.name

    def arises(self, ask: Callable[[], Tensor], leaf: Tensor | None, vanishes: bool = False) -> str:
        return first_fault(self.layers, ask, leaf, vanishes)

    def in_single(self) -> Differentiable:
        halves = (torch.float16, torch.bfloat16)
        tensors = [*self.module.parameters(), *self.module.buffers()]
        if isinstance(self.module, torch.jit.ScriptModule) or not any(t.dtype in halves for t in tensors):
            return self
        copied = copy.copy(self)
        try:
            copied.module = copy.deepcopy(self.module).float()
        except (RuntimeError, TypeError):  # a module may hold what cannot be copied
            return self
        return copied

    def embedded(self, rows: Rows) -> Embedded | None:
        assert not isinstance(rows, list)
        return embedded(self, self.module, rows, tables_of(self.module))

    def places(self, few: Rows, more: Rows) -> tuple[Place, ...]:
        self.refuse_several()
        return places_of(self.module, self.outputs, few, more)

    def visited(self, visitors: Mapping[str, Visitor]) -> AbstractContextManager[None]:
        return visited(self.module, visitors)

    def place(self, rows: Rows) -> Rows:
        assert not isinstance(rows, list)
        first, device = next(self.module.parameters(), None), self._entrance.look(self.module)
        if first is None:
            return rows
        dtype = first.dtype if first.is_floating_point() else torch.float32
        return {
            name: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in rows.items()
        }

    def untouched(self) -> AbstractContextManager[None]:
        return self._guarded()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        state = _State(self.parts)
        self.was_training = state.training
        if self.dropping is not None:
            self.dropping.found.meet(self._made)
        try:
            state.settle()
            yield
        finally:
            state.restore()


class _State:
    """All of a module that a call could change, kept so that it can be put back.

    Attributes and hooks are kept as copies of the modules' dictionaries (containers and plain tensors in
    them copied too), buffers as clones, parameters by their contents where they are few and by their version
    counters always: a model that rewrites its own weights when called cannot be explained, and is refused.
    """

    def __init__(self, modules: list[nn.Module]):
        self.modules = modules
        self.training = any(m.training and isinstance(m, MINDFUL) for m in self.modules)
        self.attributes = [_Attributes(m) for m in self.modules]
        found = _parameters(self.modules)
        few = sum(p.numel() for p in found) <= FEW_WEIGHTS
        self.parameters = [_HeldParameter(p, few) for p in found]
        self.buffers = [(b, b.clone()) for b in _buffers(self.modules)]
        self.random = _random_state(found)
        self.dtype, self.grad = torch.get_default_dtype(), torch.is_grad_enabled()

    def settle(self) -> None:
        """Evaluation mode everywhere, and no gradients for weights: only inputs are differentiated."""
        for m in self.modules:
            _set_training(m, False)
        for held in self.parameters:
            if held.needed:
                held.parameter.requires_grad_(False)

    def restore(self) -> None:
        torch.set_default_dtype(self.dtype)
        torch.set_grad_enabled(self.grad)
        for attributes in self.attributes:
            attributes.back()
        with torch.no_grad():
            for buffer, clone in self.buffers:
                _put_tensor_back(buffer, clone)
            changed = [held.parameter for held in self.parameters if held.back()]
        _set_random_state(self.random)
        if changed:
            raise ModelError(
                "the model rewrites its own weights when it is called",
                where=next(name for m in self.modules for name, p in m.named_parameters() if p is changed[0]),
                fix="explain a frozen copy of it",
            )


class _HeldParameter:
    """One parameter with its flag, its gradient and, where weights are few, its contents."""

    def __init__(self, parameter: Tensor, contents: bool):
        self.parameter = parameter
        self.needed, self.version = parameter.requires_grad, parameter._version
        self.clone = parameter.detach().clone() if contents else None
        self.grad = parameter.grad
        self.grad_clone = None if self.grad is None else self.grad.detach().clone()

    def back(self) -> bool:
        """Put it back; whether its contents had changed."""
        parameter = self.parameter
        if parameter.requires_grad != self.needed:
            parameter.requires_grad_(self.needed)
        if parameter.grad is not self.grad:
            parameter.grad = self.grad
        if self.grad is not None and self.grad_clone is not None:
            _put_tensor_back(self.grad, self.grad_clone)
        if self.clone is None:
            return parameter._version != self.version
        return _put_tensor_back(parameter.detach(), self.clone)


def _follows(value: Any) -> bool:
    """Whether a tensor in ``value`` carries a gradient, in containers to any depth."""
    if isinstance(value, Tensor):
        return value.requires_grad
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return any(map(_follows, parts))


def _unwrapped(module: nn.Module) -> nn.Module:
    """Without the wrappings of ``torch.compile`` and of data parallelism, in whatever order they were put on."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def _parameters(modules: Iterable[nn.Module]) -> list[Tensor]:
    """The parameters of modules, shared ones once; a walk with names takes as long as a small network."""
    return list({id(p): p for m in modules for p in m._parameters.values() if p is not None}.values())


def _buffers(modules: Iterable[nn.Module]) -> list[Tensor]:
    """The buffers of modules, shared ones once."""
    return list({id(b): b for m in modules for b in m._buffers.values() if b is not None}.values())


def _refuse_without_data(module: nn.Module) -> None:
    modules = list(module.modules())
    if not any(tensor.is_meta or isinstance(tensor, LAZY) for tensor in (*_parameters(modules), *_buffers(modules))):
        return
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(tensor, LAZY):
            raise ModelError("a lazy parameter has no shape yet", where=name, fix="run one batch through the module")
        if tensor.is_meta:
            raise ModelError("the parameters have no data (meta device)", where=name, fix="load the weights first")


def _manner(module: nn.Module) -> tuple[Any, ...]:
    """What else of a module decides what it computes: hooks, another forward, the settings of torch's own layers.

    Numbers of a stranger's module are left out: they may count its calls.
    """
    own = module.__dict__
    plain: list[Any] = []
    if type(module).__module__.startswith("torch.nn"):
        plain = [(name, value) for name, value in own.items() if type(value) in PLAIN and name != "training"]
    return (*plain, id(own.get("forward")), *own.get("_forward_hooks", ()), *own.get("_forward_pre_hooks", ()))


def _set_training(module: nn.Module, training: bool) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        module.train(training)
    elif module.training != training:
        module.__dict__["training"] = training


class _Held(NamedTuple):
    """A container or tensor that is to stay the same object, and what it held.

    A tuple, because a call makes a thousand of them and frozen dataclasses take three times as long to make.
    """

    same: Any
    content: Any


PLAIN = (bool, int, float, str)
CONTAINERS = (dict, OrderedDict, list, set, deque)


class _Attributes:
    """A module's attributes: which they were, what containers and tensors among them held, and which held nothing.

    A call keeps those of a hundred modules, most of which are numbers and empty dictionaries: what did not change is
    seen without a step of Python for each.
    """

    def __init__(self, module: nn.Module):
        self.module, self.same, self.training = module, module.__dict__.copy(), module.training
        found = [value for value in self.same.values() if type(value) in CONTAINERS or isinstance(value, Tensor)]
        self.empty: list[Any] = [value for value in found if type(value) in CONTAINERS and not value]
        self.held = [_held(value) for value in found if type(value) not in CONTAINERS or value]

    def back(self) -> None:
        """Attributes as they were; containers are restored in place, so they stay the same objects."""
        now, same = self.module.__dict__, self.same
        if isinstance(self.module, torch.jit.ScriptModule):
            self.module.train(self.training)  # the outermost first: it sets its parts, too
            return
        if any(self.empty):
            for container in self.empty:
                container.clear()
        for held in self.held:
            _returned(held)
        if len(now) != len(same) or not all(map(is_, map(now.get, same), same.values())):
            for name in now.keys() - same.keys():
                del now[name]
            now.update(same)


def _held(value: Any, depth: int = 3) -> _Held:
    """``value`` with a copy of what it holds, containers in containers to a small depth."""
    if isinstance(value, Tensor):
        # Parameters and buffers sit in dictionaries of their own and are put back one by one.
        plain = type(value) is Tensor and not value.requires_grad and depth == 3
        return _Held(value, value.detach().clone() if plain else None)
    if type(value) not in CONTAINERS or depth == 0:
        return _Held(value, None)
    if isinstance(value, dict):
        return _Held(value, [(key, _held(item, depth - 1)) for key, item in value.items()])
    if isinstance(value, set):
        return _Held(value, copy.copy(value))
    return _Held(value, [_held(item, depth - 1) for item in value])


def _returned(held: _Held) -> Any:
    """The object that was held, holding what it held; nothing is touched that did not change."""
    same, content = held.same, held.content
    if content is None or (not isinstance(same, Tensor) and not content and not same):
        return same  # nothing was held, or nothing then and nothing now
    if isinstance(same, Tensor):
        with torch.no_grad():
            _put_tensor_back(same, content)
    elif isinstance(same, dict):
        items = [(key, _returned(item)) for key, item in content]
        if len(items) != len(same) or any(key not in same or same[key] is not item for key, item in items):
            same.clear()
            same.update(items)
    elif isinstance(same, set):
        if same != content:
            same.clear()
            same.update(content)
    else:
        items = [_returned(item) for item in content]
        if len(items) != len(same) or any(now is not item for now, item in zip(same, items, strict=True)):
            same.clear()
            same.extend(items)
    return same


def _put_tensor_back(tensor: Tensor, clone: Tensor) -> bool:
    """Whether ``tensor`` no longer held the bits of ``clone``; it does again."""
    if tensor.shape == clone.shape and _same_bits(tensor, clone):
        return False
    if tensor.shape != clone.shape:
        tensor.set_(clone)  # pyright: ignore[reportArgumentType]
    else:
        tensor.copy_(clone)
    return True


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Equality in which NaN equals NaN."""
    return torch.equal(a, b) or (a.is_floating_point() and bool(((a == b) | (torch.isnan(a) & torch.isnan(b))).all()))


def _random_state(parameters: Sequence[Tensor]) -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if any(p.is_cuda for p in parameters) else None
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()


def _set_random_state(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state_all(state[1])
    np.random.set_state(state[2])
    random.setstate(state[3])

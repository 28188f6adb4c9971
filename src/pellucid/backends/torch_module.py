"""PyTorch modules as models, and the guard that leaves them as they were."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..problem.inputs import WHOLE
from ..problem.model import Countable, Differentiable, Output, Rows
from ..records.errors import ModelError


class TorchModel(Differentiable, Countable):
    """A ``torch.nn.Module``; compiled and data-parallel wrappings are taken off.

    Raises :class:`ModelError` for a module on the meta device. ``chosen`` tells which of several
    outputs is explained where the user did not say.
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
    ):
        module = getattr(module, "_orig_mod", module)
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        empty = next((n for n, p in module.named_parameters() if p.is_meta), None)
        if empty is not None:
            raise ModelError("the parameters have no data (meta device)", where=empty, fix="load the weights first")
        self.module, self.labels, self.encoding = module, labels, encoding
        self.name = name or type(module).__name__
        self.fixed_batch = fixed_batch
        self.output = output or Output()
        self.chosen: dict[str, str] = {}
        self.was_training = False
        self._names = _argument_names(module)

    @property
    def identity(self) -> object:
        return self.module

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(hash((p.data_ptr(), p._version)) for p in self.module.parameters())

    def outputs(self, rows: Rows) -> Tensor:
        assert not isinstance(rows, list)
        if set(rows) == {WHOLE} and WHOLE not in self._names:
            found = self.module(rows[WHOLE])
        elif self._names.issuperset(rows):
            found = self.module(**rows)
        else:
            found = self.module(dict(rows))
        return self.output.pick(found, self.chosen)

    def place(self, rows: Rows) -> Rows:
        assert not isinstance(rows, list)
        first = next(self.module.parameters(), None)
        if first is None:
            return rows
        dtype = first.dtype if first.is_floating_point() else torch.float32
        return {
            name: tensor.to(device=first.device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in rows.items()
        }

    def untouched(self) -> AbstractContextManager[None]:
        return self._guarded()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        state = _State(self.module)
        self.was_training = state.training
        try:
            state.settle()
            yield
        finally:
            state.restore()


class _State:
    """All of a module that a call could change, kept so that it can be put back.

    Attributes and hooks are kept as shallow copies of the modules' dictionaries, buffers as clones,
    parameters by their version counters: a model that rewrites its own weights when called
    cannot be explained, and is refused.
    """

    def __init__(self, module: nn.Module):
        self.modules = list(module.modules())
        self.training = any(m.training for m in self.modules)
        self.attributes = [(m, _shallow(m.__dict__)) for m in self.modules]
        self.parameters = [(p, p.requires_grad, p.grad, p._version) for p in module.parameters()]
        self.names = {id(p): name for name, p in module.named_parameters()}
        self.buffers = [(b, b._version, b.clone()) for b in module.buffers()]
        self.random = _random_state(module)

    def settle(self) -> None:
        """Evaluation mode everywhere, and no gradients for weights: only inputs are differentiated."""
        for m in self.modules:
            _set_training(m, False)
        for p, needed, _, _ in self.parameters:
            if needed:
                p.requires_grad_(False)

    def restore(self) -> None:
        for m, kept in self.attributes:
            _put_back(m, kept)
        for buffer, version, clone in self.buffers:
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(clone)
        changed = None
        for p, needed, grad, version in self.parameters:
            if p.requires_grad != needed:
                p.requires_grad_(needed)
            if p.grad is not grad:
                p.grad = grad
            if p._version != version:
                changed = self.names[id(p)]
        _set_random_state(self.random)
        if changed is not None:
            raise ModelError(
                "the model rewrites its own weights when it is called", where=changed, fix="explain a frozen copy of it"
            )


def _set_training(module: nn.Module, training: bool) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        module.train(training)
    elif module.training != training:
        module.__dict__["training"] = training


def _shallow(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if type(value) is dict else value for name, value in attributes.items()}


def _put_back(module: nn.Module, kept: dict[str, Any]) -> None:
    """Attributes as they were; a dictionary of hooks or buffers is restored in place, so it stays the same object."""
    now = module.__dict__
    if isinstance(module, torch.jit.ScriptModule):
        module.train(kept.get("training", module.training))
        return
    for name in now.keys() - kept.keys():
        del now[name]
    for name, value in kept.items():
        present = now.get(name)
        if type(value) is dict and type(present) is dict:
            if present.keys() != value.keys() or any(present[key] is not value[key] for key in value):
                present.clear()
                present.update(value)
        elif present is not value:
            now[name] = value


def _random_state(module: nn.Module) -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if any(p.is_cuda for p in module.parameters()) else None
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()


def _set_random_state(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state_all(state[1])
    np.random.set_state(state[2])
    random.setstate(state[3])


def _argument_names(module: nn.Module) -> frozenset[str]:
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # a forward written in C has no signature
        return frozenset()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for p in parameters if p.kind in kinds)

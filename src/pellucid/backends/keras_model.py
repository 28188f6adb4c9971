"""Keras networks on the torch backend as models: torch modules whose layers stand in lists of Keras' own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..problem.inputs import WHOLE
from ..problem.model import Embedded, Rows
from ..records.errors import InputError, ModelError
from .tokens import embedded
from .torch_module import TorchModel

FRAMED = re.compile(
    r"Exception encountered when calling .*?\n\n(?:\x1b\[1m)?(.*?)(?:\x1b\[0m)?\n\nArguments", re.DOTALL
)


class KerasModel(TorchModel):
    """A Keras network on the torch backend.

    To a torch module Keras' layers are invisible, so a module is put around the network in which they stand by their
    names (``"conv2d"``, ``"encoder/dense"``); the network itself is not changed. Pictures that it takes with channels
    last are turned when they come in, and back in front of the network: ``channels_last`` says so.
    """

    def __init__(self, network: Any, *, name: str = "", **given: Any):
        _refuse_other_backend()
        self.network = network
        self.named = input_names(network)
        self.picture = picture_shape(network)
        super().__init__(_Layers(network), name=name or network.name, names=self.named, **given)

    @property
    def identity(self) -> object:
        return self.network

    @property
    def parts(self) -> list[nn.Module]:
        found = [*self.module.modules(), *self.network.modules()]
        return [part for part in dict.fromkeys(found) if part is not self.module]

    @property
    def channels_last(self) -> bool:
        """Whether the network itself takes pictures ``[N, H, W, C]``; here they are ``[N, C, H, W]``."""
        return self.picture is not None

    def place(self, rows: Rows) -> Rows:
        assert not isinstance(rows, list)
        if self.picture is not None and set(rows) in ({WHOLE}, set(self.named)):
            ((_, given),) = rows.items()
            rows = {WHOLE: channels_first(given, self.picture)}
        return super().place(rows)

    def embedded(self, rows: Rows) -> Embedded | None:
        assert not isinstance(rows, list)
        layers: list[Any] = [part for part in self.module.modules() if isinstance(part, _keras().layers.Embedding)]
        return embedded(self, self.module, rows, {part: part.embeddings.value for part in layers})

    def _answer(self, rows: Mapping[str, Tensor]) -> Any:
        if set(rows) == {WHOLE}:
            given: Any = [rows[WHOLE] if self.picture is None else rows[WHOLE].movedim(1, -1)]
        else:
            given = [rows[name] for name in self.named] if set(rows) == set(self.named) else dict(rows)
        with plainly_told():
            return self.module(as_taken(self.network, given))


class _Layers(nn.Module):
    """A network with its layers as modules of their own; the network itself hides in the dictionary."""

    network: Any

    def __init__(self, network: Any):
        super().__init__()
        self.__dict__["network"] = network
        for path, layer in _paths(network):
            self._modules[path if not hasattr(self, path) else f"{path}_"] = layer

    def forward(self, given: Any) -> Any:
        return self.network(given, training=False)


def is_keras(model: Any) -> bool:
    """Whether something is a Keras layer or network, whatever backend it runs on; Keras is not imported for it."""
    return "keras" in sys.modules and isinstance(model, getattr(_keras(), "Layer", ()))


def _refuse_other_backend() -> None:
    if (backend := _keras().config.backend()) != "torch":
        raise ModelError(
            f"this Keras model runs on the {backend} backend",
            why="gradients and layers are read through torch, and Keras has one backend a process",
            fix="save it (model.save('net.keras')) and pellucid.load it in a process of its own, or set "
            "KERAS_BACKEND=torch before Keras is imported, or give its predictions: "
            "pellucid.wrap(lambda x: model.predict(x, verbose=0))",
        )


def _keras() -> Any:
    return sys.modules["keras"]


def _paths(layer: Any, lead: str = "") -> Iterator[tuple[str, Any]]:
    """The layers that a network keeps in lists of its own, by their names; those that torch sees keep torch's paths."""
    seen = {id(part): name for name, part in layer.named_children()}
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        name = seen.get(id(inner), inner.name.replace(".", "_"))
        if id(inner) not in seen:
            yield lead + name, inner
        yield from _paths(inner, f"{lead}{name}/")


def input_names(network: Any) -> tuple[str, ...]:
    """The names of the inputs: the keys of a dict, or the names of the tensors; none where it never said."""
    taken = what_it_takes(network)
    if isinstance(taken, Mapping):
        return tuple(map(str, taken))
    return tuple(one.name for one in (taken if isinstance(taken, (list, tuple)) else [taken]) if one is not None)


def what_it_takes(network: Any) -> Any:
    """What a network is called with, in symbols: one tensor, a list or a dict of them; None where it never said."""
    struct = getattr(network, "input", None)
    listed = getattr(network, "inputs", None)  # all that a Sequential has to say
    return struct if struct is not None or not listed else listed[0] if len(listed) == 1 else listed


def as_taken(network: Any, given: list[Tensor] | dict[str, Tensor]) -> Any:
    """Tensors, in order or by names, as the network is called with them."""
    taken = what_it_takes(network)
    if isinstance(given, dict):
        return given
    if isinstance(taken, Mapping):
        return dict(zip(taken, given, strict=True))
    return given if len(given) > 1 or isinstance(taken, (list, tuple)) else given[0]


@contextmanager
def plainly_told() -> Iterator[None]:
    """Keras puts a frame of several lines around what goes wrong in a layer: the sentence in it is what matters."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        found = FRAMED.search(str(error))
        if found is None:
            raise
        raise RuntimeError(found[1].strip()) from error


def picture_shape(network: Any) -> tuple[int | None, ...] | None:
    """(H, W, C) of the only input where it is a picture with channels last, None for a length that is free."""
    taken = what_it_takes(network)
    shape = getattr(taken[0] if isinstance(taken, (list, tuple)) and len(taken) == 1 else taken, "shape", ())
    formats = {getattr(layer, "data_format", None) for layer in network._flatten_layers()}
    return tuple(shape[1:]) if len(shape) == 4 and "channels_first" not in formats else None


def channels_first(rows: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """Pictures as they lie here, whether they were given so or as the network has them.

    Raises :class:`InputError` for any that the network does not take.
    """
    if _fits(rows, shape):
        return rows.movedim(-1, 1).contiguous()
    if _fits(rows, (shape[-1], *shape[:-1])):
        return rows
    taken = ", ".join("any" if length is None else str(length) for length in shape)
    raise InputError(
        f"rows of shape {list(rows.shape)} are not what the network takes",
        why=f"it takes pictures [rows, height, width, channels] of ({taken})",
        fix="a single picture needs a leading dimension: picture[None]"
        if rows.ndim == 3
        else "give pictures like these",
    )


def _fits(rows: Tensor, shape: tuple[int | None, ...]) -> bool:
    """Whether rows are of a shape in which some lengths are free."""
    return rows.ndim == 4 and all(
        wanted in (None, length) for wanted, length in zip(shape, rows.shape[1:], strict=True)
    )

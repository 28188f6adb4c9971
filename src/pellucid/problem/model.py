"""What a model is to Pellucid: something that turns a batch of rows into numbers.

A capability is a type. A method names the types it needs, and the engine asks ``isinstance``
before a single call is spent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..records.errors import ModelError
from ..records.messages import Caution

if TYPE_CHECKING:
    from ..records.preflight import Preflight

HANDLED, MEDIAN = "model-handles", "impute-median"
"""What may become of missing cells: the model takes them as they are, or their column's median stands for them."""
Rows = Mapping[str, Tensor] | list[Any]
"""A batch in model space: named tensors with one leading dimension, or the opaque rows of a black box."""


class Model(ABC):
    """A trained model.

    Attributes
    ----------
    name: what to call it in messages and reports.
    labels: names of its outputs, or None.
    encoding: how raw rows become this model's inputs, or None where rows are already that.
    fixed_batch: the only number of rows it accepts at once, or None.
    reason: why it can be asked for outputs only, where there is something to say of it.
    best_batch: how many rows it is best asked at once, of a model that knows this and its :attr:`manners`; None: both
        are found out by asking.
    forks: whether it can be asked in a forked process; what has threads of its own cannot.
    missing: what becomes of missing cells (NaN) in its rows, :data:`HANDLED` or :data:`MEDIAN`; "": they are refused.
    medians: by column and element, of training rows: what stands for missing cells where these are known.
    scale: what its outputs are, where that is known without asking: ``"log_probability"`` (natural logarithms), or "".
    """

    name: str
    labels: tuple[str, ...] | None = None
    encoding: Any = None
    fixed_batch: int | None = None
    reason: str = ""
    best_batch: int | None = None
    forks: bool = True
    missing: str = ""
    medians: Mapping[tuple[str, int], float] = MappingProxyType({})
    scale: str = ""

    @abstractmethod
    def outputs(self, rows: Rows) -> Tensor:
        """The outputs ``Float[b, K]`` of b rows."""

    @property
    def identity(self) -> object:
        """The user's own object: locks, counts and probes are kept weakly under it."""
        return self

    @property
    def version(self) -> tuple[int, ...]:
        """Changes whenever the weights or the parts do; what was learned about an older version is dropped."""
        return ()

    @property
    def members(self) -> Members | None:
        """The networks whose outputs this model's are the mean of; None where it is no such mean."""
        return None

    def preflight(self, rows: Any) -> Preflight:
        """What this model is found to be on a few of ``rows``; see :func:`pellucid.preflight`."""
        from ..studies.preflight import preflight

        return preflight(self, rows)

    def untouched(self) -> AbstractContextManager[None]:
        """A context on whose leaving the user's model is as it was before, also after an exception."""
        return nullcontext()

    @property
    def manners(self) -> tuple[float, float]:
        """The relative differences between its answers to one row asked again, and asked beside other rows.

        Of a model that finds this out by itself, and does what is to be done about the second.
        """
        return 0.0, 0.0

    def cautions(self) -> list[Caution]:
        """What the model itself has to say of its answers since it was last taken up."""
        return []

    def afresh(self) -> AbstractContextManager[None]:
        """A context in which nothing that the model remembers is given for an answer."""
        return nullcontext()

    def place(self, rows: Rows) -> Rows:
        """``rows`` on the device and in the float type the model computes in."""
        return rows


@dataclass(frozen=True, eq=False)
class Members:
    """The networks that a mean is of: ``model``, whose rows say by the tensor ``name`` which of ``count`` they ask."""

    model: Model
    name: str
    count: int


class Differentiable(Model):
    """A model whose outputs can be differentiated by autograd with respect to its rows."""

    def gradient_ends(self, rows: Rows) -> str:
        """Where in the model the gradient of ``rows`` ends; the model itself where no part of it is known."""
        return self.name

    def arises(self, ask: Callable[[], Tensor], leaf: Tensor | None, vanishes: bool = False) -> str:
        """Where in the model NaN or infinity arises in what ``ask`` makes of its answer; "" where no part is known.

        Where the answer is finite, likewise in its gradient with respect to ``leaf``, of which the answer was made;
        with ``vanishes``, where that gradient becomes zero.
        """
        return ""

    def in_single(self) -> Differentiable:
        """The same network in float32; itself, where it does not compute in half precision."""
        return self

    def embedded(self, rows: Rows) -> Embedded | None:
        """The network behind the layer that looks up a vector for each token of ``rows``; None where there is none."""
        return None


@dataclass(frozen=True, eq=False)
class Embedded:
    """A network of tokens, taken behind its embedding.

    ``model`` takes the tokens' vectors ``Float[b, …, E]`` under ``name``, beside the tokens themselves; ``look_up``
    turns tokens ``Int[…]`` into their vectors; ``layer`` is the embedding's path. ``fills`` says whether it answers
    rows that are filled up behind their end like those alone.
    """

    model: Differentiable
    name: str
    look_up: Callable[[Tensor], Tensor]
    layer: str
    fills: bool = True


class Countable(Model):
    """A model whose operations can be counted on one row, so that the best batch can be told beforehand."""


class Traceable(Model):
    """A model made of torch operations, so that running one row shows the graph of them."""

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, nn.Module]:
        """Its modules by path, the whole one as ``""``: so that an operation can be told by its layer."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """A linear layer that alone sees the rows: h = x Wᵀ + bias, and everything after it.

    ``weight`` is ``Float[H, D]``, ``bias`` ``Float[H]``; ``rest`` turns h ``Float[b, H]`` into outputs ``Float[b, K]``.
    """

    weight: Tensor
    bias: Tensor
    rest: Callable[[Tensor], Tensor]


class Foldable(Model):
    """A model that can say whether it begins with a linear layer."""

    @abstractmethod
    def beginning(self, rows: Mapping[str, Tensor]) -> Beginning | None:
        """Its first layer, tried out on two ``rows``; None where it begins otherwise."""


@dataclass(frozen=True)
class Place:
    """The output of one call of a module: where one can look into a network.

    Attributes
    ----------
    name: the module's path, ``"layer4.1.conv2"``; ``"cell@3"`` for the third call of one that is called again, and
        ``"lstm[1]"`` for the second tensor of several that one call returns.
    kind: the module's class.
    shape: of one row.
    channels: the axis of a row along which units differ in what they look for: 0, or −1.
    weighs: whether the module multiplies by weights of its own.
    axis: the axis of the module's tensor that the rows stand on.
    split: True where the first axis holds ``shape[0]`` lines of each row, as windows of a picture do.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    channels: int = 0
    weighs: bool = False
    axis: int = 0
    split: bool = False

    def by_row(self, tensor: Tensor) -> Tensor:
        """What the module returned, as ``[b, *shape]``."""
        return tensor.reshape(-1, *self.shape) if self.split else tensor.movedim(self.axis, 0)

    def as_returned(self, rows: Tensor) -> Tensor:
        """Rows ``[b, *shape]`` the way the module returns them."""
        return rows.flatten(0, 1) if self.split else rows.movedim(0, self.axis)


Visitor = Callable[[Tensor], Tensor | None]
"""Is shown the tensor at a place; the network goes on with what it returns, or undisturbed after None."""


class Inspectable(Model):
    """A model one can look into while it answers."""

    @abstractmethod
    def places(self, few: Rows, more: Rows) -> tuple[Place, ...]:
        """The places that a pass goes through, in the order in which it leaves them.

        ``few`` and ``more`` are batches of different lengths (of the same where the model takes only one): the axis
        that the rows stand on is told from what became longer. Tensors of which no axis did are no places.
        """

    @abstractmethod
    def visited(self, visitors: Mapping[str, Visitor]) -> AbstractContextManager[None]:
        """A context for one pass, in which the tensor at each named place is shown to its visitor.

        Nothing of it is left afterwards, also after an exception.
        """


@dataclass(frozen=True)
class Output:
    """Which of a model's several outputs is meant: a key of a dict, an attribute or a place in a tuple."""

    key: str | int | None = None

    def pick(self, found: Any, chosen: dict[str, str] | None = None) -> Tensor:
        """The outputs ``Float[b, K]`` among whatever the model returned.

        Without a key: a tensor as it is; in a mapping ``logits``, else the only float ``[b, K]``, else the
        only float ``[b]``; the choice is written into ``chosen``. Raises :class:`ModelError` that lists keys and shapes
        where nothing or more than one thing fits.
        """
        if self.key is not None:
            return as_columns(self._at_key(found), repr(self.key))
        if isinstance(found, Tensor):
            return as_columns(found, "the output")
        named = _named(found)
        if isinstance(named.get("logits"), Tensor):
            name = "logits"
        else:
            fitting = [name for name, value in named.items() if _fits(value, 2)]
            fitting = fitting or [name for name, value in named.items() if _fits(value, 1)]
            if len(fitting) != 1:
                raise ModelError(
                    f"the model returns {type(found).__name__} with {_listing(named) or 'nothing usable'}",
                    why=f"{len(fitting)} of these are float tensors [rows, outputs]",
                    fix='say which one is meant: output="…" in pellucid.wrap',
                )
            name = fitting[0]
        if chosen is not None:
            chosen["name"] = name
        return as_columns(named[name], name)

    def _at_key(self, found: Any) -> Any:
        named = _named(found)
        key = str(self.key)
        if key not in named:
            raise ModelError(f"the model returns no {self.key!r}", fix=f"it returns {_listing(named)}")
        return named[key]


def _named(found: Any) -> dict[str, Any]:
    if isinstance(found, Mapping):
        return {str(key): value for key, value in found.items()}
    if isinstance(found, (tuple, list)):
        names = getattr(found, "_fields", range(len(found)))
        return {str(name): value for name, value in zip(names, found, strict=True)}
    if isinstance(found, Tensor):
        return {"0": found}
    if hasattr(found, "__dict__"):
        return {key: value for key, value in vars(found).items() if not key.startswith("_")}
    return {}


def _fits(value: Any, axes: int) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim == axes


def _listing(named: Mapping[str, Any]) -> str:
    def shape(value: Any) -> str:
        return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__

    return ", ".join(f"{name}: {shape(value)}" for name, value in list(named.items())[:12])


def as_columns(found: Any, name: str) -> Tensor:
    """``found`` as ``Float[b, K]``; a vector becomes one column. Raises :class:`ModelError` for anything else."""
    if not isinstance(found, Tensor):
        raise ModelError(f"{name} is {type(found).__name__}, not a tensor of numbers")
    if found.is_complex():
        raise ModelError(f"{name} is complex", fix="let the model return a real part or an absolute value")
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim == 2 and not found.shape[1]:
        raise ModelError(f"{name} has no columns: there is nothing to explain")
    if found.ndim != 2:
        raise ModelError(
            f"{name} has shape {tuple(found.shape)}, but one number per class and row is needed: [rows, outputs]",
            fix="wrap the model in a function that picks or averages what you want explained"
            if found.ndim
            else "return a number for each row; a single row needs a leading dimension: row[None]",
        )
    return found if found.is_floating_point() else found.to(torch.float64)

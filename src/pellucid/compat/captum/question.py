"""From captum's question to ours: inputs, baselines, targets and masks, each read with a sentence where it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...doors.question import as_problem
from ...doors.wrap import wrap
from ...problem.inputs import WHOLE, Inputs
from ...problem.model import Model
from ...problem.problem import Problem
from ...problem.removal import Constant, Marginal, Removal, TensorRemoval
from ...problem.target import BoundTarget, Names, Predicted, Target
from ...problem.units import Elements, Units
from ...records.errors import InputError, RemovalError, TargetError, shorten
from ...records.players import Players
from ...records.settings import is_number
from .forward import ROW, Forward, Neuron


@dataclass(frozen=True, eq=False)
class Own(TensorRemoval):
    """Each row has a baseline of its own, ``[N, D]``; rows carry their place in the batch with them."""

    rows: Any = None

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        return self.rows[inputs.tensors[ROW].cpu()].to(inputs.flat)[:, None]


@dataclass(frozen=True)
class Unsaid(Target):
    """No target was given: the only output, or the largest one, and how many it was chosen from."""

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        bound = Predicted().bind(outputs, labels)
        return replace(bound, asked={**bound.asked, "among": outputs.shape[1]})


@dataclass(frozen=True, eq=False)
class Question:
    """What captum's ``attribute`` was asked.

    Attributes
    ----------
    inputs: a tensor or a tuple of tensors; ``extra``: further arguments of ``function``.
    spread: the baselines are rows to draw from, rather than one for each row.
    mask: the feature that each element belongs to.
    behind: (layer, the network's inputs) where ``inputs`` are what that layer returns.
    watched: a layer that has to be called once.
    thin: each element is given an axis of its own, so that a window may have any side along all others.
    kind: the modality, where it is not told by the shape of the inputs.
    """

    function: Callable[..., Any]
    inputs: Any
    baselines: Any = None
    target: Any = None
    extra: Any = None
    spread: bool = False
    mask: Any = None
    behind: tuple[nn.Module, Any] | None = None
    neuron: Neuron | None = None
    watched: nn.Module | None = None
    thin: bool = False
    kind: str = ""

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The explained tensors. Raises :class:`InputError` where they are none, or disagree on the rows."""
        found = as_tensors(self.inputs, "inputs")
        if any(not tensor.ndim for tensor in found) or len({len(tensor) for tensor in found}) > 1:
            raise InputError("the inputs have no rows, or disagree on their number", fix="rows stand on the first axis")
        if len({tensor.is_floating_point() for tensor in found}) > 1:
            raise InputError(
                "some inputs are whole numbers and some are not, and only the latter would be explained",
                fix="give whole numbers as additional_forward_args=",
            )
        return found

    @property
    def names(self) -> tuple[str, ...]:
        several = len(self.tensors) > 1
        return tuple(f"input {place}" for place in range(len(self.tensors))) if several else (WHOLE,)

    def problem(self) -> Problem:
        """The same question in our words."""
        target, place = self._target()
        removal, alone = self._removal()
        along = alone or self.behind is not None or self.extra is not None or isinstance(place, list)
        rows: dict[str, Tensor] = dict(zip(self.names, self._thinned(self.tensors), strict=True))
        if along:
            rows[ROW] = torch.arange(len(self.tensors[0]))
        given = rows if len(rows) > 1 else rows[WHOLE]
        players = self._players(nobodys=along and not self.tensors[0].is_floating_point())
        problem = as_problem(self.model(place, along), given, target=target, removal=removal, players=players)
        return replace(problem, kind=self.kind or self._kind())

    def model(self, place: Any = None, along: bool = False) -> Model:
        """The forward function as a model: the user's own module where nothing has to be added to it."""
        added = (place, self.behind, self.neuron, self.watched)
        bare = not along and not self.thin and len(self.tensors) == 1 and all(value is None for value in added)
        if bare and isinstance(self.function, nn.Module):
            return wrap(self.function)
        behind = None if self.behind is None else (self.behind[0], as_tensors(self.behind[1], "inputs"))
        extra = () if self.extra is None else self.extra if isinstance(self.extra, tuple) else (self.extra,)
        made = Forward(
            self.function, self.names, extra=extra, count=len(self.tensors[0]), place=place, behind=behind,
            neuron=self.neuron, watched=self.watched, thin=self.thin,
        )  # fmt: skip
        return wrap(made, name=getattr(self.function, "__name__", type(self.function).__name__))

    def _thinned(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.unsqueeze(-1) if self.thin else tensor for tensor in tensors]

    def _kind(self) -> str:
        thick = len(self.tensors) == 1 and not self.thin
        return {1: "table", 2: "table", 4: "image"}.get(self.tensors[0].ndim, "tensor") if thick else "tensor"

    def _target(self) -> tuple[Any, Any]:
        """The target, and the place that the module picks of outputs with several axes: one, or one for each row."""
        given = self.target.tolist() if isinstance(self.target, (Tensor, np.ndarray)) else self.target
        if self.neuron is not None:
            return 0, None
        if given is None:
            return Unsaid(), None
        if isinstance(given, tuple):
            return 0, tuple(map(_index, given))
        if not isinstance(given, list):
            return _index(given), None
        if len(given) not in (1, len(self.tensors[0])):
            raise TargetError(
                f"{len(given)} targets for {len(self.tensors[0])} rows", fix="give one target, or one for each row"
            )
        if isinstance(given[0], (tuple, list)):
            return 0, [tuple(map(_index, place)) for place in given]
        return (_index(given[0]) if len(given) == 1 else list(map(_index, given))), None

    # What is absent ------------------------------------------------------------------------------

    def _removal(self) -> tuple[Removal, bool]:
        """What stands for the absent, and whether each row has its own."""
        given = self.baselines
        if given is None or is_number(given):
            return Constant(float(given or 0.0)), False
        flat = self.baseline_rows()
        if self.spread:
            return Marginal(self._named(flat), most=len(flat)), False
        if len(flat) == 1:
            return Constant(self._named(flat)), False
        if len(flat) != len(self.tensors[0]):
            raise RemovalError(
                f"{len(flat)} baselines for {len(self.tensors[0])} rows",
                fix="give one, or one for each row; GradientShap and DeepLiftShap take any number of them",
            )
        return Own(flat), True

    def baseline_rows(self) -> Tensor:
        """Baselines of all inputs side by side, ``[S, D]``."""
        every = self.baselines is None or is_number(self.baselines)
        given = (self.baselines,) * len(self.tensors) if every else self.baselines
        parts = given if isinstance(given, tuple) else (given,)
        if len(parts) != len(self.tensors):
            raise RemovalError(f"{len(parts)} baselines for {len(self.tensors)} inputs", fix="give one for each input")
        rows = [_baseline(part, tensor) for part, tensor in zip(parts, self.tensors, strict=True)]
        most = max(map(len, rows))
        if any(len(part) not in (1, most) for part in rows):
            raise RemovalError("the baselines of the inputs disagree on the number of rows")
        return torch.cat([part.reshape(len(part), -1).expand(most, -1) for part in rows], dim=1)

    def parted(self, flat: Tensor) -> list[Tensor]:
        """Rows ``[S, D]`` as one tensor for each input."""
        parts = flat.split([tensor[0].numel() for tensor in self.tensors], dim=1)
        return [part.reshape(-1, *tensor.shape[1:]) for part, tensor in zip(parts, self.tensors, strict=True)]

    def _named(self, flat: Tensor) -> Any:
        """Rows ``[S, D]`` as the model is given them."""
        rows = self._thinned(self.parted(flat))
        return rows[0] if len(rows) == 1 else dict(zip(self.names, rows, strict=True))

    # Features ------------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> np.ndarray:
        """The feature of each element, ``Int[1 or N, D]``, counted from 0 in each row."""
        if self.mask is None:
            return np.arange(sum(tensor[0].numel() for tensor in self.tensors))[None]
        masks = as_tensors(self.mask, "feature_mask")
        if len(masks) != len(self.tensors):
            raise InputError(
                f"{len(masks)} feature masks for {len(self.tensors)} inputs", fix="give one for each input"
            )
        wide = [_spread(mask, tensor) for mask, tensor in zip(masks, self.tensors, strict=True)]
        most = max(map(len, wide))
        joined = torch.cat([mask.reshape(len(mask), -1).expand(most, -1) for mask in wide], dim=1).cpu().numpy()
        return np.stack([np.unique(row, return_inverse=True)[1].reshape(-1) for row in joined])

    def _players(self, nobodys: bool) -> Players | Units:
        """Elements, or the features of a mask; the rows' places are ``nobodys`` where they would count as elements."""
        if self.mask is None and not nobodys:
            return Elements()
        names = [tuple(f"feature {place}" for place in range(row.max() + 1)) for row in self.labels]
        labels = np.pad(self.labels, ((0, 0), (0, 1)), constant_values=-1) if nobodys else self.labels
        return Players(labels, tuple(names))

    def shaped(self, values: np.ndarray) -> Any:
        """Values of all elements ``Float64[N, D]`` as tensors like the inputs: their shape, type and device."""
        sizes = np.cumsum([tensor[0].numel() for tensor in self.tensors])[:-1]
        parts = [
            like(part.reshape(tensor.shape), tensor)
            for part, tensor in zip(np.split(values, sizes, axis=1), self.tensors, strict=True)
        ]
        return tuple(parts) if isinstance(self.inputs, tuple) else parts[0]


def like(values: np.ndarray, tensor: Tensor) -> Tensor:
    """Numbers as a tensor of the type and on the device of another; of torch's own type for whole numbers."""
    kind = tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()
    return torch.from_numpy(np.array(values)).to(dtype=kind, device=tensor.device)


def as_tensors(given: Any, what: str) -> tuple[Tensor, ...]:
    """A tensor, an array or a tuple of such as tensors without history. Raises :class:`InputError`."""
    parts = given if isinstance(given, tuple) else (given,)
    wrong = next((part for part in parts if not isinstance(part, (Tensor, np.ndarray))), None)
    if wrong is not None or not parts:
        raise InputError(
            f"{what}={shorten(repr(wrong), 60)} is neither a tensor nor an array" if parts else f"there are no {what}",
            fix=f"give {what} as tensors",
        )
    return tuple(part.detach() if isinstance(part, Tensor) else torch.from_numpy(np.array(part)) for part in parts)


def _baseline(part: Any, tensor: Tensor) -> Tensor:
    """The baselines of one input, one row or more."""
    if part is None or is_number(part):
        return torch.full_like(tensor[:1], part or 0)
    (rows,) = as_tensors(part, "baselines")
    rows = rows[None] if rows.shape == tensor.shape[1:] else rows
    if rows.shape[1:] != tensor.shape[1:]:
        raise RemovalError(
            f"baselines of the shape {tuple(rows.shape)} for inputs of the shape {tuple(tensor.shape)}",
            fix="give a number, one row, or rows of the inputs' shape",
        )
    return rows.to(tensor)


def _spread(mask: Tensor, tensor: Tensor) -> Tensor:
    """A feature mask with a line for all rows, or one for each."""
    lines = len(mask) if mask.ndim == tensor.ndim else 1
    try:
        wide = mask.expand(lines, *tensor.shape[1:])
    except RuntimeError as error:
        raise InputError(
            f"a feature mask of the shape {tuple(mask.shape)} for inputs of the shape {tuple(tensor.shape)}",
            fix="give masks of the inputs' shape, or of one row's",
        ) from error
    if lines not in (1, len(tensor)):
        raise InputError(f"{lines} feature masks for {len(tensor)} rows", fix="give one mask, or one for each row")
    return wide


def _index(given: Any) -> int:
    if not is_number(given) or given != int(given):
        raise TargetError(f"target={shorten(repr(given), 60)} is no place of an output", fix="give a whole number")
    return int(given)

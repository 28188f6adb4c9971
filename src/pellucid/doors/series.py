"""The door for time series: what a person declared, as the inputs of a network, and where each series ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..data.series import Series
from ..problem.differing import fills_up
from ..problem.inputs import WHOLE, Inputs
from ..problem.model import Model
from ..records.errors import InputError


def _lengths(there: Tensor) -> Tensor:
    return there.sum(1)


def _mask(there: Tensor) -> Tensor:
    return there


def _padding(there: Tensor) -> Tensor:
    return ~there


ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "lengths": _lengths, "length": _lengths, "seq_lengths": _lengths, "seq_lens": _lengths,
    "mask": _mask, "attention_mask": _mask,
    "padding_mask": _padding, "key_padding_mask": _padding, "src_key_padding_mask": _padding,
}  # fmt: skip
"""The arguments by which networks are told where series end, made of ``Bool[N, T]``, true where there is a step.

Names are torch's own where it has some: its padding masks are true where there is *no* step.
"""


def as_series(rows: Any) -> Series | None:
    """Rows that were declared to be series, or a data set of series; None for anything else."""
    if isinstance(rows, Dataset):
        return rows.series
    return rows if isinstance(rows, Series) else None


def series_inputs(model: Model, series: Series, raw: np.ndarray | None = None) -> Inputs:
    """Series as ``model`` takes them, shown as ``raw`` where they were encoded.

    Those of unequal lengths go filled up to a network that is told where each ends, or whose filling was said; to any
    other network each as long as it is. Raises :class:`InputError` where a network takes them neither way.
    """
    axis = 1 if series.axes.time == "first" or series.axes.flat else 2
    tensor, told = torch.from_numpy(np.array(series.content)), _told(model, series.lengths is not None)
    whole = argument_names(model)[0] if told else WHOLE
    named, along = {whole: tensor}, {whole: axis}
    if told:
        lengths = np.full(len(series), series.axes.steps) if series.lengths is None else series.lengths
        there = torch.arange(series.axes.steps) < torch.from_numpy(lengths.astype(np.int64))[:, None]
        ends = {name: ENDS[name](there) for name in told}
        named |= ends
        along |= {name: 1 for name, tensor in ends.items() if tensor.ndim > 1}
    placed = model.place(named)
    assert not isinstance(placed, list)
    shown = series.content.copy() if raw is None else raw
    inputs = Inputs(placed, raw=shown, axes=series.axes, lengths=series.lengths)
    if series.lengths is None or not (told or series.filled):
        return inputs
    inputs = replace(inputs, along=along)
    fills = _fills_up(model, inputs)
    if not told and fills is None:
        raise InputError(
            f"the series have {series.lengths.min()} to {series.lengths.max()} steps, and {model.name} neither takes "
            "shorter ones as they are nor is told where each one ends",
            why="behind its end a series is filled up, and a network without lengths takes that for measurements",
            fix="let it take lengths or mask as its second argument; or, where it was trained on series filled up "
            "with a number, say which: Series(…, fill=0.0), or in its encoding, SeriesEncoding.fit(data, fill=0.0)",
        )
    return replace(inputs, fills=bool(told) and fills is not False)


def _fills_up(model: Model, inputs: Inputs) -> bool | None:
    """What ``model`` makes of the shortest series when it is filled up."""
    assert inputs.lengths is not None
    shortest = inputs.take([int(inputs.lengths.argmin())])
    with model.untouched():
        return fills_up(model.outputs, shortest.cut(int(inputs.lengths.min())).tensors, shortest.tensors)


def _told(model: Model, unequal: bool) -> list[str]:
    """The arguments by which ``model`` is told where series end: all it knows, for equal series those it must have.

    A plain mask beside a padding mask is one of attention, from step to step, and not meant.
    """
    known = [name for name in argument_names(model)[1:] if name in ENDS]
    padding = [name for name in known if ENDS[name] is _padding]
    known = padding or known
    return known if unequal else [name for name in known if name not in _optional(model)]


def _optional(model: Model) -> set[str]:
    """The arguments that a model's code has defaults for."""
    code = getattr(getattr(model, "module", None), "forward", None) or getattr(model, "function", None)
    try:
        parameters = inspect.signature(code).parameters.values() if code is not None else ()
    except (TypeError, ValueError):  # no signature to read
        return set()
    return {parameter.name for parameter in parameters if parameter.default is not inspect.Parameter.empty}


def argument_names(model: Model) -> list[str]:
    """The names by which a model takes its inputs, in order; empty where it does not tell."""
    names: list[str] = list(getattr(model, "argument_names", ()))
    if not names and (function := getattr(model, "function", None)) is not None:
        try:
            names = list(inspect.signature(function).parameters)
        except (TypeError, ValueError):  # no signature to read
            names = []
    return names

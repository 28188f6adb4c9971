"""The door for time series: what a person declared, as the inputs of a network, and where each series ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..data.series import Series
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

    Raises :class:`InputError` for unequal ones of which it cannot see the ends.
    """
    tensor, told = torch.from_numpy(np.array(series.content)), _told(model, series.lengths is not None)
    if series.filled and not told:
        assert series.lengths is not None
        raise InputError(
            f"the series have {series.lengths.min()} to {series.lengths.max()} steps, and {model.name} is not told "
            "where each one ends",
            why="behind its end a series is filled up, and a network without lengths takes that for measurements",
            fix="let it take lengths or mask as its second argument; or, where it was trained on series filled up "
            "with a number, say which: Series(…, fill=0.0), or in its encoding, SeriesEncoding.fit(data, fill=0.0)",
        )
    named = {argument_names(model)[0] if told else WHOLE: tensor}
    if told:
        lengths = np.full(len(series), series.axes.steps) if series.lengths is None else series.lengths
        there = torch.arange(series.axes.steps) < torch.from_numpy(lengths.astype(np.int64))[:, None]
        named |= {name: ENDS[name](there) for name in told}
    placed = model.place(named)
    assert not isinstance(placed, list)
    shown = series.content.copy() if raw is None else raw
    return Inputs(placed, raw=shown, axes=series.axes, lengths=series.lengths)


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

"""Missing cells in the rows of one question: refused, taken as they are, or filled with the median of their column."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..problem.model import HANDLED, MEDIAN, Model
from ..records.errors import InputError, NotFiniteError, RemovalError, UnknownName, shorten
from ..records.messages import Caution
from .rows import Read, as_inputs

LISTED = 5
"""Columns that a caution names."""
Element = tuple[str, int]
"""A column, and which of its elements."""


def as_missing(word: str) -> str:
    """What a user says of missing cells. Raises :class:`UnknownName` for another word."""
    if word not in (HANDLED, MEDIAN):
        raise UnknownName.among("way with missing cells", str(word), (HANDLED, MEDIAN))
    return word


def with_medians(model: Model, data: Dataset) -> Model:
    """A model that fills in medians, with those of the training rows; the caller's object is not changed."""
    if model.missing != MEDIAN or not data.is_table or not len(data.train):
        return model
    copied, read = copy.copy(model), as_inputs(model, data.train.features)
    names = _elements(read, read.model or model)
    copied.medians = dict(zip(names, _medians(read.inputs.flat).tolist(), strict=True))
    return copied


@dataclass
class Blanks:
    """What becomes of the missing cells of rows for ``model``.

    ``medians`` ``Float64[D]`` are those that stand for them: of training rows where the model brings such, else of the
    background, else of the explained rows themselves.
    """

    model: Model
    medians: Tensor | None = None

    def of_background(self, absent: Read) -> Tensor:
        """Background rows ``[S, D]``. Raises :class:`RemovalError` for missing cells that the model does not take."""
        inputs = absent.inputs
        if not len(inputs):
            raise RemovalError("the background has no rows")
        if self.model.missing == MEDIAN and inputs.flat.is_floating_point():
            self.medians = self._known(absent) if self.model.medians else _medians(inputs.flat)
            self._refuse_without(absent, self.medians)
            inputs = _with(absent, self._filled(inputs.flat, self.medians)).inputs

        def column(_: int, element: int) -> str:
            return _elements(absent, self.model)[element][0] if absent.kind == "table" else ""

        try:
            inputs.refuse_non_finite(column, self.model.missing == HANDLED)
        except NotFiniteError as error:
            raise RemovalError(f"the background holds {error.what}", where=error.where, fix=error.fix) from error
        return _alike(inputs.flat) if self.model.missing == HANDLED and inputs.blank else inputs.flat

    def of_rows(self, read: Read) -> tuple[Read, tuple[Caution, ...]]:
        """The explained rows, and what was put in. Raises :class:`InputError` where a column has no median."""
        if not self.model.missing or not read.inputs.blank:
            return read, ()
        flat, gone = read.inputs.flat, torch.isnan(read.inputs.flat)
        if self.model.missing == HANDLED:
            return _with(read, _alike(flat)), ()
        if read.kind != "table":
            raise InputError(f"missing={MEDIAN!r} fills in cells of a table, and these rows are {read.kind}")
        own = self.medians is None and not self.model.medians
        if self.medians is None:
            self.medians = _medians(flat) if own else self._known(read)
        self._refuse_without(read, self.medians)
        names = _elements(read, self.model)
        told = Caution.of(
            "own_medians_in" if own else "medians_in", "yellow", cells=int(gone.sum()), rows=int(gone.any(1).sum()),
            total=len(flat), columns=_listed(names, gone.sum(0).tolist()),
        )  # fmt: skip
        return _with(read, self._filled(flat, self.medians)), (told,)

    def _known(self, read: Read) -> Tensor:
        """The medians that the model brings, in the order of these rows' elements."""
        known, names = self.model.medians, _elements(read, self.model)
        return torch.tensor([known.get(name, float("nan")) for name in names], dtype=torch.float64)

    def _refuse_without(self, read: Read, medians: Tensor) -> None:
        lost = torch.isnan(read.inputs.flat).any(0).cpu() & torch.isnan(medians)
        if bool(lost.any()):
            name = _elements(read, self.model)[int(lost.int().argmax())][0]
            raise InputError(
                "every cell is missing, so there is no median",
                where=f"column `{shorten(name)}`",
                fix="give rows to take it from: background=training rows",
            )

    @staticmethod
    def _filled(flat: Tensor, medians: Tensor) -> Tensor:
        return torch.where(torch.isnan(flat), medians.to(flat), flat)


def _elements(read: Read, model: Model) -> list[Element]:
    """What each element of a row is."""
    width = read.inputs.width
    groups = getattr(model.encoding, "groups", {}) if getattr(model.encoding, "width", None) == width else {}
    names = list(read.columns) if len(read.columns) == width else [f"x{place}" for place in range(width)]
    for name, elements in groups.items():
        for element in elements:
            names[element] = name
    met: Counter[str] = Counter()
    found = []
    for name in names:
        found.append((name, met[name]))
        met[name] += 1
    return found


def _listed(names: list[Element], counts: list[int]) -> str:
    """The first columns with missing cells, and how many each has."""
    found: Counter[str] = Counter()
    for (name, _), count in zip(names, counts, strict=True):
        found[name] += count
    told = [f"{shorten(name, 30)} {count}" for name, count in found.items() if count]
    return ", ".join(told[:LISTED]) + (", …" if len(told) > LISTED else "")


def _medians(flat: Tensor) -> Tensor:
    """The median of what is known of each element, ``Float64[D]``; NaN where nothing is."""
    cells = flat.detach().double().cpu().numpy()
    known = ~np.isnan(cells).all(0)
    found = np.full(cells.shape[1], np.nan)
    found[known] = np.nanmedian(cells[:, known], axis=0)
    return torch.from_numpy(found)


def _alike(flat: Tensor) -> Tensor:
    """Rows in which all that is missing has the same bits, so that a row is the same row wherever it comes from."""
    return flat.masked_fill(torch.isnan(flat), float("nan"))


def _with(read: Read, flat: Tensor) -> Read:
    return replace(read, inputs=replace(read.inputs, tensors=read.inputs.fold(flat, slice(None))))

"""The door for questions: strings and numbers become a target, a removal, players; all of it one Problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ..backends.proposals import Proposed
from ..backends.token_box import TokenBox
from ..backends.token_network import TokenModel
from ..data.dataset import Dataset
from ..data.text_encoding import TextEncoding
from ..modalities.image import Patches
from ..modalities.series import Steps, Windows
from ..modalities.tabular import ColumnBlocks, Columns, ColumnUnits
from ..modalities.text import Hide, Replace, Words, usual
from ..problem.conditional import Conditional
from ..problem.inputs import Inputs, same
from ..problem.loss import Loss
from ..problem.model import Model
from ..problem.own_outputs import OfOwnOutputs
from ..problem.problem import Problem
from ..problem.removal import MOST_ROWS, Constant, Marginal, Removal, TensorRemoval, matching
from ..problem.target import All, Class, Computed, Contrast, EachRow, Predicted, Target, Top
from ..problem.units import Elements, Units
from ..records.errors import InputError, RemovalError, TargetError, shorten
from ..records.messages import Caution
from ..records.players import Players
from .blanks import Blanks
from .removals import refuse_unfit, spelled
from .rows import Read, as_inputs
from .wrap import wrap

COARSE = 8
"""An image is divided into about this many patches a side for methods that ask coalition by coalition."""
MOST_COLUMNS, BLOCKS = 10_000, 64
"""A table of more columns is divided into so many blocks for such methods: a column would take a question or more."""


def as_problem(
    model: Any,
    rows: Any,
    *,
    target: Any = "predicted",
    background: Any = None,
    removal: Any = None,
    players: Any = None,
    fine: bool = True,
    seed: int = 0,
    most: int = MOST_ROWS,
) -> Problem:
    """Everything the user gave, validated together.

    ``fine`` says whether every element may be a player of its own by default (gradient methods), or images
    are divided into patches (methods that ask coalition by coalition). ``background`` is reduced to ``most`` rows.
    """
    model = wrap(model)
    read = as_inputs(model, rows)
    model = read.model or model
    units = _units(players, read, fine)
    made = units if isinstance(units, Players) else units.make(read.inputs, _grouping(model, read))
    longer = _longer(made, read.inputs)
    if longer is not None:
        made = made.cut(longer[0], read.inputs.axes)
    blanks = Blanks(model)
    chosen, cautions = _removal(model, read, background, removal, seed, most, longer, blanks)
    read, filled = blanks.of_rows(read)
    cautions += filled
    if read.inputs.axes is not None and made.axes is None:
        made = replace(made, axes=read.inputs.axes, layout=made.layout or read.inputs.axes.shape)
    asked = as_target(target, rows)
    if players is None and isinstance(units, ColumnBlocks):
        cautions.append(Caution.of("columns_grouped", "yellow", columns=read.inputs.width, groups=units.count))
    if read.outputs:
        asked = OfOwnOutputs(asked, read.outputs, read.first, read.whole)
    return Problem(model, read.inputs, made, chosen, asked, read.kind, (*read.cautions, *cautions))


Longer = tuple[np.ndarray, int]
"""Which elements ``Int[D]`` of a longer row, of so many, a row has."""


def _longer(players: Players, inputs: Inputs) -> Longer | None:
    """Of players that a record has of longer rows, what of them is of these rows.

    None where they are of rows like these, or own something that these rows lack.
    """
    width = players.labels.shape[1]
    if inputs.opaque is not None or width <= inputs.width:
        return None
    kept = np.arange(inputs.width) if inputs.spans is not None else np.arange(0)
    if inputs.axes is not None and players.axes is not None:
        kept = inputs.axes.as_rows(players.axes.by_channel(np.arange(width))[:, : inputs.axes.steps])
    gone = np.delete(players.labels, kept, axis=1)
    return (kept, width) if len(kept) == inputs.width and not (gone >= 0).any() else None


def _grouping(model: Model, read: Read) -> Any:
    """The encoding, where the rows came through it or are as wide as what it makes."""
    encoding = model.encoding
    through = bool(read.columns) or getattr(encoding, "width", None) == read.inputs.width
    return encoding if read.kind == "table" and through else None


def as_target(given: Any, rows: Any = None) -> Target:
    """A target from what the user wrote: a word ("predicted", "all", "top:3", "loss", "loss:zero_one"), an index, a
    name, a pair, a list, a function.

    A loss takes its labels from ``rows`` where it was given none of its own.
    """
    if isinstance(given, Loss):
        return labelled_loss(given, rows)
    if isinstance(given, Target):
        return given
    if isinstance(given, str):
        if given in ("predicted", "all"):
            return Predicted() if given == "predicted" else All()
        lead, _, rest = given.partition(":")
        if lead == "loss":
            return labelled_loss(Loss(kind=rest or "auto"), rows)
        return Top(int(rest)) if lead == "top" and rest.isdigit() else Class(given)
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return Class(int(given))
    if isinstance(given, tuple) and len(given) == 2:
        return Contrast(*(_which(part) for part in given))
    if isinstance(given, (list, np.ndarray, Tensor)):
        listed = given.tolist() if not isinstance(given, list) else given
        if not isinstance(listed, list):
            return as_target(listed)  # an array without axes
        return EachRow(tuple(_which(part) for part in listed))
    if callable(given):
        return Computed(given)  # pyright: ignore[reportArgumentType]
    raise TargetError(
        f"{given!r} is not a target",
        fix='use "predicted", an index, a name, ("A", "B"), "all", "top:3", "loss", a list (one a row), or a function',
    )


def labelled_loss(loss: Loss, rows: Any) -> Loss:
    """A loss with labels: its own, or those that the rows carry. Raises :class:`TargetError` where there are none."""
    if loss.labels is None and isinstance(rows, Dataset) and rows.labels is not None:
        loss = Loss(rows.labels, loss.kind, rows.classes)
    if loss.kind != "own":
        _ = loss.known
    return loss


def _which(part: Any) -> int | str:
    if isinstance(part, str):
        return part
    if isinstance(part, bool) or not isinstance(part, (int, np.integer)):
        raise TargetError(f"{part!r} is neither the index nor the name of an output")
    return int(part)


def _units(given: Any, read: Read, fine: bool) -> Units | Players:
    if isinstance(given, ColumnUnits) and not given.names and read.columns:
        return replace(given, names=read.columns)  # pyright: ignore[reportArgumentType]  all of them are dataclasses
    if isinstance(given, (Units, Players)):
        return given
    if given is not None:
        raise InputError(f"{given!r} does not say what the players are", fix="see pellucid.players, or give Players(…)")
    if read.kind in ("words", "text"):
        return Words()
    if read.kind == "table":
        wide = not fine and (len(read.columns) or read.inputs.width) > MOST_COLUMNS
        return ColumnBlocks(BLOCKS, read.columns) if wide else Columns(read.columns)
    if read.kind == "series":
        return Steps() if fine else Windows()
    if read.kind == "image" and not fine:
        height, width = next(iter(read.inputs.shapes.values()))[1:]
        return Patches(max(1, -(-max(height, width) // COARSE)))
    return Elements()


def _removal(
    model: Model,
    read: Read,
    background: Any,
    removal: Any,
    seed: int,
    most: int,
    longer: Longer | None,
    blanks: Blanks,
) -> tuple[Removal, list[Caution]]:
    texts = model.encoding if read.inputs.opaque is None else None
    opaque = read.inputs.opaque is not None
    if isinstance(removal, str):
        removal, background = spelled(removal, background, read.kind, texts, opaque)
    if background is not None and removal is not None:
        raise RemovalError(
            "background= and removal= both say what is absent",
            fix="background=rows is short for removal=Marginal(rows); give one of them",
        )
    if removal is not None and not isinstance(removal, Removal):
        raise RemovalError(f"{removal!r} is not a removal", fix="give a word, or one of pellucid.removals")
    if removal is not None:
        refuse_unfit(removal, read.kind, opaque)
    if read.kind in ("words", "text"):
        if background is not None:
            raise RemovalError("texts have no background rows", fix="say removal='mask' or removal='delete'")
        return _of_text(model, read, removal, seed)
    if background is None and removal is None:
        return Constant(0.0), [Caution.of("zero_baseline", "note")]

    def flatten(rows: Any) -> Tensor:
        absent = as_inputs(model, _as_batch(rows, read), shown=False)
        _refuse_other_columns(read.columns, absent.columns)
        _refuse_unequal(absent.inputs)
        return blanks.of_background(absent)

    if removal is None:
        removal = Marginal(background, most=most)
    prepared = removal.prepared(flatten, seed)
    if longer is not None and isinstance(prepared, TensorRemoval):
        prepared = prepared.cut(*longer)
    if isinstance(prepared, Marginal) and len(prepared.rows) == 1:
        prepared = Constant(prepared.rows)
    cautions = []
    if isinstance(prepared, (Marginal, Conditional)) and prepared.given > len(prepared.rows):
        cautions.append(Caution.of("background_reduced", "note", given=prepared.given, kept=len(prepared.rows)))
    own = getattr(prepared, "rows", getattr(prepared, "value", None))
    if isinstance(own, Tensor):
        matching(own, read.inputs.flat)
    if isinstance(prepared, Constant) and isinstance(prepared.value, Tensor) and _is_the_row(prepared.value, read):
        cautions.append(Caution.of("background_of_one", "yellow"))
    return prepared, cautions


def _of_text(model: Model, read: Read, removal: Removal | None, seed: int) -> tuple[Removal, list[Caution]]:
    """What absent means in texts; for a network of tokens in its own terms, with what it makes of hidden ones."""
    encoding = model.encoding if isinstance(model.encoding, TextEncoding) and read.inputs.opaque is None else None
    chosen = usual(encoding) if removal is None else removal
    if encoding is None or not isinstance(chosen, (Replace, Hide, Proposed)):
        return chosen, []
    cautions = []
    if isinstance(chosen, Hide) and isinstance(model, (TokenModel, TokenBox)):
        with model.untouched():
            hidden = model.hides(read.inputs.tensors)
        cautions = [] if hidden else [Caution.of("hidden_is_padding", "yellow", model=model.name)]
    return chosen.of_tokens(encoding).prepared(lambda rows: rows, seed), cautions


def _refuse_other_columns(named: tuple[str, ...], absent: tuple[str, ...]) -> None:
    """Raise :class:`RemovalError` where background rows name their columns otherwise than the explained rows do.

    Without an encoding a network knows columns by their places, so which of the two orders is its own cannot be told.
    """
    if named and absent and named != absent:
        first = next((pair for pair in zip(named, absent, strict=False) if pair[0] != pair[1]), (named[-1], absent[-1]))
        raise RemovalError(
            f"the background's columns are not those of the rows: {shorten(first[1], 30)!r} stands where they have "
            f"{shorten(first[0], 30)!r}",
            why="the network knows columns by their places",
            fix="give both in the order that the network was trained on",
        )


def _refuse_unequal(absent: Inputs) -> None:
    """Raise :class:`RemovalError` for a background of series that end at different steps."""
    if absent.along and absent.lengths is not None:
        raise RemovalError(
            f"the background's series have {absent.lengths.min()} to {absent.lengths.max()} steps",
            why="what is behind the end of one is no measurement, and cannot stand for one",
            fix="give series as long as the longest that is explained; or say what they are filled up with, "
            "Series(…, fill=0.0)",
        )


def _is_the_row(value: Tensor, read: Read) -> bool:
    flat = read.inputs.flat
    return len(flat) == 1 and value.shape == flat.shape and bool(same(value.to(flat), flat).all())


def _as_batch(rows: Any, read: Read) -> Any:
    """One row without its leading dimension stands for a batch of one."""
    if isinstance(rows, list) and rows and all(isinstance(cell, (int, float)) for cell in rows):
        rows = np.asarray(rows)
    if isinstance(rows, (Tensor, np.ndarray)):
        raw = read.inputs.raw
        ones = [next(iter(read.inputs.shapes.values()))] + ([raw.shape[1:]] if isinstance(raw, np.ndarray) else [])
        return rows[None] if tuple(rows.shape) in ones and rows.ndim else rows
    if isinstance(rows, dict) and not any(isinstance(v, (Tensor, np.ndarray, Sequence)) for v in rows.values()):
        return [rows]
    return rows

"""From words to a question: what a person types or posts (files, names, places) becomes a model, rows and a target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..catalog import find
from ..data.dataset import SPLITS, Dataset
from ..data.reading import read
from ..doors.blanks import with_medians
from ..doors.load import load
from ..doors.rows import as_inputs
from ..engine.budget import Budget
from ..engine.listener import Listener
from ..problem.model import Model
from ..problem.removal import MOST_ROWS
from ..records.errors import InputError, NotApplicable, RemovalError, TargetError, shorten
from ..records.explanation import Explanation
from ..records.files import read_array
from ..records.inspection import Inspection
from ..records.preflight import Preflight
from ..records.score import Scores
from .comparing import Comparison, compare
from .entities import EntityRow, found_entities, with_entities
from .evaluating import evaluate
from .explaining import explain
from .inspecting import inspect
from .language import asked_to_answer
from .plan import BACKGROUND, named, what_is_absent
from .preflight import preflight

SLICE = re.compile(r"(-?\d*):(-?\d*)")
PLACES = re.compile(r"-?\d+(,\s*-?\d+)*")
STYLE = ("delimiter", "decimal", "thousands", "encoding")
"""How a file is written: said once, for DATA and for files of rows beside it."""
SERIES = ("time", "channel", "value", "window", "stride")
READING = (*STYLE, "size", "id", "task", "groups", "text", "evidence", "kind", *SERIES)


class Question(NamedTuple):
    """Rows and which of their outputs is meant; ``entities`` where a row asks about one of those in a text."""

    rows: Any
    target: Any
    entities: tuple[EntityRow, ...] = ()


@dataclass(frozen=True, eq=False)
class Sources:
    """A model and data by their files, opened when first asked for.

    Attributes
    ----------
    model, encoding, weights, arguments, outputs, trust, name, missing: as in :func:`pellucid.load`; ``draws`` is its
        ``stochastic``, 0 for none.
    data, label, protected, schema, seed: as in :func:`pellucid.read`; ``reading`` holds its further arguments as texts.
    """

    model: str
    data: str
    label: str | None = None
    encoding: str | None = None
    weights: str | None = None
    arguments: Mapping[str, Any] | None = None
    outputs: Sequence[str] | None = None
    trust: bool = False
    name: str = ""
    draws: int = 0
    protected: Sequence[str] = ()
    schema: str | Path | None = None
    missing: str = ""
    seed: int = 0
    reading: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def dataset(self) -> Dataset:
        """The data. Raises :class:`InputError` and :class:`UnknownName` as reading does."""
        strange = sorted(set(self.reading) - set(READING))
        if strange:
            raise NotApplicable(f"reading has no setting {strange[0]!r}", fix=f"it has {', '.join(READING)}")
        how: dict[str, Any] = dict(self.reading)
        return read(
            self.data, label=self.label, protected=self.protected, schema=self.schema, seed=self.seed, **how
        )  # fmt: skip

    @cached_property
    def network(self) -> Model:
        """The model, its outputs named after the data's classes where it has no names of its own."""
        model = load(
            self.model, encoding=self.encoding, outputs=self.outputs or None, weights=self.weights,
            arguments=self.arguments, trust=self.trust, name=self.name, stochastic=self.draws or False,
            missing=self.missing,
        )  # fmt: skip
        return named(with_medians(model, self.dataset), self.dataset)

    def rows(self, which: str) -> Dataset:
        """Rows by a split's name, ``all``, ``0:5``, ``3,7`` (0 is the first), or a file of rows.

        Raises :class:`InputError` for rows that are not there.
        """
        data = self.dataset
        if which in SPLITS or which == "all":
            found = data if which == "all" else data.part(which)
        elif ends := SLICE.fullmatch(which):
            found = data[slice(*(int(end) if end else None for end in ends.groups()))]
        elif PLACES.fullmatch(which):
            found = data.take([int(place) for place in which.split(",")])
        else:
            found = self.beside(which)
        if not len(found):
            raise InputError(f"rows {shorten(which)!r} are none", why=f"the data have {len(data)} rows")
        return found

    def question(self, which: str, target: str = "predicted") -> Question:
        """Rows and a target, from words; of texts with tagged words the entities that the network finds in them, each
        for its own type unless the target says otherwise."""
        rows = self.rows(which)
        if rows.task != "tagging":
            return Question(rows, self.target(target))
        found = found_entities(self.network, rows.words or ())
        own = [row.said for row in found] if target == "predicted" else self.target(target)
        return Question([row.asked for row in found], own, tuple(found))

    def beside(self, path: str) -> Dataset:
        """A file of rows, written as the data are."""
        if not Path(path).is_file():
            raise InputError(
                f"{shorten(path)!r} names no rows",
                fix=f"give 0:5, 3,7, {', '.join(SPLITS)}, all, or a file of rows",
            )
        measured = "time" in self.reading  # of a table of measurements every column has a part to play
        told = (*STYLE, "text", "kind", *SERIES, *(("id", "groups", "task") if measured else ()))
        how: dict[str, Any] = {name: value for name, value in self.reading.items() if name in told}
        return read(path, label=self.label if measured else None, **how)

    def absent(self, background: str | None, removal: str | None = None, method: Any = None) -> dict[str, Any]:
        """``background=`` and ``removal=``: rows as :meth:`rows` has them, ``"zeros"``, or (None) what an audit takes.

        ``removal`` is a word, as in :func:`pellucid.explain`. A ``method`` that draws single rows from the background
        gets as many as it can take.
        """
        if background == "zeros":
            if removal is not None:
                raise RemovalError(f"zeros and {shorten(removal)!r} both say what is absent", fix="give one of them")
            return {}
        if background is not None:
            return {"background": self.rows(background).features, "removal": removal}
        many = getattr(method, "background_rows", MOST_ROWS)
        most = many if many > MOST_ROWS else BACKGROUND
        chosen, rows = what_is_absent(self.dataset, self.seed, removal=removal, most=most)
        return {"removal": chosen, "background": rows}

    def target(self, text: str) -> Any:
        """A target from text: an output's name wins, then a place, then a pair with a comma between."""
        labels = self.network.labels or ()
        if text in labels:
            return text
        if re.fullmatch(r"-?\d+", text):
            return int(text)
        first, *others = (part.strip() for part in text.split(","))
        if len(others) > 1:
            raise TargetError(f"{shorten(text)!r} names {len(others) + 1} outputs", fix="'A,B' asks why A and not B")
        return (self.target(first), self.target(others[0])) if others else text


def explain_files(
    sources: Sources,
    *,
    method: str = "auto",
    settings: Mapping[str, Any] | None = None,
    rows: str = "0:5",
    target: str = "predicted",
    background: str | None = None,
    removal: str | None = None,
    answer: str | None = None,
    budget: Budget | int | None = None,
    listener: Listener | None = None,
) -> Explanation:
    """:func:`pellucid.explain` for files and texts; "absent" means what it means in an audit unless said.

    ``answer`` is how the texts go on, of a network that writes; where it is empty, the network writes it. A single
    text's is explained token by token beside the whole.
    """
    if "," in method:
        raise NotApplicable(f"{shorten(method)!r} are several methods", fix="pellucid compare takes --methods")
    if method == "auto" and settings:
        raise NotApplicable("settings were given, and no method that they belong to", fix="name the method")
    chosen = method if method == "auto" else find("methods", method, dict(settings or {}))
    asked = sources.question(rows, target)
    if answer is not None:
        given = asked_to_answer(sources.network, _texts(sources.rows(rows)), answer.strip() or None)
        whole = target == "predicted" and len(given) == 1
        asked = Question(given, "all" if whole else asked.target)
    how: dict[str, Any] = {"target": asked.target, "budget": budget, "seed": sources.seed}
    how |= sources.absent(background, removal, chosen)
    found = explain(sources.network, asked.rows, chosen, listener=listener, **how)
    return with_entities(found, asked.entities) if asked.entities else found


def _texts(rows: Dataset) -> list[str]:
    if not rows.is_text:
        raise NotApplicable("an answer continues a text, and these rows are none", fix="leave the answer out")
    return list(rows.features)


def preflight_files(sources: Sources, *, rows: str = "0:8", listener: Listener | None = None) -> Preflight:
    """:func:`pellucid.preflight` for files and texts."""
    return preflight(sources.network, sources.question(rows).rows, listener=listener)


def inspect_files(
    sources: Sources,
    *,
    rows: str = "test",
    target: str = "predicted",
    before: str | None = None,
    listener: Listener | None = None,
) -> Inspection:
    """:func:`pellucid.inspect` for files and texts; ``before`` are the weights of another checkpoint."""
    other = None if before is None else replace(sources, weights=before).network
    asked = sources.question(rows, target)
    how = {"target": asked.target, "before": other, "seed": sources.seed}
    return inspect(sources.network, asked.rows, listener=listener, **how)


def evaluate_files(
    sources: Sources,
    explanation: str,
    *,
    metrics: Any = "default",
    rows: str | None = None,
    target: str | None = None,
    background: str | None = None,
    removal: str | None = None,
    pooling: str = "sum",
    listener: Listener | None = None,
) -> Scores:
    """:func:`pellucid.evaluate` for an explanation in a file: ours (``.npz``), or an array of values (``.npy``).

    The rows of one of ours are found in the data by their content. For an array, ``rows`` says which they are.
    """
    how: dict[str, Any] = {"metrics": metrics, "seed": sources.seed, "listener": listener}
    if Path(explanation).suffix.lower() == ".npy":
        values = read_array(explanation)
        if rows is None:
            raise InputError("which rows the values explain is not known", fix=f"say it: --rows 0:{len(values)}")
        asked = sources.question(rows, target or "predicted")
        how |= {"target": asked.target, "pooling": pooling, **sources.absent(background, removal)}
        return evaluate(sources.network, asked.rows, values, **how)
    record = Explanation.load(explanation)
    if background is not None or removal is not None:
        how |= sources.absent(background, removal)
    if target is not None:
        how["target"] = sources.target(target)
    found = rows_explained(sources, record) if rows is None else sources.question(rows).rows
    return evaluate(sources.network, found, record, **how)


def rows_explained(sources: Sources, explanation: Explanation) -> Any:
    """The rows of the data that a record explains, in its order. Raises :class:`InputError` where some are missing."""
    rows = sources.question("all").rows
    known = {id: place for place, id in enumerate(as_inputs(sources.network, rows).inputs.ids)}
    missing = sum(id not in known for id in explanation.ids)
    if missing or not explanation.ids:
        raise InputError(
            f"{missing or 'all'} of the {len(explanation)} rows that were explained are not in the data",
            why="rows are known by what the network is given",
            fix="give the data and the encoding that were explained, or the rows",
        )
    places = [known[id] for id in explanation.ids]
    return rows.take(places) if isinstance(rows, Dataset) else [rows[place] for place in places]


def compare_files(
    sources: Sources,
    *,
    methods: Any = "default",
    metrics: Any = "default",
    rows: str = "test",
    target: str = "predicted",
    background: str | None = None,
    removal: str | None = None,
    budget: Budget | int | None = None,
    listener: Listener | None = None,
) -> Comparison:
    """:func:`pellucid.compare` for files and texts; "absent" means what it means in an audit unless said."""
    asked = sources.question(rows, target)
    how = {"target": asked.target, "budget": budget, "seed": sources.seed, **sources.absent(background, removal)}
    return compare(sources.network, asked.rows, methods, metrics=metrics, listener=listener, **how)

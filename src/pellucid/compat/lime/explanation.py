"""What a lime explainer answers with: the weights near one row under lime's names, and the record they come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...records.errors import InputError, NotApplicable, TargetError, shorten
from ...records.explanation import Explanation as Record
from ...records.files import write_bytes
from ...records.players import Players
from ...records.settings import is_number
from ..asked import counted, listed

FORWARD = 6
"""Up to so many features ``"auto"`` takes the best one after the other, as lime does."""
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>LIME</title><body>{}</body></html>'


@dataclass(frozen=True, eq=False)
class Explanation:
    """One row's weights, label by label.

    Attributes
    ----------
    local_exp: label → (feature, weight) pairs, the largest first; a feature that the line left out is not listed.
    stderr: label → feature → the weight's standard error.
    scores: label → R² of the line near the row; ``score`` is that of the last label, as in lime.
    intercept, local_pred: NaN, the height of the line is not recorded; ``scores`` says how well it fits.
    predict_proba: the model's outputs at the row; ``predicted_value`` in regression.
    names: what each feature is in this row (``"0.30 < age <= 0.55"``, ``"sex=male"``).
    record: the whole record, with its settings, seed, cost and cautions.
    """

    mode: str
    local_exp: dict[int, list[tuple[int, float]]]
    stderr: dict[int, dict[int, float]]
    intercept: dict[int, float]
    scores: dict[int, float]
    local_pred: np.ndarray
    predict_proba: np.ndarray
    names: Sequence[str]
    record: Record
    class_names: Sequence[str] = ()
    top_labels: list[int] | None = None
    places: dict[int, int] = field(default_factory=dict)

    @property
    def score(self) -> float:
        return list(self.scores.values())[-1]

    @property
    def predicted_value(self) -> float:
        """The output of a regression at the row."""
        return float(self.predict_proba[0])

    def available_labels(self) -> list[int]:
        """The labels that were explained."""
        if self.mode == "regression":
            raise NotApplicable("a regression has no labels", fix="use as_list()")
        return list(self.top_labels or self.local_exp)

    def as_list(self, label: int = 1, **_: Any) -> list[tuple[str, float]]:
        """(what a feature is, weight) pairs, the largest first."""
        return [(self.names[feature], weight) for feature, weight in self._of(label)]

    def as_map(self) -> dict[int, list[tuple[int, float]]]:
        """Label → (feature's place, weight) pairs."""
        return self.local_exp

    def as_pyplot_figure(self, label: int = 1, **_: Any) -> Any:
        """An Altair chart, not a matplotlib figure: bars with 95 % intervals."""
        return self._shown(label).plot("bar")

    def as_html(self, labels: Sequence[int] | None = None, **_: Any) -> str:
        """A page of its own with the explanation of each label; what came from data is escaped."""
        asked = [1] if self.mode == "regression" else labels or self.available_labels()
        return PAGE.format("".join(self._shown(label)._repr_html_() for label in asked))

    def save_to_file(self, file_path: str | os.PathLike[str], labels: Sequence[int] | None = None, **how: Any) -> None:
        """Write :meth:`as_html` to a file."""
        write_bytes(file_path, self.as_html(labels, **how).encode())

    def show_in_notebook(self, labels: Sequence[int] | None = None, **how: Any) -> None:
        """Show :meth:`as_html` in a notebook. Raises :class:`NotApplicable` where IPython is not installed."""
        try:
            from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise NotApplicable("there is no notebook here", fix="use as_list() or save_to_file(path)") from error
        display(HTML(self.as_html(labels, **how)))

    def _of(self, label: int) -> list[tuple[int, float]]:
        label = 1 if self.mode == "regression" else label
        if label not in self.local_exp:
            raise TargetError(f"label {label} was not explained", fix=f"explained: {list(self.local_exp)}")
        return self.local_exp[label]

    def _shown(self, label: int) -> Record:
        """The record of one label, with lime's names, of the features in the line."""
        listed, place = self._of(label), self.places.get(1 if self.mode == "regression" else label, 0)
        kept = [feature for feature, _ in listed] or [0]
        one = self.record
        errors = None if one.errors is None else one.errors[:, kept, place : place + 1]
        return replace(
            one,
            attributions=one.attributions[:, kept, place : place + 1],
            errors=errors,
            gaps=None,
            base=one.base[:, place : place + 1],
            full=one.full[:, place : place + 1],
            outputs=((one.outputs[0][place],),),
            columns=None,
            players=Players.elements([self.names[feature] for feature in kept], kind="column"),
            rows=None,
            several=False,
        )


def weights_of(record: Record, places: dict[int, int]) -> tuple[dict, dict, dict]:
    """Label → weights that are not 0, label → their standard errors, label → local R², of the record's one row."""
    weights, errors, scores = {}, {}, {}
    fits = np.atleast_1d(record.notes["local_r2"][0])
    for label, place in places.items():
        values = record.attributions[0, :, place]
        order = [int(i) for i in np.argsort(-np.abs(values), kind="stable") if values[i]]
        weights[label] = [(i, float(values[i])) for i in order]
        spread = np.full(len(values), np.nan) if record.errors is None else record.errors[0, :, place]
        errors[label] = {i: float(spread[i]) for i in order}
        scores[label] = float(fits[place])
    return weights, errors, scores


def asked_labels(outputs: np.ndarray, labels: Sequence[int], top_labels: int | None) -> list[int]:
    """The labels to explain, the most probable first where so many are asked for."""
    if top_labels:
        return [int(label) for label in np.argsort(-outputs, kind="stable")[: counted(top_labels, "top_labels")]]
    wrong = [label for label in listed(labels, "labels") if not (is_number(label) and 0 <= label < len(outputs))]
    if wrong:
        raise TargetError(f"label {wrong[0]!r} of a model with {len(outputs)} outputs", fix="give labels=(0,)")
    return [int(label) for label in labels]


def selection_of(feature_selection: str, num_features: int) -> str:
    """How the features of a line are chosen, in our words."""
    known = {"forward_selection": "forward", "highest_weights": "highest_weights", "none": "highest_weights"}
    known["auto"] = "forward" if counted(num_features, "num_features") <= FORWARD else "highest_weights"
    if feature_selection not in known:
        raise NotApplicable(f"feature_selection={feature_selection!r}", fix=f"use one of {', '.join(known)}")
    return known[feature_selection]


def unrecorded(labels: Sequence[int]) -> dict[int, float]:
    """What the record does not tell, label by label."""
    return {label: float("nan") for label in labels}


def seed_of(state: Any) -> int:
    """A seed from a number, a ``RandomState``, a ``Generator`` or None (0: the same answer at every call)."""
    for draw in ("randint", "integers"):
        if hasattr(state, draw):
            return int(getattr(state, draw)(2**31))
    if state is not None and not (is_number(state) and state == int(state) and state >= 0):
        raise InputError(
            f"random_state={shorten(repr(state))} is no seed", fix="give a whole number from 0 on, or a RandomState"
        )
    return 0 if state is None else int(state)

"""Texts under lime's names: ``LimeTextExplainer(class_names=…).explain_instance(text, predict_proba)``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from ...doors.wrap import wrap
from ...methods.neighbourhoods import Distance
from ...modalities.text import Replace
from ...records.errors import InputError, NotApplicable, shorten
from ...records.explanation import Explanation as Record
from ...records.players import Players
from ...studies.explaining import explain
from ..asked import counted
from .explanation import PAGE, Explanation, asked_labels, seed_of, selection_of, unrecorded, weights_of

Span = tuple[int, int]
UNITS = 100
"""Lime's distances, and with them its kernel widths, are per cent."""
MASKS = {False: "UNKWORDZ", True: "\x00"}
"""What lime puts in the place of a word, and of a character, where places matter."""


@dataclass(frozen=True, eq=False)
class TextExplanation(Explanation):
    """The weights of one text's words, label by label.

    Attributes
    ----------
    text: the text; spans: where each feature stands in it (with ``bow`` a word may stand in several places).
    """

    text: str = ""
    spans: Sequence[Sequence[Span]] = ()

    def as_list(self, label: int = 1, positions: bool = False, **_: Any) -> list[tuple[str, float]]:
        """(word, weight) pairs, the largest first; with ``positions`` each word is followed by where it begins."""
        if not positions:
            return super().as_list(label)
        where = ["-".join(str(start) for start, _ in spans) for spans in self.spans]
        return [(f"{self.names[feature]}_{where[feature]}", weight) for feature, weight in self._of(label)]

    def as_html(self, labels: Sequence[int] | None = None, text: bool = True, **_: Any) -> str:
        """A page of its own: the text with its words marked (or bars, without ``text``), label by label.

        What came from data is escaped.
        """
        asked = labels or self.available_labels()
        return PAGE.format("".join((self._marked if text else self._shown)(label)._repr_html_() for label in asked))

    def _marked(self, label: int) -> Record:
        """The record of one label in which every place where a word stands is a player with the word's weight."""
        weights, errors = dict(self._of(label)), self.stderr[label]
        places = sorted((span, feature) for feature, spans in enumerate(self.spans) for span in spans)
        values = np.array([weights.get(feature, 0.0) for _, feature in places])
        spread = np.array([errors.get(feature, np.nan) for _, feature in places])
        names = (tuple(self.names[feature] for _, feature in places),)
        labels = np.arange(len(places))[None]
        one, column = self.record, self.places.get(label, 0)
        return replace(
            one,
            attributions=values[None, :, None],
            errors=spread[None, :, None],
            gaps=None,
            base=one.base[:, column : column + 1],
            full=one.full[:, column : column + 1],
            outputs=((one.outputs[0][column],),),
            columns=None,
            players=Players(labels, names, kind="word", spans=(tuple(span for span, _ in places),)),
            rows=[self.text],
            several=False,
        )


class LimeTextExplainer:
    """Lines fitted to a model's answers as words of one text are taken away.

    Parameters
    ----------
    kernel_width: in lime's units, for distances in per cent.
    class_names: names for the answer.
    feature_selection: ``"auto"`` (``"forward_selection"`` for up to 6 features), ``"highest_weights"`` or ``"none"``.
    split_expression: a regular expression of what lies between words, or a function from a text to its words.
    bow: a word is one feature wherever it stands, and is deleted; else each place is one, and is masked.
    mask_string: what stands for a word (or character) that is away, where ``bow`` is False.
    random_state: a seed; None is 0, so that calls repeat themselves.
    char_level: characters are the features, each in its place.

    ``verbose`` is ignored; a ``kernel`` of one's own is refused.
    """

    def __init__(
        self,
        kernel_width: float = 25,
        kernel: Any = None,
        verbose: bool = False,
        class_names: Sequence[str] | None = None,
        feature_selection: str = "auto",
        split_expression: str | Callable[[str], Sequence[str]] = r"\W+",
        bow: bool = True,
        mask_string: str | None = None,
        random_state: Any = None,
        char_level: bool = False,
    ):
        if kernel is not None:
            raise NotApplicable("kernel= is not offered here", fix="give kernel_width=")
        self.kernel_width, self.class_names = kernel_width, None if class_names is None else list(map(str, class_names))
        self.feature_selection, self.split_expression = feature_selection, split_expression
        self.bow, self.char_level = bow and not char_level, char_level
        self.mask = None if self.bow else MASKS[char_level] if mask_string is None else mask_string
        self.seed = seed_of(random_state)

    def explain_instance(
        self,
        text_instance: str,
        classifier_fn: Callable[[list[str]], Any],
        labels: Sequence[int] = (1,),
        top_labels: int | None = None,
        num_features: int = 10,
        num_samples: int = 5000,
        distance_metric: str = "cosine",
        model_regressor: Any = None,
    ) -> TextExplanation:
        """The weights of a text's words: for ``labels``, or for the ``top_labels`` most probable ones.

        ``classifier_fn`` maps a list of texts to probabilities ``[b, K]``. Raises :class:`NotApplicable` for another
        distance than ``"cosine"``, ``"euclidean"`` or ``"manhattan"``, and for a regressor of one's own.
        """
        if model_regressor is not None or distance_metric not in get_args(Distance):
            fix = f"leave model_regressor out; distances: {', '.join(get_args(Distance))}"
            raise NotApplicable("a regressor or distance of one's own", fix=fix)
        if not isinstance(text_instance, str):
            raise InputError(f"a {type(text_instance).__name__} is no text", fix="give a string")
        names, spans = self._features(text_instance)
        count = len(names)
        record = explain(
            wrap(classifier_fn, outputs=self.class_names), [text_instance], "lime", target="all",
            players=_players(text_instance, names, spans), removal=Replace(self.mask), seed=self.seed,
            samples=counted(num_samples, "num_samples"), kernel_width=self.kernel_width / UNITS, intercept=True,
            distance=distance_metric, selection=selection_of(self.feature_selection, num_features),
            complexity=num_features if num_features < count and self.feature_selection != "none" else None,
        )  # fmt: skip
        outputs = record.full[0]
        if len(outputs) == 1:
            raise InputError("a classification gives a number for each class", fix="give predict_proba")
        places = {label: label for label in asked_labels(outputs, labels, top_labels)}
        weights, errors, scores = weights_of(record, places)
        return TextExplanation(
            mode="classification", local_exp=weights, stderr=errors, intercept=unrecorded(list(weights)),
            scores=scores, local_pred=np.array([np.nan]), predict_proba=np.array(outputs), names=names, record=record,
            class_names=self.class_names or (), top_labels=list(places) if top_labels else None, places=places,
            text=text_instance, spans=spans,
        )  # fmt: skip

    def _features(self, text: str) -> tuple[list[str], list[list[Span]]]:
        """The features by name, and where each stands in the text, in the order in which they are met first."""
        found = [(text[slice(*span)], span) for span in self._words(text)]
        if not found:
            raise InputError(f"no words were found in {shorten(text, 40)!r}", fix="look at split_expression=")
        if not self.bow:
            return [word for word, _ in found], [[span] for _, span in found]
        spans: dict[str, list[Span]] = {}
        for word, span in found:
            spans.setdefault(word, []).append(span)
        return list(spans), list(spans.values())

    def _words(self, text: str) -> list[Span]:
        if self.char_level:
            return [(place, place + 1) for place in range(len(text))]
        if callable(self.split_expression):
            return _found(text, self.split_expression(text))
        ends = [found.span() for found in re.finditer(self.split_expression, text)]
        starts = [0, *(stop for _, stop in ends)]
        stops = [*(start for start, _ in ends), len(text)]
        return [(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]


def _found(text: str, words: Sequence[str]) -> list[Span]:
    """Where words that a function returned stand in the text, one after the other."""
    spans, place = [], 0
    for word in words:
        start = text.find(word, place)
        if start < 0:
            raise InputError(
                f"split_expression returned {shorten(repr(word), 40)}, which does not stand in the text behind the "
                "words before it",
                fix="return the words as they are written, in their order",
            )
        if word:
            spans.append((start, start + len(word)))
            place = start + len(word)
    return spans


def _players(text: str, names: Sequence[str], spans: Sequence[Sequence[Span]]) -> Players:
    labels = np.full((1, len(text)), -1)
    for feature, own in enumerate(spans):
        for start, stop in own:
            labels[0, start:stop] = feature
    return Players(labels, (tuple(names),), kind="word")

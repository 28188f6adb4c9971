"""How often the model is right, for whom, and whether that is better than knowing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ..measures import classification as of_classes
from ..measures import regression as of_numbers
from ..measures.intervals import (
    area,
    bootstrap,
    dice,
    difference_of_means,
    difference_of_shares,
    mean_of_figures,
    wilson,
)
from ..measures.thinning import thinned
from ..measures.weights import mean
from ..records.finding import Finding
from .check import Check, CheckCase, Task, by_part, listed, rounded, spread

Triple = tuple[float, float, float]
Figures = dict[str, Triple]

OF_CLASSES = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "f1_weighted",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "above_chance",
)
OF_EACH_CLASS = ("precision", "recall", "f1")
OF_MEANS = {
    "balanced_accuracy": "recall",
    "recall_macro": "recall",
    "precision_macro": "precision",
    "f1_macro": "f1",
    "f1_weighted": "f1",
}
"""Means over the classes, and of what."""
OF_NUMBERS = ("mae", "rmse", "r2", "mae_above_chance")
OF_SLICES = {"classification": ("accuracy", "balanced_accuracy", "f1_macro"), "regression": ("mae", "rmse", "r2")}
DRAWN_CLASSES = 10
CELLS = 50


@dataclass(frozen=True)
class Performance(Check[CheckCase]):
    """Accuracy or error with bootstrap intervals: overall, per class and per slice, beside the chance level.

    Chance is what the best constant answer reaches on the same rows: the most frequent class, or the
    median. A model is called no better than chance (red) when the interval of its lead over that
    answer, drawn row by row, includes zero and so does that of its ranking (ROC-AUC over ½) or its R². Where the rows
    are so few that even being right in all of them could be luck, that is said instead.
    Shares (accuracy, precision, recall, F1 of a class) have score intervals, and so have means over classes and the
    ROC-AUC where they are perfect: a bootstrap of rows that are all right sees no doubt.
    A slice is called weak (yellow) when it is worse than the rest of the rows beyond a Bonferroni-corrected
    interval, so that a model equally good everywhere is accused in at most about ``1 − level`` of its audits.

    The main finding holds the tables ``classes``, ``confusion`` and ``slices`` and the curves
    ``roc: CLASS`` and ``precision_recall: CLASS``; for regression ``predictions``, points (true, predicted).
    """

    name: ClassVar[str] = "performance"
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression")
    source: ClassVar[str] = (
        "Efron & Tibshirani 1993, chapter 13; Wilson 1927; Newcombe 1998, method 10; Newcombe 2006, method 5; "
        "Zou & Donner 2008; Welch 1947"
    )

    draws: Annotated[int, "bootstrap draws behind each interval"] = 1000
    level: Annotated[float, "how often an interval should hold the true value"] = 0.95
    minimum: Annotated[int, "fewest rows of a slice or class for which figures are given"] = 10

    @property
    def fewest(self) -> int:
        """The fewest rows that get figures: an empty slice never has any."""
        return max(self.minimum, 1)

    def find(self, case: CheckCase) -> Iterator[Finding]:
        if case.task == "regression":
            yield from self._of_numbers(case)
        else:
            yield from self._of_classes(case)
        yield from self._weak_slices(case)
        small = [name for name, mask in case.slices.items() if mask.sum() < self.fewest]
        if small:
            yield self._say("slices_suppressed", "note", case, {"names": listed(small), "count": len(small)})

    # Classes -------------------------------------------------------------------------------

    def _of_classes(self, case: CheckCase) -> Iterator[Finding]:
        figures, per_class = self._class_figures(case)
        counts = np.bincount(case.labels, minlength=len(case.classes))
        chance = float(counts.max() / len(case))
        said = {"majority": case.classes[int(counts.argmax())], "chance": chance, "reading": case.reading}
        yield self._say(
            by_part("performance", case.part),
            "note",
            case,
            said | _named("accuracy", figures["accuracy"]),
            metrics=figures | {"chance": (chance, np.nan, np.nan)},
            tables=_class_tables(case, per_class) | self._slice_table(case),
            curves=_class_curves(case),
        )
        yield from self._beside_chance(case, figures, said, int((counts > 0).sum()))
        few = [name for name, count in zip(case.classes, counts, strict=True) if count < self.minimum]
        if few:
            yield self._say("performance_short_classes", "note", case, {"names": listed(few), "count": len(few)})

    def _beside_chance(
        self, case: CheckCase, figures: Figures, said: dict[str, Any], present: int
    ) -> Iterator[Finding]:
        if present < 2:
            yield self._say("performance_one_class", "yellow", case, {"name": said["majority"]})
        elif self._too_few(len(case), said["chance"]):
            yield self._say("performance_too_few_rows", "note", case, said | _named("accuracy", figures["accuracy"]))
        elif not figures["above_chance"][1] > 0:
            values = said | _named("accuracy", figures["accuracy"])
            auc, auc_low, _ = figures["roc_auc"]
            if auc_low > 0.5:
                yield self._say("performance_better_ranking_only", "yellow", case, values | {"auc": auc})
            else:
                yield self._say("performance_no_better_than_chance", "red", case, values)

    def _class_figures(self, case: CheckCase) -> tuple[Figures, dict[str, list[Triple]]]:
        """All figures by name, and per class."""
        size, majority = len(case.classes), np.bincount(case.labels).argmax()

        def statistic(
            truth: np.ndarray, predicted: np.ndarray, chances: np.ndarray, weights: np.ndarray | None = None
        ) -> np.ndarray:
            tally = of_classes.tally(truth, predicted, size, weights)
            single = [
                tally.accuracy,
                tally.balanced_accuracy,
                tally.average("precision", "macro"),
                tally.average("recall", "macro"),
                tally.average("f1", "macro"),
                tally.average("f1", "weighted"),
                of_classes.roc_auc(truth, chances, weights),
                of_classes.average_precision(truth, chances, weights),
                of_classes.log_loss(truth, chances, weights),
                of_classes.brier(truth, chances, weights),
                tally.accuracy - mean(truth == majority, weights),
            ]
            return np.stack(single, axis=-1)

        triples = self._triples(statistic, case, case.labels, case.predicted, case.probabilities)
        single: Figures = dict(zip(OF_CLASSES, triples, strict=True))
        tally = of_classes.tally(case.labels, case.predicted, size)
        single |= self._of_shares(single, tally)
        if single["roc_auc"][0] == 1.0:
            single["roc_auc"] = self._perfect_order(tally.truths)
        if single["average_precision"][0] == 1.0:
            single["average_precision"] = (1.0, np.nan, np.nan)  # no interval is known there, and none of width zero
        return single, {name: self._of_each(tally, name) for name in OF_EACH_CLASS}

    def _of_each(self, tally: of_classes.Tally, figure: str) -> list[Triple]:
        """A figure of each class with its score interval."""
        values = {"precision": tally.precision, "recall": tally.recall, "f1": tally.f1}[figure]
        if figure == "f1":
            low, high = dice(tally.hits, tally.truths + tally.guesses, self.level)
        else:
            low, high = wilson(tally.hits, tally.guesses if figure == "precision" else tally.truths, self.level)
        return list(zip(values.tolist(), low.tolist(), high.tolist(), strict=True))

    def _of_shares(self, figures: Figures, tally: of_classes.Tally) -> Figures:
        """The accuracy with its score interval, and the means over classes where all of them are perfect."""
        right, rows = float(tally.hits.sum()), float(tally.truths.sum())
        found: Figures = {"accuracy": (figures["accuracy"][0], *wilson(right, rows, self.level))}
        present = tally.truths > 0
        for name, figure in OF_MEANS.items():
            if name in figures and figures[name][0] == 1.0:
                ends = np.array(self._of_each(tally, figure))[present].T
                weights = tally.truths[present] if name == "f1_weighted" else np.ones(int(present.sum()))
                found[name] = mean_of_figures(ends[0], ends[1], ends[2], weights)
        return found

    def _perfect_order(self, truths: np.ndarray) -> Triple:
        """A ROC-AUC of 1, over the classes against the rest, with its interval."""
        present = truths[truths > 0]
        ends = [(1.0, *area(1.0, int(count), int(present.sum() - count), self.level)) for count in present]
        ends = ends[:1] if len(truths) == 2 else ends  # of two classes either says the same
        values, lows, highs = np.array(ends).T
        return mean_of_figures(values, lows, highs, np.ones(len(ends)))

    def _too_few(self, rows: int, chance: float) -> bool:
        """Whether chance alone makes even an answer that is right in every row likely enough to tell nothing."""
        return chance**rows >= (1 - self.level) / 2

    # Numbers -------------------------------------------------------------------------------

    def _of_numbers(self, case: CheckCase) -> Iterator[Finding]:
        median = float(np.median(case.labels))
        figures = self._number_figures(case)
        chance = float(np.abs(case.labels - median).mean())
        error = {name: rounded(part) for name, part in _named("mae", figures["mae"]).items()}
        yield self._say(
            by_part("performance_error", case.part) if figures["mae"][0] else "performance_exact",
            "note",
            case,
            error | {"chance": rounded(chance), "unit": _unit(case)},
            metrics=figures | {"mae_chance": (chance, np.nan, np.nan)},
            tables=self._slice_table(case),
            curves={"predictions": _scatter(case)},
        )
        if np.ptp(case.labels) == 0:
            values = {"value": rounded(median), "unit": _unit(case)}
            yield self._say("performance_constant_target", "yellow", case, values)
        elif self._too_few(len(case), 0.5):
            yield self._say("performance_too_few_numbers", "note", case, {})
        elif figures["r2"][1] <= 0 and not figures["mae_above_chance"][1] > 0:
            values = {name: rounded(part) for name, part in _named("r2", figures["r2"]).items()}
            yield self._say("performance_no_better_than_constant", "red", case, values)

    def _number_figures(self, case: CheckCase) -> Figures:
        median = np.median(case.labels)

        def statistic(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            lead = np.abs(truth - median) - np.abs(truth - predicted)
            figures = [getattr(of_numbers, name)(truth, predicted, weights) for name in ("mae", "rmse", "r2")]
            return np.stack([*figures, mean(lead, weights)], axis=-1)

        triples = self._triples(statistic, case, case.labels, case.predicted)
        figures: Figures = dict(zip(OF_NUMBERS, triples, strict=True))
        if figures["mae"][0] == 0.0:  # all right: what is drawn from these rows sees no doubt
            figures |= {name: (figures[name][0], np.nan, np.nan) for name in ("mae", "rmse", "r2")}
        return figures

    # Slices --------------------------------------------------------------------------------

    def _slice_table(self, case: CheckCase) -> dict[str, list[dict[str, Any]]]:
        """A row per slice; figures are NaN (``suppressed``) where it has fewer than ``minimum`` rows."""
        table = []
        for name, mask in case.slices.items():
            rows = int(mask.sum())
            row: dict[str, Any] = {"slice": name, "rows": rows, "suppressed": rows < self.fewest}
            figures: Figures = {}
            if not row["suppressed"]:
                part = case.within(name)
                figures = self._number_figures(part) if case.task == "regression" else self._answer_figures(part)
            for figure in OF_SLICES[case.task]:
                spread(row, figure, figures.get(figure, (np.nan, np.nan, np.nan)))
            table.append(row)
        return {"slices": table} if table else {}

    def _answer_figures(self, case: CheckCase) -> Figures:
        """What a slice's row holds: figures of the answers alone, without the dearer rankings."""
        size = len(case.classes)

        def statistic(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            tally = of_classes.tally(truth, predicted, size, weights)
            return np.stack([tally.accuracy, tally.balanced_accuracy, tally.average("f1", "macro")], axis=-1)

        triples = self._triples(statistic, case, case.labels, case.predicted)
        figures = dict(zip(OF_SLICES["classification"], triples, strict=True))
        return figures | self._of_shares(figures, of_classes.tally(case.labels, case.predicted, size))

    def _weak_slices(self, case: CheckCase) -> Iterator[Finding]:
        sizes = {name: int(mask.sum()) for name, mask in case.slices.items()}
        fit = [name for name, rows in sizes.items() if self.fewest <= rows <= len(case) - self.fewest]
        strict = 1 - (1 - self.level) / max(len(fit), 1)
        for name in fit:
            code, values = self._beside_rest(case, case.slices[name], strict)
            if code:
                yield self._say(code, "yellow", case, values | {"slice": name, "slice_rows": sizes[name]})

    def _beside_rest(self, case: CheckCase, mask: np.ndarray, level: float) -> tuple[str, dict[str, Any]]:
        """The message's code if the slice is worse than the rest at this level ("" if not), and what fills it."""
        if case.task == "classification":
            right = case.labels == case.predicted
            inside, outside = ((int(right[part].sum()), int(part.sum())) for part in (mask, ~mask))
            worse = difference_of_shares(inside, outside, level)[2] < 0
            values = {"value": inside[0] / inside[1], "rest": outside[0] / outside[1]}
            return ("performance_weak_slice" if worse else ""), values
        error = np.abs(case.labels - case.predicted)
        worse = difference_of_means(error[mask], error[~mask], level)[1] > 0
        means = {"value": rounded(error[mask].mean()), "rest": rounded(error[~mask].mean()), "unit": _unit(case)}
        return ("performance_weak_slice_error" if worse else ""), means

    # -----------------------------------------------------------------------------------------

    def _triples(self, statistic: Callable[..., np.ndarray], case: CheckCase, *arrays: np.ndarray) -> list[Triple]:
        value, low, high = bootstrap(statistic, *arrays, draws=self.draws, seed=case.seed, level=self.level)
        return list(zip(value.tolist(), low.tolist(), high.tolist(), strict=True))

    def _say(
        self,
        code: str,
        severity: Literal["red", "yellow", "note"],
        case: CheckCase,
        values: dict[str, Any],
        metrics: Figures | None = None,
        tables: dict[str, list[dict[str, Any]]] | None = None,
        curves: dict[str, np.ndarray] | None = None,
    ) -> Finding:
        values = values | {"rows": len(case), "part": case.part, "level": self.level, "minimum": self.minimum}
        return Finding(
            self.name, code, severity, values, metrics or {}, tables or {}, curves or {}, case.part, len(case)
        )


def _unit(case: CheckCase) -> str:
    return f" {case.unit}" if case.unit else ""


def _named(name: str, triple: Triple) -> dict[str, float]:
    return dict(zip((name, "low", "high"), triple, strict=True))


def _class_tables(case: CheckCase, per_class: dict[str, list[Triple]]) -> dict[str, list[dict[str, Any]]]:
    """``classes``: a row per class. ``confusion``: a row per cell; beyond fifty classes only cells with rows."""
    counts = of_classes.confusion(case.labels, case.predicted, len(case.classes)).astype(np.int64)
    classes: list[dict[str, Any]] = []
    for k, name in enumerate(case.classes):
        classes.append({"class": name, "rows": int(counts[k].sum()), "predicted": int(counts[:, k].sum())})
        for figure, triples in per_class.items():
            spread(classes[k], figure, triples[k])
    shown = np.argwhere((counts > 0) | (len(case.classes) <= CELLS))
    confusion = [
        {
            "truth": case.classes[i],
            "predicted": case.classes[j],
            "rows": int(counts[i, j]),
            "share": counts[i, j] / counts[i].sum() if counts[i].any() else np.nan,
        }
        for i, j in shown
    ]
    return {"classes": classes, "confusion": confusion}


def _class_curves(case: CheckCase) -> dict[str, np.ndarray]:
    """ROC and precision–recall of each class against the rest: the second of two, else the most frequent ten."""
    counts = np.bincount(case.labels, minlength=len(case.classes))
    frequent = np.argsort(-counts, kind="stable")[:DRAWN_CLASSES]
    curves = {}
    for k in [1] if len(case.classes) == 2 else sorted(frequent.tolist()):
        positive, scores = case.labels == k, case.probabilities[:, k]
        if 0 < positive.sum() < len(case):
            curves[f"roc: {case.classes[k]}"] = thinned(of_classes.roc_curve(positive, scores))
            curves[f"precision_recall: {case.classes[k]}"] = thinned(
                of_classes.precision_recall_curve(positive, scores)
            )
    return curves


def _scatter(case: CheckCase, most: int = 200) -> np.ndarray:
    """``Float64[points, 2]``: true and predicted numbers of at most 200 rows, drawn by the seed."""
    rows = np.arange(len(case))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(case.seed).choice(rows, most, replace=False))
    return np.stack([case.labels[rows], case.predicted[rows]], axis=1)
